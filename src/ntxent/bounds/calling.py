"""How a formula is called: checked arrays in, plain numbers out, each argument's meaning once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeAlias

import numpy as np
from numpy.typing import NDArray

Number: TypeAlias = float | NDArray[Any]
# A float for numbers, an array for arrays: like NumPy's own ufuncs, left to the caller.
Result: TypeAlias = Any
Check: TypeAlias = Callable[[str, Any], NDArray[Any]]
P = ParamSpec("P")

# A cosine measured in float32 may leave [-1, 1] by this much; it is clipped back.
SIMILARITY_SLACK = 1e-5


class Interval(NamedTuple):
    low: Result
    high: Result


def refuse(error: type[Exception], name: str, value: Any, expected: str) -> Exception:
    return error(f"{name}={value!r}: expected {expected}")


def count(least: int, why: str) -> Check:
    """Integers from ``least`` to 2^53, beyond which float64 skips integers."""

    def check(name: str, value: Any) -> NDArray[Any]:
        array = np.asarray(value)
        if array.dtype.kind not in "iu":
            remedy = "convert with int(...) or .astype(int)"
            raise refuse(TypeError, name, value, f"an integer or an array of integers; {remedy}")
        outside = array[(array < least) | (array > 2**53)]
        if outside.size:
            raise refuse(ValueError, name, outside[0].item(), f"{least} to 2**53; {why}")
        return array.astype(np.int64)

    return check


def real(low: float, high: float, expected: str, slack: float = 0.0) -> Check:
    """Finite reals in [low − slack, high + slack], clipped to [low, high]."""

    def check(name: str, value: Any) -> NDArray[Any]:
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise refuse(TypeError, name, value, "a real number or an array of real numbers")
        array = array.astype(np.float64)
        inside = (array >= low - slack) & (array <= high + slack) & np.isfinite(array)
        if not inside.all():
            raise refuse(ValueError, name, array[~inside][0].item(), expected)
        clipped: NDArray[Any] = np.clip(array, low, high)
        return clipped

    return check


class Argument(NamedTuple):
    meaning: str
    check: Check


_COSINE = real(
    -1, 1, "a mean cosine similarity in [-1, 1]; normalise the embeddings", SIMILARITY_SLACK
)

_ARGUMENTS = {
    "batch_size": Argument(
        "N ≥ 2, the number of positive pairs (2N embeddings)",
        count(2, "with one pair there is nothing to contrast and the loss is always 0"),
    ),
    "temperature": Argument(
        "τ > 0",
        real(1e-300, 1e300, "a temperature from 1e-300 to 1e300; the loss divides by it"),
    ),
    "dim": Argument("d ≥ 1, the dimension of the embeddings", count(1, "it counts coordinates")),
    "queue": Argument("K ≥ 1, the number of queued negatives", count(1, "it counts negatives")),
    "loss": Argument(
        "L ≥ 0, the mean over the anchors in nats, without an implementation's own factor",
        real(0, np.inf, "a finite loss ≥ 0 in nats: the positive is one of the candidates"),
    ),
    "similarity": Argument("s̄, the mean cosine similarity of the positive pairs", _COSINE),
    "positive": Argument("s̄, the mean cosine similarity of the positive pairs", _COSINE),
    "negative": Argument("n̄, the mean cosine similarity of the negative pairs", _COSINE),
}


def plain(result: Any) -> Any:
    """Python floats for numbers; float64 arrays, of one shape within a tuple, for arrays."""
    if isinstance(result, tuple):
        return type(result)(*map(plain, np.broadcast_arrays(*result)))
    return np.array(result, dtype=np.float64) if np.ndim(result) else float(result)


def checked(**special: Argument) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Give the formula checked arrays, its caller plain numbers, its docstring the arguments."""

    def decorate(formula: Callable[P, Any]) -> Callable[P, Any]:
        signature = inspect.signature(formula)
        arguments = {name: (_ARGUMENTS | special)[name] for name in signature.parameters}
        optional = {n for n, p in signature.parameters.items() if p.default is None}

        def accept(name: str, value: Any) -> Any:
            if name not in arguments or (value is None and name in optional):
                return value
            return arguments[name].check(name, value)

        @wraps(formula)
        def function(*args: P.args, **kwargs: P.kwargs) -> Any:
            # signature.bind took half the time of a formula; Python itself refuses wrong names.
            known = map(accept, arguments, args)
            surplus = args[len(arguments) :]
            named = {name: accept(name, value) for name, value in kwargs.items()}
            return plain(formula(*known, *surplus, **named))  # type: ignore[arg-type]

        lines = (f"    {name}: {argument.meaning}." for name, argument in arguments.items())
        function.__doc__ = "\n".join([f"{formula.__doc__}", *lines])
        return function

    return decorate
