"""A block that is one tile, all at once: where an operation costs microseconds, few of them.

The tile is kept for the backward pass: its exponentials where plain, else its logits.
"""

import math

import torch
from torch import Tensor

from ntxent.engines._block import Block

# Pairs of a tile: 4 MiB of float32, and a quarter where tiles of half as many rows would compute
# each pair of rows once (N = 512: 0.9 of the time).
_LARGEST = 2**20
_LARGEST_SYMMETRIC = 2**18


def fits(x: Tensor, y: Tensor | None) -> bool:
    if y is None:
        return len(x) ** 2 <= _LARGEST_SYMMETRIC
    return len(x) * len(y) <= _LARGEST


def forward(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    block = Block(x, y, scale, x_ids, y_ids, target)
    kept = _logits(block)
    # Taken from the tile, a target's logit carries the same rounding as the candidates beside it,
    # which then cancels: equal rows give chance exactly.
    row_targets, column_targets = block.sides(target)
    logit = _at_targets(kept, row_targets)
    if block.both_ways:
        logit = torch.cat([logit, _at_targets(kept.T, column_targets)])
    _to_candidates(block, kept)
    if block.plain:
        total = kept.sum(1)
        if block.both_ways:
            total = torch.cat([total, kept.sum(0)])
        # Without the cancellation of forming log(total) first.
        return logit.neg().exp_().mul_(total).log_(), logit, kept
    highest, total = _shifted_sums(kept, 1)
    if block.both_ways:
        both = zip((highest, total), _shifted_sums(kept, 0), strict=True)
        highest, total = (torch.cat(parts) for parts in both)
    return total.log_().add_(highest - logit), logit, kept


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
    wants_dy: bool,
) -> tuple[Tensor, Tensor]:
    block = Block(x, y, scale, x_ids, y_ids, target)
    if not kept.numel():
        kept = _to_candidates(block, _logits(block))
    # A row without candidates has nll = -inf, and no probability to share out.
    empty = nll == -math.inf
    two_sided = block.symmetric or block.both_ways
    if block.plain:
        share = grad_nll / logit.exp().mul_(nll.exp())
        of_rows, of_columns = block.sides(share.masked_fill_(empty, 0.0))
        of_rows = of_rows.unsqueeze(1)
        flow = kept * (of_rows + of_columns if two_sided else of_rows)
    else:
        values = logit, nll.masked_fill(empty, 0.0), grad_nll.masked_fill(empty, 0.0)
        row_anchors, column_anchors = zip(*map(block.sides, values), strict=True)
        flow = _share(kept, *row_anchors)
        if two_sided:
            flow.add_(_share(kept.T, *column_anchors).T)
    # The targets' gradient cancels against the candidates' inside the product that follows.
    at_target = (grad_logit - grad_nll).masked_fill_(target < 0, 0.0)
    row_columns, column_rows = block.sides(_column(target))
    row_values, column_values = block.sides(at_target.unsqueeze(1))
    flow.scatter_add_(1, row_columns, row_values)
    if two_sided:
        flow.T.scatter_add_(1, column_rows, column_values)
    dx = torch.mm(flow, block.y).mul_(block.scale)
    if block.symmetric or not wants_dy:
        return dx, dx.new_empty(0)
    return dx, torch.mm(flow.T, block.x).mul_(block.scale)


def _logits(block: Block) -> Tensor:
    return torch.mm(block.x * block.scale, block.y.T)


def _to_candidates(block: Block, logits: Tensor) -> Tensor:
    """What is kept, in place of the logits."""
    if block.plain:
        logits.exp_()
    fill = 0.0 if block.plain else -math.inf
    block.exclude(logits, slice(0, len(block.x)), slice(0, len(block.y)), fill)
    return logits


def _share(logits: Tensor, logit: Tensor, nll: Tensor, upstream: Tensor) -> Tensor:
    """The candidates' probabilities, times what their anchor sends back."""
    shifted = (logits - logit.unsqueeze(1)).sub_(nll.unsqueeze(1))
    return shifted.exp_().mul_(upstream.unsqueeze(1))


def _column(target: Tensor) -> Tensor:
    return target.clamp(min=0).unsqueeze(1)


def _at_targets(logits: Tensor, target: Tensor) -> Tensor:
    return logits.gather(1, _column(target)).squeeze(1).masked_fill_(target < 0, 0.0)


def _shifted_sums(logits: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The largest logit of each anchor, and the sum of exp(l - largest)."""
    # Finite, so that a row of excluded pairs gives exp(-inf - largest) = 0 and not NaN.
    highest = logits.amax(dim, keepdim=True).clamp_(min=torch.finfo(logits.dtype).min / 4)
    total = (logits - highest).exp_().sum(dim)
    return highest.squeeze(dim), total
