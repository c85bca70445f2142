"""The areas that are fuzzed: how each is drawn, run, and how much of the time it gets."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import strategies
from caching import run_cached
from cases import Case
from compiling import run_compiled
from faults import Fault, Ledger
from running import run_call, run_sequence
from splitting import Worlds, run_on_ranks


@dataclass(frozen=True)
class Area:
    cases: st.SearchStrategy[Any]
    run: Callable[[Any], list[Fault]]
    examples: int
    """Cases of one round in continuous integration."""


WORLDS = Worlds()

AREAS = {
    "call": Area(strategies.calls(), run_call, 500),
    "large call": Area(strategies.calls(large=True), run_call, 12),
    "sequence": Area(strategies.sequences(), run_sequence, 45),
    "cached": Area(strategies.cached(), run_cached, 120),
    "on ranks": Area(strategies.on_ranks(), partial(run_on_ranks, worlds=WORLDS), 80),
    "compiled": Area(strategies.compiled(), run_compiled, 4),
}


def fuzz(area: Area, ledger: Ledger, examples: int, number: int | None = None) -> None:
    """Check ``examples`` cases, the same ones each time; or those of a seed."""

    @settings(
        max_examples=examples,
        derandomize=number is None,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # the ledger makes faults smaller, and goes on
        suppress_health_check=list(HealthCheck),
    )
    @given(area.cases)
    def every(case: Case) -> None:
        ledger.check(case)

    (every if number is None else seed(number)(every))()
