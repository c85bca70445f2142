"""The primitive over the rows of all ranks, block by block in a ring."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ntxent.distributed.group import Exchange, Group
from ntxent.distributed.job import Job
from ntxent.engines import Block, Sums
from ntxent.primitive import run_backward, run_forward

__all__ = ["RingContrast"]


class _Schedule:
    """Which rank's rows are on which rank at each hop, and what is computed there.

    At hop k rank r has the rows of rank r + k, which it got from rank r + 1. Where anchors are
    their own candidates the block of two ranks is the transpose of the same two the other way
    round, and W // 2 hops bring every two ranks together; in an even ring the last hop does so
    twice, and there each rank computes with half of the rows of the higher of the two.
    """

    def __init__(self, group: Group, self_similarity: bool, counts: Sequence[int]) -> None:
        self.group, self.counts = group, counts
        self.self_similarity = self_similarity
        self.hops = group.size // 2 if self_similarity else group.size - 1

    def owner(self, hop: int) -> int:
        """The rank whose rows are here at this hop."""
        return (self.group.rank + hop) % self.group.size

    def parts(self, hop: int) -> tuple[slice, slice]:
        """Which of the local and which of the remote rows are computed with here."""
        local, remote = slice(None), slice(None)
        if self.self_similarity and 2 * hop == self.group.size:
            owner = self.owner(hop)
            half = (self.counts[max(self.group.rank, owner)] + 1) // 2
            if self.group.rank < owner:
                remote = slice(0, half)
            else:
                local = slice(half, None)
        return local, remote

    def pass_on(self, tensors: Sequence[Tensor], hop: int) -> Exchange:
        """Send what belongs to the owner of ``hop`` to the left; receive that of the next hop."""
        rows = self.counts[self.owner(hop + 1)]
        return self._exchange(tensors, self.owner(-1), self.owner(1), rows)

    def send_home(self, tensors: Sequence[Tensor]) -> Exchange:
        """Send what was computed for the last remote rows to their owner; receive our own."""
        to, by = self.owner(self.hops), self.owner(-self.hops)
        return self._exchange(tensors, to, by, self.counts[self.group.rank])

    def _exchange(self, tensors: Sequence[Tensor], to: int, by: int, rows: int) -> Exchange:
        received = [t.new_empty(rows, *t.shape[1:]) for t in tensors]
        return Exchange(self.group, [t.contiguous() for t in tensors], to, received, by)


class RingContrast(torch.autograd.Function):
    """Remote rows are on their way to the next rank while this one computes with them. What is
    computed for them follows them from rank to rank, and goes home after the last hop.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor | None, scale: Tensor, job: Job
    ) -> tuple[Tensor, Tensor]:
        how = job.engine, job.row_dtype
        schedule = _Schedule(job.group, y is None, job.y_counts)
        candidates, ids = (x, job.x_ids) if y is None or job.y_ids is None else (y, job.y_ids)
        two_sided = job.both_ways or y is None

        # this rank's own block, while its candidates leave
        in_flight = schedule.pass_on([job.rounded(candidates), ids], 0)
        block = Block(x, y, scale, job.x_ids, job.y_ids, job.target, job.both_ways, job.unit)
        nll, logit, saved = run_forward(*block, *how)

        # log-sum-exps over the rows of other ranks: of the anchors here, and of the remote ones
        of_local = x.new_full((len(x),), -torch.inf, dtype=torch.float64)
        of_remote = of_local
        returning: Exchange | None = None
        for hop in range(1, schedule.hops + 1):
            remote, remote_ids = in_flight.wait()
            if hop < schedule.hops:
                in_flight = schedule.pass_on([remote, remote_ids], hop)
            local, theirs = schedule.parts(hop)
            here, there = (x[local], job.x_ids[local]), (remote[theirs], remote_ids[theirs])
            block = Block(here[0], there[0], scale, here[1], there[1], None, two_sided, job.unit)
            lse, _, _ = run_forward(*block, *how)
            lse = lse.double()
            rows = len(block.x)
            of_local[local] = torch.logaddexp(of_local[local], lse[:rows])
            if two_sided:
                of_remote = of_local.new_full((len(remote),), -torch.inf)
                of_remote[theirs] = lse[rows:]
                if returning is not None:
                    of_remote = torch.logaddexp(of_remote, returning.wait()[0])
                returning = schedule.pass_on([of_remote], hop) if hop < schedule.hops else None

        # together with the own block
        elsewhere = of_local
        if two_sided:
            (returned,) = schedule.send_home([of_remote]).wait()
            elsewhere = (
                torch.logaddexp(of_local, returned)
                if y is None
                else torch.cat([of_local, returned])
            )
        nll = torch.logaddexp(nll.double(), elsewhere - logit.double()).to(logit.dtype)

        ctx.save_for_backward(x, y, scale, nll, logit, saved)
        ctx.job, ctx.schedule, ctx.two_sided = job, schedule, two_sided
        return nll, logit

    @staticmethod
    def backward(ctx: Any, grad_nll: Tensor, grad_logit: Tensor) -> tuple[Tensor | None, ...]:
        x, y, scale, nll, logit, saved = ctx.saved_tensors
        job: Job = ctx.job
        schedule: _Schedule = ctx.schedule
        two_sided: bool = ctx.two_sided
        how: Any = (job.engine, job.row_dtype, True, ctx.needs_input_grad[2])
        candidates, ids = (x, job.x_ids) if y is None or job.y_ids is None else (y, job.y_ids)
        # In another rank's block an anchor has no target: its log-sum-exp stands for both.
        lse = nll + logit

        # this rank's own block, while its candidates leave, with the sums of those that are anchors
        package = [job.rounded(candidates), ids]
        if two_sided:
            travelling = slice(len(x)) if y is None else slice(len(x), None)
            package += [lse[travelling], grad_nll[travelling]]
        in_flight = schedule.pass_on(package, 0)
        block = Block(x, y, scale, job.x_ids, job.y_ids, job.target, job.both_ways, job.unit)
        sums = Sums(nll, logit, saved)
        dx, dy, d_scale = run_backward(*block, *sums, grad_nll, grad_logit, *how)

        returning: Exchange | None = None
        d_remote = dx
        for hop in range(1, schedule.hops + 1):
            package = in_flight.wait()
            if hop < schedule.hops:
                in_flight = schedule.pass_on(package, hop)
            remote, remote_ids, *remote_sums = package
            local, theirs = schedule.parts(hop)
            here, there = (x[local], job.x_ids[local]), (remote[theirs], remote_ids[theirs])
            block = Block(here[0], there[0], scale, here[1], there[1], None, two_sided, job.unit)
            lses, upstream = lse[: len(x)][local], grad_nll[: len(x)][local]
            if two_sided:
                lses = torch.cat([lses, remote_sums[0][theirs]])
                upstream = torch.cat([upstream, remote_sums[1][theirs]])
            zero = torch.zeros_like(lses)
            sums = Sums(lses, zero, zero.new_empty(0))
            d_here, d_theirs, d_scale_here = run_backward(*block, *sums, upstream, zero, *how)
            dx[local] += d_here
            d_scale = d_scale + d_scale_here
            d_remote = torch.zeros_like(remote, dtype=nll.dtype)
            d_remote[theirs] = d_theirs
            if returning is not None:
                d_remote += returning.wait()[0]
            returning = schedule.pass_on([d_remote], hop) if hop < schedule.hops else None
        (returned,) = schedule.send_home([d_remote]).wait()
        (dx if y is None else dy).add_(returned)
        d_y = None if y is None else dy.to(y.dtype)
        return dx.to(x.dtype), d_y, d_scale if ctx.needs_input_grad[2] else None, None
