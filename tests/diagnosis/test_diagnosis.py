"""Verdicts, certificates and conventions of one loss value."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ntxent import bounds
from ntxent.bounds import VARIANTS
from ntxent.diagnosis import diagnose, tolerance

CASES = list(csv.DictReader((Path(__file__).parent / "cases.csv").open(encoding="utf-8")))
ORDER = ("at_floor", "learning", "at_chance", "above_chance")

sizes = st.integers(2, 4096)
temperatures = st.floats(0.02, 5)
shares = st.floats(0, 1)


def within(size, temperature, share, variant="nt_xent"):
    """A loss at this share of the way from floor to ceiling."""
    limits = bounds.limits(variant, size, temperature)
    return limits.floor + share * (limits.ceiling - limits.floor)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["source"])
def test_public_cases(case):
    queue = int(case["queue"]) if case["queue"] else None
    size, temperature = int(case["batch_size"]), float(case["temperature"])
    report = diagnose(float(case["loss"]), size, temperature, case["variant"], queue=queue)
    assert report.verdict == case["expected_verdict"]
    for name in ("chance", "floor"):
        if case[f"expected_{name}"]:
            digits = len(case[f"expected_{name}"].partition(".")[2])
            expected = float(case[f"expected_{name}"])
            assert getattr(report, name) == pytest.approx(expected, abs=0.6 * 10**-digits)
    assert report.sentences


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "verdict"),
    [
        (0.0, "at_floor"),
        (0.099, "at_floor"),
        (0.101, "learning"),
        (0.979, "learning"),
        (0.981, "at_chance"),
        (1.019, "at_chance"),
        (1.021, "above_chance"),
    ],
)
@pytest.mark.parametrize("temperature", [0.05, 0.5, 5.0])
def test_thresholds(position, verdict, temperature):
    limits = bounds.limits("nt_xent", 256, temperature)
    loss = limits.floor + position * (limits.chance - limits.floor)
    report = diagnose(loss, 256, temperature)
    assert report.verdict == verdict
    assert report.position == pytest.approx(position)


@pytest.mark.parametrize("share", [-0.05, 1.05])
def test_beyond_the_limits_is_impossible_and_certifies_nothing(share):
    report = diagnose(within(256, 0.5, share), 256, 0.5)
    assert report.verdict == "impossible"
    assert report.similarity_interval is report.top1_share is report.gradient_bound is None
    assert report.alternatives


@pytest.mark.parametrize(
    ("positive", "negative", "verdict"),
    [
        (0.999, 0.998, "collapsed"),
        (None, 0.95, "collapsed"),
        (0.99, None, "collapsed"),
        (0.01, 0.0, "at_chance"),
        (None, None, "at_chance"),
    ],
)
def test_measured_similarities_tell_collapse_from_chance(positive, negative, verdict):
    report = diagnose(6.93, 512, 0.5, positive_similarity=positive, negative_similarity=negative)
    assert report.verdict == verdict


def test_measured_similarities_may_exclude_a_loss():
    # 5.0 certifies positives of at least 0.966.
    assert diagnose(5.0, 512, 0.5, positive_similarity=0.97).verdict == "at_floor"
    report = diagnose(5.0, 512, 0.5, positive_similarity=0.5)
    assert report.verdict == "impossible"
    assert "measured similarities" in report.sentences[0]


@given(sizes, st.floats(1e-3, 1e3), st.sampled_from(["floor", "ceiling"]), st.integers(3, 4))
def test_rounding_never_makes_a_limit_impossible(size, temperature, end, decimals):
    limit = getattr(bounds, end)(size, temperature)
    exact = torch.tensor(limit, dtype=torch.float64)
    for loss in (round(limit, decimals), exact.float().item(), exact.bfloat16().item()):
        assert diagnose(loss, size, temperature).verdict != "impossible"


def test_slightly_negative_zero_is_a_rounded_floor():
    report = diagnose(-1e-4, 64, 0.05)
    assert report.verdict == "at_floor"
    # Not 1, which an exact value at the floor would certify.
    assert 0.5 < report.similarity_interval[0] < 0.7


@given(sizes, temperatures, shares, shares)
def test_verdict_never_falls_as_the_loss_rises(size, temperature, a, b):
    low, high = sorted((within(size, temperature, a), within(size, temperature, b)))
    ranks = [ORDER.index(diagnose(loss, size, temperature).verdict) for loss in (low, high)]
    assert ranks == sorted(ranks)


@given(sizes, temperatures, st.floats(1e-3, 1), st.sampled_from(["simclr_tf", "supcon_ref"]))
def test_a_factor_changes_limits_and_gradient_only(size, temperature, share, variant):
    scale = bounds.limits(variant, size, temperature).scale
    loss = within(size, temperature, share)
    plain, scaled = (
        diagnose(loss, size, temperature),
        diagnose(scale * loss, size, temperature, variant),
    )
    assert scaled.verdict == plain.verdict
    assert scaled.position == pytest.approx(plain.position, abs=1e-9)
    assert scaled.ceiling == pytest.approx(scale * plain.ceiling)
    assert scaled.gradient_bound == pytest.approx(scale * plain.gradient_bound)
    assert scaled.top1_share == pytest.approx(plain.top1_share, abs=1e-9)


@pytest.mark.parametrize("temperature", [1e4, 1e17])
def test_floor_and_chance_that_cannot_be_told_apart(temperature):
    report = diagnose(math.log(127), 64, temperature)
    assert report.verdict == "at_chance"
    assert "log more decimals" in " ".join(report.sentences)


# --- certificates ---------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(1, 8), st.floats(0.05, 2))
def test_certificates_hold_for_real_embeddings(seed, size, dim, temperature):
    rng = np.random.default_rng(seed)
    z1 = rng.standard_normal((size, dim))
    z = np.concatenate([z1, z1 + rng.exponential() * rng.standard_normal((size, dim))])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    s = z @ z.T
    rows = np.arange(2 * size)
    partner = np.roll(rows, size)
    np.fill_diagonal(s, -np.inf)
    positive = s[rows, partner]
    loss = (np.logaddexp.reduce(s / temperature, axis=1) - positive / temperature).mean()
    others = s.copy()
    others[rows, partner] = -np.inf
    negatives = others[np.isfinite(others)]
    report = diagnose(
        loss,
        size,
        temperature,
        dim=dim,
        positive_similarity=positive.mean(),
        negative_similarity=negatives.mean(),
    )
    assert report.verdict != "impossible"
    low, high = report.similarity_interval
    assert low - 1e-9 <= positive.mean() <= high + 1e-9
    assert report.top1_share <= (positive > others.max(axis=1)).mean() + 1e-12
    bare = diagnose(loss, size, temperature, dim=dim).similarity_interval
    assert bare[0] <= low
    assert high <= bare[1]


def test_only_paired_variants_certify_similarities():
    for variant, row in VARIANTS.items():
        queue = 100 if row.queued else None
        loss = bounds.limits(variant, 64, 0.5, queue).chance
        report = diagnose(loss, 64, 0.5, variant, queue=queue)
        paired = variant in ("nt_xent", "simclr_tf", "supcon_ref")
        assert (report.similarity_interval is not None) == paired
        assert (report.gradient_bound or 0) > 0 or variant == "dcl"


def test_random_reference_is_that_of_bounds():
    report = diagnose(7.3, 512, 0.1, dim=128)
    assert report.verdict == "above_chance"
    assert report.random == pytest.approx(bounds.random_loss(512, 0.1, 128))
    assert "in the first steps such a loss is normal" in " ".join(report.sentences)
    assert "positives are pushed apart" in " ".join(diagnose(12.0, 512, 0.1, dim=128).sentences)


# --- other conventions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (bounds.limits("simclr_tf", 512, 0.5).chance * 0.8, "sum of both directions"),
        (bounds.limits("supcon_ref", 512, 0.5).chance * 0.8, "×τ/0.07"),
        (math.log(2 * 64 - 1), "local negatives on 8 ranks"),
        (2 * 512 * 5.0, "sum over 1024 anchors"),
        (bounds.chance(512) / math.log(10), "logarithm to base 10"),
        (300.0, "embeddings not normalised"),
        (3.0, "temperature 0.1 instead of 0.5"),
    ],
)
def test_an_impossible_loss_finds_its_convention(loss, words):
    report = diagnose(loss, 512, 0.5)
    assert report.verdict == "impossible"
    assert any(words in other.convention for other in report.alternatives)
    assert report.alternatives[0].convention in " ".join(report.sentences)


def test_exact_chance_of_another_convention_comes_first():
    first = diagnose(4.844, 512, 0.5).alternatives[0]
    assert first.exactly_chance
    assert first.convention == "local negatives on 8 ranks (N = 64 each)"
    # Also where the value is possible: log 256 has the row itself among its candidates.
    (only,) = diagnose(5.545, 128, 0.5).alternatives
    assert only.convention == "self not excluded (256 candidates)"
    assert diagnose(bounds.chance(128), 128, 0.5).alternatives == ()


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(2, 8), st.integers(1, 6), st.floats(0.1, 2))
def test_limits_of_other_denominators_hold(seed, size, dim, temperature):
    from ntxent.diagnosis.conventions import conventions

    found = {
        c.words.split(" (")[0]: c.limits for c in conventions(bounds.Convention(size, temperature))
    }
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((2 * size, dim))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    s = z @ z.T / temperature
    rows = np.arange(2 * size)
    partner = np.roll(rows, size)
    with_self = (np.logaddexp.reduce(s, axis=1) - s[rows, partner]).mean()
    without = s.copy()
    without[rows, rows] = without[rows, partner] = -np.inf
    decoupled = (np.logaddexp.reduce(without, axis=1) - s[rows, partner]).mean()
    for words, value in [
        ("self not excluded", with_self),
        ("the positive left out of the denominator", decoupled),
    ]:
        assert found[words].floor - 1e-9 <= value <= found[words].ceiling + 1e-9


def test_n_of_one_is_degenerate_and_says_what_its_loss_may_be():
    assert diagnose(0.0, 1, 0.5).alternatives == ()
    report = diagnose(math.log(127), 1, 0.5)
    assert report.verdict == "degenerate"
    assert report.alternatives[0].convention == "negatives gathered from 64 ranks (N = 64)"
    assert diagnose(11.0, 1, 0.2, "moco", queue=65536).verdict == "at_chance"


# --- input and output -----------------------------------------------------------------------------


@given(
    st.sampled_from(list(VARIANTS)), st.integers(1, 4096), st.floats(1e-3, 1e3), st.floats(0, 1e6)
)
def test_json_is_strict_and_complete(variant, size, temperature, loss):
    queue = 4096 if VARIANTS[variant].queued else None
    report = diagnose(loss, size, temperature, variant, queue=queue).to_dict()
    text = json.dumps(report, allow_nan=False)
    assert json.loads(text) == report
    keys = "verdict position floor chance ceiling similarity_interval alternatives sentences"
    assert set(keys.split()) <= set(report)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((math.nan, 64, 0.5), ValueError, "loss=nan: expected a finite number"),
        ((math.inf, 64, 0.5), ValueError, "loss=inf: expected a finite number"),
        ((-1.0, 64, 0.5), ValueError, "decoupled, DCL"),
        (("5", 64, 0.5), TypeError, "loss='5': expected a number"),
        ((True, 64, 0.5), TypeError, "loss=True"),
        ((None, 64, 0.5), TypeError, "loss=None"),
        (([5.0, 4.0], 64, 0.5), TypeError, "loss: received 2 values"),
        ((5.0, 0, 0.5), ValueError, "batch_size=0"),
        ((5.0, -4, 0.5), ValueError, "batch_size=-4"),
        ((5.0, 64.5, 0.5), TypeError, "batch_size=64.5: expected an integer"),
        ((5.0, [64, 32], 0.5), TypeError, "batch_size: received 2 values"),
        ((5.0, 64, 0.0), ValueError, "temperature=0.0"),
        ((5.0, 64, -0.5), ValueError, "temperature=-0.5"),
        ((5.0, 64, math.nan), ValueError, "temperature=nan"),
        ((5.0, 64, 0.5, "simclr"), ValueError, "one of nt_xent, simclr_tf, supcon_ref"),
        ((5.0, 64, 0.5, "moco"), ValueError, "queue=None"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error) as refusal:
        diagnose(*arguments)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("value", [1.5, -2.0, math.nan])
def test_similarities_are_cosines(value):
    with pytest.raises(ValueError, match=r"positive_similarity=.*\[-1, 1\]"):
        diagnose(5.0, 64, 0.5, positive_similarity=value)


def test_scalars_of_arrays_and_tensors_are_numbers():
    for loss in (np.float32(3.01), np.array(3.01), torch.tensor(3.01)):
        assert diagnose(loss, np.int64(64), np.float32(0.5)).verdict == "at_floor"


def test_tolerance_grows_with_the_limit_and_with_small_temperatures():
    assert tolerance(5.0, 0.5) < tolerance(6.0, 0.5) < tolerance(6.0, 1e-4)


def test_diagnosis_does_not_import_torch():
    code = (
        "import sys; from ntxent.diagnosis import diagnose; diagnose(5.0, 512, 0.5); "
        "print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.mark.parametrize(("similarity", "said"), [(1.0, True), (0.99995, True), (0.999, False)])
def test_views_that_agree_perfectly_are_named(similarity, said):
    for loss in (5.0, 5.5):  # at the floor, learning
        words = " ".join(diagnose(loss, 512, 0.5, positive_similarity=similarity).sentences)
        assert ("augmentation may be missing" in words) == said
