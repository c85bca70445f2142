"""The gradient in the rows: what is allocated and launched.

As in the forward pass, nothing waits for the device and memory beyond the results is O(M + K) and
a workspace of fixed size, but for shares of a gradient that are added afterwards where few rows
meet many columns.
"""

import math
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ntxent.engines._triton import kernels
from ntxent.engines._triton.blocks import Operands, Side, on, operands, ratio, shares
from ntxent.engines._triton.tiling import Tiling
from ntxent.engines._triton.tuning import fastest
from ntxent.engines.contract import Block, Sums

# Where a panel of G waits for its product: as much as the L2 cache of an A100 (40 MB) or an H100
# (50 MB) may hold; in bfloat16 4,096 rows and columns.
_WORKSPACE = 2**25


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


Gradients = Callable[[Operands, _Upstream, Tiling], tuple[Tensor, Tensor]]


def backward(
    block: Block, sums: Sums, grad_nll: Tensor, grad_logit: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Each program owns its rows of the gradient: no atomics, the same bits every time."""
    return _backward("rows", _by_rows, block, sums, grad_nll, grad_logit)


def backward_atomic(
    block: Block, sums: Sums, grad_nll: Tensor, grad_logit: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Each tile is computed once, and adds to its rows and its columns whenever it is ready."""
    if torch.are_deterministic_algorithms_enabled():
        return backward(block, sums, grad_nll, grad_logit)
    return _backward("tiles", _by_tiles, block, sums, grad_nll, grad_logit)


def _backward(
    name: str,
    gradients: Gradients,
    block: Block,
    sums: Sums,
    grad_nll: Tensor,
    grad_logit: Tensor | None,
) -> tuple[Tensor, Tensor]:
    grad_logit = torch.zeros_like(grad_nll) if grad_logit is None else grad_logit

    def trial(inputs: Operands, tiling: Tiling) -> object:
        zeros = inputs.scale.new_zeros(len(inputs.x.rows))
        return gradients(inputs, _Upstream(zeros, zeros, zeros, zeros), tiling)

    with on(block.x.device):
        inputs = operands(block)
        anchors = (v.contiguous() for v in (grad_nll, grad_logit, sums.nll, sums.logit))
        return gradients(inputs, _Upstream(*anchors), fastest(name, inputs, trial))


def _prepare(side: Side, upstream: _Upstream | None, like: Tensor, tiling: Tiling) -> _Prepared:
    blocks, count = side.blocks(tiling), len(side.rows)
    anchors = upstream is not None
    values = like.new_empty(3, count if anchors else 0)
    lows, highs = like.new_empty(2, blocks if anchors else 0)
    ranges = side.ids.new_empty(4, blocks)
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
    block: Operands, upstream: _Upstream, tiling: Tiling
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


def _by_rows(block: Operands, upstream: _Upstream, tiling: Tiling) -> tuple[Tensor, Tensor]:
    x, y = _both_prepared(block, upstream, tiling)
    dx = _rows_gradient(block, x, y, tiling)
    if block.symmetric:
        return dx, dx.new_empty(0)
    return dx, _rows_gradient(block.transposed, y, x, tiling)


def _rows_gradient(block: Operands, x: _Prepared, y: _Prepared, tiling: Tiling) -> Tensor:
    """Gradient of one side; where few rows meet many columns, by shares that are then added."""
    x_blocks, y_blocks = block.x.blocks(tiling), block.y.blocks(tiling)
    outs = ratio(block.width, tiling.out)
    splits, chunk = shares(y_blocks, x_blocks * outs)
    if outs > 1 and splits == 1:
        return _wide_rows_gradient(block, x, y, outs, tiling)
    parts = block.scale.new_empty(splits, *block.x.rows.shape)
    grid = x_blocks, outs, splits
    _launch(block, x, y, parts, parts, grid, chunk, tiling)
    return parts.squeeze(0) if splits == 1 else parts.sum(0)


def _wide_rows_gradient(
    block: Operands, x: _Prepared, y: _Prepared, outs: int, tiling: Tiling
) -> Tensor:
    """Gradient of one side where a program holds only some of its columns: G waits in memory, panel
    by panel, so that it is computed once and not ``outs`` times.
    """
    x_blocks, y_blocks = block.x.blocks(tiling), block.y.blocks(tiling)
    dx = block.scale.new_empty(block.x.rows.shape)
    # In the dtype of the product that follows; float16 holds no small weights.
    weights = block.x.rows if block.x.rows.dtype == torch.bfloat16 else block.scale
    tiles = _WORKSPACE // (weights.itemsize * tiling.block**2)
    height = min(x_blocks, max(1, math.isqrt(tiles)))
    width = min(y_blocks, max(1, tiles // height))
    panel = weights.new_empty(height * width * tiling.block**2)
    for first, start in product(range(0, x_blocks, height), range(0, y_blocks, width)):
        rows, columns = min(height, x_blocks - first), min(width, y_blocks - start)
        splits, chunk = shares(columns, rows)
        span = first, start, start + columns
        grid = rows, 1, splits
        _launch(block, x, y, panel, panel, grid, chunk, tiling, panel=span)
        kernels.add_panel[(outs, rows)](
            panel,
            block.y.rows,
            block.scale,
            dx,
            len(block.x.rows),
            len(block.y.rows),
            first,
            start,
            columns,
            RESUME=start > 0,
            D=block.width,
            BLOCK=tiling.block,
            BLOCK_OUT=tiling.out,
            PRECISION=block.precision,
            num_warps=tiling.warps,
            num_stages=tiling.stages,
        )
    return dx


def _by_tiles(block: Operands, upstream: _Upstream, tiling: Tiling) -> tuple[Tensor, Tensor]:
    x, y = _both_prepared(block, upstream, tiling)
    x_blocks, y_blocks = block.x.blocks(tiling), block.y.blocks(tiling)
    outs = ratio(block.width, tiling.out)
    splits, chunk = shares(y_blocks, x_blocks * outs)
    dx = block.scale.new_zeros(block.x.rows.shape)
    dy = dx if block.symmetric else block.scale.new_zeros(block.y.rows.shape)
    grid = x_blocks, outs, splits
    _launch(block, x, y, dx, dy, grid, chunk, tiling, atomic=True)
    return dx, dx.new_empty(0) if block.symmetric else dy


def _launch(
    block: Operands,
    x: _Prepared,
    y: _Prepared,
    dx: Tensor,
    dy: Tensor,
    grid: tuple[int, int, int],
    chunk: int,
    tiling: Tiling,
    *,
    atomic: bool = False,
    panel: tuple[int, int, int] | None = None,
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
        *(panel or (0, 0, 0)),
        chunk,
        X_ANCHORS=x.values.numel() > 0,
        Y_ANCHORS=y.values.numel() > 0,
        ATOMIC=atomic,
        TRIANGLE=atomic and block.symmetric,
        PANEL=panel is not None,
        D=block.width,
        BLOCK=tiling.block,
        BLOCK_D=tiling.depth,
        BLOCK_OUT=tiling.out,
        PRECISION=block.precision,
        num_warps=tiling.warps,
        num_stages=tiling.stages,
    )
