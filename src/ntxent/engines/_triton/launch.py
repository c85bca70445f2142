"""What is allocated and launched, in which order; the laws are those of an Engine.

Nothing here reads a value back from the device, so that the host never waits, and a call can be
captured in a CUDA graph. Memory beyond inputs and outputs is O(M + K) and a workspace of fixed
size.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

from ntxent.engines import accumulation_dtype
from ntxent.engines._triton import INTERPRETED, kernels
from ntxent.engines._triton.precision import products
from ntxent.engines._triton.tiling import Tiling, Tuner, candidates, power_of_two

# Where sums of columns wait to be added: 32 MiB stay in the L2 cache of an A100 (40 MB) or an H100
# (50 MB).
_WORKSPACE = 2**25
# A few programs for each of the 108 or 132 multiprocessors of these, so that long and short ones
# even out.
_PROGRAMS = 1024
# Rows beyond which the best tiling is not looked for again: the device is full many times over.
_ENOUGH_ROWS = 2**14
_PASSES = 5


class _Side(NamedTuple):
    """The rows on one side of a block, and the labels of each."""

    rows: Tensor
    ids: Tensor
    target: Tensor

    def blocks(self, tiling: Tiling) -> int:
        return _ratio(len(self.rows), tiling.block)


class _Block(NamedTuple):
    """A similarity block as the kernels take it."""

    x: _Side
    y: _Side
    scale: Tensor
    precision: str
    symmetric: bool
    both: bool
    """Whether the rows of ``y`` are anchors too."""

    @property
    def width(self) -> int:
        return self.x.rows.shape[1]

    @property
    def transposed(self) -> "_Block":
        return self._replace(x=self.y, y=self.x)


def _block(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
) -> _Block:
    dtype, precision = products(x)

    def side(rows: Tensor, ids: Tensor, target: Tensor) -> _Side:
        return _Side(rows.to(dtype).contiguous(), ids.contiguous(), target.contiguous())

    scale = scale.to(accumulation_dtype(x.dtype))
    first = side(x, x_ids, target[: len(x)])
    if y is None or y_ids is None:
        return _Block(first, first, scale, precision, symmetric=True, both=True)
    both = len(target) > len(x)
    # Where they are no anchors, any label stands in for the target that nobody looks for.
    second = side(y, y_ids, target[len(x) :] if both else y_ids)
    return _Block(first, second, scale, precision, symmetric=False, both=both)


def _ratio(whole: int, part: int) -> int:
    """Rounded up."""
    return -(-whole // part)


def _shares(blocks: int, panels: int) -> tuple[int, int]:
    """(how many programs share the columns of a row block, how many blocks each takes)."""
    chunk = _ratio(blocks, min(blocks, _ratio(_PROGRAMS, panels)))
    return _ratio(blocks, chunk), chunk


def _on(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


# --- forward --------------------------------------------------------------------------------------


def forward(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    with _on(x.device):
        block = _block(x, y, scale, x_ids, y_ids, target)
        nll, logit = _sums(block, _tiling("forward", block))
    return nll, logit, nll.new_empty(0)


def _describe(side: _Side, like: Tensor, tiling: Tiling) -> tuple[Tensor, Tensor]:
    blocks = side.blocks(tiling)
    longest = like.new_empty(blocks)
    ranges = like.new_empty((4, blocks), dtype=torch.int64)
    width = side.rows.shape[1]
    kernels.describe[(blocks,)](
        *side, longest, ranges, len(side.rows), width, tiling.block, min(64, power_of_two(width))
    )
    return longest, ranges


def _sums(block: _Block, tiling: Tiling) -> tuple[Tensor, Tensor]:
    """nll and logit of every anchor, panel by panel of row blocks."""
    x, y, scale, *_ = block
    m, k = len(x.rows), len(y.rows)
    anchors = m if block.symmetric or not block.both else m + k
    nll, logit = scale.new_empty(anchors), scale.new_empty(anchors)
    # Of the columns; rows and columns are the same in a symmetric block.
    column_nll, column_logit = (nll, logit) if block.symmetric else (nll[m:], logit[m:])
    x_longest, x_ranges = _describe(x, scale, tiling)
    y_longest, y_ranges = (
        (x_longest, x_ranges) if block.symmetric else _describe(y, scale, tiling)
    )

    x_blocks, y_blocks = x.blocks(tiling), y.blocks(tiling)
    height = x_blocks
    if block.both:
        height = min(height, max(1, _WORKSPACE // (2 * scale.itemsize * k)))
    column = scale.new_empty(2, height if block.both else 0, k)
    running = scale.new_empty(2, k if height < x_blocks else 0)
    for first in range(0, x_blocks, height):
        panels = min(height, x_blocks - first)
        end = first + panels
        splits, chunk = _shares(y_blocks - first if block.symmetric else y_blocks, panels)
        row = scale.new_empty(2, splits, panels * tiling.block)
        kernels.sum_tiles[(panels, splits)](
            x.rows,
            y.rows,
            scale,
            x.ids,
            y.ids,
            x.target,
            y.target,
            x_longest,
            y_longest,
            x_ranges,
            y_ranges,
            logit,
            column_logit,
            *row,
            *column,
            m,
            k,
            first,
            chunk,
            SYMMETRIC=block.symmetric,
            COLUMNS=block.both,
            D=block.width,
            BLOCK=tiling.block,
            BLOCK_D=tiling.depth,
            PRECISION=block.precision,
            num_warps=tiling.warps,
            num_stages=tiling.stages,
        )

        def merge(
            side: _Side, nll: Tensor, logit: Tensor, start: int, stop: int, rows_end: int, columns: bool
        ) -> None:
            kernels.merge_sums[(stop - start,)](
                *row,
                *column,
                *running,
                side.target,
                logit,
                nll,
                len(side.rows),
                first,
                panels,
                splits,
                start,
                rows_end,
                RESUME=columns and first > 0,
                FINISH=end == x_blocks,
                COLUMNS=columns,
                SYMMETRIC=block.symmetric,
                BLOCK=tiling.block,
            )

        if block.symmetric:
            merge(x, nll, logit, first, x_blocks, end, columns=True)
        else:
            merge(x, nll, logit, first, end, end, columns=False)
            if block.both:
                merge(y, column_nll, column_logit, 0, y_blocks, 0, columns=True)
    return nll, logit


# --- backward -------------------------------------------------------------------------------------


class _Upstream(NamedTuple):
    """Of the anchors on one side."""

    grad_nll: Tensor
    grad_logit: Tensor
    nll: Tensor
    logit: Tensor


class _Prepared(NamedTuple):
    """What ``prepare`` leaves for one side; only ``ranges`` where its rows are no anchors."""

    values: Tensor
    lows: Tensor
    highs: Tensor
    ranges: Tensor


def backward(
    grad_nll: Tensor,
    grad_logit: Tensor,
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
    nll: Tensor,
    logit: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor]:
    """Each program owns its rows of the gradient: no atomics, the same bits every time."""
    inputs = (x, y, scale, x_ids, y_ids, target)
    return _gradients("backward", inputs, _Upstream(grad_nll, grad_logit, nll, logit))


def backward_atomic(
    grad_nll: Tensor,
    grad_logit: Tensor,
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
    nll: Tensor,
    logit: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor]:
    """Each tile is computed once, and adds to its rows and its columns whenever it is ready."""
    inputs = (x, y, scale, x_ids, y_ids, target)
    kernel = "backward" if torch.are_deterministic_algorithms_enabled() else "atomic"
    return _gradients(kernel, inputs, _Upstream(grad_nll, grad_logit, nll, logit))


def _gradients(
    kernel: str, inputs: tuple[Any, ...], upstream: _Upstream
) -> tuple[Tensor, Tensor]:
    with _on(inputs[0].device):
        block = _block(*inputs)
        upstream = _Upstream(*(values.contiguous() for values in upstream))
        tiling = _tiling(kernel, block)
        return _GRADIENTS[kernel](block, upstream, tiling)


def _prepare(
    side: _Side, upstream: _Upstream | None, like: Tensor, tiling: Tiling
) -> _Prepared:
    blocks, count = side.blocks(tiling), len(side.rows)
    anchors = upstream is not None
    values = like.new_empty(3, count if anchors else 0)
    lows, highs = like.new_empty(2, blocks if anchors else 0)
    ranges = like.new_empty((4, blocks), dtype=torch.int64)
    kernels.prepare[(blocks,)](
        *(upstream or 4 * (values,)),
        side.ids,
        side.target,
        values,
        lows,
        highs,
        ranges,
        count,
        ANCHORS=anchors,
        BLOCK=tiling.block,
    )
    return _Prepared(values, lows, highs, ranges)


def _both_prepared(
    block: _Block, upstream: _Upstream, tiling: Tiling
) -> tuple[_Prepared, _Prepared]:
    m = len(block.x.rows)
    if block.symmetric:
        prepared = _prepare(block.x, upstream, block.scale, tiling)
        return prepared, prepared
    rows = _Upstream(*(values[:m] for values in upstream))
    columns = _Upstream(*(values[m:] for values in upstream)) if block.both else None
    return (
        _prepare(block.x, rows, block.scale, tiling),
        _prepare(block.y, columns, block.scale, tiling),
    )


def _by_rows(block: _Block, upstream: _Upstream, tiling: Tiling) -> tuple[Tensor, Tensor]:
    x, y = _both_prepared(block, upstream, tiling)
    dx = _rows_gradient(block, x, y, tiling)
    if block.symmetric:
        return dx, dx.new_empty(0)
    return dx, _rows_gradient(block.transposed, y, x, tiling)


def _rows_gradient(block: _Block, x: _Prepared, y: _Prepared, tiling: Tiling) -> Tensor:
    """Gradient of one side; where few rows meet many columns, by shares that are then added."""
    x_blocks, y_blocks = block.x.blocks(tiling), block.y.blocks(tiling)
    outs = _ratio(block.width, tiling.out)
    splits, chunk = _shares(y_blocks, x_blocks * outs)
    shares = block.scale.new_empty(splits, *block.x.rows.shape)
    _launch_gradient(block, x, y, shares, shares, (x_blocks, outs, splits), chunk, tiling, False)
    return shares.squeeze(0) if splits == 1 else shares.sum(0)


def _by_tiles(block: _Block, upstream: _Upstream, tiling: Tiling) -> tuple[Tensor, Tensor]:
    x, y = _both_prepared(block, upstream, tiling)
    x_blocks, y_blocks = block.x.blocks(tiling), block.y.blocks(tiling)
    outs = _ratio(block.width, tiling.out)
    splits, chunk = _shares(y_blocks, x_blocks * outs)
    dx = block.scale.new_zeros(block.x.rows.shape)
    dy = dx if block.symmetric else block.scale.new_zeros(block.y.rows.shape)
    _launch_gradient(block, x, y, dx, dy, (x_blocks, outs, splits), chunk, tiling, True)
    return dx, dx.new_empty(0) if block.symmetric else dy


def _launch_gradient(
    block: _Block,
    x: _Prepared,
    y: _Prepared,
    dx: Tensor,
    dy: Tensor,
    grid: tuple[int, int, int],
    chunk: int,
    tiling: Tiling,
    atomic: bool,
) -> None:
    kernels.gradient[grid](
        block.x.rows,
        block.y.rows,
        block.scale,
        block.x.ids,
        block.y.ids,
        block.x.target,
        block.y.target,
        x.values,
        y.values,
        x.lows,
        y.lows,
        x.highs,
        y.highs,
        x.ranges,
        y.ranges,
        dx,
        dy,
        len(block.x.rows),
        len(block.y.rows),
        chunk,
        X_ANCHORS=x.values.numel() > 0,
        Y_ANCHORS=y.values.numel() > 0,
        ATOMIC=atomic,
        TRIANGLE=atomic and block.symmetric,
        D=block.width,
        BLOCK=tiling.block,
        BLOCK_D=tiling.depth,
        BLOCK_OUT=tiling.out,
        PRECISION=block.precision,
        num_warps=tiling.warps,
        num_stages=tiling.stages,
    )


_GRADIENTS = {"backward": _by_rows, "atomic": _by_tiles}


# --- tiling ---------------------------------------------------------------------------------------


def _tiling(kernel: str, block: _Block) -> Tiling:
    return candidates(block.width, block.x.rows.itemsize)[0]
