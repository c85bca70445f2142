"""From the path of a log to what its losses mean, for the command and for the page alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from ntxent.bounds import NOT_GIVEN, VARIANTS, Convention, Given
from ntxent.diagnosis.trajectory import Trajectory, judge_in
from ntxent.logs.names import BEHIND, PLAIN, rank
from ntxent.logs.reading import Log, read_log
from ntxent.logs.settings import KEYS, Settings, find_settings

__all__ = ["JudgedLog", "complete", "judge_log"]


NT_XENT = VARIANTS["nt_xent"]


class JudgedLog(NamedTuple):
    """A log, what its losses were measured by, and what they mean.

    trajectory: None, and ``problem`` says why, where the losses cannot be judged.
    sources: where those fields of the convention that were not given were found.
    """

    log: Log
    convention: Convention
    trajectory: Trajectory | None
    problem: str | None
    sources: Mapping[str, str]


def judge_log(
    path: str | Path,
    given: Given = NOT_GIVEN,
    column: str | None = None,
    also: tuple[str, ...] = (),
    progress: Callable[[float], object] | None = None,
    classes: int | None = None,
) -> JudgedLog:
    """Read and judge the losses of a log; arguments as in ``read_log`` and ``complete``.

    Raises:
        OSError: the path does not exist or cannot be read.
        NoLog: it holds no log, several, or no such column.
        ValueError: batch size or temperature are neither given nor found, or have no limits.
    """
    log = read_log(path, column, also, progress)
    settings = find_settings(log.path, log.stated)
    convention = complete(given, settings)
    if log.rivals:
        raise ValueError(_which(log))
    used = {name for name, value in asdict(convention).items() if value is not None}
    sources = {n: s for n, s in settings.sources.items() if n in used and given.get(n) is None}
    judged = _judge(log, convention, sources, classes)
    if judged.trajectory is None or judged.trajectory.end.verdict != "impossible" or column:
        return judged
    for name in _instead(log):
        words = (
            f"{log.column!r} cannot be this loss, of which {judged.trajectory.end.floor:.4g} to "
            f"{judged.trajectory.end.ceiling:.4g} are possible; {name!r} can, and is taken."
        )
        other = _judge(log.with_column(name, words), convention, sources, classes)
        if other.trajectory is not None and other.trajectory.end.verdict != "impossible":
            return other
    return judged


def _judge(
    log: Log, convention: Convention, sources: Mapping[str, str], classes: int | None
) -> JudgedLog:
    try:
        trajectory = judge_in(
            convention,
            log.loss,
            log.measured.get("positive_similarity"),
            log.measured.get("negative_similarity"),
            log.measured.get("lr"),
            classes,
        )
    except ValueError as error:
        return JudgedLog(log, convention, None, str(error), sources)
    return JudgedLog(log, convention, trajectory, None, sources)


def _instead(log: Log) -> Iterator[str]:
    """Columns that an impossible one may give way to: never to one whose name is of another loss.

    Where the name is sure, as nce_loss, rather N or τ are wrong.
    """
    taken = rank(log.column) or 0
    for name in log.others:
        other = rank(name)
        if other is not None and other < (PLAIN if taken < PLAIN else BEHIND):
            yield name


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
    if "queue" not in given and not VARIANTS.get(known.get("variant", ""), NT_XENT).queued:
        known.pop("queue", None)
    for name in ("batch_size", "temperature"):
        if name not in known:
            files = ", ".join(map(str, settings.searched))
            where = files or "no configuration beside the log"
            words = name.replace("_", " ")
            raise ValueError(f"{words}: not given and not found: {where}; add {KEYS[name].flag}")
    convention = Convention(**known)
    convention.limits()  # refuses what has none
    return convention
