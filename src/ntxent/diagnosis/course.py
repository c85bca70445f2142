"""The course of a run: which way its losses went, and what that asks for.

The rules look at positions, so that they mean the same at every N and τ, and at the noise of the
run itself: a change counts where it is 0.02 of the way from floor to chance and more than four
standard errors of what is compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .verdict import AT_FLOOR

__all__ = ["Course", "Shape", "course_of", "recovers"]

Array: TypeAlias = NDArray[np.float64]
Shape: TypeAlias = Literal["short", "flat", "rising", "fell_then_rose", "diverged", "falling"]

CHANGE = 0.02  # of the position, from which a change counts
ERRORS = 4  # standard errors, likewise
MEDIAN = 1.2533  # standard error of a median over that of a mean, for normal noise
MAD = 1.4826  # standard deviation over the median absolute deviation, likewise
FEWEST = 8  # blocks that have a shape
PART = 20  # start and end are so manyth parts of the run
LOST = 0.25  # share of what was won by the best, whose loss makes a run one that rose again
ABOVE = 1.02  # position that is worse than chance
ENDED = 0.01  # share of the largest learning rate at which a schedule has ended
SETTLED = 0.01  # change of the position over the last quarter of a run that has settled


class Best(NamedTuple):
    """Where the smoothed losses are lowest."""

    step: float
    loss: float
    position: float


@dataclass(frozen=True)
class Course:
    """Which way a run went, in positions.

    start, end: medians of the first and the last twentieth; ``best``: where it was lowest.
    noise: standard deviation of single values about the smoothed curve.
    finished: why no more is to come, ``schedule`` (the learning rate is at 0) or ``plateau``.
    """

    shape: Shape
    start: float
    end: float
    best: Best
    noise: float
    finished: Literal["schedule", "plateau"] | None

    @property
    def troubled(self) -> bool:
        """Whether the run asks for something else than its end does."""
        if self.shape == "flat":
            return self.end > AT_FLOOR  # at its floor a run stays
        return self.shape in ("rising", "fell_then_rose", "diverged")

    @property
    def noisy(self) -> bool:
        """Whether single values scatter more than the run has changed."""
        return self.shape != "short" and self.noise > max(abs(self.start - self.end), CHANGE)


def course_of(
    steps: Array,
    positions: Array,
    losses: Array,
    singles: Array,
    *,
    trend: float | None,
    ends_nonfinite: bool,
    rates: Array | None = None,
) -> Course:
    """The course of a run.

    Args:
        steps, positions, losses: Of the blocks of the run, each at its median.
        singles: Positions of all finite values.
        trend: Change of the position over the last quarter.
        ends_nonfinite: Whether the last value is NaN or infinite.
        rates: Logged learning rates.
    """
    count = len(positions)
    part = max(1, count // PART)
    start, end = float(np.median(positions[:part])), float(np.median(positions[-part:]))
    smooth = _smooth(positions, part)
    at = int(smooth.argmin())
    best = Best(float(steps[at]), float(_smooth(losses, part)[at]), float(smooth[at]))
    noise = _noise(singles)
    if count < FEWEST:
        shape: Shape = "diverged" if ends_nonfinite else "short"
        return Course(shape, start, end, best, noise, None)
    scatter = _noise(positions)
    error = scatter * (MEDIAN if part > 1 else 1) / part**0.5
    counts = max(CHANGE, ERRORS * 2**0.5 * error)
    lowest, highest = float(smooth[at]), float(smooth.max())
    won, lost = start - lowest, end - lowest
    if ends_nonfinite or (end > ABOVE and lowest < 1 - counts and won > counts < lost):
        shape = "diverged"
    elif end - start > counts and won <= counts:
        shape = "rising"
    elif won > counts and lost > max(counts, LOST * won):
        shape = "fell_then_rose"
    elif highest - lowest <= counts and _still(positions, scatter):
        shape = "flat"
    else:
        shape = "falling"
    finished: Literal["schedule", "plateau"] | None = None
    settles = shape == "falling" or (shape == "flat" and end <= AT_FLOOR)
    if settles and _ended(rates):
        finished = "schedule"
    elif settles and trend is not None and abs(trend) < SETTLED and error < SETTLED:
        finished = "plateau"
    return Course(shape, start, end, best, noise, finished)


def _still(positions: Array, noise: float) -> bool:
    """Whether the first and the last quarter stand equally high."""
    quarter = len(positions) // 4
    early, late = np.median(positions[:quarter]), np.median(positions[-quarter:])
    return bool(abs(late - early) <= max(CHANGE, 3 * MEDIAN * noise * (2 / quarter) ** 0.5))


def _smooth(values: Array, part: int) -> Array:
    """Running medians of three parts, of as many values at the ends as there are."""
    half = max(1, (3 * part) // 2)
    count = len(values)
    return np.array([np.median(values[max(0, k - half) : k + half + 1]) for k in range(count)])


def _noise(values: Array) -> float:
    """Standard deviation of independent noise on a curve, by its second differences.

    A steady slope has none of these; of unit noise their variance is 1 + 4 + 1.
    """
    if len(values) < 4:
        return 0.0
    second = np.diff(values, 2)
    return float(MAD * np.median(np.abs(second)) / 6**0.5)


def _ended(rates: Array | None) -> bool:
    if rates is None or not len(rates):
        return False
    return bool(
        rates.max() > 0 and rates[-1] <= ENDED * rates.max() and rates.argmax() < len(rates) - 1
    )


def recovers(gaps: Array) -> bool:
    """Whether the gap s̄ − n̄ grows, as in a young run whose embeddings leave a narrow cone."""
    gaps = gaps[np.isfinite(gaps)]
    if len(gaps) < FEWEST:
        return False
    quarter = len(gaps) // 4
    early, late = float(np.median(gaps[:quarter])), float(np.median(gaps[-quarter:]))
    error = MEDIAN * _noise(gaps) / quarter**0.5
    return late > 1.5 * max(early, 0.0) and late - early > ERRORS * 2**0.5 * error and late > 0


def facts(course: Course | None) -> dict[str, Any]:
    """What the sentences of a diagnosis ask of the run that it ends; nothing without a run."""
    if course is None:
        shapes = dict.fromkeys(("flat", "rising", "fell_then_rose", "diverged"), False)
        return {"troubled": False, "finished": False, "recovers": False} | shapes
    troubled = course.troubled
    return {
        "troubled": troubled,
        "finished": course.finished is not None,
        "recovers": False,
        "flat": troubled and course.shape == "flat",
        "rising": course.shape == "rising",
        "fell_then_rose": course.shape == "fell_then_rose",
        "diverged": course.shape == "diverged",
        "best_step": course.best.step,
        "best_loss": course.best.loss,
    }
