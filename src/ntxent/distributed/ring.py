"""The primitive over the rows of all ranks, block by block in a ring."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ntxent import engines
from ntxent.distributed.gather import scale_gradient
from ntxent.distributed.group import Exchange, Group
from ntxent.primitive import rounded

__all__ = ["RingContrast"]


class _Tour:
    """Which ranks a block visits, and what of each meeting is computed where it visits.

    At hop k rank r hosts the block of rank r + k, which it got from rank r + 1. Where anchors are
    their own candidates the block of two ranks is the transpose of the same two the other way
    round, and W // 2 hops meet every two ranks; in an even ring the last hop meets them twice, and
    there each host computes with half of the rows of the higher rank.
    """

    def __init__(self, group: Group, self_similarity: bool, counts: Sequence[int]) -> None:
        self.group, self.counts = group, counts
        self.self_similarity = self_similarity
        self.hops = group.size // 2 if self_similarity else group.size - 1

    def visitor(self, hop: int) -> int:
        return (self.group.rank + hop) % self.group.size

    def parts(self, hop: int) -> tuple[slice, slice]:
        """Rows of the host and rows of the visitor that meet at this hop."""
        own, theirs = slice(None), slice(None)
        if self.self_similarity and 2 * hop == self.group.size:
            visitor = self.visitor(hop)
            half = (self.counts[max(self.group.rank, visitor)] + 1) // 2
            if self.group.rank < visitor:
                theirs = slice(0, half)
            else:
                own = slice(half, None)
        return own, theirs

    def pass_on(self, tensors: Sequence[Tensor], hop: int) -> Exchange:
        """Send what belongs to the visitor of ``hop`` to the left; receive that of the next."""
        rows = self.counts[self.visitor(hop + 1)]
        return self._exchange(tensors, self.visitor(-1), self.visitor(1), rows)

    def send_home(self, tensors: Sequence[Tensor]) -> Exchange:
        """Send what was made for the last visitor to its owner; receive what was made for us."""
        owner, host = self.visitor(self.hops), self.visitor(-self.hops)
        return self._exchange(tensors, owner, host, self.counts[self.group.rank])

    def _exchange(self, tensors: Sequence[Tensor], to: int, by: int, rows: int) -> Exchange:
        received = [t.new_empty(rows, *t.shape[1:]) for t in tensors]
        return Exchange(self.group, [t.contiguous() for t in tensors], to, received, by)


class RingContrast(torch.autograd.Function):
    """A block of candidates is under way to the next host while this one computes with it. What a
    host computes for its visitor follows the visitor, and goes home after the last hop.
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
        run = engines.select(engine, x.device.type)
        tour = _Tour(group, y is None, y_counts)
        candidates, ids = (x, x_ids) if y is None or y_ids is None else (y, y_ids)
        both_ways = both_ways or y is None

        travelling = tour.pass_on([candidates, ids], 0)
        if len(x):
            nll, logit, kept = run.forward(x, y, scale, x_ids, y_ids, target)
        else:
            logit = x.new_zeros(len(target), dtype=engines.accumulation_dtype(x.dtype))
            nll, kept = torch.full_like(logit, -torch.inf), logit.new_empty(0)

        # Log-sum-exps over the rows of other ranks: of the anchors here, and of the visitor's.
        rows = x.new_full((len(x),), -torch.inf, dtype=torch.float64)
        columns = rows
        follower: Exchange | None = None
        for hop in range(1, tour.hops + 1):
            visitor, visitor_ids = travelling.wait()
            if hop < tour.hops:
                travelling = tour.pass_on([visitor, visitor_ids], hop)
            own, theirs = tour.parts(hop)
            here, there = x[own], visitor[theirs]
            columns = rows.new_full((len(visitor),), -torch.inf)
            if len(here) and len(there):
                nobody = target.new_full((len(here) + both_ways * len(there),), -1)
                lse, _, _ = run.forward(here, there, scale, x_ids[own], visitor_ids[theirs], nobody)
                rows[own] = torch.logaddexp(rows[own], lse[: len(here)].double())
                if both_ways:
                    columns[theirs] = lse[len(here) :].double()
            if both_ways:
                if follower is not None:
                    columns = torch.logaddexp(columns, follower.wait()[0])
                follower = tour.pass_on([columns], hop) if hop < tour.hops else None
        elsewhere = rows
        if both_ways:
            (returned,) = tour.send_home([columns]).wait()
            elsewhere = (
                torch.logaddexp(rows, returned) if y is None else torch.cat([rows, returned])
            )
        nll = torch.logaddexp(nll.double(), elsewhere - logit.double()).to(logit.dtype)

        ctx.save_for_backward(x, y, scale, x_ids, y_ids, target, nll, logit, kept)
        ctx.run, ctx.tour, ctx.both_ways = run, tour, both_ways
        return nll, logit

    @staticmethod
    def backward(ctx: Any, grad_nll: Tensor, grad_logit: Tensor) -> tuple[Tensor | None, ...]:
        x, y, scale, x_ids, y_ids, target, nll, logit, kept = ctx.saved_tensors
        run, tour, both_ways = ctx.run, ctx.tour, ctx.both_ways
        candidates, ids = (x, x_ids) if y is None else (y, y_ids)
        # In another rank's block an anchor has no target: its log-sum-exp stands for both.
        lse = nll + logit
        package = [candidates, ids]
        if both_ways:
            followed = slice(len(x)) if y is None else slice(len(x), None)
            package += [lse[followed], grad_nll[followed]]
        travelling = tour.pass_on(package, 0)
        if len(x):
            block = (x, y, scale, x_ids, y_ids, target)
            dx, dy = run.backward(grad_nll, grad_logit, *block, nll, logit, kept)
        else:
            dx = torch.zeros_like(x, dtype=nll.dtype)
            dy = dx.new_empty(0) if y is None else torch.zeros_like(y, dtype=nll.dtype)
        d_scale = None
        if ctx.needs_input_grad[2]:
            d_scale = scale_gradient(scale, x, dx / 2 if y is None else dx)

        follower: Exchange | None = None
        d_visitor = dx
        for hop in range(1, tour.hops + 1):
            visit = travelling.wait()
            if hop < tour.hops:
                travelling = tour.pass_on(visit, hop)
            visitor, visitor_ids, *sums = visit
            own, theirs = tour.parts(hop)
            here, there = x[own], visitor[theirs]
            d_visitor = torch.zeros_like(visitor, dtype=nll.dtype)
            if len(here) and len(there):
                lses, upstream = lse[: len(x)][own], grad_nll[: len(x)][own]
                if both_ways:
                    lses = torch.cat([lses, sums[0][theirs]])
                    upstream = torch.cat([upstream, sums[1][theirs]])
                nobody = target.new_full((len(lses),), -1)
                zero = torch.zeros_like(lses)
                block = (here, there, scale, x_ids[own], visitor_ids[theirs], nobody)
                d_here, d_visitor[theirs] = run.backward(
                    upstream, zero, *block, lses, zero, zero.new_empty(0)
                )
                dx[own] += d_here
                if d_scale is not None:
                    d_scale = d_scale + scale_gradient(scale, here, d_here)
            if follower is not None:
                d_visitor += follower.wait()[0]
            follower = tour.pass_on([d_visitor], hop) if hop < tour.hops else None
        (returned,) = tour.send_home([d_visitor]).wait()
        (dx if y is None else dy).add_(returned)
        return dx.to(ctx.dtype), None if y is None else dy.to(ctx.dtype), d_scale, *(None,) * 9
