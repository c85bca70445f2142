"""Several processes: one batch shared, one run folder, and the same curve as one process."""

import csv
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from torch import distributed

from ntxent.cli import main
from ntxent.simclr.train.recorder import recorded_steps

pytestmark = pytest.mark.skipif(
    not distributed.is_available() or sys.platform == "win32", reason="needs gloo"
)
OPTIONS = (
    *("train", "--epochs=2", "--model.width=4", "--accelerator=cpu", "--checkpoint_seconds=0"),
    *("--evaluation.labels_per_class=[1]", "--evaluation.draws=2"),
)


def losses(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def largest_difference(first, second):
    return max(abs(a - b) for a, b in zip(losses(first), losses(second), strict=True))


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """The same global batch in one process."""
    folder = tmp_path_factory.mktemp("runs")
    assert main([*OPTIONS, f"--folder={folder}", "--name=single"]) == 0
    return folder / "single"


def torchrun(*argv, **options):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "ntxent"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *argv],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_torchrun_has_the_curve_of_one_process_even_when_stopped_and_resumed(tmp_path, single):
    long = torchrun(*OPTIONS, f"--folder={tmp_path}", "--name=a")
    run, deadline = tmp_path / "a", time.monotonic() + 300
    while not (run / "checkpoint.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    long.send_signal(signal.SIGTERM)
    out, err = long.communicate(timeout=300)
    assert "everything kept in" not in out
    # One of the two says so, once.
    (step,) = re.findall(r"ntxent: terminated; the checkpoint of step (\d+) is kept", err)
    assert not (run / "summary.json").exists()
    assert torch.load(run / "checkpoint.ckpt", weights_only=True)["global_step"] == int(step) < 10

    codes, outputs, errors = together(tmp_path, "train", "--resume", str(run))
    assert codes == [0, 0], errors
    assert "everything kept in" in outputs[0]
    assert outputs[1] == ""
    # The first step differs by rounding; AdamW makes as much of a gradient that is only rounding
    # as of any other. Without synchronised normalisation it is 1e-3 and more.
    assert abs(losses(run)[0] - losses(single)[0]) < 2e-6
    assert largest_difference(run, single) < 1e-4
    mine, theirs = (json.loads((path / "summary.json").read_text()) for path in (run, single))
    assert mine["evaluation"]["raw_pixels"] == theirs["evaluation"]["raw_pixels"]
    assert mine["loss"]["mean_of_last_epoch"] == pytest.approx(
        theirs["loss"]["mean_of_last_epoch"], abs=1e-4
    )
    # What is recorded is the batch of both processes, written by one.
    with (run / "report" / "measures.csv").open(newline="") as file:
        recorded = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    assert [step for step, _ in recorded] == recorded_steps(10)
    for step, value in recorded:
        assert value == pytest.approx(losses(run)[step], rel=1e-5)
    histograms = json.loads((run / "report" / "similarities.json").read_text())
    assert [sum(histogram["positive"]) for histogram in histograms] == [256] * 3
    codes, outputs, errors = together(tmp_path, "evaluate", str(run), "--json")
    assert codes == [0, 0], errors
    assert json.loads(outputs[0])["images"]["held_out"] == 450
    assert outputs[1] == ""
    (run / "evaluation.json").unlink()
    names = {path.name for path in run.iterdir()}
    assert names == {path.name for path in single.iterdir()}
    assert len(list((run / "tensorboard").glob("events*"))) == 2  # one for each session


def as_torchrun(rank, port, argv, folder):
    """What torchrun tells its processes, without its 3 s of starting them."""
    os.environ.update(
        TORCHELASTIC_RUN_ID="test",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    with (
        open(f"{folder}/err{rank}", "w") as sys.stderr,
        open(f"{folder}/out{rank}", "w") as sys.stdout,
    ):
        sys.exit(main(argv))


def together(folder, *argv):
    """Exit statuses, standard outputs and standard errors of two processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ntxent.simclr.train.train"])  # once, not in every process
    arguments = port, argv, str(folder)
    workers = [context.Process(target=as_torchrun, args=(rank, *arguments)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    outputs, errors = (
        [(folder / f"{name}{rank}").read_text() for rank in range(2)] for name in ("out", "err")
    )
    return [worker.exitcode for worker in workers], outputs, errors


def train_together(folder, *argv):
    codes, _, errors = together(folder, *OPTIONS, f"--folder={folder}", *argv)
    return codes, errors


def test_without_synchronised_normalisation_the_curve_is_another(tmp_path, single):
    codes, errors = train_together(tmp_path, "--name=a", "--sync_batchnorm=false")
    assert codes == [0, 0], errors
    assert 1e-3 < largest_difference(tmp_path / "a", single) < 0.5
    assert "epoch 2/2" not in errors[1]


def test_chunks_on_two_processes_are_those_of_one(tmp_path):
    """32 rows a chunk: each of the 16 chunks of a step is on one of the two processes."""
    options = "--gradcache=32", "--sync_batchnorm=false"
    assert main([*OPTIONS, *options, f"--folder={tmp_path}", "--name=one"]) == 0
    codes, errors = train_together(tmp_path, *options, "--name=two")
    assert codes == [0, 0], errors
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-4


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--name=a", "--batch_size=255"],
            "batch_size: received 255, expected a multiple of the 2",
        ),
        (["--name=there"], "exists; choose another --name"),
    ],
)
def test_a_mistake_is_told_once_and_ends_every_process(tmp_path, argv, message):
    (tmp_path / "there").mkdir()
    codes, errors = train_together(tmp_path, *argv)
    assert codes == [2, 2]
    assert message in errors[0]
    assert "ntxent:" not in errors[1]
    assert not (tmp_path / "a").exists()
