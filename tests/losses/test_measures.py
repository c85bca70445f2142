"""Every measure against its naive formula in float64, and the laws it must obey."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings import KINDS, views
from ntxent import bounds, measures
from ntxent.reference import dense_nt_xent_loss

# More rows than a tile has, ragged at every edge, and few.
SIZES = [(2, 1), (2, 5), (7, 3), (130, 4), (300, 17), (1100, 5)]


def dense(z1, z2):
    """float64: unit rows of all views, their similarities, masks of self and positives."""
    z = torch.nn.functional.normalize(torch.cat([z1, z2]).double())
    m = len(z)
    own = torch.eye(m, dtype=torch.bool)
    positive = own.roll(m // 2, 1)
    return z, z @ z.T, own, positive


@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_measures_equal_their_naive_formulas(kind, n, d):
    z1, z2 = views(kind, n, d)
    z, s, own, positive = dense(z1, z2)
    negative = ~(own | positive)
    close = {"rel": 1e-6, "abs": 1e-6}

    gap = (z[:n] - z[n:]).square().sum(1).mean().item()
    assert measures.alignment(z1, z2) == pytest.approx(gap, **close)

    expected = torch.pdist(z).square().mul(-2).exp().mean().log().item()
    assert measures.uniformity(torch.cat([z1, z2])) == pytest.approx(expected, **close)

    found = measures.mean_similarities(z1, z2)
    assert found.positive == pytest.approx(s[positive].mean().item(), abs=1e-7)
    assert found.negative == pytest.approx(s[negative].mean().item(), abs=1e-7)

    p = torch.linalg.svdvals(torch.cat([z1, z2]).double())
    p = p / p.sum()
    rank = p[p > 0].log().mul(p[p > 0]).sum().neg().exp().item()
    assert measures.effective_rank(torch.cat([z1, z2])) == pytest.approx(rank, rel=1e-5)


@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_accuracy_is_exact_and_ties_are_no_success(kind, n, d, dtype):
    z1, z2 = (view.to(dtype) for view in views(kind, n, d))
    _, s, own, positive = dense(z1, z2)
    rival = s.masked_fill(own | positive, -math.inf).amax(1)
    lead = s[positive] - rival
    # Leads within the rounding of float32 may count either way there.
    unsure = 0 if dtype == torch.float64 else ((lead - 5e-7).abs() < 5e-7).sum().item()
    expected = (lead > 4 * torch.finfo(torch.float64).eps).sum().item()
    found = measures.contrastive_accuracy(z1, z2) * 2 * n
    assert found == pytest.approx(round(found), abs=1e-9)
    assert abs(found - expected) <= unsure


@pytest.mark.parametrize("n", [2, 128, 129, 1025, 1153])
@pytest.mark.parametrize("d", [1, 3, 64, 129])
def test_equal_rows_rank_nothing_first_whatever_the_tile(n, d):
    z1, z2 = views("collapsed", n, d)
    assert measures.contrastive_accuracy(z1, z2) == 0.0


def test_progress_rises_to_one():
    shares = []
    measures.contrastive_accuracy(*views("random", 400, 4), on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("n", [2, 9, 100])
def test_the_histogram_of_few_pairs_counts_them_all(n):
    z1, z2 = (view.double() for view in views("random", n, 6))
    _, s, own, positive = dense(z1, z2)
    found = measures.similarity_histogram(z1, z2, bins=40)
    edges = np.linspace(-1, 1, 41)
    assert found.edges == pytest.approx(edges)
    assert not found.sampled
    for counts, mask in ((found.positive, positive.triu()), (found.negative, ~(own | positive))):
        assert counts == np.histogram(s[mask].numpy(), edges)[0].tolist()


def test_the_histogram_of_many_pairs_is_a_fair_and_repeatable_sample():
    z1, z2 = views("clustered", 300, 6)
    exact = measures.similarity_histogram(z1, z2, bins=20)
    drawn = measures.similarity_histogram(z1, z2, bins=20, pairs=50_000)
    assert drawn.sampled
    assert not exact.sampled
    assert drawn.positive == exact.positive
    assert sum(drawn.negative) == 50_000
    again = measures.similarity_histogram(z1, z2, bins=20, pairs=50_000)
    other = measures.similarity_histogram(z1, z2, bins=20, pairs=50_000, seed=1)
    assert drawn == again
    assert drawn != other
    share = np.array(exact.negative) / sum(exact.negative)
    error = np.abs(np.array(drawn.negative) / 50_000 - share)
    assert (error <= 5 * np.sqrt(share * (1 - share) / 50_000) + 1e-12).all()


def test_no_pair_beyond_one_is_lost_to_rounding():
    z1, z2 = views("collapsed", 50, 7)
    found = measures.similarity_histogram(z1, z2)
    assert (found.positive[-1], found.negative[-1]) == (50, 100 * 98)


@given(
    n=st.integers(2, 12),
    d=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    temperature=st.floats(0.05, 2),
    kind=st.sampled_from(sorted(KINDS)),
)
@settings(max_examples=60)
def test_laws(n, d, seed, temperature, kind):
    z1, z2 = (view.double() for view in views(kind, n, d, seed))
    positive, negative = measures.mean_similarities(z1, z2)
    assert measures.alignment(z1, z2) == pytest.approx(2 - 2 * positive, abs=1e-9)
    assert -8 - 1e-9 <= measures.uniformity(z1) <= 1e-9
    assert 1 - 1e-9 <= measures.effective_rank(z1) <= min(n, d) + 1e-6
    # Neither the lengths of rows, nor which view is first, nor a rotation changes anything.
    turn, _ = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64))
    moved = (3 * z2 @ turn, 0.1 * z1 @ turn)
    assert measures.mean_similarities(*moved) == pytest.approx((positive, negative), abs=1e-9)
    assert measures.uniformity(moved[1]) == pytest.approx(measures.uniformity(z1), abs=1e-9)
    # What the loss proves, Theorems 5 and 9.
    loss = dense_nt_xent_loss(z1, z2, temperature).item()
    assert loss >= bounds.measured_floor(n, temperature, positive, negative) - 1e-9
    assert measures.contrastive_accuracy(z1, z2) >= bounds.top1_share(loss) - 1e-9


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_in_single(dtype):
    z1, z2 = (view.to(dtype) for view in views("random", 60, 8))
    wide = measures.mean_similarities(z1.double(), z2.double())
    assert measures.mean_similarities(z1, z2) == pytest.approx(wide, abs=1e-7)
    large = torch.full((4, 8), 6e4, dtype=torch.float16)
    assert measures.alignment(large, large) == 0.0


def test_norms_do_not_overflow_where_rows_are_finite():
    rows = torch.tensor([[3e38, 0.0], [0.0, 1e-38]])
    assert measures.unit_rows(rows).tolist() == [[1, 0], [0, 1]]


def test_wide_embeddings_use_the_smaller_gram_matrix():
    z, _ = views("random", 5, 400)
    assert measures.effective_rank(z) == pytest.approx(measures.effective_rank(z.T), rel=1e-9)


BAD = torch.tensor([[1.0, 0], [0, 0], [math.nan, 1], [0, 0]])
GOOD = torch.ones(4, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: measures.alignment(BAD, GOOD), ValueError, r"z1: row 1 has zero norm \(3 such"),
        (
            lambda: measures.alignment(GOOD, BAD[2:]),
            ValueError,
            r"z2: row 0 has a value that is not finite \(2 such rows\)",
        ),
        (lambda: measures.alignment(GOOD, GOOD[:3]), ValueError, r"\[4, 2\] and \[3, 2\]"),
        (lambda: measures.alignment(GOOD[:1], GOOD[:1]), ValueError, r"z1: .*\[1, 2\].*N >= 2"),
        (lambda: measures.uniformity(GOOD[0]), ValueError, r"z: received shape \[2\]"),
        (lambda: measures.uniformity(GOOD[:, :0]), ValueError, "d >= 1"),
        (lambda: measures.uniformity(GOOD.long()), TypeError, "int64.*floating point"),
        (lambda: measures.uniformity([[1.0]]), TypeError, "received list"),
        (lambda: measures.uniformity(GOOD, t=0), ValueError, "t: received 0"),
        (lambda: measures.effective_rank(0 * GOOD), ValueError, "sum to 0.0"),
        (lambda: measures.effective_rank(BAD), ValueError, "sum to nan"),
        (lambda: measures.similarity_histogram(GOOD, GOOD, bins=0), ValueError, "bins: received 0"),
        (lambda: measures.similarity_histogram(GOOD, GOOD, pairs=0), ValueError, "pairs: received"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
