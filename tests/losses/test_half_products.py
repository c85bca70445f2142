"""Half-precision embeddings with an engine that multiplies half-precision rows: what the losses
round, and what they do not.

That engine is here the tiled one with the fact declared; cuda_half_products.py asks the kernels.
"""

import contextlib
from dataclasses import replace
from unittest import mock

import pytest
import torch
import torch.distributed as dist

import family
from embeddings import views
from family import MEMBERS
from inputs import classes, hard, leaves, mean, tau, trained_like
from ntxent import engines, nt_xent_loss
from ntxent.engines import tiled
from ranks import Ranks

SMALL = 2.0**-10
HALF = (torch.bfloat16, torch.float16)
# MoCo's queue is float32, and so are the products with it.
ROUNDED = [name for name in MEMBERS if name != "MoCoLoss"]


@contextlib.contextmanager
def half_products():
    """The tiled engine asks for half-precision rows, and notes the dtype of those that it gets."""
    seen = []

    def forward(block):
        seen.append(block.x.dtype)
        return tiled.ENGINE.forward(block)

    declared = replace(tiled.ENGINE, forward=forward, half_products=True)
    with mock.patch.dict(engines.ENGINES, tiled=declared):
        yield seen


def problem(name, dtype):
    """Short rows, so that the gradient in the unit rows is 2^-8 of that in the embeddings: with
    the loss times SMALL it has lost bits where it passes through float16 on its way.
    """
    member = MEMBERS[name]
    return member, [(b * 2**-8).to(dtype) for b in hard(trained_like, member, 40, 16)], classes(40)


def rounded(blocks, dtype):
    """Unit rows in float32, rounded to ``dtype``, as exact numbers."""
    return [torch.nn.functional.normalize(b.float(), dim=1).to(dtype).double() for b in blocks]


def expected_at_rounded_rows(member, blocks, labels, dtype, temperature):
    """The definition at the rounded rows, and its gradient by way of the division by the norm."""
    with mock.patch.object(family, "unit", lambda rows: rows):
        rows = leaves(member, rounded(blocks, dtype))
        t = tau(temperature)
        loss = mean(member.naive([*rows, *rounded(blocks, dtype)[len(rows) :]], labels, t))
        *gradients, d_temperature = torch.autograd.grad(loss, [*rows, t])
    across = []
    for row, gradient, block in zip(rows, gradients, blocks, strict=False):
        along = (row * gradient).sum(1, keepdim=True) / row.square().sum(1, keepdim=True)
        across.append((gradient - row * along) / block.double().norm(dim=1, keepdim=True))
    return loss.detach(), torch.cat(across).detach(), d_temperature


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", ROUNDED)
def test_value_and_gradient_are_those_of_rounded_rows(name, dtype):
    """Positives and denominators alike: from other rows, the value would be off by 1e-2."""
    member, blocks, labels = problem(name, dtype)
    value, gradient, d_temperature = expected_at_rounded_rows(member, blocks, labels, dtype, 0.1)
    inputs, t = leaves(member, blocks), tau(0.1, torch.float32)
    with half_products() as seen:
        loss = member.loss()(blocks, labels, temperature=t)
        *ours, ours_in_t = torch.autograd.grad(SMALL * loss, [*inputs, t])
    assert set(seen) == {dtype}
    torch.testing.assert_close(loss.double(), value, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours_in_t.double() / SMALL, d_temperature, rtol=1e-4, atol=1e-4)
    error = (torch.cat(ours).double() / SMALL - gradient).norm()
    assert error <= torch.finfo(dtype).eps / 2 * gradient.norm()  # it is handed over in ``dtype``


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_embeddings_are_not_rounded(dtype):
    z1, z2 = (z.to(dtype) for z in views("random", 9, 6))
    expected = nt_xent_loss(z1, z2)
    with half_products() as seen, torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nt_xent_loss(z1, z2), expected)
    assert seen == [dtype]


def test_rows_taken_as_they_are_are_not_rounded_either():
    z1, z2 = (z.bfloat16() for z in views("random", 9, 6))
    expected = nt_xent_loss(z1, z2, normalize=False, temperature=9.0)
    with half_products():
        assert torch.equal(nt_xent_loss(z1, z2, normalize=False, temperature=9.0), expected)


def test_statistics_are_those_of_the_rounded_rows():
    blocks = [z.bfloat16() for z in views("clustered", 9, 6)]
    with half_products():
        _, stats = nt_xent_loss(*blocks, return_stats=True)
    first, second = rounded(blocks, torch.bfloat16)
    positive = (first * second).sum(1).mean().float()
    torch.testing.assert_close(stats.positive_similarity, positive, rtol=1e-6, atol=0)


# --- several processes ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two():
    ranks = Ranks(2)
    yield ranks
    ranks.close()


def step(name, mode, dtype):
    member, blocks, labels = problem(name, dtype)
    rank, size = dist.get_rank(), dist.get_world_size()
    own = [b.chunk(size)[rank].clone() for b in blocks]
    inputs = leaves(member, own)
    with half_products() as seen:
        loss = member.loss(distributed=mode)(own, labels.chunk(size)[rank], temperature=0.1)
        gradients = torch.autograd.grad(SMALL * loss, inputs)
    return loss.detach(), gradients, seen


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("mode", ["gather", "ring"])
@pytest.mark.parametrize("name", ["nt_xent 3 views", "info_nce"])
def test_rows_travel_in_half_precision_and_gradients_do_not(two, name, mode, dtype):
    by_rank = two(step, name, mode, dtype)
    member, blocks, labels = problem(name, dtype)
    value, gradient, _ = expected_at_rounded_rows(member, blocks, labels, dtype, 0.1)
    for loss, _, seen in by_rank:
        torch.testing.assert_close(loss.double(), value, rtol=1e-5, atol=1e-5)
        assert set(seen) == {dtype}
    whole = [torch.cat(parts) / 2 for parts in zip(*(g for _, g, _ in by_rank), strict=True)]
    error = (torch.cat(whole).double() / SMALL - gradient).norm()
    assert error <= torch.finfo(dtype).eps / 2 * gradient.norm()


def mixed_step():
    z1, z2 = (z.to((torch.bfloat16, torch.float16)[dist.get_rank()]) for z in views("random", 4, 3))
    with half_products():
        nt_xent_loss(z1, z2)


def test_ranks_of_different_precision_are_refused(two):
    for well, what in two.outcomes(mixed_step):
        assert not well
        assert "dtype: received torch." in what
