"""The last, smaller batch of each epoch, whose loss is not that of the others."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Partial", "partial_batches"]

Array: TypeAlias = NDArray[np.float64]

WINDOW = 5  # neighbours whose median a value is compared with
SPREADS = 6  # median absolute deviations, scaled to a standard deviation, from which one is off
MAD = 1.4826
FEWEST = 4  # such values
SHORTEST = 4  # values of an epoch
REGULAR = 0.8  # share of the epochs that must have one


class Partial(NamedTuple):
    """Values regularly off: indices of them, the steps between two, and by how much they are."""

    at: NDArray[np.int64]
    every: float
    offset: float


def partial_batches(steps: Array, values: Array) -> Partial | None:
    """The values of incomplete batches, where there are such.

    They lie off their neighbours, all to one side, at one distance of each other, from the first
    epoch to the last. A smaller N has a smaller loss; a sum over the batch a smaller one still.
    """
    count = len(values)
    if count < FEWEST * SHORTEST:
        return None
    half = WINDOW // 2
    padded = np.pad(values, half, mode="reflect")
    off = values - np.median(np.lib.stride_tricks.sliding_window_view(padded, WINDOW), axis=1)
    spread = MAD * float(np.median(np.abs(off)))
    for side in (-1, 1):
        at = np.flatnonzero(side * off > SPREADS * max(spread, 1e-12 + 1e-6 * abs(values).max()))
        if len(at) < FEWEST:
            continue
        gaps = np.diff(at)
        every = int(np.median(gaps))
        if every < SHORTEST or at[0] > every or count - 1 - at[-1] > every:
            continue
        regular = at[at % every == np.bincount(at % every).argmax()]
        # Others may be off too, where values are noisy, but not many.
        if len(regular) < max(FEWEST, REGULAR * len(at), REGULAR * (count // every)):
            continue
        distance = float(np.median(np.diff(steps[regular])))
        return Partial(regular, distance, float(np.median(off[regular])))
    return None
