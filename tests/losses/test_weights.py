"""Weights of any dtype are summed in that of the loss, and the mean divides by nothing else."""

import math

import pytest
import torch

from family import MEMBERS
from inputs import classes, random, tau
from ntxent import bounds, info_nce_loss, nt_xent_loss, sup_con_loss
from ntxent.compat.pytorch_metric_learning import NTXentLoss as PairLoss

N, D, TAU = 200, 8, 0.1
RNG = torch.Generator().manual_seed(0)
X, Y = torch.randn(2, N, D, generator=RNG)
PAIRS = torch.arange(N) // 2


@pytest.fixture(params=["nt_xent", "info_nce", "sup_con", "sup_con skip", "MoCoLoss"])
def member(request):
    return MEMBERS[request.param]


def both(member, weights, reduction):
    """The loss and the gradient of the first block and of the temperature; those of float64."""
    found = []
    for dtype in (torch.float32, torch.float64):
        blocks, t = random(member, N, D, dtype), tau(TAU, dtype)
        blocks[0].requires_grad_()
        if dtype == torch.float32:
            loss = member.loss(reduction=reduction, weights=weights)(
                blocks, classes(N), temperature=t
            )
        else:
            each = member.naive(blocks, classes(N), t)
            w = weights.double() * ~each.isnan()
            loss = each.nan_to_num() * w
            if reduction != "none":
                loss = loss.sum() / (w.sum() if reduction == "mean" else 1)
        gradient = torch.autograd.grad(loss.sum(), [blocks[0], t])
        found.append((loss.detach(), *gradient))
    return found


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int16])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_weights_of_any_dtype_give_the_loss_of_float64_in_float32(member, reduction, dtype):
    anchors = member.naive(random(member, N, D), classes(N), TAU).numel()
    weights = torch.randint(300, 500, (anchors,), generator=RNG).to(dtype)
    for ours, exact in zip(*both(member, weights, reduction), strict=True):
        assert ours.dtype == torch.float32
        # 4e-6 of the largest: the same loss without weights is no closer to float64 at this tau.
        close = 4e-6 * float(exact.abs().max())
        torch.testing.assert_close(ours.double(), exact, rtol=4e-6, atol=close)


def test_two_hundred_half_precision_weights_of_400_do_not_overflow():
    weights = torch.full((N,), 400.0, dtype=torch.float16)  # their sum, 80,000, is inf in float16
    torch.testing.assert_close(info_nce_loss(X, X, weights=weights), info_nce_loss(X, X))


@pytest.mark.parametrize("missing", ["error", "skip"])
def test_weights_that_are_all_zero_give_zero(missing):
    z = X.clone().requires_grad_()
    loss = sup_con_loss(z, PAIRS, missing=missing, weights=torch.zeros(N))
    loss.backward()
    assert loss.item() == 0
    assert not z.grad.any()


def test_subnormal_weights_unchecked_are_divided_by_their_own_sum():
    weights = torch.full((N,), 2.0**-140)
    loss = info_nce_loss(X, Y, weights=weights, check_values=False)
    assert loss.item() == pytest.approx(info_nce_loss(X, Y).item(), rel=1e-3)


def test_a_weight_trains_in_its_own_dtype():
    for dtype in (torch.float16, torch.float32, torch.float64):
        weights = torch.ones(N, dtype=dtype, requires_grad=True)
        info_nce_loss(X, Y, weights=weights).backward()
        each = info_nce_loss(X, Y, reduction="none")
        assert weights.grad.dtype == dtype
        expected = ((each - each.mean()) / N).to(dtype)
        torch.testing.assert_close(weights.grad, expected, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_negative_weights_are_factors_where_nothing_is_divided_by_them(reduction):
    weights = torch.linspace(-1, 1, N)
    each = info_nce_loss(X, Y, reduction="none") * weights
    expected = each.sum() if reduction == "sum" else each
    torch.testing.assert_close(info_nce_loss(X, Y, reduction=reduction, weights=weights), expected)


def test_a_mean_by_negative_weights_unchecked_is_the_quotient_of_the_sums():
    weights = -torch.ones(N)
    loss = info_nce_loss(X, Y, weights=weights, check_values=False)
    torch.testing.assert_close(loss, info_nce_loss(X, Y))


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (
            torch.linspace(-1, 2, N),
            {},
            r"weights: received -1 among them, expected numbers >= 0: a mean divides.*\"sum\"",
        ),
        (
            torch.full((N,), math.nan),
            {},
            r"weights: received nan among them, expected numbers >= 0",
        ),
        (
            torch.full((N,), 3e38),
            {},
            r"weights: their sum is inf in torch.float32, expected 0 or a normal number; divide",
        ),
        (
            torch.full((N,), 1e300, dtype=torch.float64),
            {},
            r"weights: their sum is inf in torch.float32",
        ),
        (torch.full((N,), 1e-43), {}, r"weights: their sum is .*e-41 in torch.float32"),
        (
            torch.full((N,), math.inf),
            {"reduction": "sum"},
            r"weights: received a value that is not finite",
        ),
        (
            torch.ones(N, dtype=torch.complex64),
            {},
            r"weights: received dtype torch.complex64, expected",
        ),
        (
            torch.ones(N, device="meta"),
            {},
            r"weights: received device meta for embeddings on cpu; move them with weights.to",
        ),
    ],
)
def test_weights_that_make_no_mean_are_refused(weights, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        info_nce_loss(X, Y, weights=weights, **options)


def test_statistics_of_long_half_precision_rows_do_not_overflow():
    """A coordinate of 300 has a square that float16 does not hold."""
    z1, z2 = ((100 * z).half() for z in (X, Y))
    _, stats = nt_xent_loss(z1, z2, normalize=False, scale=1e-4, return_stats=True)
    z = torch.cat([z1, z2]).double()
    s = z @ z.T
    expected = (s.sum() - s.trace() - 2 * s.diagonal(N).sum()) / (2 * N * (2 * N - 2))
    assert stats.negative_similarity.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_batch_without_pairs_has_a_float32_loss_in_half_precision_too():
    loss = PairLoss()(X[:3].half(), torch.arange(3))
    assert loss.dtype == torch.float32
    assert loss.item() == 0


def test_weighted_chance_is_chance():
    weights = torch.rand(2 * N, generator=RNG).to(torch.bfloat16)
    loss = nt_xent_loss(*torch.ones(2, N, D), temperature=TAU, weights=weights)
    assert loss.item() == pytest.approx(bounds.chance(N), rel=1e-6)
