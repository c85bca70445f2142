"""A log from a path: which file, which reader, which column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ntxent.diagnosis.trajectory import Series
from ntxent.logs.alike import Row
from ntxent.logs.columns import Columns, NoLog
from ntxent.logs.events import event_rows, is_events
from ntxent.logs.folders import locate
from ntxent.logs.names import quantity, rank, tokens
from ntxent.logs.text import text_rows

__all__ = ["Log", "NoLog", "read_log"]


SHOWN = 12  # numbers shown of a log without a loss


@dataclass(frozen=True)
class Log:
    """The losses of a run.

    ``others``: columns that may be the loss as well, the likelier first; ``rivals``: those that are
    as likely as the one taken. ``problems``: the first of the ``skipped`` rows or cells, with line
    numbers. ``measured``: logged similarities, learning rate, temperature, and what else was asked
    for, by their names. ``notes``: why this column was taken, where that needs a word. ``stated``:
    the first numbers of the log by their names, settings perhaps among them.
    """

    path: Path
    column: str
    loss: Series
    measured: dict[str, Series]
    others: tuple[str, ...]
    problems: tuple[str, ...]
    skipped: int
    rivals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    columns: tuple[tuple[str, Series], ...] = ()
    stated: Mapping[str, float] = field(default_factory=dict)

    def with_column(self, name: str, note: str) -> Log:
        """The same log with another of its columns as the loss."""
        series = dict(self.columns)
        others = tuple(other for other in (self.column, *self.others) if other != name)
        notes = (*self.notes, note)
        return replace(self, column=name, loss=series[name], others=others, rivals=(), notes=notes)


def read_log(
    path: str | Path,
    column: str | None = None,
    also: tuple[str, ...] = (),
    progress: Callable[[float], object] | None = None,
) -> Log:
    """Read the losses of a run, and the columns ``also`` where there are such, from a path.

    Args:
        path: A file, a folder that holds one log, or ``-`` for standard input.
        column: The column of the loss; else the one whose name is the likeliest.
        also: Further columns to read.
        progress: Called with the share of a file that has been read, now and then.

    Raises:
        OSError: the path does not exist or cannot be read.
        NoLog: it holds no log, several, or no such column.
    """
    source = locate(Path(path))
    events = is_events(source) or (source.is_dir() and source.name != "metrics")
    columns = Columns(column, also, run_on=not events)
    if progress is not None and source.is_file():
        size = source.stat().st_size
        columns.progress = lambda position: progress(position / max(size, 1))
    columns.collect(_rows(source, columns, events))
    series = columns.series()
    ranks = {name: 0 if name == column else rank(name) for name in series}
    losses = [name for name in series if (name not in columns.also or name == column)]
    losses = [name for name in losses if name == column or ranks[name] is not None]
    if not losses and column is None:  # a table with one column beside its steps
        losses = [name for name in series if name.startswith("column ")]
        losses = losses if len(losses) == 1 else []
    if not losses:
        raise NoLog(_no_column(source, column, columns))
    longest = max(len(series[name].values) for name in losses)
    # The summary of a run, one row at its end, is no series beside hundreds.
    short = {name for name in losses if len(series[name].values) == 1 < longest / 4}
    losses.sort(key=lambda name: (name in short, ranks[name] or 0, -len(series[name].values)))
    taken, *others = losses
    beside = {name: found for name, found in series.items() if name not in losses}
    return Log(
        path=source,
        column=taken,
        loss=series[taken],
        measured=_measured(beside, columns.also),
        others=tuple(name for name in others if name not in short),
        problems=tuple(columns.problems),
        skipped=columns.skipped,
        notes=_pooled(columns, taken),
        rivals=() if column else tuple(_rivals(taken, others, ranks, series)),
        columns=tuple((name, series[name]) for name in losses),
        stated=columns.first | _last(beside),
    )


def _rows(source: Path, columns: Columns, events: bool) -> Iterator[Row]:
    if events:
        yield from event_rows(source, columns)
    elif source.is_dir():  # MLflow: a file for each metric
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            yield from text_rows(file, columns)
    else:
        yield from text_rows(source, columns)


def _pooled(columns: Columns, name: str) -> tuple[str, ...]:
    stride = columns.stride(name)
    if stride == 1:
        return ()
    return (f"Each value is the mean of {stride} consecutive ones of the log, to save memory.",)


def _last(series: dict[str, Series]) -> dict[str, float]:
    return {name: float(column.values[-1]) for name, column in series.items()}


def _measured(series: dict[str, Series], also: tuple[str, ...]) -> dict[str, Series]:
    """Columns beside the loss: those asked for by their names, and by what they are."""
    found = {name: series[name] for name in also if name in series}
    for name, column in series.items():
        joined = "_".join(tokens(name))
        for kind in ("lr", "learning_rate", "logit_scale", "temperature"):
            if joined.endswith(kind):
                found.setdefault("lr" if kind == "learning_rate" else kind, column)
    return found


def _rivals(
    taken: str, others: list[str], ranks: dict[str, int | None], series: dict[str, Series]
) -> Iterator[str]:
    """Columns of another quantity or run whose names are as good, with as many values."""
    for name in others:
        alike = (ranks[name] or 0) // 10 == (ranks[taken] or 0) // 10
        many = 2 * len(series[name].values) >= len(series[taken].values)
        other_run = " - " in name and name.rsplit(" - ", 1)[0] != taken.rsplit(" - ", 1)[0]
        if alike and many and (other_run or quantity(name) != quantity(taken)):
            yield name


def _no_column(source: Path, column: str | None, columns: Columns) -> str:
    broken = f"; unreadable: {columns.problems[0]}" if columns.problems else ""
    if not columns.names and not columns.first:
        return f"{source}: no scalar in it{broken}"
    names = ", ".join(list(columns.names)[:20])
    if column in columns.names or (column is None and "loss" in names.lower()):
        return f"{source}: no number in the loss column; columns: {names}{broken}"
    if column is None:
        numbers = list(columns.first.items())[:SHOWN]
        first = ", ".join(f"{name} = {value:g}" for name, value in numbers)
        shown = f"; its first numbers: {first}" if first else ""
        return f"{source}: no column is named like a loss; choose with --column from {names}{shown}"
    return f"{source}: no column {column!r}; choose with --column from {names}"
