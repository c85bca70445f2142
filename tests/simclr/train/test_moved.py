"""A run whose images have moved goes on; a run with other images does not."""

import json
import random
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from ntxent.cli import main
from ntxent.simclr import DataConfig
from ntxent.simclr.data import ImageData, MemoryImages, data_record
from ntxent.simclr.data.fingerprint import fingerprint, require_same_images
from ntxent.simclr.run.config_file import read_config
from ntxent.simclr.run.folder import RunFolder
from ntxent.simclr.train.metrics_file import MetricsFile
from pictures import make_tree, picture

SMALL = (
    *("train", "--epochs=2", "--batch_size=8", "--model.width=2", "--model.hidden_dim=8"),
    *("--model.projection_dim=4", "--evaluation.draws=2", "--accelerator=cpu"),
    *("--data.image_size=16", "--augmentation.recipe=simclr"),
)


@contextmanager
def stopped_after(step):
    """SIGTERM at the end of that step."""
    with pytest.MonkeyPatch.context() as patch:
        original = MetricsFile.on_train_batch_end

        def hook(self, *args):
            original(self, *args)
            if self.rows == step:
                signal.raise_signal(signal.SIGTERM)

        patch.setattr(MetricsFile, "on_train_batch_end", hook)
        yield


def start(tmp_path, photos):
    """A run that was stopped after its third step, and what it would have been."""
    where = (f"--data.source={photos}", f"--folder={tmp_path}")
    assert main([*SMALL, *where, "--name=whole"]) == 0
    with stopped_after(3):
        assert main([*SMALL, *where, "--name=stopped"]) == 143
    return RunFolder(tmp_path / "stopped"), RunFolder(tmp_path / "whole")


def test_images_may_move_and_be_read_in_another_way(tmp_path, capsys):
    photos, elsewhere = make_tree(tmp_path / "photos"), tmp_path / "else" / "where"
    run, whole = start(tmp_path, photos)
    elsewhere.parent.mkdir()
    photos.rename(elsewhere)
    assert main(["train", "--resume", str(run.path)]) == 2
    assert "photos" in capsys.readouterr().err
    options = (f"--data.source={elsewhere}", "--data.memory=0", "--data.workers=0")
    assert main(["train", f"--resume={run.path}", *options, "--data.max-skipped=0.5"]) == 0
    assert run.metrics.read_bytes() == whole.metrics.read_bytes()
    # Its configuration names the new place, where evaluate and embed look for the images.
    assert read_config(run).data.source == str(elsewhere)
    assert main(["evaluate", str(run.path)]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("more", "images to train on were 18, received 19"),
        ("relabel", "by their hash were"),
        ("repaint", "pixels, by their hash were"),
    ],
)
def test_other_images_are_refused_by_both_names(tmp_path, capsys, change, message):
    photos, others = make_tree(tmp_path / "photos"), tmp_path / "others"
    run, _ = start(tmp_path, photos)
    shutil.copytree(photos, others)
    if change == "more":
        shutil.copy(photos / "red/0.png", others / "red/9.png")
        shutil.copy(photos / "red/0.png", others / "red/8.png")
    elif change == "relabel":
        for first, second in (("red", "hold"), ("blue", "red"), ("hold", "blue")):
            (others / first).rename(others / second)
    else:
        for index, file in enumerate(sorted(others.rglob("*.png"))):
            picture(np.random.default_rng(100 + index), "red").save(file)
    before = run.config.read_bytes()
    assert main(["train", f"--resume={run.path}", f"--data.source={others}"]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert message in err
    for name in (photos, others, run.path):
        assert str(name) in err
    assert run.config.read_bytes() == before


def test_a_folder_without_a_fingerprint_resumes_and_is_held_to_its_counts(tmp_path, capsys):
    photos = make_tree(tmp_path / "photos")
    run, whole = start(tmp_path, photos)
    record = json.loads(run.data.read_text())
    del record["fingerprint"]
    run.data.write_text(json.dumps(record))
    fewer = make_tree(tmp_path / "fewer", per_class=6)
    assert main(["train", f"--resume={run.path}", f"--data.source={fewer}"]) == 2
    assert "images to train on were 18, received 13" in capsys.readouterr().err
    assert main(["train", f"--resume={run.path}"]) == 0
    assert run.metrics.read_bytes() == whole.metrics.read_bytes()


class Noisy(Dataset):
    """Images that are random in each reading: by the global generator, or by one of their own."""

    def __init__(self, own):
        self.generator = np.random.default_rng() if own else None

    def __len__(self):
        return 40

    def __getitem__(self, index):
        if self.generator is not None:
            return self.generator.random((8, 8)).astype(np.float32)
        return torch.rand(1, 8, 8) * random.random() * np.random.random()


def test_labels_and_pixels_have_a_hash_each():
    pixels, labels = torch.arange(72, dtype=torch.uint8).reshape(8, 1, 3, 3), np.arange(8) % 2
    parts = MemoryImages(pixels, labels), MemoryImages(pixels, labels)
    relabelled = MemoryImages(pixels, 1 - labels)
    changed = MemoryImages(pixels.bitwise_xor(1), labels)
    whole = fingerprint(*parts)
    assert fingerprint(*parts) == whole
    assert fingerprint(relabelled, parts[1])["images"] == whole["images"]
    assert fingerprint(relabelled, parts[1])["labels"] != whole["labels"]
    assert fingerprint(parts[0], changed)["labels"] == whole["labels"]
    assert fingerprint(parts[0], changed)["images"] != whole["images"]


@pytest.mark.parametrize("own", [False, True])
def test_a_dataset_that_draws_random_numbers_is_held_to_what_it_repeats(own, monkeypatch):
    make = f"{__name__}:Noisy"
    monkeypatch.setattr("ntxent.simclr.data.custom.load_object", lambda *args: Noisy)
    config = DataConfig(source=make, arguments={"own": own})
    torch.manual_seed(3)
    data, again = (ImageData(config, batch_size=8) for _ in range(2))
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    first, second = data.fingerprint, again.fingerprint
    assert states == (
        *(random.getstate(), np.random.get_state()[1].tolist()),
        torch.get_rng_state().tolist(),
    )
    assert first == second
    assert (first["images"] is None) == own
    record = data_record(data)
    require_same_images(record, record, "runs/a")
