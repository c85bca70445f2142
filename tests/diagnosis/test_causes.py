"""The causes that people have: each convention with its limits, each sentence where it belongs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntxent import bounds
from ntxent.diagnosis import diagnose


def embeddings(rng, size, views, dim):
    z = rng.standard_normal((size, views, dim)) * rng.choice([1, 0.01])
    z += rng.standard_normal((size, 1, dim))
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def losses(z, temperature):
    """NT-Xent over all ordered positive pairs, and decoupled, by dense sums."""
    size, views, dim = z.shape
    flat = z.reshape(size * views, dim)
    s = flat @ flat.T / temperature
    sample = np.repeat(np.arange(size), views)
    own = np.eye(size * views, dtype=bool)
    positive = (sample[:, None] == sample) & ~own
    row = np.logaddexp.reduce(np.where(own, -np.inf, s), axis=1)
    apart = np.logaddexp.reduce(np.where(own | positive, -np.inf, s), axis=1)
    mean = np.where(positive, s, 0).sum(1) / (views - 1)
    return (row - mean).mean(), (apart - mean).mean()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(2, 8),
    st.integers(2, 4),
    st.integers(1, 6),
    st.floats(0.05, 3),
)
def test_views_and_decoupling_keep_within_their_limits(seed, size, views, dim, temperature):
    z = embeddings(np.random.default_rng(seed), size, views, dim)
    whole, apart = losses(z, temperature)
    limits = bounds.limits("nt_xent", size, temperature, views=views)
    assert limits.floor - 1e-9 <= whole <= limits.ceiling + 1e-9
    if views == 2:
        limits = bounds.limits("dcl", size, temperature)
        assert limits.floor - 1e-9 <= apart <= limits.ceiling + 1e-9


@pytest.mark.parametrize("views", [2, 3, 5])
def test_the_floors_are_reached_on_a_regular_simplex(views):
    size, temperature = 5, 0.3
    simplex = np.eye(size) - 1 / size
    simplex /= np.linalg.norm(simplex, axis=1, keepdims=True)
    whole, apart = losses(np.repeat(simplex[:, None], views, 1), temperature)
    found = bounds.limits("nt_xent", size, temperature, views=views)
    assert whole == pytest.approx(found.floor, abs=1e-12)
    if views == 2:
        assert apart == pytest.approx(bounds.limits("dcl", size, temperature).floor, abs=1e-12)
    equal = np.ones((size, views, 3)) / 3**0.5
    assert losses(equal, temperature)[0] == pytest.approx(found.chance)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(0, 4), st.floats(0.05, 3))
def test_hard_negatives_keep_within_their_limits(seed, size, hard, temperature):
    rng = np.random.default_rng(seed)
    x, y, extra = (rng.standard_normal((n, 4)) for n in (size, size, size * hard))
    x, y, extra = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y, extra))
    s = x @ np.concatenate([y, extra]).T / temperature
    loss = (np.logaddexp.reduce(s, axis=1) - np.diag(s)).mean()
    limits = bounds.limits("info_nce", size, temperature, negatives=hard)
    assert limits.floor - 1e-9 <= loss <= limits.ceiling + 1e-9
    if hard:
        assert limits.chance == pytest.approx(math.log(size * (hard + 1)))


def test_a_decoupled_floor_is_not_raised_by_the_dimension():
    # N = 16, d = 2, τ = 0.07 attains 0.118, below what Theorem 7 would give.
    assert (
        bounds.limits("dcl", 16, 0.07, dim=2).floor == bounds.limits("dcl", 16, 0.07).floor < 0.118
    )
    found = diagnose(0.2, 16, 0.07, dim=2)
    assert found.verdict == "impossible"
    assert any("decoupled" in other.convention for other in found.alternatives)


def test_negative_losses_have_their_verdict_where_they_are_decoupled():
    assert diagnose(-1.1, 64, 0.1, "dcl").verdict == "learning"
    with pytest.raises(ValueError, match="give the variant dcl"):
        diagnose(-1.1, 64, 0.1)
    assert diagnose(-9.0, 64, 0.1, "dcl").verdict == "impossible"


def test_rows_without_unit_length_have_no_ceiling_and_prove_nothing_of_cosines():
    found = diagnose(300.0, 64, 0.1, normalized=False)
    assert (found.verdict, found.floor, found.ceiling) == ("above_chance", 0, math.inf)
    assert found.similarity_interval is found.gradient_bound is None
    assert "--unnormalized" in " ".join(diagnose(300.0, 64, 0.1).sentences)
    assert "--unnormalized" not in " ".join(diagnose(2.0, 64, 0.1).sentences)


def test_hard_negatives_are_searched_like_the_other_conventions():
    found = diagnose(math.log(64 * 8), 64, 0.5, "clip")
    assert found.verdict == "above_chance"
    exact = [other.convention for other in found.alternatives if other.exactly_chance]
    assert "7 hard negatives a query (512 candidates)" in exact


def test_two_changes_at_once_are_found():
    value = bounds.limits("simclr_tf", 128, 0.1).chance
    conventions = [a.convention for a in diagnose(value, 512, 0.1).alternatives]
    assert any("with local negatives on 4 ranks" in words for words in conventions)


def test_a_loss_of_exactly_zero_is_asked_for_its_negatives_first():
    for temperature in (0.07, 0.5):
        words = " ".join(diagnose(0.0, 64, temperature).sentences)
        assert "no negatives reach it" in words
        assert "This is not a failure" not in words
    assert "no negatives reach it" not in " ".join(diagnose(0.001, 64, 0.07).sentences)


@pytest.mark.parametrize("dim", [8, 128])
def test_one_batch_of_random_embeddings_lies_within_its_spread(dim):
    size, temperature = 64, 0.2
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(200):
        z = rng.standard_normal((size, 2, dim))
        drawn.append(losses(z / np.linalg.norm(z, axis=-1, keepdims=True), temperature)[0])
    found = diagnose(max(drawn), size, temperature, dim=dim)
    assert found.random_spread == pytest.approx(np.std(drawn), rel=0.2)
    assert found.random == pytest.approx(np.mean(drawn), abs=0.05)
    assert "pushed apart" not in " ".join(found.sentences)
    beyond = found.random + 6 * found.random_spread + 0.1
    assert "pushed apart" in " ".join(diagnose(beyond, size, temperature, dim=dim).sentences)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "clip", "views": 3}, "views=3: expected 2"),
        ({"negatives": 3}, "negatives=3: expected 0"),
        ({"views": 1}, "views=1"),
        ({"variant": "dcl", "normalized": False}, "normalized=False"),
    ],
)
def test_contradictory_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        diagnose(4.0, 64, 0.1, **options)


@pytest.mark.parametrize(
    ("variant", "classes", "size"), [("nt_xent", 10, 256), ("info_nce", 64, 512), ("dcl", 8, 128)]
)
def test_equal_samples_hold_a_trained_encoder_at_the_level_that_is_named(variant, classes, size):
    """Classes at the corners of a simplex, all samples of one at its corner."""
    size, temperature = size // classes * classes, 0.1
    corners = np.eye(classes) - 1 / classes
    corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    z = np.repeat(corners, size // classes, axis=0)[:, None]
    if variant == "info_nce":
        s = z[:, 0] @ z[:, 0].T / temperature
        loss = (np.logaddexp.reduce(s, axis=1) - np.diag(s)).mean()
    else:
        loss = losses(np.repeat(z, 2, 1), temperature)[variant == "dcl"]
    found = diagnose(loss, size, temperature, variant, classes=classes)
    assert found.equal.samples == size / classes
    assert found.equal.loss == pytest.approx(loss, rel=1e-9)
    said = " ".join(found.sentences)
    assert f"With {classes} classes" in said
    assert "ids=" in said
    assert found.held_at == pytest.approx(size / classes, rel=0.02)
    assert "classes" not in " ".join(diagnose(loss, size, temperature, variant).sentences)
    away = loss + 0.2 * (found.chance - found.floor)
    words = " ".join(diagnose(away, size, temperature, variant, classes=classes).sentences)
    assert "classes a batch" not in words


def test_a_batch_without_two_samples_of_a_class_has_no_such_level():
    assert diagnose(2.0, 64, 0.1, classes=1000).equal is None
    with pytest.raises(ValueError, match="classes: received 1, expected an integer >= 2"):
        diagnose(2.0, 64, 0.1, classes=1)
