"""Fewer points for the eye, and none of the extremes lost."""

from __future__ import annotations

import warnings
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ntxent.diagnosis import Series

__all__ = ["POINTS", "Thinned", "rounded", "thin"]

Array: TypeAlias = NDArray[np.float64]

POINTS = 1000


class Thinned(NamedTuple):
    """Means of consecutive bins at the middle of their steps; ``low`` and ``high`` span each bin.

    A bin without a finite value is NaN. ``per_point`` is the number of values in a bin, 1 where
    nothing was left out: the three curves are then one.
    """

    steps: Array
    mean: Array
    low: Array
    high: Array
    per_point: int


def thin(series: Series, points: int = POINTS) -> Thinned:
    """At most ``points`` bins of equal size, the last one smaller.

    >>> spike = Series(np.arange(6.0), np.array([0, 0, 9, 0, 0, 0.0]))
    >>> [column.tolist() for column in thin(spike, points=2)[:4]]
    [[1.0, 4.0], [3.0, 0.0], [0.0, 0.0], [9.0, 0.0]]
    """
    steps, values = (np.asarray(column, dtype=np.float64) for column in series)
    per_point = max(1, -(-len(values) // points))
    finite = np.where(np.isfinite(values), values, np.nan)
    if per_point == 1:
        return Thinned(steps, finite, finite, finite, 1)
    padding = (0, -len(values) % per_point)
    bins = np.pad(finite, padding, constant_values=np.nan).reshape(-1, per_point)
    places = np.pad(steps, padding, constant_values=np.nan).reshape(-1, per_point)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NaN for a bin of NaNs is meant
        return Thinned(
            np.nanmean(places, 1),
            np.nanmean(bins, 1),
            np.nanmin(bins, 1),
            np.nanmax(bins, 1),
            per_point,
        )


def rounded(values: Array, digits: int = 6) -> list[float | None]:
    """JSON values of ``digits`` significant digits; None for what is not finite.

    >>> rounded(np.array([1 / 3, np.nan]))
    [0.333333, None]
    """
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in map(float, values)]
