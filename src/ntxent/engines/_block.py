"""A similarity block as PyTorch computes it, in one tile or in many: its dtype, the range of its
logits, and which pairs it excludes.
"""

import math
from functools import cached_property

import torch
from torch import Tensor

from ntxent.engines import accumulation_dtype

# nll = log(sum exp(l) * exp(-logit)) must not overflow: exp(2 B) * K below the largest float, for
# K up to 1e8 candidates in float32 and any K in float64.
_PLAIN_BOUND = {torch.float32: 35.0, torch.float64: 300.0}

_CHUNK = 128


class Labels:
    """Integers, one a row, with the range of every 128 of them where reading it is free.

    Reading a value back would stall an accelerator, so only the CPU looks before it leaps;
    elsewhere there is one range, and it is unbounded.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._ranges: list[tuple[float, float]]
        if values.device.type == "cpu":
            self._chunk = _CHUNK
            listed = values.tolist()
            parts = (listed[i : i + _CHUNK] for i in range(0, len(listed), _CHUNK))
            self._ranges = [(min(part), max(part)) for part in parts]
        else:
            self._chunk = max(1, len(values))
            self._ranges = [(-math.inf, math.inf)]

    def meeting(self, span: slice, low: float, high: float) -> slice | None:
        """The part of ``span`` outside which no label lies in [low, high]; None where none can."""
        first, last = span.start // self._chunk, -(-span.stop // self._chunk)
        ranges = enumerate(self._ranges[first:last], first)
        found = [chunk for chunk, (lowest, highest) in ranges if lowest <= high and low <= highest]
        if not found:
            return None
        start, stop = found[0] * self._chunk, (found[-1] + 1) * self._chunk
        return slice(max(start, span.start), min(stop, span.stop))

    def chunks(self, span: slice) -> list[tuple[slice, float, float]]:
        """The chunks of ``span``, which starts with one, and their ranges."""
        starts = range(span.start, span.stop, self._chunk)
        return [
            (slice(start, min(start + self._chunk, span.stop)), *self._ranges[start // self._chunk])
            for start in starts
        ]


class Block:
    """The arguments of an engine, resolved.

    *plain*: where every |l_ik| <= B, exp(l_ik) itself neither overflows nor underflows, and one
    exponential serves rows and columns. B is a proof, not a guess: |l_ik| <= scale max|x| max|y|.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        scale: Tensor,
        x_ids: Tensor,
        y_ids: Tensor | None,
        target: Tensor,
    ) -> None:
        self.dtype = accumulation_dtype(x.dtype)
        self.symmetric = y is None
        self.both_ways = y is not None and len(target) > len(x)
        self.scale = scale.to(self.dtype)
        self.x = x.to(self.dtype)
        self.y = self.x if y is None else y.to(self.dtype)
        self.plain = x.device.type == "cpu" and self._bound() <= _PLAIN_BOUND[self.dtype]
        self._ids = x_ids, y_ids

    def _bound(self) -> float:
        x = _longest(self.x)
        return abs(float(self.scale)) * x * (x if self.symmetric else _longest(self.y))

    @cached_property
    def labels(self) -> tuple[Labels, Labels]:
        """The ids of the rows and of the columns."""
        x, y = self._ids
        rows = Labels(x)
        return rows, rows if y is None else Labels(y)

    def sides(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Of one value an anchor, those of the rows and those of the columns that are anchors."""
        if self.symmetric:
            return values, values
        if not self.both_ways:
            return values, values[:0]
        return values[: len(self.x)], values[len(self.x) :]

    def exclude(self, values: Tensor, rows: slice, columns: slice, fill: float) -> None:
        """Overwrite the pairs of equal ids in the tile ``values`` of these rows and columns.

        Comparing and filling a whole tile takes half as long as its product; ids in order, as they
        are by default, meet in a few chunks only.
        """
        x_ids, y_ids = self._ids
        if len(self.x) <= _CHUNK >= len(self.y):
            values.masked_fill_(x_ids[:, None] == (x_ids if y_ids is None else y_ids), fill)
            return
        x, y = self.labels
        for span, low, high in x.chunks(rows):
            if (met := y.meeting(columns, low, high)) is not None:
                same = x.values[span, None] == y.values[met]
                above = slice(span.start - rows.start, span.stop - rows.start)
                left = slice(met.start - columns.start, met.stop - columns.start)
                values[above, left].masked_fill_(same, fill)


def _longest(rows: Tensor) -> float:
    return float(torch.linalg.vector_norm(rows, dim=1).amax())
