"""The arguments of the kernels, from those of an engine."""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from ntxent.engines._triton.precision import products
from ntxent.engines._triton.tiling import Tiling
from ntxent.engines.contract import Block, accumulation_dtype

# A few programs for each of the 108 or 132 multiprocessors of an A100 or H100, so that long and
# short ones even out.
_PROGRAMS = 512


class Side(NamedTuple):
    """The rows on one side of a block, and the labels of each."""

    rows: Tensor
    ids: Tensor
    target: Tensor

    def blocks(self, tiling: Tiling) -> int:
        return ratio(len(self.rows), tiling.block)


class Operands(NamedTuple):
    """A block as the kernels take it."""

    x: Side
    y: Side
    scale: Tensor
    precision: str
    """Triton's ``input_precision``."""
    symmetric: bool
    both: bool
    """Whether the rows of ``y`` are anchors too."""

    @property
    def width(self) -> int:
        return self.x.rows.shape[1]

    @property
    def transposed(self) -> "Operands":
        return self._replace(x=self.y, y=self.x)


def operands(block: Block) -> Operands:
    """The rows, labels and scale of a block, contiguous and in the dtype of the products."""
    x, y, scale, x_ids, y_ids, target, both_ways, _ = block
    dtype, precision = products(x)
    if target is None:  # -1 is nobody's target
        anchors = len(x) + len(y) if both_ways and y is not None else len(x)
        target = x_ids.new_full((anchors,), -1)

    def side(rows: Tensor, ids: Tensor, target: Tensor) -> Side:
        return Side(rows.to(dtype).contiguous(), ids.contiguous(), target.contiguous())

    scale = scale.to(accumulation_dtype(x.dtype))
    first = side(x, x_ids, target[: len(x)])
    if y is None or y_ids is None:
        return Operands(first, first, scale, precision, symmetric=True, both=True)
    # Where they are no anchors, any label stands in for the target that nobody looks for.
    second = side(y, y_ids, target[len(x) :] if both_ways else y_ids)
    return Operands(first, second, scale, precision, symmetric=False, both=both_ways)


def ratio(whole: int, part: int) -> int:
    """Rounded up.

    >>> ratio(7, 3)
    3
    """
    return -(-whole // part)


def shares(blocks: int, panels: int) -> tuple[int, int]:
    """(how many programs share the columns of a row block, how many blocks each takes).

    >>> shares(1000, 100)
    (6, 167)
    """
    chunk = ratio(blocks, min(blocks, ratio(_PROGRAMS, panels)))
    return ratio(blocks, chunk), chunk


def on(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
