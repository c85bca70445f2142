"""From a folder of own images to everything that is said of the run, by the command line."""

import csv
import json
import re

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ntxent.cli import main
from ntxent.commands._contact_sheet import choose_images
from ntxent.simclr import DataConfig, stages
from ntxent.simclr.data import ImageData, MemoryImages
from ntxent.simclr.evaluation.features import extract_features
from ntxent.simclr.run.trained import TrainedRun
from pictures import COLOURS, make_tree, picture, spoil

SMALL = (
    *("--epochs=2", "--batch_size=8", "--model.width=2", "--model.hidden_dim=8"),
    *("--model.projection_dim=4", "--evaluation.draws=2", "--accelerator=cpu"),
    *("--data.image_size=16", "--augmentation.recipe=simclr"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    make_tree(place / "photos", per_class=10)
    spoil(place / "photos" / "green")
    make_tree(place / "unsorted" / "deep", per_class=4)
    return place


def train(place, name, *argv):
    where = (f"--folder={place / 'runs'}", f"--name={name}")
    assert main(["train", *SMALL, *where, *argv]) == 0
    return place / "runs" / name


@pytest.fixture(scope="module")
def run(place):
    argv = ("--data.max_skipped=0.2", "--evaluation.knn_every=1", "--evaluation.neighbors=3")
    return train(place, "photos", f"--data.source={place / 'photos'}", *argv)


@pytest.fixture(scope="module")
def unlabelled(place):
    return train(place, "unsorted", f"--data.source={place / 'unsorted'}")


def output(capsys, *argv):
    capsys.readouterr()
    assert main(list(map(str, argv))) == 0
    return capsys.readouterr().out


def refused(capsys, *argv):
    capsys.readouterr()
    assert main(list(map(str, argv))) == 2
    return capsys.readouterr().err


def test_a_run_keeps_what_its_data_was(run):
    record = json.loads((run / "data.json").read_text())
    assert record["classes"] == sorted(COLOURS)
    assert record["shape"] == [3, 16, 16]
    assert record["images"] == {"train": 22, "labelled": 22, "held_out": 8}
    assert sum(record["per_class"]["held_out"]) == 8
    with (run / "skipped.csv").open(newline="") as file:
        left_out = {row["file"]: row["reason"] for row in csv.DictReader(file)}
    assert len(left_out) == record["skipped"] == 5
    assert left_out["green/text.png"] == "not an image"


def test_knn_is_measured_while_training_and_changes_nothing(place, run):
    summary = json.loads((run / "summary.json").read_text())
    assert [epoch for epoch, _ in summary["knn"]] == [1, 2]
    # the last measurement is that of the finished encoder
    assert summary["knn"][-1][1] == summary["evaluation"]["encoder"]["knn"]["mean"]
    argv = (f"--data.source={place / 'photos'}", "--data.max_skipped=0.2")
    without = train(place, "without", *argv)
    assert (without / "metrics.csv").read_bytes() == (run / "metrics.csv").read_bytes()


def test_evaluate_repeats_the_runs_own_scores_and_adds_to_them(run, capsys):
    found = json.loads(output(capsys, "evaluate", run, "--json", "--finetune=0.5"))
    assert json.loads((run / "evaluation.json").read_text()) == found
    summary = json.loads((run / "summary.json").read_text())
    for name, scores in summary["evaluation"].items():
        for measure, score in scores.items():
            assert found["evaluation"][name][measure] == pytest.approx(score), (name, measure)
    assert {"linear_1%", "linear_10%"} <= set(found["evaluation"]["encoder"])
    matrix = np.array(found["confusion"]["linear_all"])
    assert matrix.sum() == found["images"]["held_out"] == 8
    assert matrix.trace() / 8 == found["evaluation"]["encoder"]["linear_all"]["mean"]
    assert found["finetuning"]["labels"] in range(9, 14)
    # colours are told apart by any encoder that is trained with their labels
    assert found["finetuning"]["encoder"]["mean"] > 0.8
    assert 0 <= found["views"]["contrastive_accuracy"] <= 1
    text = output(capsys, "evaluate", run)
    for words in ("95 % interval", "linear, 10 %", "blue", "other view nearest"):
        assert words in text


def test_every_stage_of_seconds_says_what_it_does(place, run, tmp_path, capsys, monkeypatch):
    """Here every stage counts as long; they change no result, and stay off standard output."""
    command = ("evaluate", run, "--json", "--finetune=0.5")
    quiet = json.loads(output(capsys, *command))
    monkeypatch.setattr(stages, "SHORTEST", 0.0)

    def told(*argv):
        capsys.readouterr()
        assert main(list(map(str, argv))) == 0
        out, err = capsys.readouterr()
        return out, [re.sub(r": \d+ s$", "", line) for line in err.splitlines()]

    out, lines = told(*command)
    assert json.loads(out) | {"seconds": 0} == quiet | {"seconds": 0}
    read = ["reading the headers of 35 files", "decoding 32 images"]
    features = ["features of 22 images", "features of 8 images"]
    probes = [
        f"{probe} of {features}"
        for features in ("raw pixels", "encoder", "untrained encoder")
        for probe in ("kNN", "probe linear_1", "probe linear_5", "probe linear_all")
    ]
    listed = iter(line.partition(", ")[0] for line in lines)
    expected = [*read, "two views of 8 images", *features, *probes]
    assert [stage for stage in expected if stage not in listed] == [], lines
    assert "fine-tuning the untrained encoder" in lines
    assert [line for line in told("data", "inspect", place / "photos")[1] if "pixels" in line]
    embedded = told("embed", run, place / "unsorted", "--output", tmp_path / "e.npz")[1]
    assert embedded[1:] == ["decoding 12 images", "features of 12 images", "writing e.npz"]
    assert told("export", run, f"--onnx={tmp_path / 'e.onnx'}")[1] == ["writing e.onnx"]
    assert told("report", run, "-o", tmp_path / "r.html")[1] == ["writing r.html, its map by pca"]
    argv = ("train", *SMALL, f"--folder={tmp_path}", f"--data.source={place / 'unsorted'}")
    trained = told(*argv, "--name=again")[1]
    assert "decoding 12 images" in trained
    assert "writing report.html" in trained


def test_evaluate_on_other_images(place, run, capsys):
    make_tree(place / "others", per_class=5)
    found = json.loads(
        output(capsys, "evaluate", run, f"--data.source={place / 'others'}", "--json")
    )
    assert found["images"] == {"labelled": 11, "held_out": 4}


def test_images_without_labels_are_trained_on_and_compared_by_views(unlabelled, capsys):
    summary = json.loads((unlabelled / "summary.json").read_text())
    assert summary["evaluation"] == {}
    found = json.loads(output(capsys, "evaluate", unlabelled, "--json"))
    assert "evaluation" not in found
    assert found["views"]["images"] == 3
    text = output(capsys, "evaluate", unlabelled)
    assert "no labels, so no accuracies" in text
    assert "one sub-folder a class" in text
    message = refused(capsys, "evaluate", unlabelled, "--finetune=0.5")
    assert "has no labels, expected labelled images" in message


def test_knn_needs_labels(place, capsys):
    argv = (f"--data.source={place / 'unsorted'}", "--evaluation.knn_every=1", "--name=none")
    message = refused(capsys, "train", *SMALL, f"--folder={place / 'runs'}", *argv)
    assert "evaluation.knn_every: received images without labels" in message
    assert not (place / "runs/none").exists()


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
@pytest.mark.parametrize("space", ["encoder", "projection"])
def test_embed(place, run, tmp_path, capsys, suffix, space):
    path = tmp_path / f"z.{suffix}"
    argv = ("embed", run, place / "photos", "-o", path, "--space", space, "--data.max_skipped=0.2")
    assert "30 embeddings of " in output(capsys, *argv)
    if suffix == "npz":
        found = dict(np.load(path))
        names = found["classes"][found["labels"]].tolist()
    else:
        table = pyarrow.parquet.read_table(path)
        found = {name: np.array(table[name].to_pylist()) for name in table.column_names}
        names = found["classes"].tolist()
    trained = TrainedRun(run)
    source = DataConfig(source=str(place / "photos"), image_size=16, max_skipped=0.2)
    images = ImageData(source, batch_size=1).source.train
    model = trained.model.encoder
    if space == "projection":
        model = torch.nn.Sequential(model, trained.model.head)
    np.testing.assert_allclose(
        found["embeddings"], extract_features(model, images, images.shape), rtol=1e-6
    )
    for file, name in zip(found["files"], names, strict=True):
        assert file.startswith(f"{name}/")
    assert "exists; replace it with --overwrite" in refused(capsys, *argv)


def test_what_cannot_be_embedded_is_refused(place, run, tmp_path, capsys):
    photos = place / "photos"
    message = refused(capsys, "embed", run, photos, "-o", tmp_path / "z.csv")
    assert "received 'z.csv', expected a name in .npz or .parquet" in message
    np.savez(tmp_path / "grey.npz", images=np.zeros((4, 16, 16), np.uint8))
    message = refused(capsys, "embed", run, tmp_path / "grey.npz", "-o", tmp_path / "z.npz")
    assert "received images of 1 channels, expected 3" in message
    message = refused(capsys, "embed", tmp_path, photos, "-o", tmp_path / "z.npz")
    assert "is not the folder of a run" in message
    assert not (tmp_path / "z.npz").exists()


def test_weights_of_another_encoder_are_refused(place, run, tmp_path, capsys):
    weights = load_file(run / "encoder.safetensors")
    kept = (run / "encoder.safetensors").read_bytes()
    save_file(
        {name: torch.cat([w, w]) if w.ndim else w for name, w in weights.items()}, tmp_path / "w"
    )
    try:
        (run / "encoder.safetensors").write_bytes((tmp_path / "w").read_bytes())
        assert "Error(s) in loading state_dict" in refused(capsys, "evaluate", run)
    finally:
        (run / "encoder.safetensors").write_bytes(kept)


def test_compare(run, unlabelled, capsys):
    rows = json.loads(output(capsys, "compare", unlabelled, run, "--json"))
    assert [row["name"] for row in rows] == ["photos", "unsorted"]  # without labels: last
    assert rows[1]["accuracy"] == {}
    assert "data.source" in rows[0]["settings"]
    assert "epochs" not in rows[0]["settings"]  # both have the same
    summary = json.loads((run / "summary.json").read_text())
    assert rows[0]["position"] == summary["loss"]["position"]
    by_position = json.loads(
        output(capsys, "compare", run, unlabelled, "--sort=position", "--json")
    )
    assert by_position[0]["position"] <= by_position[1]["position"]
    assert "cannot be compared" in output(capsys, "compare", run, unlabelled)


@pytest.mark.parametrize("width", [60, 80])
def test_no_table_of_a_run_is_cut(place, run, unlabelled, capsys, monkeypatch, width):
    found = json.loads(output(capsys, "evaluate", run, "--json", "--finetune=0.5"))
    rows = json.loads(output(capsys, "compare", run, unlabelled, "--json"))
    monkeypatch.setenv("COLUMNS", str(width))
    scores = [
        f"{100 * score['mean']:.1f}"
        for name in ("raw_pixels", "untrained_encoder", "encoder")
        for score in found["evaluation"][name].values()
    ]
    summary = json.loads((run / "summary.json").read_text())
    again = output(capsys, "train", f"--resume={run}")  # it prints the tables of the run
    for text in (again, output(capsys, "evaluate", run, "--finetune=0.5")):
        assert "…" not in text
        assert {"linear,", "untrained", "labels"} <= set(text.split())
    evaluated = output(capsys, "evaluate", run, "--finetune=0.5")
    assert [score for score in scores if score not in evaluated] == []
    assert f"{summary['loss']['mean_of_last_epoch']:.4f}" in again
    compared = output(capsys, "compare", run, unlabelled)
    joined = "".join(compared.split())
    assert "…" not in compared
    for row in rows:
        cells = [row["name"], f"{row['loss']:.3f}", *map(str, row["settings"].values())]
        assert [cell for cell in cells if "".join(cell.split()) not in joined] == []
    inspected = output(capsys, "data", "inspect", place / "photos")
    assert "…" not in inspected
    assert str(place / "photos") in "".join(inspected.split())


def test_what_cannot_be_compared_is_refused(run, tmp_path, capsys):
    assert "is no run folder" in refused(capsys, "compare", tmp_path)
    assert "expected one of position, loss" in refused(capsys, "compare", run, "--sort=beauty")
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    assert "none has finished" in refused(capsys, "compare", tmp_path)
    assert f"{tmp_path} has not finished" in output(capsys, "compare", run, tmp_path)


def test_inspect_says_what_training_would_meet(place, tmp_path, capsys):
    plot = tmp_path / "sheet.png"
    argv = ("data", "inspect", place / "photos")
    found = json.loads(output(capsys, *argv, "--json", f"--plot={plot}"))
    assert found["images"] == {"train": 22, "held_out": 8}  # as training divides them
    assert sum(found["classes"]["train"].values()) == 22
    assert sum(found["classes"]["held_out"].values()) == 8
    assert found["classes"]["train"].keys() == COLOURS.keys()
    assert found["original_sizes"]["width"] == [3, 48, 400]
    assert len(found["skipped"]) == 5
    assert found["usable"] is False  # 5 of 35 are more than a tenth
    # a mean of 30 and 200 in equal shares of thirds, within the noise of a mean of 48,000 pixels
    assert found["pixels"]["mean"] == pytest.approx([(200 + 2 * 30) / 3 / 255] * 3, abs=0.02)
    with Image.open(plot) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[0] > 400
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000
    text = output(capsys, *argv)
    for words in ("3 x 40 x 40", "left out  green/tiny.png", "training would refuse this"):
        assert words in text
    assert re.search(r"images to train on +│ 22 ", text)
    assert re.search(r"images held out +│ 8 ", text)


def test_inspect_counts_the_held_out_images_of_a_source_that_has_them(tmp_path, capsys):
    make_tree(tmp_path / "train", per_class=4)
    make_tree(tmp_path / "val", per_class=2)
    found = json.loads(output(capsys, "data", "inspect", tmp_path, "--json"))
    assert found["images"] == {"train": 12, "held_out": 6}
    assert found["classes"]["held_out"] == dict.fromkeys(COLOURS, 2)


def test_inspect_says_that_a_class_of_one_image_cannot_be_divided(tmp_path, capsys):
    make_tree(tmp_path, per_class=4)
    (tmp_path / "white").mkdir()
    (tmp_path / "red" / "0.png").rename(tmp_path / "white" / "0.png")
    text = output(capsys, "data", "inspect", tmp_path)
    assert "training would refuse this: data.held_out: received 0.25 for 12 images of 4" in text


def test_inspect_finds_damage_in_images_that_stay_in_files(tmp_path, capsys):
    make_tree(tmp_path, per_class=2)
    path = tmp_path / "red/0.png"
    path.write_bytes(path.read_bytes()[:500])
    found = json.loads(output(capsys, "data", "inspect", tmp_path, "--data.memory=0", "--json"))
    assert [entry["file"] for entry in found["skipped"]] == ["red/0.png"]


def test_inspect_says_when_images_are_too_few(tmp_path, capsys):
    for name in ("red", "blue"):
        picture(np.random.default_rng(0), name).save(tmp_path / f"{name}.png")
    assert "it needs at least 3 images" in output(capsys, "data", "inspect", tmp_path)
    picture(np.random.default_rng(0), "green").save(tmp_path / "green.png")
    assert "refuse" not in output(capsys, "data", "inspect", tmp_path)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("inspect nowhere", "which is no file or folder here"),
        ("look digits", "invalid choice: 'look'"),
        ("inspect digits --plot sheet.html", "expected a name that ends in .png"),
        ("inspect digits --plot no/sheet.png", "no folder no; make it first"),
    ],
)
def test_inspect_refuses(capsys, monkeypatch, tmp_path, argv, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "data", *argv.split())


def test_a_contact_sheet_shows_every_class():
    labels = np.repeat([0, 1, 2], [100, 5, 1])
    chosen = choose_images(MemoryImages(torch.zeros(106, 1, 4, 4), labels), count=12)
    assert len(set(chosen)) == 12
    assert np.bincount(labels[chosen]).tolist() == [6, 5, 1]
