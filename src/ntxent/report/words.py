"""A run in sentences: the verdict, what was found, what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ntxent import bounds
from ntxent.report.source import Run

__all__ = [
    "HEADLINES",
    "REPRESENTATIONS",
    "TONES",
    "Story",
    "certified_share",
    "classifier",
    "judged",
    "percent",
    "tell",
]

HEADLINES = {
    "impossible": "Not possible as stated",
    "at_floor": "At the floor",
    "learning": "Learning",
    "at_chance": "At chance",
    "collapsed": "Collapsed",
    "above_chance": "Above chance",
    "degenerate": "Nothing to contrast",
}
TONES = {
    "at_floor": "good",
    "learning": "good",
    "at_chance": "doubtful",
    "above_chance": "doubtful",
    "impossible": "bad",
    "collapsed": "bad",
    "degenerate": "bad",
}
# A run's course, where it asks for something else than its end does.
COURSES = {
    "flat": "Flat from the start",
    "rising": "Rising",
    "fell_then_rose": "Fell, then rose",
    "diverged": "Diverged",
}
REPRESENTATIONS = {
    "raw_pixels": "raw pixels",
    "untrained_encoder": "untrained encoder",
    "encoder": "trained encoder",
}


class Story(NamedTuple):
    """``tone`` is good, doubtful, bad or none, and chooses a colour; the words tell it as well."""

    tone: str
    headline: str
    sentences: tuple[str, ...]
    next: tuple[str, ...]


def classifier(measure: str) -> str:
    """``linear_10`` in words."""
    probe, _, labels = measure.partition("_")
    if probe == "knn":
        return "kNN, all labels"
    if probe != "linear" or not labels:
        return measure.replace("_", " ")
    if labels == "all":
        return "linear, all labels"
    return f"linear, {labels} label{'s' * (labels != '1')} per class"


def percent(score: Any) -> str:
    spread = "" if score.get("sd") is None else f" ± {100 * score['sd']:.1f}"
    return f"{100 * score['mean']:.1f}{spread}"


def tell(run: Run) -> Story:
    if run.trajectory is None:
        waiting = run.state == "unfinished" and not len(run.loss.values)
        headline = "No step logged yet" if waiting else "No loss can be judged"
        sentences = (*_state(run), run.problem or "")
        return Story("none", headline, sentences, ("Make this report again once there are steps.",))
    end = run.trajectory.end
    tone, headline, meaning, following = judged(end.verdict, end.sentences)
    course = run.trajectory.sentences[: -len(end.sentences)]
    told = (*_state(run), *meaning, *_encoder(run), " ".join(course))
    if run.trajectory.ends_nonfinite:
        told = (*_state(run), " ".join(course), *meaning, *_encoder(run))
        return Story("bad", "The loss became NaN or infinite", told, following)
    shape = run.trajectory.course
    if shape is not None and shape.troubled:
        told = (*_state(run), " ".join(course), *meaning, *_encoder(run))
        tone = "doubtful" if tone == "good" else tone
        return Story(tone, COURSES[shape.shape], told, following)
    return Story(tone, headline, told, following)


def judged(verdict: str, sentences: Sequence[str]) -> Story:
    """A diagnosis, its advice apart from what it found."""
    advice = [line.removeprefix("Next: ") for line in sentences if line.startswith("Next: ")]
    return Story(
        TONES[verdict],
        HEADLINES[verdict],
        tuple(line for line in sentences if not line.startswith("Next: ")),
        tuple(line[0].upper() + line[1:] for line in advice),
    )


def _state(run: Run) -> Iterator[str]:
    if run.state == "unfinished":
        steps = f", up to step {run.loss.steps[-1]:g}" if len(run.loss.steps) else ""
        yield f"In progress or interrupted, for there is no summary: the report so far{steps}."


def _encoder(run: Run) -> Iterator[str]:
    """The encoder beside what needs no training."""
    scores = run.evaluation
    measures = [m for m in scores.get("encoder", {}) if all(m in s for s in scores.values())]
    if not measures:
        return
    measure = "linear_all" if "linear_all" in measures else measures[-1]
    own = scores["encoder"][measure]["mean"]
    others = {name: scores[name][measure]["mean"] for name in scores if name != "encoder"}
    beside = ", ".join(
        f"{100 * value:.1f} % with {'an ' if 'encoder' in name else ''}"
        f"{REPRESENTATIONS.get(name, name)}"
        for name, value in others.items()
    )
    words = f"On held-out images a probe ({classifier(measure)}) is right in {100 * own:.1f} %"
    yield f"{words}; {beside}." if beside else f"{words}."
    if others and own <= max(others.values()):
        yield "So far the encoder is no better than what needs no training."


def certified_share(run: Run) -> tuple[int, int] | None:
    """At how many of the steps the measured s̄ lies in its certified interval, and of how many.

    The slack is the rounding of both to float32, through the slope of the interval's ends.
    """
    measured = run.columns.get("positive_similarity")
    if measured is None or run.trajectory is None:
        return None
    size, temperature = run.convention.batch_size, run.convention.temperature
    _, at, of = np.intersect1d(run.loss.steps, measured.steps, return_indices=True)
    loss, value = run.loss.values[at] / run.convention.limits().scale, measured.values[of]
    usable = np.isfinite(loss) & np.isfinite(value) & (loss > 0)
    if not usable.any():
        return None
    low, high = bounds.similarity_interval(loss[usable], size, temperature)
    inside = (value[usable] >= low - 1e-4) & (value[usable] <= high + 1e-4)
    return int(inside.sum()), len(inside)
