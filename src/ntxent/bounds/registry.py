"""The registry: each theorem's number, statement, sharpness and source beside its function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .calling import P, checked
from .witnesses import Pair


@dataclass(frozen=True)
class Theorem:
    """One proven statement and the function that evaluates it.

    ``sharp`` says where equality holds (None: not claimed); ``witness(batch_size, temperature)``
    gives unit embeddings ``(z1, z2)`` that attain it, row i of one the positive of row i of the
    other. For a queue, z1 is one query and z2 its positive followed by the queue.
    """

    number: int
    title: str
    side: Literal["exact", "lower", "upper", "interval"]
    statement: str
    validity: str
    reference: str
    function: Callable[..., Any]
    sharp: str | None = None
    witness: Callable[[int, float], Pair] | None = None

    @property
    def anchor(self) -> str:
        return f"theorem-{self.number}"


THEOREMS: dict[str, Theorem] = {}


def theorem(
    number: int,
    title: str,
    side: Literal["exact", "lower", "upper", "interval"],
    statement: str,
    *,
    validity: str = "N ≥ 2, τ > 0",
    reference: str = "this project",
    sharp: str | None = None,
    witness: Callable[[int, float], Pair] | None = None,
) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Register a formula under its own name, with checked arguments."""

    def register(formula: Callable[P, Any]) -> Callable[P, Any]:
        function = checked()(formula)
        function.__doc__ = (
            f"{function.__doc__}\n\n    Theorem {number}: {title}. {side.capitalize()}; "
            f"sharp: {sharp or 'not claimed'}.\n    Valid for {validity}. Source: {reference}.\n"
        )
        THEOREMS[formula.__name__] = Theorem(
            number, title, side, statement, validity, reference, function, sharp, witness
        )
        return function

    return register
