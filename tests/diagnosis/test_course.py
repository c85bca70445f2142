"""The course of a run: every sentence by a synthetic run, and silence on the healthy runs."""

from pathlib import Path

import numpy as np
import pytest

from ntxent import bounds
from ntxent.bounds import Convention
from ntxent.diagnosis import Series, judge
from ntxent.diagnosis.trajectory import judge_in

N, TAU = 256, 0.2
LIMITS = bounds.limits("nt_xent", N, TAU)
X = np.linspace(0, 1, 1000)
RNG = np.random.default_rng(0)


def run(positions, noise=0.01, **options):
    positions = np.asarray(positions) + noise * RNG.standard_normal(len(positions))
    losses = LIMITS.floor + positions * (LIMITS.chance - LIMITS.floor)
    return judge(Series(np.arange(len(losses)) * 10.0, losses), N, TAU, **options)


def said(found):
    return " ".join(found.sentences)


COURSES = {
    "falling": 0.2 + 0.8 * np.exp(-5 * X),
    "slow": 1 - 0.3 * X,
    "rising": 0.3 + 0.4 * X,
    "fell_then_rose": np.where(X < 0.3, 1 - 2 * X, 0.4 + 0.5 * (X - 0.3)),
    "diverged": np.where(X < 0.5, 1 - X, 1.2),
    "flat": np.full(1000, 0.6),
}
SENTENCES = {
    "falling": "Training works",
    "slow": "Next: keep training",
    "rising": "It rises, from",
    "fell_then_rose": "and then rose to",
    "diverged": "It diverged: it was",
    "flat": "It is flat from the start, at",
}
ADVICE = {
    "rising": "find what drives the loss up",
    "fell_then_rose": "take the checkpoint of step",
    "diverged": "go back to a checkpoint before the rise",
    "flat": "check that the optimiser has the encoder's parameters",
}


@pytest.mark.parametrize("name", COURSES)
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.04])
def test_the_course_of_a_run_is_said_and_no_other(name, noise):
    found = run(COURSES[name], noise)
    assert found.course.shape == ("falling" if name == "slow" else name)
    words = said(found)
    assert SENTENCES[name] in words
    for other, sentence in (SENTENCES | ADVICE).items():
        if other not in (name, "slow", "falling"):
            assert sentence not in words
    if name in ADVICE:
        assert ADVICE[name] in words
        assert "Training works" not in words
        assert "keep training" not in words
        order = [words.index(SENTENCES[name]), words.index(ADVICE[name])]
        assert order == sorted(order)


def test_the_best_of_a_run_is_named_with_its_step():
    found = run(COURSES["fell_then_rose"], 0.005)
    assert found.course.best.step == pytest.approx(3000, abs=200)
    position = (found.course.best.loss - LIMITS.floor) / (LIMITS.chance - LIMITS.floor)
    assert position == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_few_values_have_no_course(count):
    found = run(np.linspace(0.3, 0.9, count))
    assert found.course.shape == "short"
    assert "rises" not in said(found)


def test_a_run_that_ends_in_nan_has_diverged():
    positions = 0.2 + 0.8 * np.exp(-5 * X)
    positions[-20:] = np.nan
    found = run(positions)
    assert found.course.shape == "diverged"
    assert "ends NaN or infinite" in said(found)
    assert "Training works" not in said(found)


def test_noise_beyond_the_change_is_said():
    found = run(0.9 - 0.25 * X, 0.3)
    assert found.course.shape == "falling"
    assert "Single values scatter by" in said(found)
    assert "Single values scatter by" not in said(run(COURSES["falling"], 0.05))


def test_a_finished_run_is_told_how_to_be_judged():
    rates = Series(np.arange(1000) * 10.0, 0.5 * (1 + np.cos(np.pi * X)))
    losses = LIMITS.floor + COURSES["falling"] * (LIMITS.chance - LIMITS.floor)
    loss = Series(np.arange(1000) * 10.0, losses)
    found = judge_in(Convention(N, TAU), loss, rates=rates)
    assert found.course.finished == "schedule"
    assert "its learning rate has come down to 0" in said(found)
    assert "keep training" not in said(found)
    assert "judge the encoder by a linear or kNN probe" in said(found)
    settled = run(0.3 + 0.7 * np.exp(-20 * X), 0.002)
    assert settled.course.finished == "plateau"
    assert "has settled" in said(settled)
    assert "keep training" not in said(settled)
    assert run(COURSES["slow"], 0.002).course.finished is None


def test_a_warm_up_is_no_finished_schedule():
    rates = Series(np.arange(1000) * 10.0, X)
    losses = LIMITS.floor + COURSES["falling"] * (LIMITS.chance - LIMITS.floor)
    found = judge_in(Convention(N, TAU), Series(np.arange(1000) * 10.0, losses), rates=rates)
    assert found.course.finished != "schedule"


def test_a_moco_run_is_told_why_it_rises():
    limits = bounds.limits("moco", 256, 0.2, 65536)
    losses = limits.floor + (0.4 + 0.4 * X) * (limits.chance - limits.floor)
    found = judge(Series(np.arange(1000.0), losses), 256, 0.2, "moco", queue=65536)
    assert "while its queue fills" in said(found)
    assert "K/N = 256 steps" in said(found)
    assert "while its queue fills" not in said(run(COURSES["rising"]))


def cone(gap):
    """A run at chance whose embeddings lie in a narrow cone, with this gap."""
    steps = np.arange(1000.0)
    negative = np.full(1000, 0.97)
    losses = np.full(1000, LIMITS.chance - 0.005)
    return judge(
        Series(steps, losses),
        N,
        TAU,
        positive_similarity=Series(steps, negative + gap),
        negative_similarity=Series(steps, negative),
    )


def test_a_young_run_whose_gap_grows_is_not_called_collapsed():
    young = cone(0.002 + 0.011 * X)
    assert young.end.verdict == "at_chance"
    assert "a young run that starts so recovers" in said(young)
    assert "restart" not in said(young)
    gone = cone(np.full(1000, 0.002))
    assert gone.end.verdict == "collapsed"
    assert "recovers" not in said(gone)


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 10])
def test_healthy_runs_of_the_study_are_left_alone(every):
    """False alarms at most 2 % of each kind: the study's runs without an induced failure."""
    pandas = pytest.importorskip("pandas")
    rows = Path(__file__).parents[2] / "study" / "rows"
    runs = pandas.read_parquet(rows / "runs.parquet")
    looks = pandas.read_parquet(rows / "looks.parquet")
    looks = looks[looks.phase == 0]
    healthy = runs[runs.failure == "none"][::every]
    alarms, collapsed, partial = [], [], []
    by_run = dict(list(looks.groupby("run")))
    for number, one in healthy.iterrows():
        of = by_run[number]
        steps = of.step.to_numpy(float)
        found = judge(
            Series(steps, of.loss.to_numpy(float)),
            int(one.batch_size),
            float(one.temperature),
            positive_similarity=Series(steps, of.positive.to_numpy(float)),
            negative_similarity=Series(steps, of.negative.to_numpy(float)),
        )
        alarms += [found.course.shape] * found.course.troubled
        collapsed += [number] * (found.end.verdict == "collapsed")
        partial += [number] * (found.partial is not None)
    assert len(healthy) > 700 / every
    counts = {
        "course": len(alarms),
        "collapsed": len(collapsed),
        "smaller batches": len(partial),
    }
    most = max(2, 0.02 * len(healthy))
    assert max(counts.values()) <= most, (len(healthy), counts, alarms)
