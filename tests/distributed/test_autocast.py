"""Several processes under autocast: the loss is computed in float32 there as it is in one process.

Autocast may be on in the forward pass, in the backward pass, in both or in neither. The oracle is
the dense float64 definition of each member on the whole batch, in one process without autocast.
"""

from contextlib import contextmanager
from functools import cache

import pytest
import torch
import torch.distributed as dist

from family import MEMBERS, alone
from inputs import classes, leaves, mean, random, tau
from ntxent.engines import _block, _one_tile, tiled

N, D, TAU = 24, 7, 0.1
TILES = ["one tile", "many tiles"]


@contextmanager
def tiles_of(kind):
    """The same engine on a block that is one tile, as these small ones are, or many of 8 x 16."""
    with pytest.MonkeyPatch.context() as patch:
        if kind == "many tiles":
            patch.setattr(_one_tile, "LARGEST", 0)
            patch.setattr(_one_tile, "LARGEST_SYMMETRIC", 0)
            patch.setattr(_block, "_CHUNK", 8)
            patch.setattr(tiled, "TILE", {"cpu": (8, 16)})
        yield


def whole_batch(name, dtype):
    member = MEMBERS[name]
    labels = classes(N)
    return member, random(member, N, D, dtype), alone(labels) if "skip" in name else labels


def own_step(name, mode, forward, backward):
    """This rank's loss and the gradients of its blocks and of the temperature, in float32."""
    member, blocks, labels = whole_batch(name, torch.float32)
    rank, size = dist.get_rank(), dist.get_world_size()
    shared = member.views if member.queue else len(blocks)  # all ranks have the whole queue
    own = [block.chunk(size)[rank].clone() for block in blocks[:shared]] + blocks[shared:]
    inputs, t = leaves(member, own), tau(TAU, torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=forward):
        loss = member.loss(distributed=mode)(own, labels.chunk(size)[rank], temperature=t)
    with torch.autocast("cpu", torch.bfloat16, enabled=backward):
        gradients = torch.autograd.grad(loss, [*inputs, t])
    return loss.detach(), *gradients


def every_step(mode, tiles, forward, backward):
    with tiles_of(tiles):
        return {name: own_step(name, mode, forward, backward) for name in MEMBERS}


@cache
def expected_step(name):
    member, blocks, labels = whole_batch(name, torch.float64)
    inputs, t = leaves(member, blocks), tau(TAU)
    loss = mean(member.naive(blocks, labels, t))
    return loss.detach(), *torch.autograd.grad(loss, [*inputs, t])


def fault(name, by_rank):
    """What is wrong with these results of the ranks; empty where nothing is."""
    for own in by_rank:
        if wrong := {t.dtype for t in own} - {torch.float32}:
            return f"received {wrong}"
    loss, *gradients, d_temperature = expected_step(name)
    results = [
        (own[place], exact) for own in by_rank for place, exact in ((0, loss), (-1, d_temperature))
    ]
    for place, exact in enumerate(gradients, 1):
        # The ranks' copies of the loss give each of them W times its part of the gradient.
        results.append((torch.cat([own[place] for own in by_rank]) / len(by_rank), exact))
    try:
        for received, exact in results:
            torch.testing.assert_close(received.double(), exact, rtol=1e-5, atol=1e-5)
    except AssertionError as error:
        return " ".join(str(error).split())
    return ""


@pytest.mark.parametrize("backward", [False, True], ids=["backward outside", "backward inside"])
@pytest.mark.parametrize("forward", [False, True], ids=["forward outside", "forward inside"])
@pytest.mark.parametrize("tiles", TILES)
@pytest.mark.parametrize("mode", ["gather", "ring"])
@pytest.mark.parametrize("size", [2, 3])
def test_autocast_changes_no_loss_of_several_processes(
    worlds, size, mode, tiles, forward, backward
):
    by_rank = worlds(size)(every_step, mode, tiles, forward, backward)
    faults = {name: fault(name, [results[name] for results in by_rank]) for name in MEMBERS}
    assert not any(faults.values()), "\n".join(f"{k}: {v}" for k, v in faults.items() if v)


def with_autocast_on_the_first_rank(mode):
    return own_step("NTXentLoss", mode, dist.get_rank() == 0, dist.get_rank() == 0)


@pytest.mark.parametrize("mode", ["gather", "ring"])
def test_autocast_on_one_rank_only_changes_nothing(worlds, mode):
    assert not fault("NTXentLoss", worlds(2)(with_autocast_on_the_first_rank, mode))


@pytest.mark.parametrize("autocast", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", MEMBERS)
def test_rows_in_one_half_precision_under_autocast_to_the_other(name, autocast):
    other = torch.bfloat16 if autocast == torch.float16 else torch.float16
    member, blocks, labels = whole_batch(name, other)
    loss = member.loss()
    expected = loss(blocks, labels, temperature=tau(TAU, torch.float32))
    with torch.autocast("cpu", autocast):
        torch.testing.assert_close(
            loss(blocks, labels, temperature=tau(TAU, torch.float32)), expected
        )
