"""A monitor says of a run what the command says of its log."""

import math

import numpy as np
import pytest

from ntxent import bounds
from ntxent.diagnosis import Series, judge
from ntxent.monitor import HealthMonitor

N, TAU = 256, 0.2
LIMITS = bounds.limits("nt_xent", N, TAU)
COUNT = 400
X = np.linspace(0, 1, COUNT)
COURSES = {
    "rising": 0.3 + 0.4 * X,
    "fell_then_rose": np.where(X < 0.3, 1 - 2 * X, 0.4 + 0.5 * (X - 0.3)),
    "diverged": np.where(X < 0.5, 1 - X, 1.2),
    "flat": np.full(COUNT, 0.6),
    "falling": 0.2 + 0.8 * np.exp(-5 * X),
}
SAID = {
    "rising": "It rises, from",
    "fell_then_rose": "its best, and then rose to",
    "diverged": "It diverged",
    "flat": "It is flat from the start",
}


def losses(name):
    noise = 0.01 * np.random.default_rng(0).standard_normal(COUNT)
    return LIMITS.floor + (COURSES[name] + noise) * (LIMITS.chance - LIMITS.floor)


def watched(values, **options):
    watch = HealthMonitor(N, TAU, every_n_steps=1, patience=25, say=lambda text: None, **options)
    for value in values:
        watch.update(value)
    return watch


@pytest.mark.parametrize("name", COURSES)
def test_each_course_is_warned_of_once_with_its_advice(name):
    watch = watched(losses(name))
    words = [text for text in watch.warnings for said in SAID.values() if said in text]
    assert len(words) == (name in SAID)
    if name in SAID:
        assert SAID[name] in words[0]
        assert "Next: " in words[0]
        assert int(words[0].split(":")[0].removeprefix("step ")) >= 100


@pytest.mark.parametrize("name", COURSES)
def test_its_trajectory_is_that_of_the_log(name):
    watch = watched(losses(name))
    steps = np.arange(1.0, COUNT + 1.0)
    assert watch.sentences() == judge(Series(steps, losses(name)), N, TAU).sentences


def test_a_run_that_ends_in_nan_has_diverged():
    watch = watched([*losses("falling"), *[math.nan] * 20])
    assert watch.trajectory().course.shape == "diverged"


def test_nothing_seen_is_no_run():
    watch = HealthMonitor(N, TAU)
    assert watch.trajectory() is None
    assert watch.sentences() == ()


def test_a_learnt_temperature_is_judged_by_positions():
    watch = HealthMonitor(N, TAU, every_n_steps=1, patience=25, say=lambda text: None)
    for k in range(COUNT):
        temperature = TAU * (1 - 0.5 * X[k])
        limits = bounds.limits("nt_xent", N, temperature)
        loss = limits.floor + COURSES["falling"][k] * (limits.chance - limits.floor)
        watch.update(loss, temperature=temperature)
    assert watch.trajectory().course.shape == "falling"
    assert watch.trajectory().course.end == pytest.approx(0.2 + 0.8 * math.exp(-4.9), abs=0.01)


def test_it_continues_where_it_was_saved_and_warns_no_second_time():
    whole = watched(losses("rising"))
    first = watched(losses("rising")[:280])
    second = HealthMonitor(N, TAU, every_n_steps=1, patience=25, say=lambda text: None)
    second.load_state_dict(first.state_dict())
    for value in losses("rising")[280:]:
        second.update(value)
    assert second.warnings == whole.warnings
    assert second.sentences() == whole.sentences()


def test_its_memory_has_a_limit(monkeypatch):
    from ntxent.monitor import history

    monkeypatch.setattr(history, "MOST", 64)
    watch = watched(losses("falling"))
    assert 32 <= len(watch.trajectory().curve.values) <= 64
    assert watch.trajectory().last_step > 380
    assert watch.trajectory().end.loss == pytest.approx(
        judge(Series(X, losses("falling")), N, TAU).end.loss, rel=0.02
    )
