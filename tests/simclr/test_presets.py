"""Published settings: each value has its source, and each preset trains."""

import json
from dataclasses import asdict

import pytest

from ntxent.cli import main
from ntxent.simclr.presets import PRESETS
from ntxent.simclr.run.config_file import parse_config
from pictures import cifar10_binary


@pytest.mark.parametrize("name", PRESETS)
def test_every_value_has_a_source_and_sets_its_option(name):
    preset = PRESETS[name]
    config = asdict(parse_config(preset.nested()))
    for option, (value, source) in preset.values.items():
        found = config
        for part in option.split("."):
            found = found[part]
        assert (list(found) if isinstance(found, tuple) else found) == value, option
        assert source.startswith(
            ("arXiv 2002.05709", "github.com/google-research/simclr", "choice")
        )


def test_the_learning_rates_are_those_of_the_paper():
    """§2.2: 4.8 at 4096, which is 0.3 x 4096 / 256; 10 epochs of warm-up."""
    values = PRESETS["simclr-imagenet-100ep"].values
    assert values["optimizer.lr_scaling"].value == "linear"
    rate = values["optimizer.lr"].value * values["batch_size"].value / 256
    assert rate == pytest.approx(4.8)
    for preset in PRESETS.values():
        epochs, warmup = preset.values["epochs"].value, preset.values["optimizer.warmup"].value
        assert epochs * warmup == pytest.approx(10)


def test_presets_are_printed_with_their_sources(capsys):
    assert main(["presets", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) == set(PRESETS)
    assert "B.9" in listed["simclr-cifar10"]["values"]["model.stem"]["source"]
    assert main(["presets"]) == 0
    assert "optimizer.lr_scaling" in capsys.readouterr().out


def test_options_and_files_override_a_preset_in_their_order(capsys, tmp_path):
    for name, epochs in (("a", 7), ("b", 9)):
        (tmp_path / f"{name}.yaml").write_text(f"epochs: {epochs}\nmodel: {{width: {epochs}}}\n")
    files = [f"--config={tmp_path / name}.yaml" for name in "ab"]

    def printed(*argv):
        with pytest.raises(SystemExit):
            main(["train", *argv, "--print_config"])
        return capsys.readouterr().out

    text = printed("--preset", "simclr-cifar10", *files, "--model.width=3")
    for line in ("epochs: 9", "width: 3", "encoder: resnet50", "stem: cifar"):
        assert line in text
    assert "epochs: 1000" in printed(*files, "--preset", "simclr-cifar10")
    assert "preset" not in text  # what is printed is read by --config


def test_one_epoch_of_simclr_cifar10(tmp_path, capsys):
    """The preset as it is, on 10 images in the binary format: ResNet-50, LARS, SimCLR's views."""
    cifar10_binary(tmp_path / "data")
    argv = ("--epochs=1", "--batch_size=8", f"--data.root={tmp_path / 'data'}", "--accelerator=cpu")
    where = (f"--folder={tmp_path}", "--name=run", "--evaluation.draws=2")
    assert main(["train", "--preset", "simclr-cifar10", *argv, *where]) == 0
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["loss"]["steps"], summary["dim"]) == (1, 128)
    assert "trained encoder" in capsys.readouterr().out
