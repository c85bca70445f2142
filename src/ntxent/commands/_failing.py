"""What a script or scheduler takes for a failure: --fail-on and its exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ntxent.diagnosis import Diagnosis, Trajectory

__all__ = ["FAILED", "check_conditions", "conditions", "failing"]

FAILED = 3  # exit status; 2 is a mistake in the command line
VERDICTS = (
    *("impossible", "at_floor", "learning", "at_chance", "collapsed", "above_chance"),
    "degenerate",
)
COURSES = ("nan", "flat", "rising", "fell_then_rose", "diverged")


def check_conditions(text: str | None) -> set[str]:
    """The conditions of a list with commas.

    Raises:
        ValueError: one of them is not known.
    """
    wanted = {part.strip() for part in (text or "").split(",")} - {""}
    unknown = sorted(wanted - {*VERDICTS, *COURSES})
    if unknown:
        known = ", ".join((*VERDICTS, *COURSES))
        raise ValueError(f"--fail-on: received {unknown[0]!r}, expected some of {known}")
    return wanted


def conditions(found: Diagnosis, run: Trajectory | None = None) -> set[str]:
    """What holds of a loss, and of the run that it ends."""
    holds: set[str] = {found.verdict}
    if run is not None:
        if run.nonfinite:
            holds.add("nan")
        if run.course is not None and run.course.troubled:
            holds.add(run.course.shape)
    return holds


def failing(text: str | None, found: Diagnosis, run: Trajectory | None = None) -> int:
    """The exit status of a command that was told what to fail on."""
    return FAILED if check_conditions(text) & conditions(found, run) else 0
