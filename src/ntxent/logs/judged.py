"""From the path of a log to what its losses mean, for the command and for the page alike."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ntxent.bounds import NOT_GIVEN, Convention, Given
from ntxent.diagnosis.trajectory import Trajectory, judge_in
from ntxent.logs.reading import Log, read_log
from ntxent.logs.settings import KEYS, Settings, find_settings

__all__ = ["JudgedLog", "complete", "judge_log"]


class JudgedLog(NamedTuple):
    """A log, what its losses were measured by, and what they mean.

    trajectory: None, and ``problem`` says why, where the losses cannot be judged.
    settings: what the files beside the log say.
    """

    log: Log
    convention: Convention
    trajectory: Trajectory | None
    problem: str | None
    settings: Settings


def judge_log(
    path: str | Path,
    given: Given = NOT_GIVEN,
    column: str | None = None,
    also: tuple[str, ...] = (),
) -> JudgedLog:
    """Read and judge the losses of a log; arguments as in ``read_log`` and ``complete``.

    Raises:
        OSError: the path does not exist or cannot be read.
        NoLog: it holds no log, several, or no such column.
        ValueError: batch size or temperature are neither given nor found, or have no limits.
    """
    log = read_log(path, column, also)
    settings = find_settings(log.path)
    convention = complete(given, settings)
    if log.rivals:
        raise ValueError(_which(log))
    judged = _judge(log, convention, settings)
    if judged.trajectory is None or judged.trajectory.end.verdict != "impossible" or column:
        return judged
    for name in log.others:
        words = (
            f"{log.column!r} cannot be this loss, of which {judged.trajectory.end.floor:.4g} to "
            f"{judged.trajectory.end.ceiling:.4g} are possible; {name!r} can, and is taken."
        )
        other = _judge(log.with_column(name, words), convention, settings)
        if other.trajectory is not None and other.trajectory.end.verdict != "impossible":
            return other
    return judged


def _judge(log: Log, convention: Convention, settings: Settings) -> JudgedLog:
    try:
        trajectory = judge_in(
            convention,
            log.loss,
            log.measured.get("positive_similarity"),
            log.measured.get("negative_similarity"),
        )
    except ValueError as error:
        return JudgedLog(log, convention, None, str(error), settings)
    return JudgedLog(log, convention, trajectory, None, settings)


def _which(log: Log) -> str:
    """Two columns that may be the loss with equal right: nothing is proved of either."""
    columns = dict(log.columns)
    names = " or ".join(
        f"{name!r} ({columns[name].values[0]:.4g} to {columns[name].values[-1]:.4g})"
        for name in (log.column, *log.rivals)
    )
    return f"{log.path}: which column is the contrastive loss: {names}? Choose with --column"


def complete(given: Given, settings: Settings) -> Convention:
    """The convention from what is given, and for the rest from what was found.

    Raises:
        ValueError: batch size or temperature are in neither, or have no limits.
    """
    known = {**settings.found, **{name: x for name, x in given.items() if x is not None}}
    for name in ("batch_size", "temperature"):
        if name not in known:
            where = settings.source or "no configuration beside the log"
            words = name.replace("_", " ")
            raise ValueError(f"{words}: not given and not found: {where}; add {KEYS[name].flag}")
    convention = Convention(**known)
    convention.limits()  # refuses what has none
    return convention
