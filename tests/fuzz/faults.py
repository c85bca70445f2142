"""Faults: what they are, which are the same one, and the smallest case that shows each."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from cases import Case

Run = Callable[[Case], list["Fault"]]


@dataclass(frozen=True)
class Fault:
    what: str
    """The kind, without numbers."""
    detail: str


@dataclass
class Found:
    """A fault at its smallest case."""

    fault: Fault
    case: Case
    count: int = 1

    def __str__(self) -> str:
        return (
            f"{self.fault.what} ({self.count} cases)\n    {self.fault.detail}\n"
            f"    python tests/fuzz {str(self.case)!r}"
        )


def kind_of(message: str) -> str:
    """A message without its numbers and quoted values."""
    return re.sub(r"'[^']*'|-?\d[\d.e+-]*", "#", message)


class Ledger:
    """Runs cases, counts them, and keeps each kind of fault once, in its smallest case."""

    def __init__(self, run: Run, patience: float = 10.0) -> None:
        self.run, self.patience = run, patience
        self.cases = 0
        self.found: list[Found] = []

    def check(self, case: Case) -> None:
        self.cases += 1
        for fault in self.run(case):
            known = next((found for found in self.found if _same(found, fault, case)), None)
            if known is not None:
                known.count += 1
                continue
            smallest, last = self._smallest(case, fault)
            found = Found(last, smallest)
            # What looked new may be a known fault in a case with more in it.
            if not any(_same(known, last, smallest) for known in self.found):
                self.found.append(found)

    def _smallest(self, case: Case, fault: Fault) -> tuple[Case, Fault]:
        until = time.monotonic() + self.patience
        shrinking = True
        while shrinking and time.monotonic() < until:
            shrinking = False
            for simpler in case.simpler():
                if time.monotonic() > until:
                    break
                again = [other for other in self.run(simpler) if other.what == fault.what]
                if again:
                    case, fault, shrinking = simpler, again[0], True
                    break
        return case, fault

    def report(self) -> str:
        return "\n".join(f"{i}. {found}" for i, found in enumerate(self.found, 1))


def _same(found: Found, fault: Fault, case: Case) -> bool:
    """Whether the case has all that is special about a known one, and fails in the same way."""
    if type(case) is not type(found.case) or fault.what != found.fault.what:
        return False
    features = case.features()
    return all(
        name in features and (features[name] == value or isinstance(value, int | float | tuple))
        for name, value in found.case.features().items()
    )
