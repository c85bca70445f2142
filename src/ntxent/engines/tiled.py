"""PyTorch tiles: any device, any dtype, memory O(M d).

The block is walked in tiles, which are added in a fixed order; where they are many, each is
computed by one thread alone (``_in_order.py``). A self-similarity block is symmetric, so only tiles
on or right of the diagonal are computed, and each tile off it serves its rows and its columns:
2 M^2 d multiply-adds forward plus backward. A block that goes both ways shares its tiles in the
same manner: 4 M K d.

Where the block is unshifted (``_block.py``), one exponential serves rows and columns; otherwise
each tile subtracts the largest logit of each of its rows, and of each of its columns where they are
anchors, and the sums are merged as in an online softmax.

A block of one tile is computed in ``_one_tile.py``, which is the easier to read. The numbers in
brackets are the equations of :mod:`ntxent.engines.contract`.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ntxent.engines import _one_tile
from ntxent.engines._block import Labels, Operands
from ntxent.engines._in_order import run_in_order
from ntxent.engines.contract import Block, Engine, Sums

# Rows and columns of a tile, a thread's own. CPU: two tiles of 4 MiB of float32 a thread stay in
# the last-level cache.
TILE = {"cpu": (512, 2048)}
TILE_ELSEWHERE = (4096, 4096)
# Pairs from which tiles are given to threads. Below, starting the threads and sharing few tiles out
# costs more than the operations lose by waiting for each other (N = 1024 on idle cores: 1.3 times
# the time).
MANY_PAIRS = 2**25


_Result = TypeVar("_Result")


class _Tile(NamedTuple):
    rows: slice
    columns: slice
    mirrored: bool
    """Its columns are anchors too: a tile right of the diagonal of a symmetric block, or any tile
    of a block that goes both ways."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


class _Walk:
    """The tiles of a block, and the memory in which a thread computes one."""

    def __init__(self, operands: Operands) -> None:
        self.operands = operands
        self.height, self.width = TILE.get(operands.x.device.type, TILE_ELSEWHERE)
        self.height = min(self.height, len(operands.x))
        self.width = min(self.width, len(operands.y))

    def tiles(self) -> Iterator[_Tile]:
        """Tiles in a fixed order; every boundary but the last is a multiple of the height."""
        symmetric = self.operands.symmetric
        m, k = len(self.operands.x), len(self.operands.y)
        for top in range(0, m, self.height):
            rows = slice(top, min(top + self.height, m))
            if symmetric:
                yield _Tile(rows, rows, False)
            for left in range(rows.stop if symmetric else 0, k, self.width):
                columns = slice(left, min(left + self.width, k))
                yield _Tile(rows, columns, self.operands.two_sided)

    def run(
        self,
        compute: Callable[[_Tile, Tensor], _Result],
        add: Callable[[_Tile, _Result], None],
    ) -> None:
        """Compute every tile, and add the results in the order of the tiles."""
        pairs = len(self.operands.x) * len(self.operands.y)
        on_threads = self.operands.x.device.type == "cpu" and pairs >= MANY_PAIRS
        run_in_order(self.tiles(), self.scratch, compute, add, on_threads)

    def scratch(self) -> Tensor:
        return self.operands.x.new_empty(2, self.height * self.width)

    def logits(self, tile: _Tile, scratch: Tensor) -> Tensor:
        """In the first half of ``scratch``."""
        scaled = self.operands.x[tile.rows] * self.operands.scale
        columns = self.operands.y[tile.columns]
        return torch.mm(scaled, columns.T, out=part(scratch[0], tile.shape))


def part(memory: Tensor, shape: tuple[int, int]) -> Tensor:
    """The beginning of ``memory``, in that shape."""
    return memory[: shape[0] * shape[1]].view(shape)


# --- forward --------------------------------------------------------------------------------------


class _TileSums(NamedTuple):
    """What a tile adds to the anchors on one of its sides."""

    maximum: Tensor | None
    total: Tensor
    found: tuple[Tensor, Tensor] | None
    """Which of the anchors have their target in the tile, and its logit."""


class _Anchors:
    """The rows of one side of a block as anchors: sum of exp(l) and the target logit of each.

    The sum is total * exp(maximum); there is no maximum where the block is unshifted.
    """

    def __init__(self, operands: Operands, target: Tensor | None, count: int) -> None:
        self.targets = None if target is None else Labels(target)
        self.logit = operands.x.new_zeros(count)
        self.total = operands.x.new_zeros(count)
        # Finite, so that a row of excluded pairs gives exp(-inf - maximum) = 0 and not NaN.
        self._lowest = torch.finfo(operands.dtype).min / 4
        self.maximum = None
        if not operands.unshifted:
            self.maximum = operands.x.new_full((count,), self._lowest)

    def target_logits(
        self, rows: slice, columns: slice, logits: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Those that this tile holds. Taken from it, they carry the same rounding as the candidates
        beside them, which then cancels (equal rows give chance exactly).
        """
        if (inside := _inside(self.targets, rows, columns)) is None:
            return None
        column, found = inside
        return found, logits.gather(1, column).squeeze(1)

    def sums(
        self,
        weights: Tensor,
        dim: int,
        found: tuple[Tensor, Tensor] | None,
        scratch: Tensor,
    ) -> _TileSums:
        """Of exponentials, or where shifted of logits, over ``dim``; ``scratch`` is overwritten."""
        if self.maximum is None:
            return _TileSums(None, weights.sum(dim), found)
        highest = weights.amax(dim, keepdim=True).clamp_(min=self._lowest)
        total = torch.sub(weights, highest, out=scratch).exp_().sum(dim)
        return _TileSums(highest.squeeze(dim), total, found)

    def add(self, rows: slice, sums: _TileSums) -> None:
        if sums.found is not None:
            found, logit = sums.found
            self.logit[rows] = torch.where(found, logit, self.logit[rows])
        if self.maximum is None or sums.maximum is None:
            self.total[rows] += sums.total
            return
        old = self.maximum[rows]
        new = torch.maximum(old, sums.maximum)
        added = sums.total * (sums.maximum - new).exp_()
        self.total[rows].mul_((old - new).exp_()).add_(added)
        self.maximum[rows] = new

    def nll(self) -> Tensor:
        """(2), without the cancellation of forming log(sum) first."""
        if self.maximum is None:
            return (self.total * (-self.logit).exp()).log()
        return self.total.log() + (self.maximum - self.logit)


def _forward(block: Block) -> Sums:
    if _one_tile.fits(block.x, block.y):
        return _one_tile.forward(block)
    operands = Operands(block)
    walk = _Walk(operands)
    row_target, column_target = _of_sides(operands)
    left = _Anchors(operands, row_target, len(operands.x))
    right = left
    if operands.both_ways:
        right = _Anchors(operands, column_target, len(operands.y))

    def compute(tile: _Tile, scratch: Tensor) -> tuple[_TileSums, _TileSums | None]:
        rows, columns, mirrored = tile
        logits, spare = walk.logits(tile, scratch), part(scratch[1], tile.shape)
        # (1) before the exponentials take the place of the logits
        row_found = left.target_logits(rows, columns, logits)
        column_found = right.target_logits(columns, rows, logits.T) if mirrored else None
        if operands.unshifted:
            logits.exp_()
        operands.exclude(logits, rows, columns, 0.0 if operands.unshifted else -math.inf)
        of_rows = left.sums(logits, 1, row_found, spare)
        return of_rows, right.sums(logits, 0, column_found, spare) if mirrored else None

    def add(tile: _Tile, sums: tuple[_TileSums, _TileSums | None]) -> None:
        of_rows, of_columns = sums
        left.add(tile.rows, of_rows)
        if of_columns is not None:
            right.add(tile.columns, of_columns)

    walk.run(compute, add)
    saved = operands.x.new_empty(0)
    if operands.both_ways:
        nll = torch.cat([left.nll(), right.nll()])
        return Sums(nll, torch.cat([left.logit, right.logit]), saved)
    return Sums(left.nll(), left.logit, saved)


def _of_sides(operands: Operands) -> tuple[Tensor | None, Tensor | None]:
    """The targets of the rows, and of the columns that are anchors."""
    return (None, None) if operands.target is None else operands.sides(operands.target)


def _inside(targets: Labels | None, rows: slice, columns: slice) -> tuple[Tensor, Tensor] | None:
    """Each row's target as a column of the tile, ``[rows, 1]``, and whether it is one; None where
    no row's is."""
    if targets is None or targets.meeting(rows, columns.start, columns.stop - 1) is None:
        return None
    column = targets.values[rows] - columns.start
    width = columns.stop - columns.start
    return column.clamp(0, width - 1).unsqueeze(1), (column >= 0) & (column < width)


# --- backward -------------------------------------------------------------------------------------


class _Upstream:
    """Of the anchors on one side: their sums, and what comes back to them."""

    def __init__(
        self, operands: Operands, target: Tensor | None, values: tuple[Tensor, ...]
    ) -> None:
        self.nll, self.logit, self.weight, self.target_grad = values
        self.targets = None if target is None else Labels(target)
        self.unshifted = operands.unshifted

    def weighted_probabilities(self, rows: slice, logits: Tensor, out: Tensor) -> Tensor:
        """a_i P_ik of (4), by (3) for the anchors ``rows``."""
        torch.sub(logits, self.logit[rows, None], out=out).sub_(self.nll[rows, None])
        return out.exp_().mul_(self.weight[rows, None])

    def add_target_grad(self, rows: slice, columns: slice, grad: Tensor) -> None:
        """(b_i - a_i) [k = t_i] of (4)."""
        if (inside := _inside(self.targets, rows, columns)) is not None:
            column, found = inside
            grad.scatter_add_(1, column, (self.target_grad[rows] * found).unsqueeze(1))


def _backward(
    block: Block, sums: Sums, grad_nll: Tensor, grad_logit: Tensor | None, wants_dy: bool
) -> tuple[Tensor, Tensor]:
    if _one_tile.fits(block.x, block.y):
        return _one_tile.backward(block, sums, grad_nll, grad_logit, wants_dy)
    operands = Operands(block)
    walk = _Walk(operands)
    x, y, scale = operands.x, operands.y, operands.scale
    dx = torch.zeros_like(x)
    wants_dy = wants_dy and not operands.symmetric
    dy = dx if operands.symmetric else y.new_zeros(y.shape if wants_dy else 0)

    # What each anchor sends back: w of (7), or a where shifted, and b - a for its target.
    nll, logit = sums.nll, sums.logit
    if operands.unshifted:
        weight = operands.row_weight(nll, logit, grad_nll)
    else:
        empty = nll == -math.inf  # a row without candidates has no probability to share out
        nll, weight = nll.masked_fill(empty, 0.0), grad_nll.masked_fill(empty, 0.0)
    target_grad = operands.target_grad(grad_nll, grad_logit)
    values = zip(*map(operands.sides, (nll, logit, weight, target_grad)), strict=True)
    left, right = map(_Upstream, 2 * [operands], _of_sides(operands), values)
    if operands.symmetric:
        right = left

    def compute(tile: _Tile, scratch: Tensor) -> tuple[Tensor, Tensor | None]:
        rows, columns, mirrored = tile
        # the candidates' part of G, for the rows and for the columns that are anchors
        grad, spare = walk.logits(tile, scratch), part(scratch[1], tile.shape)
        operands.exclude(grad, rows, columns, -math.inf)
        if operands.unshifted:
            grad.exp_()
            if operands.two_sided:
                weights = torch.add(left.weight[rows, None], right.weight[columns], out=spare)
                grad.mul_(weights)
            else:
                grad.mul_(left.weight[rows, None])
        else:
            if operands.two_sided:
                right.weighted_probabilities(columns, grad.T, out=spare.T)
            left.weighted_probabilities(rows, grad, out=grad)
            if operands.two_sided:
                grad.add_(spare)
        # the targets' part
        left.add_target_grad(rows, columns, grad)
        if operands.two_sided:
            right.add_target_grad(columns, rows, grad.T)
        # (5)
        to_columns = wants_dy or (mirrored and operands.symmetric)
        return grad @ y[columns], grad.T @ x[rows] if to_columns else None

    def add(tile: _Tile, gradients: tuple[Tensor, Tensor | None]) -> None:
        to_rows, to_columns = gradients
        dx[tile.rows] += to_rows
        if to_columns is not None:
            dy[tile.columns] += to_columns

    walk.run(compute, add)
    dx *= scale
    return dx, dy.mul_(scale) if wants_dy else dx.new_empty(0)


ENGINE = Engine(
    name="tiled",
    devices=("*",),
    priority=0,
    forward=_forward,
    backward=_backward,
)
