"""A block that is one tile, all at once: where an operation costs microseconds, few of them.

The tile is saved for the backward pass: its exponentials where unshifted, else its logits. The
numbers in brackets are the equations of :mod:`ntxent.engines.contract`.
"""

import math

import torch
from torch import Tensor

from ntxent.engines._block import Operands
from ntxent.engines.contract import Block, Sums

# Pairs of a tile: 4 MiB of float32, and a quarter where tiles of half as many rows would compute
# each pair of rows once (N = 512: 0.9 of the time).
LARGEST = 2**20
LARGEST_SYMMETRIC = 2**18


def fits(x: Tensor, y: Tensor | None) -> bool:
    if y is None:
        return len(x) ** 2 <= LARGEST_SYMMETRIC
    return len(x) * len(y) <= LARGEST


def forward(block: Block) -> Sums:
    operands = Operands(block)
    tile = torch.mm(operands.x * operands.scale, operands.y.T)
    logit = _target_logits(operands, tile)  # (1)
    _exclude(operands, tile)
    if operands.unshifted:
        total = tile.sum(1)
        if operands.both_ways:
            total = torch.cat([total, tile.sum(0)])
        # (2) without the cancellation of forming log(total) first
        nll = logit.neg().exp_().mul_(total).log_()
        return Sums(nll, logit, tile)
    highest, total = _shifted_sums(tile, 1)
    if operands.both_ways:
        both = zip((highest, total), _shifted_sums(tile, 0), strict=True)
        highest, total = (torch.cat(parts) for parts in both)
    return Sums(total.log_().add_(highest - logit), logit, tile)


def backward(
    block: Block, sums: Sums, grad_nll: Tensor, grad_logit: Tensor | None, wants_dy: bool
) -> tuple[Tensor, Tensor]:
    operands = Operands(block)
    nll, logit, tile = sums
    if not tile.numel():
        tile = torch.mm(operands.x * operands.scale, operands.y.T)
        _exclude(operands, tile)
    # a_i P_ik of (4), for the rows and for the columns that are anchors
    if operands.unshifted:
        rows, columns = operands.sides(operands.row_weight(nll, logit, grad_nll))
        rows = rows.unsqueeze(1)
        grad = tile * (rows + columns if operands.two_sided else rows)
    else:
        empty = nll == -math.inf  # a row without candidates has no probability to share out
        values = logit, nll.masked_fill(empty, 0.0), grad_nll.masked_fill(empty, 0.0)
        row_anchors, column_anchors = zip(*map(operands.sides, values), strict=True)
        grad = _weighted_probabilities(tile, *row_anchors)
        if operands.two_sided:
            grad.add_(_weighted_probabilities(tile.T, *column_anchors).T)
    # (b_i - a_i) [k = t_i] of (4); it cancels against the candidates' inside the product
    if operands.target is not None:
        row_target, column_target = operands.sides(operands.target.unsqueeze(1))
        row_grad, column_grad = operands.sides(
            operands.target_grad(grad_nll, grad_logit).unsqueeze(1)
        )
        grad.scatter_add_(1, row_target, row_grad)
        if operands.two_sided:
            grad.T.scatter_add_(1, column_target, column_grad)
    # (5)
    dx = torch.mm(grad, operands.y).mul_(operands.scale)
    if operands.symmetric or not wants_dy:
        return dx, dx.new_empty(0)
    return dx, torch.mm(grad.T, operands.x).mul_(operands.scale)


def _target_logits(operands: Operands, tile: Tensor) -> Tensor:
    """Taken from the tile, a target's logit carries the same rounding as the candidates beside it,
    which then cancels: equal rows give chance exactly.
    """
    if operands.target is None:
        return tile.new_zeros(operands.anchors)
    row_target, column_target = operands.sides(operands.target.unsqueeze(1))
    logit = tile.gather(1, row_target)
    if operands.both_ways:
        logit = torch.cat([logit, tile.T.gather(1, column_target)])
    return logit.squeeze(1)


def _exclude(operands: Operands, tile: Tensor) -> None:
    """Exponentiate the logits where unshifted; then leave out the pairs of equal ids."""
    if operands.unshifted:
        tile.exp_()
    tile.masked_fill_(operands.same_ids(), 0.0 if operands.unshifted else -math.inf)


def _weighted_probabilities(logits: Tensor, logit: Tensor, nll: Tensor, upstream: Tensor) -> Tensor:
    shifted = (logits - logit.unsqueeze(1)).sub_(nll.unsqueeze(1))
    return shifted.exp_().mul_(upstream.unsqueeze(1))


def _shifted_sums(logits: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The largest logit of each anchor, and the sum of exp(l - largest)."""
    # Finite, so that a row of excluded pairs gives exp(-inf - largest) = 0 and not NaN.
    highest = logits.amax(dim, keepdim=True).clamp_(min=torch.finfo(logits.dtype).min / 4)
    total = (logits - highest).exp_().sum(dim)
    return highest.squeeze(dim), total
