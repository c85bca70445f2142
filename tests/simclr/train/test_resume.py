"""Runs that are stopped, killed, left without disk, or got lost: nothing is lost but time."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ntxent.cli import main
from ntxent.monitor import HealthMonitor
from ntxent.simclr import EvaluationConfig, ModelConfig, TrainConfig
from ntxent.simclr.model.module import SimCLR
from ntxent.simclr.run.config_file import write_config
from ntxent.simclr.run.folder import RunFolder
from ntxent.simclr.train.metrics_file import MetricsFile
from ntxent.simclr.train.signals import Terminated
from ntxent.simclr.train.train import train

ROOT = Path(__file__).parents[3]
OPTIONS = (
    *("train", "--epochs=2", "--model.width=4", "--accelerator=cpu", "--checkpoint_seconds=0"),
    *("--evaluation.labels_per_class=[1]", "--evaluation.draws=2"),
)
CONFIG = TrainConfig(
    epochs=2,
    accelerator="cpu",
    checkpoint_seconds=0,
    model=ModelConfig(width=4),
    evaluation=EvaluationConfig(labels_per_class=(1,), draws=2),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing interrupts."""
    run, summary = train(replace(CONFIG, name="whole", folder=str(tmp_path_factory.mktemp("runs"))))
    return run, summary


@contextmanager
def at_step(step, action):
    """Do ``action`` in the first run that comes to the end of that step."""
    with pytest.MonkeyPatch.context() as patch:
        original = MetricsFile.on_train_batch_end

        def hook(self, *args):
            original(self, *args)
            if self.rows == step:
                action()

        patch.setattr(MetricsFile, "on_train_batch_end", hook)
        yield


def send(signum):
    return lambda: os.kill(os.getpid(), signum)


def assert_same(run, whole):
    assert run.metrics.read_bytes() == whole.metrics.read_bytes()
    mine, theirs = load_file(run.encoder), load_file(whole.encoder)
    assert mine.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert torch.equal(mine[name], weight), name
    states = [torch.load(r.checkpoint, weights_only=True) for r in (run, whole)]
    optimizers = (s["optimizer_states"][0]["state"].values() for s in states)
    for mine, theirs in zip(*optimizers, strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert states[0]["monitor"] == states[1]["monitor"]
    assert states[0]["run"]["random"]["python"] == states[1]["run"]["random"]["python"]
    assert torch.equal(*(s["run"]["random"]["torch"] for s in states))
    mine, theirs = (json.loads(r.summary.read_text()) for r in (run, whole))
    assert mine["evaluation"] == theirs["evaluation"]
    assert mine["loss"] == theirs["loss"]


# Of 5 steps in an epoch: in its middle, its last one, the first of the next.
@pytest.mark.parametrize("step", [3, 5, 6])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stopped_run_ends_as_the_whole_one(tmp_path, whole, step, signum):
    config = replace(CONFIG, name="a", folder=str(tmp_path), checkpoint_seconds=3600)
    expected = Terminated if signum == signal.SIGTERM else KeyboardInterrupt
    with at_step(step, send(signum)), pytest.raises(expected) as stop:
        train(config)
    message = getattr(stop.value, "message", str(stop.value))
    assert f"the checkpoint of step {step} is kept; continue with: ntxent train" in message
    run = RunFolder(tmp_path / "a")
    assert not run.summary.exists()
    assert not list(run.path.glob("*.partial"))
    assert not (run.path / "run.lock").exists()
    again, _ = train(replace(config, resume="auto"))
    assert again == run
    assert_same(run, whole[0])


def test_a_signal_after_the_last_checkpoint_is_heard(tmp_path, whole, monkeypatch):
    config = replace(CONFIG, name="a", folder=str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(MetricsFile, "on_train_end", lambda *args: send(signal.SIGTERM)())
        with pytest.raises(Terminated) as stop:
            train(config)
    assert "the checkpoint of step 10 is kept" in stop.value.message
    assert not RunFolder(tmp_path / "a").summary.exists()
    assert_same(train(replace(config, resume="auto"))[0], whole[0])


def test_a_run_is_stopped_as_often_as_you_like(tmp_path, whole):
    config = replace(CONFIG, name="a", folder=str(tmp_path), resume="auto")
    for step in (2, 7, 9):
        with at_step(step, send(signal.SIGTERM)), pytest.raises(Terminated):
            train(config)
    run, summary = train(config)
    assert_same(run, whole[0])
    # A finished run has nothing to continue.
    assert train(config) == (run, summary)


def test_what_watches_a_run_continues_with_it(tmp_path, whole):
    """Measuring neighbours after each epoch changes nothing of the training."""
    evaluation = replace(CONFIG.evaluation, knn_every=1)
    config = replace(CONFIG, name="a", folder=str(tmp_path), evaluation=evaluation, resume="auto")
    with at_step(6, send(signal.SIGTERM)), pytest.raises(Terminated):
        train(config)
    run, summary = train(config)
    assert run.metrics.read_bytes() == whole[0].metrics.read_bytes()
    assert [epoch for epoch, _ in summary["knn"]] == [1, 2]
    assert summary["knn"][-1][1] == pytest.approx(summary["evaluation"]["encoder"]["knn"]["mean"])


def test_a_run_without_a_checkpoint_starts_again(tmp_path, whole):
    run = RunFolder(tmp_path / "a")
    run.path.mkdir()
    write_config(replace(CONFIG, name="a", folder=str(tmp_path)), run)
    run.metrics.write_text("left,over\n")
    assert main(["train", "--resume", str(run.path)]) == 0
    assert_same(run, whole[0])


def test_tensorboard_has_every_step_once_resumed(tmp_path, whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = replace(CONFIG, name="a", folder=str(tmp_path), resume="auto")
    with at_step(4, send(signal.SIGTERM)), pytest.raises(Terminated):
        train(config)
    time.sleep(1.1)  # event files are in order of the second in their names
    run, _ = train(config)

    def losses(folder):
        events = EventAccumulator(str(folder))
        events.Reload()
        return [(event.step, event.value) for event in events.Scalars("loss")]

    assert losses(run.tensorboard) == losses(whole[0].tensorboard)
    assert [step for step, _ in losses(run.tensorboard)] == list(range(10))


def test_killed_runs_continue_to_the_same_bits():
    """One is killed in a step, one while it writes a checkpoint; the documentation reports 20."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.claims.kills", "--kills", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("resumed to the same bits") == 2
    assert "writing a checkpoint" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="sends SIGTERM")
def test_sigterm_is_one_line_and_143(tmp_path):
    command = [sys.executable, "-m", "ntxent", *OPTIONS, "--epochs=100000", "--name=long"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    metrics, deadline = tmp_path / "runs/long/metrics.csv", time.monotonic() + 300
    while not (metrics.exists() and metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 143
    line = r"ntxent: terminated; the checkpoint of step (\d+) is kept; continue with: .*long\n"
    step = int(re.fullmatch(line, err)[1])
    assert torch.load(tmp_path / "runs/long/checkpoint.ckpt", weights_only=True)["global_step"] == (
        step
    )
    assert len(metrics.read_text().splitlines()) == step + 1


def poison(steps):
    """Make the loss of every step from ``steps`` on NaN, as an overflow would."""
    original = SimCLR.forward

    def forward(self, images):
        embeddings = original(self, images)
        late = self.training and self.trainer.global_step >= steps
        return embeddings * float("nan") if late else embeddings

    return forward


def test_a_loss_that_is_nan_ends_with_the_last_good_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(SimCLR, "forward", poison(4))
    assert main([*OPTIONS, f"--folder={tmp_path}", "--name=lost"]) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("ntxent: error: step 4: an embedding is not finite")
    assert "the checkpoint of step 4 is kept; start another run with a smaller --opt" in err
    state = torch.load(tmp_path / "lost/checkpoint.ckpt", weights_only=True)
    assert state["global_step"] == 4
    assert all(weight.isfinite().all() for weight in state["state_dict"].values())
    assert not (tmp_path / "lost/summary.json").exists()


def test_weights_that_are_not_finite_do_not_replace_a_checkpoint(tmp_path):
    """A step of infinite length follows a finite loss."""
    config = replace(CONFIG, name="a", folder=str(tmp_path))

    def spoil(self, *args):
        original(self, *args)
        if self.rows == 3:
            with torch.no_grad():
                next(args[1].encoder.parameters())[0, 0] = float("inf")

    original = MetricsFile.on_train_batch_end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetricsFile, "on_train_batch_end", spoil)
        with pytest.raises(FloatingPointError, match=r"encoder\.0\.weight is no longer finite"):
            train(config)
    state = torch.load(tmp_path / "a/checkpoint.ckpt", weights_only=True)
    assert state["global_step"] == 2
    assert all(weight.isfinite().all() for weight in state["state_dict"].values())


@contextmanager
def mounted(path, *options):
    """A file system of its own at ``path``."""
    path.mkdir(exist_ok=True)
    mount = subprocess.run(["mount", *options, str(path)], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"mounting is not permitted here: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize("left", [0, 16384, 60000], ids=lambda left: f"{left} bytes left")
def test_a_full_disk_ends_with_the_last_good_checkpoint(tmp_path, capsys, whole, left):
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=12m", "none"):
        ballast = disk / "ballast"

        def fill():
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            ballast.write_bytes(bytes(free - left))

        with at_step(3, fill):
            assert main([*OPTIONS, f"--folder={disk}", "--name=a"]) == 2
        err = capsys.readouterr().err.splitlines()[-1]
        assert "No space left on device" in err
        assert re.search(r"the checkpoint of step [23] is kept; once that is mended, continue", err)
        assert not list((disk / "a").glob("*.partial"))
        step = torch.load(disk / "a/checkpoint.ckpt", weights_only=True)["global_step"]
        assert f"step {step} is kept" in err
        ballast.unlink()
        assert main(["train", "--resume", str(disk / "a")]) == 0
        assert_same(RunFolder(disk / "a"), whole[0])


def test_a_read_only_folder_is_one_line(tmp_path, capsys):
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "old").mkdir()
    write_config(replace(CONFIG, name="old", folder=str(folder)), RunFolder(folder / "old"))
    before = sorted(folder.rglob("*"))
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        for argv in (
            [*OPTIONS, f"--folder={folder}", "--name=new"],
            [*OPTIONS, f"--folder={folder}", "--name=old", "--overwrite"],
            ["train", "--resume", str(folder / "old")],
        ):
            assert main(argv) == 2
            out, err = capsys.readouterr()
            assert (out, err.count("\n")) == ("", 1)
            assert "Read-only file system" in err
        assert sorted(folder.rglob("*")) == before


HOLD = """
import sys, time
from pathlib import Path
from ntxent.simclr.run.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_in_use_is_refused_and_a_stale_lock_is_not(tmp_path, capsys, whole):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    run = RunFolder(tmp_path)
    write_config(replace(CONFIG, name=tmp_path.name, folder=str(tmp_path.parent)), run)
    try:
        assert main(["train", "--resume", str(tmp_path)]) == 2
        err = capsys.readouterr().err
        assert f"is in use by process {holder.pid} on " in err
        assert "wait for it, or stop it first" in err
    finally:
        holder.kill()
        holder.wait()
    assert (tmp_path / "run.lock").exists()  # left by the kill, and stale
    assert main(["train", "--resume", str(tmp_path)]) == 0
    assert_same(run, whole[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs=60"], "epochs was 2, received 60; leave"),
        (["--optimizer.lr=0.1", "--seed", "3"], "optimizer.lr was 0.003, received 0.1; seed was 0"),
        (["--augmentation.scale=[0.5,1]"], "augmentation.scale was (0.8, 1.2), received (0.5, 1.0"),
    ],
)
def test_another_configuration_is_refused_and_shown(whole, capsys, options, message):
    run = whole[0]
    before = run.config.read_bytes()
    assert main(["train", "--resume", str(run.path), *options]) == 2
    assert message in capsys.readouterr().err
    assert run.config.read_bytes() == before
    # The default of an option is a value as good as any: epochs=60 above is one.
    name, folder = run.path.name, run.path.parent
    assert main([*OPTIONS, "--resume=auto", f"--name={name}", f"--folder={folder}", *options]) == 2
    assert message in capsys.readouterr().err


def test_the_same_options_are_no_change(whole, capsys):
    assert main(["train", "--resume", str(whole[0].path), "--epochs=2", "--overwrite"]) == 0
    assert "trained encoder" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--resume nowhere", "nowhere is not the folder of a run"),
        ("--resume auto", "resume: received 'auto' without a name, expected --name as well"),
    ],
)
def test_nothing_to_resume_is_one_line(tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *argv.split()]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def started(tmp_path):
    """A run stopped after step 3."""
    config = replace(CONFIG, name="a", folder=str(tmp_path))
    with at_step(3, send(signal.SIGTERM)), pytest.raises(Terminated):
        train(config)
    return RunFolder(tmp_path / "a"), replace(config, resume="auto")


def test_damage_from_outside_is_told(tmp_path):
    run, config = started(tmp_path)
    metrics, checkpoint = run.metrics.read_bytes(), run.checkpoint.read_bytes()
    run.metrics.write_bytes(b"".join(metrics.splitlines(keepends=True)[:-2]))
    with pytest.raises(ValueError, match=r"metrics\.csv: found 1 rows, expected the 3"):
        train(config)
    run.metrics.write_bytes(metrics)
    run.checkpoint.write_bytes(checkpoint[: len(checkpoint) // 2])
    with pytest.raises(ValueError, match=r"checkpoint\.ckpt cannot be read"):
        train(config)
    assert run.metrics.read_bytes() == metrics


def test_a_monitor_continues_without_saying_anything_twice():
    def monitor():
        return HealthMonitor(64, 0.5, every_n_steps=1, patience=3, say=lambda text: None)

    losses = [4.85] * 4 + [4.0] * 2 + [4.85] * 9
    whole = monitor()
    for loss in losses:
        whole.update(loss)
    for cut in range(len(losses)):
        first, second = monitor(), monitor()
        for loss in losses[:cut]:
            first.update(loss)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        for loss in losses[cut:]:
            second.update(loss)
        assert second.warnings == whole.warnings
    assert len(whole.warnings) >= 1


def test_seconds_add_up_over_sessions(tmp_path):
    run, config = started(tmp_path)
    before = torch.load(run.checkpoint, weights_only=True)["run"]["seconds"]
    _, summary = train(config)
    assert summary["seconds"]["train"] > before > 0


def test_metrics_are_whole_lines_of_one_header(whole):
    with whole[0].metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(10))
    assert all(None not in row.values() for row in rows)
