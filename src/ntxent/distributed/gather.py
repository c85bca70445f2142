"""The primitive over the rows of all ranks, collected on each of them."""

from typing import Any

import torch
from torch import Tensor

from ntxent.distributed.job import Job
from ntxent.engines import Block, Sums
from ntxent.primitive import run_backward, run_forward

__all__ = ["GatherContrast"]


class GatherContrast(torch.autograd.Function):
    """Own anchors against all candidates: one call of the engine for each direction.

    The gradient of the candidates is summed over the ranks, each of which keeps its part.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor | None, scale: Tensor, job: Job
    ) -> tuple[Tensor, Tensor]:
        candidates, ids = (x, job.x_ids) if y is None or job.y_ids is None else (y, job.y_ids)
        x_target = y_target = job.target
        if job.target is not None:
            x_target, y_target = job.target[: len(x)], job.target[len(x) :]
        # anchors, their candidates, and the rows of these that each rank has
        ways = [(x, job.x_ids, x_target, candidates, ids, job.y_counts)]
        if job.both_ways:
            ways.append((candidates, ids, y_target, x, job.x_ids, job.x_counts))

        ctx.blocks = []
        saved, results = [], []
        for anchors, anchor_ids, target, others, other_ids, counts in ways:
            gathered = job.group.all_gather_rows(job.rounded(others), counts)
            gathered_ids = job.group.all_gather_rows(other_ids, counts)
            if target is not None:
                # Further negatives, whose losses nobody reads, stand as anchors too; their target
                # may be a row that this rank, without samples, does not have.
                first = sum(counts[: job.group.rank])
                target = (target + first).clamp_(max=max(0, sum(counts) - 1))
            block = Block(
                anchors, gathered, scale, anchor_ids, gathered_ids, target, False, job.unit
            )
            sums = Sums(*run_forward(*block, job.engine, job.row_dtype))
            saved += [anchors, gathered, scale, *sums]
            results.append(sums[:2])
            ctx.blocks.append((anchor_ids, gathered_ids, target, counts))
        ctx.save_for_backward(*saved)
        ctx.job, ctx.y_dtype = job, None if y is None else y.dtype
        nll, logit = (torch.cat(parts) for parts in zip(*results, strict=True))
        return nll, logit

    @staticmethod
    def backward(ctx: Any, grad_nll: Tensor, grad_logit: Tensor) -> tuple[Tensor | None, ...]:
        job: Job = ctx.job
        wants_d_scale = ctx.needs_input_grad[2]
        saved = ctx.saved_tensors
        own, others, d_scales = [], [], []
        start, size = 0, len(saved) // len(ctx.blocks)
        for way, (anchor_ids, gathered_ids, target, counts) in enumerate(ctx.blocks):
            anchors, gathered, scale, *rest = saved[way * size : (way + 1) * size]
            sums = Sums(*rest)
            block = Block(
                anchors, gathered, scale, anchor_ids, gathered_ids, target, False, job.unit
            )
            part = slice(start, start + len(anchors))
            start = part.stop
            how: Any = (job.engine, job.row_dtype, True, wants_d_scale)
            d_anchors, d_gathered, d_scale = run_backward(
                *block, *sums, grad_nll[part], grad_logit[part], *how
            )
            own.append(d_anchors)
            others.append(job.group.reduce_scatter_rows(d_gathered, counts))
            d_scales.append(d_scale)
        total = torch.stack(d_scales).sum(0) if wants_d_scale else None
        x = saved[0]
        if ctx.y_dtype is None:
            return (own[0] + others[0]).to(x.dtype), None, total, None
        dx, dy = own[0], others[0]
        if job.both_ways:
            dx, dy = dx + others[1], dy + own[1]
        return dx.to(x.dtype), dy.to(ctx.y_dtype), total, None
