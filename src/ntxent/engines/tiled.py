"""PyTorch tiles: any device, any dtype, memory O(M d).

The similarity block is walked in row panels. A self-similarity block is symmetric, so only tiles on
or right of the diagonal are computed, and each tile off it serves its rows and its columns. With
P_ik = exp(l_ik) / sum_k exp(l_ik) and upstream g the gradient is dX = scale * (G + G^T) X,
G_ik = g_i P_ik, again symmetric: 2 M^2 d multiply-adds forward plus backward. A block that goes
both ways shares its tiles between rows and columns in the same manner: 4 M K d.

The exponentials stay in range in one of two ways: where the block is *plain*, see ``_block.py``,
one of them serves rows and columns; otherwise each row keeps a running maximum (online softmax),
and a tile off the diagonal takes one for its rows and one for its columns.

A block of one tile is computed in ``_single.py``.
"""

import math
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ntxent.engines import Engine, _single
from ntxent.engines._block import Block, Labels

# Rows and columns of a tile. CPU: 4 MiB of float32 stays in the last-level cache. Between 128 and
# 512 rows, 1024 and 8192 columns the time changes by 6 % (N = 4096, d = 128, 2 cores); of these,
# more rows mean fewer parallel regions, which is what a busy machine punishes.
_TILE = {"cpu": (512, 2048)}
_TILE_ELSEWHERE = (4096, 4096)


class _Tile(NamedTuple):
    rows: slice
    columns: slice
    mirrored: bool
    """Its columns are anchors too: a tile right of the diagonal of a symmetric block, or any tile
    of a block that goes both ways."""


class _Workspace(threading.local):
    """Two tiles for each dtype and thread, kept between calls on the CPU: memory given back to the
    system and taken again is zeroed page by page, which at N = 256 was a third of a step.
    """

    def __init__(self) -> None:
        self._held: dict[torch.dtype, Tensor] = {}

    def buffers(self, like: Tensor, area: int) -> Tensor:
        if like.device.type != "cpu":
            return like.new_empty(2, area)
        if like.dtype not in self._held:
            # Made under inference_mode, they could not be written to outside it.
            with torch.inference_mode(False):
                made = torch.empty(2, area, dtype=like.dtype, device="cpu")
            if type(made) is not Tensor:  # a mode (fake tensors) is on that the next call is not in
                return made
            self._held[like.dtype] = made
        return self._held[like.dtype]


_WORKSPACE = _Workspace()


class _Block(Block):
    """A similarity block, its tiles and where they are computed."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.height, self.width = _TILE.get(self.x.device.type, _TILE_ELSEWHERE)
        self._buffers = _WORKSPACE.buffers(self.x, self.height * self.width)

    def tiles(self) -> Iterator[_Tile]:
        """Tiles in a fixed order; every boundary but the last is a multiple of the height."""
        m, k = len(self.x), len(self.y)
        for top in range(0, m, self.height):
            rows = slice(top, min(top + self.height, m))
            if self.symmetric:
                yield _Tile(rows, rows, False)
            for left in range(rows.stop if self.symmetric else 0, k, self.width):
                columns = slice(left, min(left + self.width, k))
                yield _Tile(rows, columns, self.symmetric or self.both_ways)

    def buffer(self, which: int, tile: _Tile) -> Tensor:
        height = tile.rows.stop - tile.rows.start
        width = tile.columns.stop - tile.columns.start
        return self._buffers[which, : height * width].view(height, width)

    def logits(self, tile: _Tile) -> Tensor:
        scaled = self.x[tile.rows] * self.scale
        return torch.mm(scaled, self.y[tile.columns].T, out=self.buffer(0, tile))


class _Anchors:
    """The rows of one side of a block as anchors: sum of exp(l) and the target logit of each.

    The sum is mantissa * exp(maximum); the maximum stays 0 when plain.
    """

    def __init__(self, block: _Block, target: Tensor) -> None:
        self.plain = block.plain
        self.targets = Labels(target)
        self.logit = block.x.new_zeros(len(target))
        self.mantissa = block.x.new_zeros(len(target))
        # Finite, so that a row of excluded pairs gives exp(-inf - maximum) = 0 and not NaN.
        start = 0.0 if self.plain else torch.finfo(block.dtype).min / 4
        self.maximum = block.x.new_full((len(target),), start)

    def take_targets(self, rows: slice, columns: slice, logits: Tensor) -> None:
        """Copy the target logits that this tile holds. Taken from the tile, they carry the same
        rounding as the candidates beside them, which then cancels (equal rows give chance exactly).
        """
        if (found := _inside(self.targets, rows, columns)) is not None:
            column, inside = found
            self.logit[rows] = torch.where(inside, logits.gather(1, column)[:, 0], self.logit[rows])

    def add(self, rows: slice, logits: Tensor, dim: int, scratch: Tensor) -> None:
        """Add a tile's logits, summed over ``dim``; ``scratch`` is overwritten."""
        old = self.maximum[rows]
        new = torch.maximum(old, logits.amax(dim))
        torch.sub(logits, new.unsqueeze(dim), out=scratch).exp_()
        self.mantissa[rows].mul_((old - new).exp_()).add_(scratch.sum(dim))
        self.maximum[rows] = new

    def nll(self) -> Tensor:
        """log(sum) - logit, without the cancellation of forming log(sum) first."""
        gap = self.maximum - self.logit
        return (self.mantissa * gap.exp()).log() if self.plain else self.mantissa.log() + gap


def _forward(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    if _single.fits(x, y):
        return _single.forward(x, y, scale, x_ids, y_ids, target)
    block = _Block(x, y, scale, x_ids, y_ids, target)
    left = _Anchors(block, target[: len(x)])
    right = _Anchors(block, target[len(x) :]) if block.both_ways else left
    for tile in block.tiles():
        rows, columns, mirrored = tile
        logits = block.logits(tile)
        left.take_targets(rows, columns, logits)
        if mirrored:
            right.take_targets(columns, rows, logits.T)
        if block.plain:
            weights = logits.exp_()
            block.exclude(weights, rows, columns, 0.0)
            left.mantissa[rows] += weights.sum(1)
            if mirrored:
                right.mantissa[columns] += weights.sum(0)
        else:
            block.exclude(logits, rows, columns, -math.inf)
            left.add(rows, logits, 1, scratch=block.buffer(1, tile))
            if mirrored:
                right.add(columns, logits, 0, scratch=block.buffer(1, tile))
    kept = block.x.new_empty(0)
    if block.both_ways:
        nll = torch.cat([left.nll(), right.nll()])
        return nll, torch.cat([left.logit, right.logit]), kept
    return left.nll(), left.logit, kept


def _kept_shape(x: Tensor, y: Tensor | None) -> tuple[int, ...]:
    return (len(x), len(x if y is None else y)) if _single.fits(x, y) else (0,)


def _inside(targets: Labels, rows: slice, columns: slice) -> tuple[Tensor, Tensor] | None:
    """Each row's target as a column of the tile and whether it is one; None where no row's is."""
    if targets.meeting(rows, columns.start, columns.stop - 1) is None:
        return None
    column = targets.values[rows] - columns.start
    width = columns.stop - columns.start
    return column.clamp(0, width - 1)[:, None], (column >= 0) & (column < width)


class _Upstream(NamedTuple):
    """What the anchors of one side of a block send back through it."""

    targets: Labels
    at_target: Tensor
    """Gradient of each target logit, beside what it gets as a candidate."""
    share: Tensor
    """Plain: what exp(l) is multiplied by; else what exp(l - logit - nll) is."""
    nll: Tensor
    logit: Tensor

    def add_targets(self, flow: Tensor, rows: slice, columns: slice) -> None:
        """Add the targets' gradient to the tile, so that it cancels against the candidates' inside
        the product that follows.
        """
        if (found := _inside(self.targets, rows, columns)) is not None:
            column, inside = found
            flow.scatter_add_(1, column, (self.at_target[rows] * inside)[:, None])


def _backward(
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
    *,
    wants_dy: bool = True,
) -> tuple[Tensor, Tensor]:
    inputs = x, y, scale, x_ids, y_ids, target
    if _single.fits(x, y):
        return _single.backward(grad_nll, grad_logit, *inputs, nll, logit, kept, wants_dy)
    block = _Block(*inputs)
    dx = torch.zeros_like(block.x)
    wants_dy = wants_dy and not block.symmetric
    dy = dx if block.symmetric else block.y.new_zeros(block.y.shape if wants_dy else 0)
    # A row without candidates has nll = -inf, and no probability to share out.
    empty = nll == -math.inf
    nll = nll.masked_fill(empty, 0.0)
    share = grad_nll.masked_fill(empty, 0.0)
    if block.plain:
        share = share * (-logit).exp() * (-nll).exp()

    def upstream(anchors: slice) -> _Upstream:
        targets = Labels(target[anchors])
        at_target = grad_logit[anchors] - grad_nll[anchors]
        return _Upstream(targets, at_target, share[anchors], nll[anchors], logit[anchors])

    left = upstream(slice(len(x)))
    right = upstream(slice(len(x), None)) if block.both_ways else left
    two_sided = block.symmetric or block.both_ways
    for tile in block.tiles():
        rows, columns, mirrored = tile
        flow, other = block.buffer(0, tile), block.buffer(1, tile)
        block.exclude(block.logits(tile), rows, columns, -math.inf)
        if block.plain:
            flow.exp_()
        if block.plain and two_sided:
            flow.mul_(torch.add(left.share[rows, None], right.share[columns], out=other))
        elif block.plain:
            flow.mul_(left.share[rows, None])
        else:
            if two_sided:
                torch.sub(flow, right.logit[columns], out=other).sub_(right.nll[columns])
                other.exp_().mul_(right.share[columns])
            flow.sub_(left.logit[rows, None]).sub_(left.nll[rows, None])
            flow.exp_().mul_(left.share[rows, None])
            if two_sided:
                flow.add_(other)
        left.add_targets(flow, rows, columns)
        if two_sided:
            right.add_targets(flow.T, columns, rows)
        dx[rows].addmm_(flow, block.y[columns])
        if wants_dy or (mirrored and block.symmetric):
            dy[columns].addmm_(flow.T, block.x[rows])
    dx *= block.scale
    return dx, dy.mul_(block.scale) if wants_dy else dx.new_empty(0)


ENGINE = Engine(
    name="tiled",
    devices=("*",),
    priority=0,
    forward=_forward,
    backward=_backward,
    kept_shape=_kept_shape,
)
