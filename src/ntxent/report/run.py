"""A run as its files tell it: finished, still going, or somebody else's log."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ntxent.bounds import NOT_GIVEN, Convention, Given
from ntxent.diagnosis import Series, Trajectory
from ntxent.logs import Log, NoLog, find_settings
from ntxent.logs.judged import complete, judge_log

__all__ = ["Run", "read_run"]

Array: TypeAlias = NDArray[np.float64]

COLUMNS = ("lr", "epoch")  # read beside the loss and the similarities


@dataclass(frozen=True)
class Run:
    """One run, as far as it has got.

    state: ``finished`` with a summary; ``unfinished``, a run folder without one; ``log``, a log
        that another tool wrote.
    loss: of every logged step, NaN and the infinite included; empty if nothing was logged.
    columns: what else was logged, by name.
    trajectory: what it means; None, and ``problem`` says why, if no loss is finite.
    measures: columns of ``report/measures.csv``; the other fields are files of that folder.
    notes: what a reader should know of the reading itself.
    """

    name: str
    path: Path
    state: Literal["finished", "unfinished", "log"]
    convention: Convention
    loss: Series
    columns: dict[str, Series]
    trajectory: Trajectory | None
    problem: str | None
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Array] = field(default_factory=dict)
    histograms: tuple[Mapping[str, Any], ...] = ()
    samples: Mapping[str, NDArray[Any]] | None = None
    pairs: NDArray[np.uint8] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def evaluation(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        found: Mapping[str, Any] = self.summary.get("evaluation") or {}
        return found

    def axes(self, steps: Array) -> dict[str, Array]:
        """The same steps as epochs and as seconds, where the run tells how many it had.

        Epochs are of equal length; the seconds between two recorded moments pass evenly.
        """
        axes = {"step": steps}
        epoch = self.columns.get("epoch")
        if epoch is not None and epoch.steps[-1] > 0:
            axes["epoch"] = steps * (epoch.values[-1] + 1) / (epoch.steps[-1] + 1)
        if len(self.measures.get("seconds", ())) > 1:
            axes["time"] = np.interp(steps, self.measures["step"], self.measures["seconds"])
        return axes


def read_run(path: str | Path, given: Given = NOT_GIVEN, column: str | None = None) -> Run:
    """Read a run folder, or any log that ``ntxent diagnose`` reads.

    Raises:
        OSError: the path does not exist or cannot be read.
        ValueError: it holds no log, or batch size and temperature are neither given nor found.
    """
    source = Path(path)
    notes: list[str] = []
    own = source.is_dir() and (source / "config.yaml").is_file()
    log, trajectory, problem = None, None, None
    try:
        log, convention, trajectory, problem, _ = judge_log(source, given, column, COLUMNS)
    except NoLog as error:
        if not own or column is not None:
            raise
        problem = f"No step has been logged yet: {error}"
        convention = complete(given, find_settings(source))
    if log is not None:
        notes += _reading_notes(log)
        problem = None if problem is None else f"The losses cannot be judged: {problem}"
    folder = source if log is None or own else log.path.parent
    summary = _json(folder / "summary.json", notes) if own else {}
    arrays = {name: _arrays(folder / "report" / f"{name}.npz", notes) for name in _ARRAYS}
    return Run(
        name=str(summary.get("name") or source.resolve().name),
        path=source,
        state="log" if not own else "finished" if summary else "unfinished",
        convention=convention,
        loss=Series(np.empty(0), np.empty(0)) if log is None else log.loss,
        columns={} if log is None else log.measured,
        trajectory=trajectory,
        problem=problem,
        config=_yaml(folder / "config.yaml", notes) if own else {},
        summary=summary,
        measures=_table(folder / "report" / "measures.csv"),
        histograms=tuple(_json(folder / "report" / "similarities.json", notes) or ()),
        samples=arrays["samples"],
        pairs=None if arrays["views"] is None else arrays["views"]["pairs"],
        data=_json(folder / "data.json", notes) if own else {},
        notes=tuple(notes),
    )


def _reading_notes(log: Log) -> list[str]:
    notes = []
    if log.others:
        names = ", ".join(log.others[:5])
        notes.append(f"The loss is column {log.column}; others may be it as well: {names}.")
    if log.skipped:
        first = "; ".join(log.problems[:3])
        notes.append(f"{log.skipped} rows or cells could not be read and are left out: {first}.")
    return notes


# --- files, each of which may be absent or broken -------------------------------------------------

_ARRAYS = {"samples": ("features", "labels", "thumbnails", "classes"), "views": ("pairs",)}


def _json(path: Path, notes: list[str]) -> Any:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        notes.append(f"{path.name} cannot be read as JSON and is left out: {error}.")
        return {}


def _yaml(path: Path, notes: list[str]) -> Mapping[str, Any]:
    import yaml

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        notes.append(f"{path.name} cannot be read as YAML and is left out: {error}.")
        return {}
    return tree if isinstance(tree, dict) else {}


def _arrays(path: Path, notes: list[str]) -> dict[str, NDArray[Any]] | None:
    if not path.is_file():
        return None
    try:
        with np.load(path) as archive:
            return {name: archive[name] for name in _ARRAYS[path.stem]}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        notes.append(f"{path.name} cannot be read and is left out: {error}.")
        return None


def _table(path: Path) -> dict[str, Array]:
    """Columns of numbers; a line that is not whole, as the last one of a running run, is left."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        rows = [row for row in map(_numbers, reader) if row]
    return {name: np.array([row[name] for row in rows]) for name in reader.fieldnames or ()}


def _numbers(row: Mapping[str, Any]) -> dict[str, float] | None:
    try:
        return {name: float(value) for name, value in row.items()}
    except (TypeError, ValueError):
        return None
