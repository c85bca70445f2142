"""A block as PyTorch computes it: its dtype, the range of its logits, the pairs it excludes."""

import math
from functools import cached_property

import torch
from torch import Tensor

from ntxent.engines.contract import Block, accumulation_dtype

# Where every |l_ik| <= B, w_i = a_i exp(-lambda_i - nu_i) of (7) must not overflow, nor the sum
# that nu is the logarithm of: exp(2 B) * K below the largest float, for K up to 1e8 candidates in
# float32 and any K in float64.
UNSHIFTED_BOUND = {torch.float32: 35.0, torch.float64: 300.0}

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


class Operands:
    """The rows of a block in the accumulation dtype, and how its exponentials stay in range.

    ``unshifted`` says that (7) holds: |l_ik| <= scale max|x| max|y| <= B. It is known on the CPU
    only, where reading the longest row back does not stall anything.
    """

    def __init__(self, block: Block) -> None:
        x, y, scale, self._x_ids, self._y_ids, self.target, self.both_ways, unit = block
        dtype = accumulation_dtype(x.dtype)
        self.dtype = dtype
        self.symmetric = y is None
        self.two_sided = y is None or self.both_ways
        """Whether the columns are anchors too."""
        self.scale = scale.to(dtype)
        self.x = x.to(dtype)
        self.y = self.x if y is None else y.to(dtype)
        self.unshifted = x.device.type == "cpu" and self._bound(unit) <= UNSHIFTED_BOUND[dtype]

    def _bound(self, unit: bool) -> float:
        scale: float = abs(self.scale.item())
        if unit:
            return scale * 1.02  # each coordinate of a bfloat16 row is rounded by up to 2^-8
        x = _longest(self.x)
        return scale * x * (x if self.symmetric else _longest(self.y))

    @property
    def anchors(self) -> int:
        return len(self.x) + len(self.y) if self.both_ways else len(self.x)

    def sides(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Of one value an anchor, those of the rows and those of the columns that are anchors."""
        if self.symmetric:
            return values, values
        return values[: len(self.x)], values[len(self.x) :]

    def target_grad(self, grad_nll: Tensor, grad_logit: Tensor | None) -> Tensor:
        """b - a of (4)."""
        return grad_nll.neg() if grad_logit is None else grad_logit - grad_nll

    def row_weight(self, sums_nll: Tensor, sums_logit: Tensor, grad_nll: Tensor) -> Tensor:
        """w of (7).

        Where there is no candidate, nu = -inf and every exp(l_ik) is left out as 0: any finite w
        does. Elsewhere lambda + nu >= -B - rounding.
        """
        floor = -UNSHIFTED_BOUND[self.dtype] - 1
        return grad_nll / (sums_logit + sums_nll).clamp_(min=floor).exp_()

    def same_ids(self) -> Tensor:
        """``[M, K]``: the excluded pairs, all at once."""
        y_ids = self._x_ids if self._y_ids is None else self._y_ids
        return self._x_ids.unsqueeze(1) == y_ids

    @cached_property
    def _labels(self) -> tuple[Labels, Labels]:
        """The ids of the rows and of the columns."""
        rows = Labels(self._x_ids)
        return rows, rows if self._y_ids is None else Labels(self._y_ids)

    def exclude(self, values: Tensor, rows: slice, columns: slice, fill: float) -> None:
        """Overwrite the pairs of equal ids in the tile ``values`` of these rows and columns.

        Comparing and filling a whole tile takes half as long as its product; ids in order, as they
        are by default, meet in a few chunks only.
        """
        x, y = self._labels
        for span, low, high in x.chunks(rows):
            if (met := y.meeting(columns, low, high)) is not None:
                same = x.values[span, None] == y.values[met]
                above = slice(span.start - rows.start, span.stop - rows.start)
                left = slice(met.start - columns.start, met.stop - columns.start)
                values[above, left].masked_fill_(same, fill)


def _longest(rows: Tensor) -> float:
    return float(torch.linalg.vector_norm(rows, dim=1).amax())
