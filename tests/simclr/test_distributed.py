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
from datetime import timedelta

import pytest
import torch
from torch import distributed, nn

from ntxent.cli import main
from ntxent.simclr.data.loader import ShuffledBatches, local_batch_size
from ntxent.simclr.model.batchnorm import SynchronisedBatchNorm, convert_sync_batchnorm
from ntxent.simclr.train.recorder import recorded_steps

pytestmark = pytest.mark.skipif(
    not distributed.is_available() or sys.platform == "win32", reason="needs gloo"
)
SIZES = 5, 3  # rows of the first process, and of the second


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 6),
        nn.BatchNorm1d(6, momentum=None),
        nn.Linear(6, 3),
        nn.BatchNorm1d(3, affine=False, track_running_stats=False),
    )


def batches(dtype):
    generator = torch.Generator().manual_seed(1)
    images = [5 + torch.randn(8, 2, 3, 3, generator=generator, dtype=torch.float64) for _ in "ab"]
    weights = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    return [batch.to(dtype) for batch in images], weights.to(dtype)


def trained(model, images, weights):
    """Outputs, gradients in the inputs and weights, and the state after two steps, as a list."""
    results = []
    for batch in images:
        batch = batch.clone().requires_grad_()
        output = model(batch)
        model.zero_grad()
        (output * weights).sum().backward()
        results += [output.detach(), batch.grad]
        results += [parameter.grad.clone() for parameter in model.parameters()]
    return results, {name: value.clone() for name, value in model.state_dict().items()}


def synchronised_part(rank, folder, dtype):
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=30),
    )
    rows = slice(0, SIZES[0]) if rank == 0 else slice(SIZES[0], None)
    images, weights = batches(dtype)
    model = network().to(dtype)
    convert_sync_batchnorm(model, "cpu")
    part = trained(model, [batch[rows] for batch in images], weights[rows])
    torch.save(part, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def in_two_processes(function, *arguments):
    context = multiprocessing.get_context("forkserver")
    workers = [context.Process(target=function, args=(rank, *arguments)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_synchronised_normalisation_is_that_of_one_process(tmp_path, dtype):
    in_two_processes(synchronised_part, str(tmp_path), dtype)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    model = network().double()
    images, weights = batches(torch.float64)
    whole, state = trained(model, images, weights)

    # What float32 costs one process, times four; nothing but the order of sums in float64.
    if dtype == torch.float64:
        limits = [1e-12] * len(whole)
    else:
        images, weights = batches(dtype)
        single, _ = trained(network(), images, weights)
        limits = [
            1e-6 + 4 * float((mine.double() - theirs).abs().max())
            for mine, theirs in zip(single, whole, strict=True)
        ]
    count = 2 + len(list(model.parameters()))
    for index, (first, second, expected) in enumerate(
        zip(parts[0][0], parts[1][0], whole, strict=True)
    ):
        # Outputs and gradients in the images are divided by rows, those in the weights summed.
        joined = torch.cat([first, second]) if index % count < 2 else first + second
        assert joined.dtype == dtype
        assert float((joined.double() - expected).abs().max()) <= limits[index]
    for _, kept in parts:
        assert kept.keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(kept[name].double(), value.double(), rtol=1e-5, atol=1e-6)


def test_synchronising_keeps_names_weights_and_mode():
    model = network().eval()
    before = model.state_dict()
    images = batches(torch.float32)[0][0]
    expected = model(images)
    convert_sync_batchnorm(model, "cpu")
    assert sum(isinstance(module, SynchronisedBatchNorm) for module in model) == 3
    assert list(model.state_dict()) == list(before)
    # Alone, and in evaluation mode, it is plain batch normalisation.
    assert torch.equal(model(images), expected)
    assert torch.equal(model.train()(images), network()(images))


def test_a_normalisation_that_does_more_is_refused():
    class NormAct(nn.BatchNorm2d):
        pass

    with pytest.raises(ValueError, match="sync_batchnorm: found a NormAct, expected plain"):
        convert_sync_batchnorm(nn.Sequential(nn.Sequential(NormAct(3))), "cpu")


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_the_batches_of_one(world):
    def epoch(rank, world):
        torch.manual_seed(5)
        return list(ShuffledBatches(37, 8, rank, world))

    parts = [epoch(rank, world) for rank in range(world)]
    together = [[row for share in shares for row in share] for shares in zip(*parts, strict=True)]
    assert together == epoch(0, 1)


@pytest.mark.parametrize(
    ("size", "world", "near"), [(10, 4, "8 or 12"), (3, 4, "such as 4"), (9, 2, "8 or 10")]
)
def test_a_batch_that_cannot_be_shared_is_refused(size, world, near):
    with pytest.raises(
        ValueError, match=f"batch_size: received {size}, .*{world} processes.*{near}"
    ):
        local_batch_size(size, world)


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
    run, deadline = tmp_path / "a", time.monotonic() + 60
    while not (run / "checkpoint.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    long.send_signal(signal.SIGTERM)
    out, err = long.communicate(timeout=60)
    assert "everything kept in" not in out
    # One of the two says so, once.
    (step,) = re.findall(r"ntxent: terminated; the checkpoint of step (\d+) is kept", err)
    assert not (run / "summary.json").exists()
    assert torch.load(run / "checkpoint.ckpt", weights_only=True)["global_step"] == int(step) < 10

    resumed = torchrun("train", "--resume", str(run))
    out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    assert out.count("everything kept in") == 1
    # The first step differs by rounding; AdamW makes as much of a gradient that is only rounding
    # as of any other. Without synchronised normalisation it is 1e-3 and more.
    assert abs(losses(run)[0] - losses(single)[0]) < 2e-6
    assert largest_difference(run, single) < 1e-4
    mine, theirs = (json.loads((path / "summary.json").read_text()) for path in (run, single))
    assert mine["evaluation"]["raw_pixels"] == theirs["evaluation"]["raw_pixels"]
    assert mine["loss"]["final"] == pytest.approx(theirs["loss"]["final"], abs=1e-4)
    # What is recorded is the batch of both processes, written by one.
    with (run / "report" / "measures.csv").open(newline="") as file:
        recorded = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    assert [step for step, _ in recorded] == recorded_steps(10)
    for step, value in recorded:
        assert value == pytest.approx(losses(run)[step], rel=1e-5)
    histograms = json.loads((run / "report" / "similarities.json").read_text())
    assert [sum(histogram["positive"]) for histogram in histograms] == [256] * 3
    evaluated = torchrun("evaluate", str(run), "--json")
    out, err = evaluated.communicate(timeout=120)
    assert evaluated.returncode == 0, err
    assert json.loads(out)["images"]["held_out"] == 450  # one object: one process has answered
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
    with open(f"{folder}/err{rank}", "w") as sys.stderr, open(os.devnull, "w") as sys.stdout:
        sys.exit(main(argv))


def together(folder, *argv):
    """Exit statuses and standard errors of two processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    arguments = port, [*OPTIONS, f"--folder={folder}", *argv], str(folder)
    workers = [context.Process(target=as_torchrun, args=(rank, *arguments)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    errors = [(folder / f"err{rank}").read_text() for rank in range(2)]
    return [worker.exitcode for worker in workers], errors


def test_without_synchronised_normalisation_the_curve_is_another(tmp_path, single):
    codes, errors = together(tmp_path, "--name=a", "--sync_batchnorm=false")
    assert codes == [0, 0], errors
    assert 1e-3 < largest_difference(tmp_path / "a", single) < 0.5
    assert "epoch 2/2" not in errors[1]


def test_chunks_on_two_processes_are_those_of_one(tmp_path):
    """32 rows a chunk: each of the 16 chunks of a step is on one of the two processes."""
    options = "--gradcache=32", "--sync_batchnorm=false"
    assert main([*OPTIONS, *options, f"--folder={tmp_path}", "--name=one"]) == 0
    codes, errors = together(tmp_path, *options, "--name=two")
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
    codes, errors = together(tmp_path, *argv)
    assert codes == [2, 2]
    assert message in errors[0]
    assert "ntxent:" not in errors[1]
    assert not (tmp_path / "a").exists()
