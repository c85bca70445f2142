"""What becomes of options that nobody gave, by the device and by the images."""

import json
from dataclasses import replace

import pytest
import yaml

from ntxent.cli import main
from ntxent.simclr import AugmentationConfig, DataConfig, ModelConfig, TrainConfig
from ntxent.simclr.train.defaults import (
    COMPACT,
    DEVICE_DEPENDENT,
    describe_defaults,
    device_defaults,
    largest_size,
    with_options,
)
from pictures import make_tree

PHOTO, SMALL, DIGIT = (3, 64, 64), (1, 28, 28), (1, 8, 8)
RESNET = TrainConfig(model=ModelConfig(encoder="resnet18"))
OTHER = tuple(name for name in DEVICE_DEPENDENT if name != "model.encoder")


def test_the_defaults_stay_where_they_can_be_afforded():
    assert device_defaults(TrainConfig(), DEVICE_DEPENDENT, "cuda", 378, PHOTO) == {}
    assert device_defaults(TrainConfig(), DEVICE_DEPENDENT, "cpu", 1347, DIGIT) == {}
    assert largest_size("cuda", TrainConfig(), DEVICE_DEPENDENT) == 96


@pytest.mark.parametrize(
    ("images", "shape", "epochs", "more"),
    [
        (60_000, SMALL, 5, {}),
        (2831, PHOTO, 126, {"augmentation.view_size": 32}),
        (2831, (3, 32, 32), 126, {}),
        (512, PHOTO, 200, {"augmentation.view_size": 32}),
        (378, PHOTO, 200, {"augmentation.view_size": 32, "batch_size": 128}),
    ],
)
def test_without_a_gpu_a_compact_encoder_sees_as_many_images_of_any_data(
    images, shape, epochs, more
):
    chosen = device_defaults(TrainConfig(), DEVICE_DEPENDENT, "cpu", images, shape)
    assert {"batch_size": 256} | chosen == {"batch_size": 256, **COMPACT, "epochs": epochs, **more}
    assert largest_size("cpu", TrainConfig(), DEVICE_DEPENDENT) == 64


def test_another_encoder_gets_a_short_run_and_its_own_stem():
    for config, epochs in ((RESNET, 39), (replace(RESNET, epochs=20), 20)):
        chosen = device_defaults(config, OTHER, "cpu", 378, PHOTO)
        assert chosen == {"batch_size": 64, "epochs": epochs}
    assert device_defaults(RESNET, OTHER, "cpu", 50_000, PHOTO)["epochs"] == 1


def test_augmentations_of_another_recipe_are_left_alone():
    config = TrainConfig(augmentation=AugmentationConfig(recipe="affine"))
    chosen = device_defaults(config, DEVICE_DEPENDENT, "cpu", 5000, PHOTO)
    assert not any(name.startswith("augmentation.") for name in chosen)


def test_what_was_given_is_left_alone():
    assert device_defaults(TrainConfig(), (), "cpu", 100, PHOTO) == {}
    assert device_defaults(RESNET, ("epochs",), "cpu", 378, PHOTO) == {"epochs": 39}
    assert largest_size("cpu", TrainConfig(), ("epochs",)) == 96
    wide = TrainConfig(augmentation=AugmentationConfig(view_size=80))
    assert largest_size("cpu", wide, DEVICE_DEPENDENT) == 96


@pytest.mark.parametrize(
    ("images", "processes", "size"),
    [(2, 1, 2), (3, 1, 2), (7, 1, 2), (8, 1, 4), (100, 1, 32), (255, 1, 64), (100, 3, 30)],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_batch_fits_the_images_and_is_shared_equally(images, processes, size, device):
    chosen = device_defaults(TrainConfig(), DEVICE_DEPENDENT, device, images, PHOTO, processes)
    assert chosen["batch_size"] == size


def test_choices_are_told_as_options_to_pass(tmp_path):
    config = TrainConfig(data=DataConfig(source=str(tmp_path)))
    chosen = device_defaults(config, DEVICE_DEPENDENT, "cpu", 378, PHOTO)
    line = describe_defaults(config, chosen)
    told = ("--data.image_size 64", "--epochs 200", "--epochs 2000", "no GPU")
    for option in (*told, "--augmentation.crop [0.4,1.0]", "--augmentation.blur false"):
        assert option in line
    resolved = with_options(config, chosen)
    assert resolved.data == DataConfig(source=str(tmp_path), image_size=64)
    assert (resolved.augmentation.crop, resolved.model.encoder) == ((0.4, 1.0), "compact")
    assert describe_defaults(config, {}) is None
    assert "few images: --batch_size 4, not 256" in describe_defaults(config, {"batch_size": 4})


ARGV = (
    *("train", "--accelerator=cpu", "--model.encoder=digits", "--model.width=2"),
    *("--model.hidden_dim=8", "--evaluation.draws=2", "--evaluation.neighbors=1"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    make_tree(place / "photos", per_class=4)
    (place / "own.yaml").write_text("epochs: 3\n")
    return place


def arguments(place, name):
    return [*ARGV, f"--data.source={place / 'photos'}", f"--folder={place}", f"--name={name}"]


def test_a_run_keeps_its_choices_and_goes_on_with_them_on_any_machine(place, capsys, monkeypatch):
    argv = [*arguments(place, "a"), f"--config={place / 'own.yaml'}", "--resume=auto"]
    assert main(argv) == 0
    err = capsys.readouterr().err
    assert "--batch_size 4 --data.image_size 40, unless you pass" in err
    kept = yaml.safe_load((place / "a" / "config.yaml").read_text())
    assert (kept["batch_size"], kept["data"]["image_size"], kept["epochs"]) == (4, 40, 3)

    monkeypatch.setattr("ntxent.simclr.train.defaults.CPU_BATCH", 2)  # another machine
    for again in (argv, ["train", "--resume", str(place / "a")]):
        (place / "a" / "summary.json").unlink()
        assert main(again) == 0
    assert json.loads((place / "a" / "summary.json").read_text())["batch_size"] == 4
    capsys.readouterr()
    assert main([*argv, "--batch_size=2"]) == 2
    assert "batch_size was 4, received 2" in capsys.readouterr().err


def test_a_short_run_says_how_to_make_it_longer(place, capsys, monkeypatch):
    argv = [*arguments(place, "b"), "--batch_size=8", "--data.image_size=20"]
    monkeypatch.setattr("ntxent.simclr.train.defaults.CPU_IMAGES", 18)
    assert main(argv) == 0
    assert "--name longer --epochs 20" in capsys.readouterr().out
    summary = json.loads((place / "b" / "summary.json").read_text())
    assert summary["chosen"] == {"epochs": 2}
    assert summary["batch_size"] == 8
