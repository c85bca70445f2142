"""What a whole run says: where it started, when it left chance, how it ends.

>>> import numpy as np
>>> steps = np.arange(400)
>>> run = judge(Series(steps, 4.95 + 2 * np.exp(-steps / 60)), batch_size=512, temperature=0.5)
>>> run.end.verdict, run.left_chance
('at_floor', 2.0)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ntxent.bounds import Convention

from . import notebook
from .course import Course, course_of, recovers
from .partial import Partial, partial_batches
from .result import Diagnosis
from .sentences import sentences
from .value import diagnose_in

__all__ = ["Series", "Stretch", "Trajectory", "judge"]

Array: TypeAlias = NDArray[np.float64]

POINTS = 200  # a run is judged by the medians of this many consecutive blocks
END = 1 / 20  # share of the values whose mean is the end
LEFT_CHANCE = 0.98  # position below which chance is left
FLAT = 0.02  # range of the position within a plateau
PLATEAU = 1 / 5  # least share of the run that is called a plateau
JUMP = 0.1  # rise of the position between neighbouring groups of three blocks
TREND = 0.01  # change of the position over the last quarter that is called one


class Series(NamedTuple):
    """Values in the order they were logged, and the step of each."""

    steps: Array
    values: Array


@dataclass(frozen=True)
class Stretch:
    """Part of a run and its median position."""

    first_step: float
    last_step: float
    position: float


@dataclass(frozen=True)
class Trajectory:
    """A run in the units of ``Diagnosis``; steps are those of the log.

    end: diagnosis of the mean over the last twentieth of the finite values. Limits and
        certificates hold for such a mean as they do for one step: the limits are constants, and
        the certificate is convex at its lower and concave at its upper end.
    left_chance: first step from which the position stays below 0.98.
    chance_since: first step of the stretch at chance that lasts to the end.
    plateaus: stretches of at least a fifth of the run within 0.02 of position.
    jump: step and size of the largest lasting rise of the position, from 0.1 on.
    trend: change of the position over the last quarter, by the median of all pairs' slopes.
    course: its shape, where it was best, whether it is finished; None where it has no positions.
    partial: values of the last, smaller batch of each epoch, which are left out of the rest.
    nonfinite: how many values are NaN or infinite, ``first_nonfinite`` the step of the first.
    """

    values: int
    first_step: float
    last_step: float
    first_loss: float
    first_position: float | None
    partial: Partial | None
    nonfinite: int
    first_nonfinite: float | None
    ends_nonfinite: bool
    left_chance: float | None
    chance_since: float | None
    plateaus: tuple[Stretch, ...]
    jump: tuple[float, float] | None
    trend: float | None
    curve: Series
    course: Course | None
    end: Diagnosis

    @property
    def sentences(self) -> tuple[str, ...]:
        """The course of the run, then the meaning of its end and what to do next."""
        return (*_course(self), *self.end.sentences)

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis of the end with the course as ``trajectory``; JSON values only."""
        course = asdict(self)
        del course["end"]
        if self.partial is not None:
            _, every, offset = self.partial
            course["partial"] = {"count": len(self.partial.at), "every": every, "offset": offset}
        course["curve"] = {name: column.tolist() for name, column in self.curve._asdict().items()}
        course["plateaus"] = list(course["plateaus"])
        if self.course is not None:
            course["course"] |= {"best": self.course.best._asdict()}
        return self.end.to_dict() | {"trajectory": course, "sentences": list(self.sentences)}

    def to_frame(self) -> Any:
        """A pandas table of the curve: step, loss and position of each block."""
        span = self.end.chance - self.end.floor
        rows = (
            {"step": step, "loss": loss, "position": (loss - self.end.floor) / span}
            for step, loss in zip(*self.curve, strict=True)
        )
        return notebook.frame(rows)

    def plot(self) -> Any:
        """The curve between floor and chance, as a plotly figure."""
        return notebook.run_figure(self)

    def _repr_html_(self) -> str:
        return notebook.run_html(self)


def judge(
    loss: Series,
    batch_size: int,
    temperature: float,
    variant: str = "nt_xent",
    *,
    queue: int | None = None,
    dim: int | None = None,
    positive_similarity: Series | None = None,
    negative_similarity: Series | None = None,
    views: int = 2,
    negatives: int = 0,
    normalized: bool = True,
    classes: int | None = None,
) -> Trajectory:
    """Judge a run by its losses; further arguments as in ``diagnose``.

    Raises:
        ValueError: no loss is finite, or an argument has no meaning.
    """
    convention = Convention(
        batch_size, temperature, variant, queue, dim, views, negatives, normalized
    )
    return judge_in(convention, loss, positive_similarity, negative_similarity, classes=classes)


def judge_in(
    convention: Convention,
    loss: Series,
    positive_similarity: Series | None = None,
    negative_similarity: Series | None = None,
    rates: Series | None = None,
    classes: int | None = None,
) -> Trajectory:
    """:func:`judge`, with logged learning rates, and with the convention as one argument."""
    steps, values = (np.asarray(column, dtype=np.float64) for column in loss)
    finite = np.isfinite(values)
    if not finite.any():
        where = f"all {len(values)} are NaN or infinite" if len(values) else "there are none"
        raise ValueError(f"loss: expected at least one finite value, but {where}")
    known = Series(steps[finite], values[finite])
    partial = partial_batches(*known)
    if partial is not None:
        known = Series(*(np.delete(column, partial.at) for column in known))
    last = max(1, round(END * len(known.values)))
    since = known.steps[-last]
    end = diagnose_in(
        convention,
        float(known.values[-last:].mean()),
        _mean_since(since, positive_similarity),
        _mean_since(since, negative_similarity),
        classes,
    )
    curve = _blocks(known)
    position = None
    if end.position is not None:
        position = (curve.values - end.floor) / (end.chance - end.floor)
    trend = _trend(curve.steps, position)
    course = None
    if position is not None:
        course = course_of(
            curve.steps,
            position,
            curve.values,
            (known.values - end.floor) / (end.chance - end.floor),
            trend=trend,
            ends_nonfinite=not finite[-1],
            rates=None if rates is None else rates.values,
        )
        end = _end(end, course, positive_similarity, negative_similarity)
    return Trajectory(
        values=len(values),
        first_step=float(steps[0]),
        last_step=float(steps[-1]),
        first_loss=float(known.values[0]),
        first_position=None if position is None else float(position[0]),
        partial=partial,
        nonfinite=int((~finite).sum()),
        first_nonfinite=None if finite.all() else float(steps[~finite][0]),
        ends_nonfinite=not finite[-1],
        left_chance=_left_chance(curve.steps, position),
        chance_since=_chance_since(curve.steps, position),
        plateaus=_plateaus(curve.steps, position),
        jump=_jump(curve.steps, position),
        trend=trend,
        curve=curve,
        course=course,
        end=end,
    )


def _end(
    end: Diagnosis, course: Course, positive: Series | None, negative: Series | None
) -> Diagnosis:
    """The end in the light of its run: collapsed is what does not recover."""
    recovering = False
    if end.verdict == "collapsed" and positive is not None and negative is not None:
        _, at, of = np.intersect1d(positive.steps, negative.steps, return_indices=True)
        recovering = recovers(positive.values[at] - negative.values[of])
    verdict = "at_chance" if recovering else end.verdict
    end = replace(end, verdict=verdict)
    return replace(end, sentences=sentences(end, course, recovering))


def _mean_since(step: float, series: Series | None) -> float | None:
    if series is None:
        return None
    late = series.values[(series.steps >= step) & np.isfinite(series.values)]
    return float(late.mean()) if late.size else None


def _blocks(series: Series) -> Series:
    """Medians of at most POINTS blocks, each at its first step: robust, and of one cost."""
    count = len(series.values)
    edges = np.linspace(0, count, min(count, POINTS) + 1).astype(int)
    medians = [np.median(block) for block in np.split(series.values, edges[1:-1])]
    return Series(series.steps[edges[:-1]], np.array(medians))


def _left_chance(steps: Array, position: Array | None) -> float | None:
    if position is None or position[-1] >= LEFT_CHANCE:
        return None
    above = np.flatnonzero(position >= LEFT_CHANCE)
    return float(steps[above[-1] + 1 if above.size else 0])


def _chance_since(steps: Array, position: Array | None) -> float | None:
    if position is None:
        return None
    away = np.flatnonzero(np.abs(position - 1) > 1 - LEFT_CHANCE)
    start = away[-1] + 1 if away.size else 0
    return float(steps[start]) if start < len(position) else None


def _plateaus(steps: Array, position: Array | None) -> tuple[Stretch, ...]:
    """Greedily from the left, each as long as it can be."""
    if position is None:
        return ()
    found = []
    start, least = 0, max(5, round(PLATEAU * len(position)))
    while start + least <= len(position):
        lowest = np.minimum.accumulate(position[start:])
        highest = np.maximum.accumulate(position[start:])
        length = int(np.searchsorted(highest - lowest, FLAT, side="right"))
        if length < least:
            start += 1
            continue
        level = float(np.median(position[start : start + length]))
        found.append(Stretch(float(steps[start]), float(steps[start + length - 1]), level))
        start += length
    return tuple(found)


def _jump(steps: Array, position: Array | None) -> tuple[float, float] | None:
    if position is None or len(position) < 6:
        return None
    medians = np.median(np.lib.stride_tricks.sliding_window_view(position, 3), axis=1)
    rises = medians[3:] - medians[:-3]
    at = int(rises.argmax())
    return (float(steps[at + 3]), float(rises[at])) if rises[at] >= JUMP else None


def _trend(steps: Array, position: Array | None) -> float | None:
    if position is None or len(position) < 8:
        return None
    quarter = len(position) // 4
    # By index, not by step: a resumed run repeats steps.
    x, y = np.arange(quarter + 1), position[-quarter - 1 :]
    earlier, later = np.triu_indices(len(x), k=1)
    return float(np.median((y[later] - y[earlier]) / (x[later] - x[earlier])) * quarter)


def _course(run: Trajectory) -> Iterator[str]:
    end = run.end
    if run.first_nonfinite is not None:
        tail = ", and the run ends so: the end below is the last before it" * run.ends_nonfinite
        yield (
            f"{run.nonfinite} of {run.values} losses are NaN or infinite, the first at step "
            f"{run.first_nonfinite:g}{tail}. Look there first: overflow in half precision, a zero "
            "embedding, a learning rate too high."
        )
    if run.first_position is None:
        return
    reference = f"chance is {end.chance:.4g}"
    if end.random is not None:
        reference += f", random embeddings in d = {end.dim} have about {end.random:.4g}"
    yield f"The loss starts at {run.first_loss:.4g}; {reference}."
    if run.partial is not None:
        at, every, offset = run.partial
        yield (
            f"Every {every:g} steps one value is off by {offset:+.2g}: the last, smaller batch of "
            f"an epoch, whose N and limits are others. These {len(at)} values are left out of what "
            "is said here; drop_last=True of a DataLoader leaves them out of training."
        )
    yield from course_sentences(run)
    if run.left_chance is not None:
        yield f"It stays below chance from step {run.left_chance:g} on."
    elif run.chance_since is not None:
        yield f"It is at chance since step {run.chance_since:g}."
    else:
        yield "It has not left chance for good."
    if run.jump is not None:
        step, size = run.jump
        yield (
            f"At step {step:g} the position jumps up by {size:.2f}: look for a restart, a change "
            "of data or learning rate, or an instability."
        )
    for plateau in run.plateaus:
        if plateau.position < LEFT_CHANCE:
            yield (
                f"A plateau at position {plateau.position:.2f} lasts from step "
                f"{plateau.first_step:g} to {plateau.last_step:g}."
            )
    if run.trend is not None:
        words = "stays as it is"
        if abs(run.trend) >= TREND:
            words = f"{'falls' if run.trend < 0 else 'rises'} by {abs(run.trend):.2f}"
        yield f"Over the last quarter of the run the position {words}."


def course_sentences(run: Trajectory) -> Iterator[str]:
    """Which way the run went, before anything is said of its end."""
    course, end = run.course, run.end
    if course is None:
        return
    span = end.chance - end.floor
    first, last = (end.floor + place * span for place in (course.start, course.end))
    best = f"{course.best.loss:.4g} at step {course.best.step:g}"
    if course.shape == "rising":
        yield f"It rises, from {first:.4g} to {last:.4g}; it was lowest, {best}."
        if end.queue is not None and end.batch_size > 1:
            yield (
                "A MoCo run rises while its queue fills with keys of its own encoder: for "
                f"K/N = {end.queue / end.batch_size:g} steps at least, and as long as the encoder "
                "is far from its momentum copy."
            )
    elif course.shape == "fell_then_rose":
        yield f"It fell to {best}, its best, and then rose to {last:.4g}."
    elif course.shape == "diverged":
        where = "ends NaN or infinite" if run.ends_nonfinite else f"ends at {last:.4g}"
        yield f"It diverged: it was {best}, its best, and {where}."
    elif course.troubled:
        yield f"It is flat from the start, at {last:.4g}."
    elif course.shape == "falling" and course.end - course.best.position > 0.02:
        yield f"It was at its best, {best}."
    if course.noisy and course.shape == "falling":
        yield (
            f"Single values scatter by {course.noise * span:.2g}, more than the run has changed "
            f"from its start to its end ({abs(last - first):.2g}): look at means over many steps."
        )
    if course.finished == "schedule":
        yield "The run is finished: its learning rate has come down to 0."
    elif course.finished == "plateau":
        yield "The run has settled: over its last quarter the loss has not changed."
