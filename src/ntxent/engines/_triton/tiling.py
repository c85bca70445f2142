"""How large the tiles are: a few candidates for each kernel, timed once for a size of problem."""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple


class Tiling(NamedTuple):
    block: int
    """Rows and columns of a tile."""
    depth: int
    """How much of a row one product takes; all of it where that is at least its width."""
    out: int
    """Columns of the gradient that a program accumulates; ``depth`` where rows are whole."""
    warps: int
    stages: int


def power_of_two(n: int) -> int:
    """The next one, and at least 16: the shapes that Triton's products take.

    >>> power_of_two(3), power_of_two(100)
    (16, 128)
    """
    return max(16, 1 << (n - 1).bit_length())


def candidates(width: int, itemsize: int) -> list[Tiling]:
    """Tilings for rows of ``width`` numbers; the first fits on every supported device."""
    whole = power_of_two(width)
    if whole * itemsize <= 512:
        return [Tiling(64, whole, whole, 4, 2)]
    return [Tiling(64, 64, 128, 4, 2)]


class Tuner:
    """Remembers the fastest tiling for each key.

    ``time`` gives the time of a call, or None where it does not fit on the device.
    """

    def __init__(self, time: Callable[[Callable[[], object]], float | None]) -> None:
        self._time = time
        self._best: dict[Hashable, Tiling] = {}

    def fastest(
        self, key: Hashable, tilings: Sequence[Tiling], run: Callable[[Tiling], object]
    ) -> Tiling:
        if key not in self._best:
            times = {tiling: self._time(lambda t=tiling: run(t)) for tiling in tilings}
            fitting = {tiling: time for tiling, time in times.items() if time is not None}
            self._best[key] = min(fitting, key=fitting.__getitem__, default=tilings[0])
        return self._best[key]
