"""``ntxent diagnose`` as its user meets it."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from ntxent.commands import diagnose

DOC = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```console\n\$ ntxent diagnose (.*?)\n(.*?)^```$", DOC, re.S | re.M)


@pytest.fixture
def command(monkeypatch, capsys):
    def run(line, width=80):
        monkeypatch.setenv("COLUMNS", str(width))
        parser = ArgumentParser(exit_on_error=False)
        diagnose.add_arguments(parser)
        assert diagnose.run(parser.parse_args(shlex.split(line))) == 0
        return capsys.readouterr().out

    return run


def lines(text):
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.mark.parametrize(("line", "output"), EXAMPLES, ids=[line for line, _ in EXAMPLES])
def test_the_documented_outputs_are_what_it_prints(command, line, output, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1] / "diagnosis" / "logs")
    assert lines(command(line)) == lines(output)


def test_there_are_documented_outputs():
    assert len(EXAMPLES) >= 15


def test_json_is_one_object_with_the_promised_keys(command):
    report = json.loads(command("--loss 4.844 -n 512 -t 0.5 --json"))
    assert report["verdict"] == "impossible"
    assert report["similarity_interval"] is None
    assert report["alternatives"][0]["convention"].startswith("local negatives on 8 ranks")
    low, high = json.loads(command("--loss 5.02 -n 512 -t 0.5 --json"))["similarity_interval"]
    assert (round(low, 3), high) == (0.956, 1.0)


def csv_log(path, losses):
    rows = "".join(f"{step},{loss}\n" for step, loss in enumerate(losses))
    path.write_text("step,loss\n" + rows)
    return path


def test_a_run_in_a_narrow_terminal(command, tmp_path):
    csv_log(tmp_path / "metrics.csv", [6.93 - 0.01 * step for step in range(150)])
    (tmp_path / "config.yaml").write_text("batch_size: 512\nloss: {temperature: 0.5}\n")
    out = command(str(tmp_path), width=50)
    assert all(len(line) <= 50 for line in out.splitlines())
    assert "chance 6.930" in out
    assert "floor 4.933" in out
    assert "•" in out
    assert "150 values of 'loss'" in " ".join(out.split())


def test_flags_win_over_the_configuration(command, tmp_path):
    csv_log(tmp_path / "metrics.csv", [5.0])
    (tmp_path / "config.yaml").write_text("batch_size: 512\ntemperature: 0.5\n")
    report = json.loads(command(f"{tmp_path} -n 64 -t 0.1 --json"))
    assert (report["batch_size"], report["temperature"]) == (64, 0.1)
    assert report["log"]["column"] == "loss"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "expected either --loss or the path of a log"),
        ("log.csv --loss 5", "expected either --loss or the path of a log"),
        ("--loss 5 -t 0.5", "batch size: not given; add -n/--batch-size"),
        ("--loss 5 -n 64", "temperature: not given; add -t/--temperature"),
        ("log.csv -t 0.5", "batch size: not given and not found: no configuration beside the log"),
        ("log.csv -n 64", "add -t/--temperature"),
        ("log.csv -n 64 -t 0.5 --column lr", "no column 'lr'"),
        ("log.csv -n 64 -t 0.5 --positive-similarity 0.5", "it is read from the log"),
        ("--loss 5 -n 64 -t 0.5 --column loss", "it chooses a column of a log"),
        ("--loss nan -n 64 -t 0.5", "loss=nan: expected a finite number"),
        ("--loss=-3 -n 64 -t 0.5", "decoupled, DCL"),
        ("--loss five -n 64 -t 0.5", "received 'five', expected a number"),
        ("--loss 5 -n 0 -t 0.5", "batch_size=0"),
        ("--loss 5 -n 64 -t 0", "temperature=0.0"),
        ("--loss 5 -n 64 -t 0.5 --variant simclr", "one of nt_xent, simclr_tf"),
    ],
)
def test_mistakes_are_one_clear_line(command, line, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    csv_log(tmp_path / "log.csv", [6.0, 5.5])
    with pytest.raises((ValueError, TypeError)) as refusal:
        command(line)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_one_loss_needs_neither_torch_nor_tensorboard():
    code = (
        "import sys; from jsonargparse import ArgumentParser; from ntxent.commands import diagnose;"
        "p = ArgumentParser(); diagnose.add_arguments(p);"
        "diagnose.run(p.parse_args(['--loss', '5', '-n', '512', '-t', '0.5']));"
        "print({'torch', 'tensorboard', 'plotly', 'pandas'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "set()"


# --- scripts and schedulers -----------------------------------------------------------------------


def status(line):
    from ntxent.cli import main

    return main(shlex.split(line))


@pytest.mark.parametrize(
    ("losses", "fail_on", "expected"),
    [
        ([6.93] * 50, "at_chance,collapsed", 3),
        ([6.93] * 50, "collapsed", 0),
        ([5.5 + 0.02 * k for k in range(50)], "rising", 3),
        ([6.9 - 0.02 * k for k in range(50)], "rising,flat,diverged,nan,impossible", 0),
        ([6.9 - 0.02 * k for k in range(50)] + [float("nan")], "nan", 3),
        ([6.9] * 50, "at_chence", 2),
    ],
)
def test_an_exit_status_tells_a_script_what_was_found(losses, fail_on, expected, tmp_path, capsys):
    path = csv_log(tmp_path / "a.csv", losses)
    assert status(f"diagnose {path} -n 512 -t 0.5 --fail-on {fail_on}") == expected
    err = capsys.readouterr().err
    assert ("expected some of impossible" in err) == (expected == 2)


def test_watch_says_anew_when_the_log_has_grown_and_ends_on_failure(tmp_path, monkeypatch, capsys):
    from ntxent.commands import watch

    path = tmp_path / "train.log"
    grown = iter([[6.9 - 0.02 * k for k in range(40)], None, [6.0] * 40 + [float("nan")] * 3])

    def grow(seconds):
        assert seconds == 2
        losses = next(grown)
        if losses is not None:
            path.write_text("".join(f"step {k} loss {x}\n" for k, x in enumerate(losses)))

    monkeypatch.setattr(watch.time, "sleep", grow)
    assert status(f"watch {path} -n 512 -t 0.5 --every 2 --fail-on nan") == 3
    out = capsys.readouterr().out
    assert out.count("Waiting: ") == 1  # there is no file yet
    assert out.count("values of 'loss'") == 2  # unchanged, it is not said again
    assert "\x1b" not in out


def test_a_reader_who_has_seen_enough_ends_it_silently():
    command = f"{sys.executable} -m ntxent bounds -n 2:4000:4000 -t 0.5 | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "line", ["diagnose --loss 5 -n 512 -t 0.5", "diagnose LOG -n 64 -t 0.1", "bounds -n 64 -t 0.5"]
)
def test_the_plain_install_answers_without_the_extra_and_without_torch(line, tmp_path):
    path = csv_log(tmp_path / "a.csv", [4.0, 3.9])
    code = (
        "import sys\n"
        "for name in 'yaml rich jsonargparse torch lightning plotly tensorboard'.split():\n"
        "    sys.modules[name] = None\n"
        "from ntxent.cli import main\n"
        f"sys.exit(main({shlex.split(line.replace('LOG', str(path)))!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "floor" in done.stdout
