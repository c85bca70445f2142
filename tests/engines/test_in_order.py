"""Tiles that threads compute: the same bits for any number of threads, and nothing left behind."""

import threading

import pytest
import torch

from ntxent import info_nce_loss, nt_xent_loss
from ntxent.engines import _one_tile, tiled
from ntxent.engines._in_order import run_in_order

LOSSES = {
    "symmetric": lambda z1, z2, t: nt_xent_loss(z1, z2, temperature=t),
    "both ways": lambda z1, z2, t: info_nce_loss(z1, z2, temperature=t),
    "one way": lambda z1, z2, t: info_nce_loss(z1, z2, temperature=t, symmetric=False),
}


@pytest.fixture
def threads(monkeypatch):
    """A function that sets how many threads compute the tiles, which are small and many."""
    monkeypatch.setattr(tiled, "MANY_PAIRS", 0)
    monkeypatch.setattr(tiled, "TILE", {"cpu": (16, 32)})
    monkeypatch.setattr(_one_tile, "LARGEST", 0)
    monkeypatch.setattr(_one_tile, "LARGEST_SYMMETRIC", 0)
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def step(loss, temperature, inference=False):
    z1, z2 = torch.randn(2, 150, 24, generator=torch.Generator().manual_seed(0))
    if inference:
        with torch.inference_mode():
            return (loss(z1, z2, temperature),)
    leaves = z1.requires_grad_(), z2.requires_grad_()
    value = loss(z1, z2, temperature)
    return value.detach(), *torch.autograd.grad(value, leaves)


@pytest.mark.parametrize("temperature", [0.5, 0.01])  # unshifted and shifted
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_every_number_of_threads_gives_the_same_bits(threads, name, inference, temperature):
    results = []
    for count in (1, 2, 5):
        threads(count)
        results.append(step(LOSSES[name], temperature, inference))
        assert torch.get_num_threads() == count
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=0)


def test_results_are_added_in_the_order_of_the_tasks(threads):
    threads(4)
    added, used = [], set()
    gate = threading.Barrier(4, timeout=20)

    def compute(task, scratch):
        if task < 4:
            gate.wait()  # four threads have a task each
        used.add(threading.get_ident())
        return task

    run_in_order(range(50), object, compute, lambda task, result: added.append(result), True)
    assert added == list(range(50))
    assert len(used) == 4


@pytest.mark.parametrize("where", ["compute", "add"])
def test_the_error_of_a_task_ends_all_threads_and_is_raised(threads, where):
    threads(3)
    before = threading.active_count()

    def fail(name, task):
        if where == name and task == 7:
            raise MemoryError("task 7")

    with pytest.raises(MemoryError, match="task 7"):
        run_in_order(
            range(1000),
            object,
            lambda task, scratch: fail("compute", task),
            lambda task, result: fail("add", task),
            True,
        )
    assert threading.active_count() == before
    assert torch.get_num_threads() == 3
