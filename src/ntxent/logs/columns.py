"""The columns of a log, collected from its rows.

A reader is a generator ``(source, columns) -> Iterator[(line, Line)]``. It asks
``columns.want(name)`` which names to include, and hands what it cannot read to
``columns.skip(line, why)``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from math import isfinite
from typing import Any

from ntxent.diagnosis.trajectory import Series
from ntxent.logs.alike import Many, Row
from ntxent.logs.grammar import ABSENT, Line
from ntxent.logs.names import is_epoch, rank, step_rank, tokens
from ntxent.logs.pooled import CHUNK, Column

MEASURED = ("positive_similarity", "negative_similarity")
RATES = ("lr", "learning_rate")
SCALES = ("logit_scale", "temperature")
REPORTED = 10  # problems kept word for word
LOOKED_AT = 200  # rows whose numbers are kept for settings and refusals
# What a column is, beside the ranks of steps.
_LEFT, _EPOCH, _EPOCH_TOO, _VALUE = 50, 51, 52, 53


class NoLog(ValueError):
    """A path from which no losses can be read."""


class Columns:
    """Numbers by column, each with its step, and what could not be read."""

    def __init__(
        self,
        column: str | None,
        also: tuple[str, ...] = (),
        run_on: bool = True,
        progress: Callable[[int], object] = lambda position: None,
    ) -> None:
        self.column = column
        self.progress = progress  # called with the bytes of the file that have been read
        self.also = (*MEASURED, *also)
        self.names: dict[str, bool] = {}
        self.problems: list[str] = []
        self.skipped = 0
        self.first: dict[str, float] = {}
        self._seen = 0
        self._roles: dict[str, int] = {}
        self._stepped: set[str] = set()
        self._place = _Place(run_on)
        self._columns: dict[str, Column] = {}

    def want(self, name: str) -> bool:
        """Whether a column is a step, asked for, or the loss as far as its name tells."""
        wanted = self.names.get(name)
        if wanted is None:
            loss = rank(name) is not None if self.column is None else name == self.column
            wanted = loss or name in self.also or _beside(name)
            self.names[name] = wanted = wanted or step_rank(name) is not None or is_epoch(name)
        return wanted

    def skip(self, line: int, why: str) -> None:
        self.skipped += 1
        if len(self.problems) < REPORTED:
            self.problems.append(f"line {line}: {why}")

    def show(self, numbers: dict[str, Any]) -> None:
        """Keep the first numbers of a log: settings may be among them, and a refusal names them."""
        if self._seen < LOOKED_AT:
            self._seen += 1
            for name, value in numbers.items():
                if isinstance(value, (int, float)):
                    self.first.setdefault(name, value)

    def _role(self, name: str) -> int:
        """The rank of a step, or what else a column is."""
        place = step_rank(name)
        if not self.want(name):
            return _LEFT
        if place is not None and name != self.column:
            return place
        if name != self.column and is_epoch(name):
            return _EPOCH_TOO if name in self.also else _EPOCH
        return _VALUE

    def collect(self, rows: Iterable[Row]) -> None:
        roles, columns = self._roles, self._columns
        for row in rows:
            if isinstance(row, Many):
                self._collect_many(row)
                continue
            line, (read, epoch, step, total) = row
            best = _LEFT if step is None else -1
            numbers: list[tuple[str, float]] = []
            for name, value in read.items():
                role = roles.get(name)
                if role is None:
                    role = roles[name] = self._role(name)
                if role == _LEFT or value in ABSENT:
                    continue
                try:
                    number = float(value)
                except (TypeError, ValueError):
                    self.skip(line, f"{name} = {str(value)[:40]!r} is not a number")
                    if role < _LEFT:
                        numbers.clear()
                        break
                    continue
                if role < _LEFT:
                    if role < best:
                        step, best = number, role
                    continue
                if role in (_EPOCH, _EPOCH_TOO):
                    epoch = number
                if role != _EPOCH:
                    numbers.append((name, number))
            if not (isfinite(step or 0.0) and isfinite(epoch or 0.0)):
                self.skip(line, f"the step is {epoch if step is None else step}")
                continue
            mean = step is None and epoch is not None and self._place.counted
            at = self._place(epoch, step, total, bool(numbers))
            for name, number in numbers:
                if mean and name in self._stepped:
                    name = f"{name} (epoch)"  # the mean of an epoch among the values of its steps
                elif step is not None:
                    self._stepped.add(name)
                known = columns.get(name)
                if known is None:
                    known = columns[name] = Column()
                known.steps.append(at)
                known.values.append(number)
                if len(known.values) >= CHUNK:
                    known.pool()

    def _collect_many(self, rows: Many) -> None:
        """:meth:`collect` for rows with the same names, all of whose cells are numbers or empty."""
        best = _LEFT if rows.step is None else -1
        epochs: Sequence[float | None] | None = rows.epoch
        steps: Sequence[float | None] | None = rows.step
        numbers: dict[str, Sequence[float | None]] = {}
        for name, column in rows.numbers.items():
            role = self._role(name)
            if role < best:
                steps, best = column, role
            elif role in (_EPOCH, _EPOCH_TOO):
                epochs = column
            if role in (_VALUE, _EPOCH_TOO):
                numbers[name] = column
        sparse = {name for name, column in numbers.items() if None in column}
        if (steps and None in steps) or (sparse and not steps):
            for k, line in enumerate(rows.lines):
                cells = {name: column[k] for name, column in rows.numbers.items()}
                self.collect([(line, Line(cells))])
            return
        mean = steps is None and epochs is not None and self._place.counted
        blank: list[None] = [None] * len(rows.lines)
        at = array(
            "d",
            map(
                self._place,
                epochs or blank,
                steps or blank,
                rows.total or blank,
                repeat(bool(numbers)),
            ),
        )
        for name, column in numbers.items():
            if mean and name in self._stepped:
                name = f"{name} (epoch)"
            elif steps is not None:
                self._stepped.add(name)
            known = self._columns.setdefault(name, Column())
            if name in sparse:
                full = [k for k, value in enumerate(column) if value is not None]
                known.steps.extend(at[k] for k in full)
                known.values.extend(column[k] or 0.0 for k in full)
            else:
                known.steps.extend(at)
                known.values.extend(column)  # type: ignore[arg-type]
            if len(known.values) >= CHUNK:
                known.pool()

    def series(self) -> dict[str, Series]:
        return {name: column.series() for name, column in self._columns.items()}

    def stride(self, name: str) -> int:
        """How many values of the log one value of a column is the mean of."""
        return self._columns[name].stride


def _beside(name: str) -> bool:
    """Whether a column tells something of the loss: its learning rate, its temperature."""
    joined = "_".join(tokens(name))
    return joined.endswith(RATES) or joined.endswith(SCALES) or joined in ("s_lr",)


class _Place:
    """Where in the run a row stands: its step, run on where a counter restarts with an epoch."""

    def __init__(self, run_on: bool) -> None:
        self._run_on = run_on
        self._rows = 0
        self._epoch: float | None = None
        self._epoch_of_step: float | None = None
        self._step: float | None = None
        self._first: float | None = None
        self._stride = 1.0
        self._offset = 0.0

    @property
    def counted(self) -> bool:
        """Whether a row has said its step."""
        return self._step is not None

    def __call__(
        self, epoch: float | None, step: float | None, total: float | None, counts: bool
    ) -> float:
        epoch = self._epoch if epoch is None else epoch
        self._epoch = epoch
        if step is None:
            row = self._rows
            self._rows += counts
            if self._step is not None:  # a line of an epoch among lines of steps
                return self._offset + self._step
            return float(row) if epoch is None else epoch
        if self._step is None:
            self._first = step
        elif step <= self._step and self._run_on and self._restarts(epoch, step, total):
            whole = self._step + self._stride - step
            self._offset += max(total, whole) if total and total >= self._step else whole
        elif step > self._step:
            self._stride = step - self._step
        self._step, self._epoch_of_step = step, epoch
        return self._offset + step

    def _restarts(self, epoch: float | None, step: float, total: float | None) -> bool:
        """A resumed run goes back some steps, in the same epoch or an earlier one."""
        before = self._epoch_of_step
        if epoch is not None and before is not None:
            return epoch > before and (step < (self._step or 0.0) or total is not None)
        return step < (self._step or 0.0) and (total is not None or step <= (self._first or 0.0))
