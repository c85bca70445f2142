"""A log from a path: which file, which reader, which column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ntxent.diagnosis.trajectory import Series
from ntxent.logs.columns import Columns, NoLog
from ntxent.logs.events import event_rows
from ntxent.logs.text import text_rows

# What a folder may hold, the first kind found is read; event files of one folder are one run.
IN_FOLDER = (
    "metrics.csv",
    "*tfevents*",
    "*.jsonl",
    "*.csv",
    "*.tsv",
    "*/metrics.csv",
    "*/*tfevents*",
    "*/*/metrics.csv",
    "*/*/*tfevents*",
)

# Names of the loss column, the likeliest first; within a rank the longest series is taken.
LIKELY = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^(?!.*(val|test|eval)).*(contrastive|nt.?xent|info.?nce|simclr|moco|clip|ssl).*loss",
        r"^loss$",
        r"^train(ing)?[/_. ]?loss[/_. ]?step$",
        r"^train(ing)?[/_. ]?loss$",
        r"^loss[/_. ](train(ing)?|step)$",
        r"^train(ing)?[/_. ]?loss[/_. ]?epoch$",
        r"^(?!.*(val|test|eval))",
        r"",
    )
)


@dataclass(frozen=True)
class Log:
    """The losses of a run.

    ``others``: columns that may be the loss as well. ``problems``: the first of the ``skipped``
    rows or cells, with line numbers. ``measured``: logged similarities, and what else was asked
    for, by their names.
    """

    path: Path
    column: str
    loss: Series
    measured: dict[str, Series]
    others: tuple[str, ...]
    problems: tuple[str, ...]
    skipped: int


def read_log(path: str | Path, column: str | None = None, also: tuple[str, ...] = ()) -> Log:
    """Read the losses of a run, and the columns ``also`` where there are such, from a path.

    Raises:
        OSError: the path does not exist or cannot be read.
        NoLog: it holds no log, several, or no such column.
    """
    source = _locate(Path(path))
    columns = Columns(column, also)
    read = event_rows if source.is_dir() or "tfevents" in source.name else text_rows
    columns.collect(read(source, columns))
    series = columns.series()
    losses = [name for name in series if name not in columns.also or name == column]
    if not losses:
        raise NoLog(_no_column(source, column, columns))
    losses.sort(key=lambda name: (_rank(name), -len(series[name].values)))
    return Log(
        path=source,
        column=losses[0],
        loss=series[losses[0]],
        measured={name: series[name] for name in columns.also if name in series},
        others=tuple(losses[1:]),
        problems=tuple(columns.problems),
        skipped=columns.skipped,
    )


def _rank(name: str) -> int:
    return next(rank for rank, pattern in enumerate(LIKELY) if pattern.search(name))


def _no_column(source: Path, column: str | None, columns: Columns) -> str:
    broken = f"; unreadable: {columns.problems[0]}" if columns.problems else ""
    if not columns.names:
        return f"{source}: no scalar in it{broken}"
    names = ", ".join(list(columns.names)[:20])
    if column in columns.names or (column is None and "loss" in names.lower()):
        return f"{source}: no number in the loss column; columns: {names}{broken}"
    if column is None:
        return f"{source}: no column is named like a loss; choose with --column from {names}"
    return f"{source}: no column {column!r}; choose with --column from {names}"


def _locate(path: Path) -> Path:
    """A file, or a folder of event files."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; expected a log or run folder")
    if not path.is_dir():
        return path
    for pattern in IN_FOLDER:
        matches = sorted(path.glob(pattern))
        if "tfevents" in pattern:
            matches = sorted({match.parent for match in matches})
        if len(matches) > 1:
            names = ", ".join(str(match.relative_to(path)) for match in matches[:5])
            raise NoLog(f"{path}: holds {len(matches)} logs; name one of them: {names}")
        if matches:
            return matches[0]
    raise NoLog(
        f"{path}: holds no log; expected metrics.csv, *.csv, *.tsv, *.jsonl or TensorBoard events"
    )
