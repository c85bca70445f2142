"""Batch normalisation of two processes, against that of one process on both batches."""

import multiprocessing
import sys
from datetime import timedelta

import pytest
import torch
from torch import distributed, nn

from ntxent.simclr.model.batchnorm import SynchronisedBatchNorm, convert_sync_batchnorm

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


def synchronised_parts(rank, folder):
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=300),
    )
    rows = slice(0, SIZES[0]) if rank == 0 else slice(SIZES[0], None)
    parts = {}
    for dtype in (torch.float64, torch.float32):
        images, weights = batches(dtype)
        model = network().to(dtype)
        convert_sync_batchnorm(model, "cpu")
        parts[dtype] = trained(model, [batch[rows] for batch in images], weights[rows])
    torch.save(parts, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both_parts(tmp_path_factory):
    """What two processes have by type, each."""
    folder = tmp_path_factory.mktemp("parts")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ntxent.simclr.train.train"])  # as test_processes.py does
    workers = [
        context.Process(target=synchronised_parts, args=(rank, str(folder))) for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert [worker.exitcode for worker in workers] == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_synchronised_normalisation_is_that_of_one_process(both_parts, dtype):
    parts = [part[dtype] for part in both_parts]
    model = network().double()
    images, weights = batches(torch.float64)
    whole, state = trained(model, images, weights)

    # What float32 costs one process, times eight; nothing but the order of sums in float64.
    if dtype == torch.float64:
        limits = [1e-12] * len(whole)
    else:
        images, weights = batches(dtype)
        single, _ = trained(network(), images, weights)
        limits = [
            1e-6 + 8 * float((mine.double() - theirs).abs().max())
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
