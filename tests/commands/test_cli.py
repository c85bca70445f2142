"""The command line as its user meets it: exit status, standard output, standard error."""

import argparse
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields, is_dataclass
from importlib import import_module

import pytest
import yaml

from ntxent import __version__, cli
from ntxent.cli import main
from ntxent.commands._spelling import option_names, spelled
from ntxent.simclr import TrainConfig

SHORT = (
    *("train", "--epochs=1", "--model.width=4", "--accelerator=cpu"),
    *("--evaluation.labels_per_class=[1]", "--evaluation.draws=2"),
)


def refused(capsys, *argv):
    """The one line that a mistake gives."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("ntxent: ")
    return err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("", "one of {train,"),
        ("nonsense", "received 'nonsense', which is no command; ntxent --help lists them all"),
        ("trian", "received 'trian', which is no command; did you mean train?"),
        ("--verison", "--verison: ntxent has no such option; did you mean --version?"),
        ("train --n0ns3ns3 3", "--n0ns3ns3: ntxent train has no such option; ntxent train --help"),
        ("train --batch 3", "--batch: ntxent train has no such option; did you mean --batch_size?"),
        ("train --batchsize=3", "did you mean --batch_size?"),
        ("train --lr 3", "did you mean --optimizer.lr?"),
        ("train --data.sauce x", "did you mean --data.source?"),
        ("train --data.imagesize 8", "did you mean --data.image_size?"),
        ("train --preset simclr-cifar-10", "did you mean simclr-cifar10?"),
        ("train --accelerator cudda", "did you mean cuda?"),
        ("analyze a b --temprature 3", "did you mean --temperature?"),
        ("embed a b -o c.npz --space projecton", "did you mean projection?"),
        ("evaluate a --fintune 0.1", "did you mean --finetune?"),
        ("compare a --srot knn", "did you mean --sort?"),
        ("data inspct digits", "did you mean inspect?"),
        ("export a --onx b", "did you mean --onnx?"),
        ("report a --pgn b", "did you mean --png?"),
        ("engines --jsno", "did you mean --json?"),
        ("diagnose --los 3", "did you mean --loss?"),
        ("diagnose --loss 3 -n 8 -t 1 --variant simclr_ft", "did you mean simclr_tf?"),
        ("diagnose --loss 3 -n 8 -t 1 --fail-on colapsed", "did you mean collapsed?"),
        ("bounds -n 8 --temp 1", "did you mean --temperature?"),
        ("train --batch-size 1", "batch_size: received 1, expected an integer >= 2"),
        ("train --data.held-out 1", "data.held_out: received 1.0"),
        ("train --data.image-size=2", "data.image_size: received 2"),
        ("bounds --batch_size 0,8 -t 1 --negative_similarity 0", "batch_size=0: expected"),
        ("diagnose --batch_size=3 -t 1 --loss 3 --fail_on x", "--fail-on: received 'x'"),
        ("train stray", "unrecognized arguments: stray"),
        ("train --seed", "--seed: expected one argument"),
        ("train --batch_size many", "batch_size: expected int, received many"),
        ("train --batch_size 3.5", "batch_size: expected int, received 3.5"),
        ("train --batch_size 1", "batch_size: received 1, expected an integer >= 2"),
        ("train --batch_size 1348", "batch_size: received 1348, expected at most 1347"),
        ("train --temperature 0", "temperature: received 0.0, expected a finite number > 0"),
        ("train --temperature -1", "temperature: received -1.0"),
        ("train --temperature .inf", "temperature: received inf"),
        ("train --temperature .nan", "temperature: received nan"),
        ("train --epochs 0", "epochs: received 0"),
        ("train --seed -1", "seed: received -1"),
        ("train --accelerator tpu", "accelerator: expected Literal['auto', 'cpu', 'cuda', 'mps']"),
        ("train --data.held_out 1", "data.held_out: received 1.0"),
        ("train --augmentation.rotation 181", "augmentation.rotation: received 181.0"),
        ("train --augmentation.scale [1.2,0.8]", "augmentation.scale: received (1.2, 0.8)"),
        ("train --augmentation.noise -1", "augmentation.noise: received -1.0"),
        ("train --model.width 0", "model.width: received 0"),
        ("train --optimizer.lr 0", "optimizer.lr: received 0.0"),
        ("train --optimizer.warmup 1", "optimizer.warmup: received 1.0"),
        ("train --evaluation.draws 1", "evaluation.draws: received 1"),
        ("train --evaluation.labels_per_class [0]", "evaluation.labels_per_class: received (0,)"),
        ("train --evaluation.labels_per_class [500]", "evaluation.labels_per_class: received 500"),
        ("train --name ../up", "name: received '../up'"),
        ("train --config missing.yaml", "File does not exist"),
    ],
)
def test_a_mistake_is_one_line(capsys, monkeypatch, tmp_path, argv, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *argv.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n0ns3ns3: 3", "does not accept option 'n0ns3ns3'"),
        ("data: {sauce: 3}", "'data.sauce'; did you mean data.source?"),
        ("data: {nonsense: 3}", "does not accept option 'data.nonsense'"),
        ("batch_size: many", "batch_size: expected int, received many"),
        ("name: [", "Problems parsing config"),
    ],
)
def test_a_mistake_in_a_configuration_is_one_line(capsys, tmp_path, text, message):
    path = tmp_path / "mistake.yaml"
    path.write_text(text)
    assert message in refused(capsys, "train", "--config", str(path))


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_takes_its_options_with_dashes_and_with_underscores(name):
    command = import_module(f"ntxent.commands.{name}")
    if name in cli.CORE:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        known = option_names(parser)
    else:
        known = cli._parser(name, command)[1]
    assert "--help" in known
    for option in known:
        for one, other in ("_-", "-_"):
            given = "--" + option[2:].replace(one, other)
            assert spelled([f"{given}=1", "x"], known, name) == [f"{option}=1", "x"]


def test_words_that_are_no_options_stay_as_they_are():
    known = ["--data", "--data.arguments", "--loggers"]
    words = ["-n", "-1", "a-b", "--loggers+=x", "--data.arguments.my-key", "--", "--no-option"]
    assert spelled(words, known, "x") == words


def test_a_folder_that_cannot_be_made_is_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "runs"
    assert "cannot be made: Not a directory" in refused(capsys, "train", f"--folder={folder}")


def test_an_existing_run_is_one_line_until_told_to_replace_it(capsys, tmp_path):
    command = (*SHORT, "--folder", str(tmp_path), "--name", "mine")
    (tmp_path / "mine").mkdir()
    assert "--overwrite true" in refused(capsys, *command)
    assert main([*command, "--overwrite"]) == 0
    assert (tmp_path / "mine" / "summary.json").exists()


def test_train_prints_its_tables_and_runs_again_from_its_configuration(capsys, tmp_path):
    assert main([*SHORT, "--folder", str(tmp_path), "--name", "first"]) == 0
    out, err = capsys.readouterr()
    for words in ("raw pixels", "trained encoder", "floor", "position", "positive similarity"):
        assert words in out
    (mean,) = re.findall(r"^epoch 1/1  mean loss of the epoch (\d\.\d+)  floor ", err)
    assert sum(line.startswith("epoch") for line in err.splitlines()) == 1

    assert main(["train", "--config", str(tmp_path / "first/config.yaml"), "--name", "second"]) == 0
    read = [
        json.loads((tmp_path / name / "summary.json").read_text()) for name in ("first", "second")
    ]
    assert read[0]["loss"] == read[1]["loss"]

    # One loss of an epoch, wherever it is told: the mean over its steps, not that of the last one.
    with (tmp_path / "first/metrics.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    value = sum(losses) / len(losses)
    assert f"{value:.3f}" != f"{losses[-1]:.3f}"
    assert mean == f"{value:.3f}"
    assert re.search(rf"mean loss of the epoch +│ +{value:.4f} ", out)
    assert read[0]["loss"]["mean_of_last_epoch"] == pytest.approx(value)
    page = (tmp_path / "first/report.html").read_text()
    tile = page[page.index("mean loss of the last epoch") :][:200]
    assert f"<strong>{value:.4g}</strong>" in tile


def test_print_config_feeds_config(capsys, tmp_path):
    def printed(*argv):
        with pytest.raises(SystemExit) as stop:
            main(["train", *argv, "--print_config"])
        assert stop.value.code == 0
        return capsys.readouterr().out

    text = printed("--batch_size=64", "--augmentation.scale=[0.5,1.5]", "--optimizer.lr=0.1")
    assert yaml.safe_load(text)["augmentation"]["scale"] == [0.5, 1.5]
    path = tmp_path / "printed.yaml"
    path.write_text(text)
    assert printed("--config", str(path)) == text


def test_engines(capsys):
    assert main(["engines"]) == 0
    assert "tiled" in capsys.readouterr().out
    assert main(["engines", "--json"]) == 0
    assert "tiled" in {engine["name"] for engine in json.loads(capsys.readouterr().out)}


@pytest.mark.parametrize("argv", [["--help"], ["train", "--help"], ["engines", "--help"]])
def test_help(capsys, argv):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 0
    assert "usage: ntxent" in capsys.readouterr().out


def leaves(config):
    """Every option of a configuration, those of its groups included."""
    values = [getattr(config, field.name) for field in fields(config)]
    groups = [value for value in values if is_dataclass(value)]
    return values[: len(values) - len(groups)] + [
        leaf for group in groups for leaf in leaves(group)
    ]


def test_every_option_explains_itself(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    listed = capsys.readouterr().out.partition("\noptions:")[2].split("\n  --")
    options = [line for text in listed if "default: " in (line := " ".join(text.split()))]
    assert len(options) == len(leaves(TrainConfig()))
    # "NAME VALUE What it is, with its unit. (type: ..., default: ...)"
    assert [option for option in options if not re.search(r" [A-Z].*\. \(type: ", option)] == []


def run(*argv, **options):
    return subprocess.run(
        [sys.executable, *argv], capture_output=True, text=True, timeout=120, **options
    )


def test_python_m_ntxent_and_version():
    done = run("-m", "ntxent", "--version")
    assert (done.returncode, done.stdout) == (0, f"ntxent {__version__}\n")


def test_help_and_mistakes_load_no_framework():
    code = (
        "import sys; from ntxent.cli import main; main(['train', '--nonsense']);"
        "print({'torch', 'lightning', 'rich'} & set(sys.modules))"
    )
    assert run("-c", code).stdout == "set()\n"


@pytest.mark.parametrize("missing", ["jsonargparse", "lightning", "rich"])
def test_without_the_extra_one_line_says_what_to_install(tmp_path, missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from ntxent.cli import main; "
    done = run("-c", code + "sys.exit(main(['train', '--epochs', '1']))", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f'ntxent: {missing} is not installed; run: pip install "ntxent[train]"\n'


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_is_one_line_and_130(tmp_path):
    command = [sys.executable, "-m", "ntxent", *SHORT, "--epochs=100000", "--name=long"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    metrics, deadline = tmp_path / "runs/long/metrics.csv", time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(
        r"ntxent: interrupted; the checkpoint of step \d+ is kept; "
        r"continue with: ntxent train --resume runs/long\n",
        err,
    )


def test_threads_sleep_while_they_wait_unless_told_otherwise(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    cli._wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    cli._wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
