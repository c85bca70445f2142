"""The primitive over the rows of all ranks, collected on each of them."""

from typing import Any

import torch
from torch import Tensor

from ntxent import engines
from ntxent.distributed.group import Group
from ntxent.primitive import rounded

__all__ = ["GatherContrast", "scale_gradient"]

SAVED = 9  # tensors of one direction


class GatherContrast(torch.autograd.Function):
    """Own anchors against all candidates: one call of the engine for each direction.

    The gradient of the candidates is summed over the ranks, each of which keeps its part.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor | None,
        scale: Tensor,
        x_ids: Tensor,
        y_ids: Tensor | None,
        target: Tensor,
        both_ways: bool,
        group: Group,
        x_counts: list[int],
        y_counts: list[int],
        engine: str,
        row_dtype: torch.dtype | None,
    ) -> tuple[Tensor, Tensor]:
        ctx.dtype = x.dtype
        x, y = rounded(x, y, row_dtype)
        ctx.run, ctx.group = engines.select(engine, x.device.type), group
        ctx.self_similarity = y is None
        candidates, ids = (x, x_ids) if y is None or y_ids is None else (y, y_ids)
        ways = [(x, x_ids, target[: len(x)], candidates, ids, y_counts)]
        if both_ways:
            ways.append((candidates, ids, target[len(x) :], x, x_ids, x_counts))
        ctx.counts = [way[-1] for way in ways]

        saved: list[Tensor] = []
        results = []
        for anchors, anchor_ids, own_target, others, other_ids, counts in ways:
            everyone = group.all_gather_rows(others, counts)
            all_ids = group.all_gather_rows(other_ids, counts)
            first = sum(counts[: group.rank])
            placed = torch.where(own_target >= 0, own_target + first, -1)
            block = (anchors, everyone, scale, anchor_ids, all_ids, placed)
            if len(anchors):
                nll, logit, kept = ctx.run.forward(*block)
            else:
                nll = logit = kept = _accumulator(anchors).new_empty(0)
            saved += [*block, nll, logit, kept]
            results.append((nll, logit))
        ctx.save_for_backward(*saved)
        nll, logit = (torch.cat(parts) for parts in zip(*results, strict=True))
        return nll, logit

    @staticmethod
    def backward(ctx: Any, grad_nll: Tensor, grad_logit: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        ways = [saved[i : i + SAVED] for i in range(0, len(saved), SAVED)]
        lengths = [len(way[0]) for way in ways]
        upstream = zip(
            torch.split(grad_nll, lengths), torch.split(grad_logit, lengths), strict=True
        )
        scale = ways[0][2]
        own, others = [], []
        d_scale = torch.zeros_like(scale) if ctx.needs_input_grad[2] else None
        for way, counts, gradients in zip(ways, ctx.counts, upstream, strict=True):
            anchors, everyone = way[:2]
            if len(anchors):
                d_anchors, d_everyone = ctx.run.backward(*gradients, *way)
            else:
                d_anchors, d_everyone = _accumulator(anchors), _accumulator(everyone)
            own.append(d_anchors)
            others.append(ctx.group.reduce_scatter_rows(d_everyone, counts))
            if d_scale is not None:
                d_scale = d_scale + scale_gradient(scale, anchors, d_anchors)
        if ctx.self_similarity:
            return (own[0] + others[0]).to(ctx.dtype), None, d_scale, *(None,) * 9
        dx, dy = own[0], others[0]
        if len(ways) == 2:
            dx, dy = dx + others[1], dy + own[1]
        return dx.to(ctx.dtype), dy.to(ctx.dtype), d_scale, *(None,) * 9


def _accumulator(rows: Tensor) -> Tensor:
    return torch.zeros_like(rows, dtype=engines.accumulation_dtype(rows.dtype))


def scale_gradient(scale: Tensor, rows: Tensor, gradient: Tensor) -> Tensor:
    """Every logit is scale * <x, y>: scale * dL/dscale = sum <x, dL/dx> over one of its sides."""
    total: Tensor = torch.linalg.vecdot(rows.to(gradient.dtype), gradient).sum()
    return total / scale
