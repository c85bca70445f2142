"""The fastest tiling for a kernel and a size of problem, looked for once."""

import statistics
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise

import torch
from triton.runtime.errors import OutOfResources

from ntxent.engines._triton import INTERPRETED
from ntxent.engines._triton.blocks import Operands, Side
from ntxent.engines._triton.tiling import Tiling, candidates, interpreted, power_of_two

# Rows beyond which it is not looked for again: the device is full many times over.
_ENOUGH_ROWS = 2**14
_PASSES = 5


class Tuner:
    """Remembers the fastest tiling for each key.

    ``time`` gives the time of a call, or None where the device lacks the memory for it.
    """

    def __init__(self, time: Callable[[Callable[[], object]], float | None]) -> None:
        self._time = time
        self._best: dict[Hashable, Tiling] = {}

    def fastest(
        self, key: Hashable, tilings: Sequence[Tiling], run: Callable[[Tiling], object]
    ) -> Tiling:
        if key not in self._best:
            times: dict[Tiling, float] = {}
            for tiling in tilings:
                time = self._time(lambda tiling=tiling: run(tiling))  # type: ignore[misc]
                if time is not None:
                    times[tiling] = time
            self._best[key] = min(times, key=times.__getitem__, default=tilings[0])
        return self._best[key]


def _milliseconds(run: Callable[[], object]) -> float | None:
    """Median of a few passes after one that compiles."""
    try:
        run()
    except OutOfResources:
        return None
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(_PASSES + 1)]  # type: ignore[no-untyped-call]
    marks[0].record()
    for mark in marks[1:]:
        run()
        mark.record()
    marks[-1].synchronize()
    return statistics.median(float(a.elapsed_time(b)) for a, b in pairwise(marks))


_TUNER = Tuner(_milliseconds)


def fastest(kernel: str, block: Operands, run: Callable[[Operands, Tiling], object]) -> Tiling:
    """The tiling with which ``run`` is fastest on a block of this size.

    Timing may choose differently from run to run, and another tiling sums in another order. So
    where ``torch.use_deterministic_algorithms`` wants the same bits every time nothing is timed,
    nor while a CUDA graph is captured, which must not wait: the first candidate serves.
    """
    if INTERPRETED:
        return interpreted(block.width)
    rows = block.x.rows
    tilings = candidates(rows.dtype, block.precision, block.width, atomic=kernel == "tiles")
    if torch.are_deterministic_algorithms_enabled() or torch.cuda.is_current_stream_capturing():
        return tilings[0]
    count = min(power_of_two(max(len(rows), len(block.y.rows))), _ENOUGH_ROWS)
    key = kernel, rows.device, rows.dtype, block.precision, power_of_two(block.width), count

    def trial(tiling: Tiling) -> None:
        row = torch.arange(count, device=rows.device)
        side = Side(rows.new_zeros(count, block.width), row, row ^ 1)
        run(block._replace(x=side, y=side, symmetric=True, both=True), tiling)

    return _TUNER.fastest(key, tilings, trial)
