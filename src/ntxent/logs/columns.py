"""The columns of a log, collected from its rows.

A reader is a generator ``(path, columns) -> Iterator[(line, row)]`` of mappings from column to
value. It asks ``columns.want(name)`` which to include, and hands what it cannot read to
``columns.skip(line, why)``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import numpy as np

from ntxent.diagnosis.trajectory import Series

STEPS = ("step", "global_step", "trainer/global_step", "_step", "iteration", "iter", "epoch")
MEASURED = ("positive_similarity", "negative_similarity")
ABSENT = ("", "None", "null", "NA", "N/A")  # how writers of sparse tables leave a cell out
REPORTED = 10  # problems kept word for word


class NoLog(ValueError):
    """A path from which no losses can be read."""


class Columns:
    """Numbers by column, each with its step, and what could not be read."""

    def __init__(self, column: str | None, also: tuple[str, ...] = ()) -> None:
        self.column = column
        self.also = (*MEASURED, *also)
        self.names: dict[str, bool] = {}
        self.problems: list[str] = []
        self.skipped = 0
        self._steps: dict[str, array[float]] = {}
        self._values: dict[str, array[float]] = {}

    def want(self, name: str) -> bool:
        """Whether a column is a step, asked for, or the loss as far as its name tells."""
        if name not in self.names:
            loss = "loss" in name.lower() if self.column is None else name == self.column
            self.names[name] = loss or name in STEPS or name in self.also
        return self.names[name]

    def skip(self, line: int, why: str) -> None:
        self.skipped += 1
        if len(self.problems) < REPORTED:
            self.problems.append(f"line {line}: {why}")

    def collect(self, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        for index, (line, row) in enumerate(rows):
            numbers: dict[str, float] = {}
            for name, value in row.items():
                if value is None or value in ABSENT:
                    continue
                try:
                    numbers[name] = float(value)
                except (TypeError, ValueError):
                    self.skip(line, f"{name} = {str(value)[:40]!r} is not a number")
            stated = next((name for name in STEPS if row.get(name) not in (None, *ABSENT)), None)
            step = float(index) if stated is None else numbers.get(stated)
            if step is None:  # reported above
                continue
            if not isfinite(step):
                self.skip(line, f"{stated} is {step}")
                continue
            for name, number in numbers.items():
                if name not in STEPS or name == self.column or name in self.also:
                    self._steps.setdefault(name, array("d")).append(step)
                    self._values.setdefault(name, array("d")).append(number)

    def series(self) -> dict[str, Series]:
        return {
            name: Series(np.array(self._steps[name]), np.array(values))
            for name, values in self._values.items()
        }
