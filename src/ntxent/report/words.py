"""The words of the report: verdicts, probes, theorems, and a run in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ntxent import bounds
from ntxent.bounds import THEOREMS, VARIANTS, Convention
from ntxent.diagnosis.probes import ProbeVerdict, deciding_probe, judge_probes
from ntxent.diagnosis.trajectory import Trajectory
from ntxent.diagnosis.verdict import TONES
from ntxent.report.run import Run

__all__ = [
    "HEADLINES",
    "REPRESENTATIONS",
    "TONES",
    "Story",
    "certified_share",
    "classifier",
    "judged",
    "percent",
    "representation",
    "representations",
    "setting",
    "tell",
    "theorems",
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
# A run's course, where it asks for something else than its end does.
COURSES = {
    "flat": "Flat from the start",
    "rising": "Rising",
    "fell_then_rose": "Fell, then rose",
    "diverged": "Diverged",
}


# --- probes ---------------------------------------------------------------------------------------

REPRESENTATIONS = {
    "raw_pixels": "raw pixels",
    "untrained_encoder": "untrained encoder",
    "encoder": "trained encoder",
}


def representation(name: str) -> str:
    return REPRESENTATIONS.get(name, name)


def representations(evaluation: Iterable[str]) -> list[str]:
    """The evaluated representations: those known here first, the trained encoder last of them."""
    found = list(evaluation)
    return [name for name in REPRESENTATIONS if name in found] + [
        name for name in found if name not in REPRESENTATIONS
    ]


def classifier(measure: str) -> str:
    """A probe and its labels in words.

    >>> [classifier(measure) for measure in ("knn", "linear_all", "linear_10", "linear_1%")]
    ['kNN, all labels', 'linear, all labels', 'linear, 10 labels/class', 'linear, 1 % of labels']
    """
    probe, _, labels = measure.partition("_")
    if probe == "knn":
        return "kNN, all labels"
    if probe != "linear" or not labels:
        return measure.replace("_", " ")
    if labels == "all":
        return "linear, all labels"
    if labels.endswith("%"):
        return f"linear, {labels.removesuffix('%')} % of labels"
    return f"linear, {labels} label{'s' * (labels != '1')}/class"


def percent(score: Any) -> str:
    """A mean accuracy in percent, with its standard deviation if it has one."""
    spread = "" if score.get("sd") is None else f" ± {100 * score['sd']:.1f}"
    return f"{100 * score['mean']:.1f}{spread}"


# --- settings and theorems ------------------------------------------------------------------------

# The theorems behind the figures and numbers of every page.
USED = (1, 3, 4, 5, 6, 7, 8, 9, 10)


def setting(convention: Convention) -> list[tuple[str, str]]:
    """The convention as symbols and values."""
    known = [("N", f"{convention.batch_size:,} pairs"), ("τ", f"{convention.temperature:g}")]
    if convention.dim is not None:
        known.append(("d", f"{convention.dim:,}"))
    if convention.queue is not None:
        known.append(("K", f"{convention.queue:,}"))
    return [*known, ("loss", VARIANTS[convention.variant].title)]


def theorems(*more: int) -> list[dict[str, Any]]:
    """The theorems of every page and ``more``: of each its number and, a line a function, what it
    states.
    """
    stated = []
    for number in sorted({*USED, *more}):
        lines = [
            {
                "title": theorem.title,
                "says": (theorem.function.__doc__ or "").partition("\n")[0],
                "function": f"ntxent.bounds.{theorem.function.__name__}",
                "validity": theorem.validity,
                "sharp": theorem.sharp or "not claimed",
            }
            for theorem in THEOREMS.values()
            if theorem.number == number
        ]
        stated.append({"number": number, "lines": lines})
    return stated


# --- a run in sentences ---------------------------------------------------------------------------


class Story(NamedTuple):
    """``tone`` is good, doubtful, bad or none, and chooses the colour of the page's verdict."""

    tone: str
    headline: str
    sentences: tuple[str, ...]
    next: tuple[str, ...]


def tell(run: Run) -> Story:
    """The verdict on a run, what was found, and what to do next."""
    if run.trajectory is None:
        waiting = run.state == "unfinished" and not len(run.loss.values)
        headline = "No step logged yet" if waiting else "No loss can be judged"
        sentences = (*_state(run), run.problem or "")
        return Story("none", headline, sentences, ("Make this report again once there are steps.",))
    return _weighed(_told(run, run.trajectory), judge_probes(run.evaluation, _epochs(run)))


def _weighed(story: Story, probes: ProbeVerdict | None) -> Story:
    """The story of the loss where the probes do not contradict it; else the probes decide.

    A loss tells how well pairs are found, and the accuracy what that is worth: an encoder behind
    raw pixels is no success at any loss, and one ahead of them is not lost.
    """
    if probes is None:
        return story
    if probes.verdict == "behind":
        told = (probes.sentence, *story.sentences)
        return Story("bad", probes.headline, told, (*probes.advice, *story.next))
    if probes.verdict == "ahead" and story.tone == "bad":
        told = (
            f"The probes decide, not the loss: {probes.sentence}",
            f"By the loss alone this would be: {story.headline.lower()}.",
            *story.sentences,
        )
        return Story("doubtful", f"{probes.headline}, whatever its loss", told, ())
    return story


def _epochs(run: Run) -> int | None:
    epochs = run.config.get("epochs")
    return epochs if isinstance(epochs, int) else None


def _told(run: Run, trajectory: Trajectory) -> Story:
    """The story of the loss."""
    end = trajectory.end
    tone, headline, meaning, following = judged(end.verdict, end.sentences)
    course = " ".join(trajectory.sentences[: -len(end.sentences)])
    if trajectory.ends_nonfinite:
        told = (*_state(run), course, *meaning, *_encoder(run))
        return Story("bad", "The loss became NaN or infinite", told, following)
    told = (*_state(run), *meaning, *_encoder(run), course)
    shape = trajectory.course
    if shape is not None and shape.troubled:
        told = (*_state(run), course, *meaning, *_encoder(run))
        tone = "doubtful" if tone == "good" else tone
        return Story(tone, COURSES[shape.shape], told, following)
    return Story(tone, headline, told, following)


def judged(verdict: str, sentences: Sequence[str]) -> Story:
    """A diagnosis, with its advice apart from what it found."""
    advice = [line.removeprefix("Next: ") for line in sentences if line.startswith("Next: ")]
    return Story(
        TONES[verdict],
        HEADLINES[verdict],
        tuple(line for line in sentences if not line.startswith("Next: ")),
        tuple(line[0].upper() + line[1:] for line in advice),
    )


def _state(run: Run) -> Iterator[str]:
    if run.state == "unfinished":
        steps = f" up to step {run.loss.steps[-1]:g}" if len(run.loss.steps) else ""
        yield (
            "This run has no summary.json: it is in progress or was interrupted. "
            f"The report shows what it has logged{steps}."
        )


def _encoder(run: Run) -> Iterator[str]:
    """The accuracy of the encoder beside that of its baselines."""
    scores = run.evaluation
    measure = deciding_probe(scores)
    if measure is None:
        return
    own = scores["encoder"][measure]["mean"]
    others = {name: scores[name][measure]["mean"] for name in scores if name != "encoder"}
    beside = ", ".join(
        f"{100 * value:.1f} % with {'an ' if 'encoder' in name else ''}{representation(name)}"
        for name, value in others.items()
    )
    words = f"On held-out images a probe ({classifier(measure)}) is right in {100 * own:.1f} %"
    yield f"{words}; {beside}." if beside else f"{words}."
    probes = judge_probes(scores)
    if probes is not None and probes.verdict == "level":
        yield f"{probes.headline}: the difference is within its 95 % interval."


def certified_share(run: Run) -> tuple[int, int] | None:
    """The number of steps at which the measured s̄ lies in its certified interval, and of all.

    A slack of 1e-4 allows for the rounding of the loss and of s̄ to float32.
    """
    measured = run.columns.get("positive_similarity")
    if measured is None or run.trajectory is None:
        return None
    _, at, of = np.intersect1d(run.loss.steps, measured.steps, return_indices=True)
    loss, value = run.loss.values[at] / run.convention.limits().scale, measured.values[of]
    usable = np.isfinite(loss) & np.isfinite(value) & (loss > 0)
    if not usable.any():
        return None
    low, high = bounds.similarity_interval(
        loss[usable], run.convention.batch_size, run.convention.temperature
    )
    inside = (value[usable] >= low - 1e-4) & (value[usable] <= high + 1e-4)
    return int(inside.sum()), len(inside)
