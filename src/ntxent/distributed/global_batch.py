"""A batch of which every rank of a process group holds a part."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from typing_extensions import Self

from ntxent import engines
from ntxent.distributed.batch import Batch, Mode
from ntxent.distributed.gather import GatherContrast
from ntxent.distributed.group import Group, RankError, announce
from ntxent.distributed.handshake import Fact, Header, agree, refuse
from ntxent.distributed.job import Job
from ntxent.distributed.ring import RingContrast
from ntxent.unit_rows import unit_rows

__all__ = ["GlobalBatch"]

# "auto" takes the ring where computing every similarity once spares a rank more multiply-adds than
# its hops cost, or where the rows of all ranks take more bytes than this. A hop's four messages are
# worth 4 * 160 us * 3e10/s on the 2 cores of docs/evidence/scaling.md, and 4 * 20 us * 2e14/s on
# the GPUs assumed there; not measured on a GPU.
HOP_WORK = {"cpu": 2e7}
HOP_WORK_ELSEWHERE = 1.6e10
RING_BYTES = 2**28

_log = logging.getLogger("ntxent")
_said: set[str] = set()


Method = TypeVar("Method", bound=Callable[..., Any])


def outside_graphs(method: Method) -> Method:
    """The method, at which a compiled graph ends: messages are no part of one."""
    disabled: Method = torch.compiler.disable(method)  # type: ignore[no-untyped-call]
    return disabled


class GlobalBatch(Batch):
    """The rows of all ranks; what sends a message is outside of every compiled graph.

    ``error`` is what this rank found wrong with how it was called, for all ranks to hear.
    """

    @outside_graphs
    def __init__(
        self, handle: dist.ProcessGroup, mode: Mode, error: Exception | None = None
    ) -> None:
        self.group, self.mode, self._error = Group(handle), mode, error
        self.rank, self.size = self.group.rank, self.group.size
        self._sent = self._agreed = False
        announce()

    def __enter__(self) -> Self:
        self._sent = self._agreed = False
        return super().__enter__()

    @outside_graphs
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        # The others wait for this rank's next message, and would until a timeout.
        of_all: Exception | None = None
        if isinstance(error, Exception) and not self._sent:
            self._sent = True
            with suppress(RankError):  # nobody listens any more: what is wrong here is left to say
                of_all = refuse(self.group, error)
        elif isinstance(error, Exception) and self._agreed:
            of_all = self.group.fail(error)
        if of_all is not None:
            raise of_all from error

    @outside_graphs
    def handshake(
        self,
        samples: int,
        facts: Mapping[str, Fact],
        scale: Tensor | None = None,
        *,
        views: int = 1,
        n_negatives: int = 0,
        optional: bool = False,
        engine: str = "auto",
        device: str = "cpu",
    ) -> None:
        if self._error is not None:
            raise self._error
        engines.select(engine, device)
        facts = {**facts, "views": views, "distributed": self.mode}
        own = Header(0, samples, n_negatives, int(optional))
        self._sent = True
        ranks = agree(self.group, own, facts, scale)
        self._agreed = True
        counts = [header.samples for header in ranks]
        negatives = [header.n_negatives for header in ranks]
        self.samples, self.first = sum(counts), sum(counts[: self.rank])
        self.n_negatives = sum(negatives)
        self.optional = any(header.optional for header in ranks)
        self._x_rows = [count * views for count in counts]
        self._y_rows = [x + more for x, more in zip(self._x_rows, negatives, strict=True)]

    @outside_graphs
    def contrast(
        self,
        x: Tensor,
        y: Tensor | None,
        scale: Tensor,
        *,
        x_norm: Tensor | None = None,
        y_norm: Tensor | None = None,
        **settings: Any,
    ) -> tuple[Tensor, Tensor]:
        y_counts = self._x_rows if y is None else self._y_rows
        job = Job(self.group, self._x_rows, y_counts, **settings)
        unit_dtype = job.row_dtype or engines.accumulation_dtype(x.dtype)
        if x_norm is not None:
            x = unit_rows(x, x_norm, unit_dtype)
        if y is not None and y_norm is not None:
            y = unit_rows(y, y_norm, unit_dtype)
        ring = self._takes_ring(x, y is None or job.both_ways, sum(y_counts))
        nll, logit = (_Ring if ring else _Gather).apply(x, y, scale, job)
        return nll, logit

    def _takes_ring(self, x: Tensor, shares_tiles: bool, candidates: int) -> bool:
        if self.mode == "auto":
            spared = 2 * sum(self._x_rows) * candidates * x.shape[1] / self.size
            hops = HOP_WORK.get(x.device.type, HOP_WORK_ELSEWHERE) * (self.size // 2)
            everyone = candidates * x.shape[1] * x.element_size()
            ring = (shares_tiles and spared > hops) or everyone > RING_BYTES
        else:
            ring = self.mode == "ring"
        if not _said and self.rank == 0:
            _said.add(self.mode)
            _log.warning(
                "ntxent: the loss is that of all %d processes together, by %s%s; "
                'distributed="local" asks for that of each process alone',
                self.size,
                "ring" if ring else "gather",
                " (chosen by auto)" if self.mode == "auto" else "",
            )
        return ring

    @outside_graphs
    def total(self, part: Tensor) -> Tensor:
        total: Tensor = _Total.apply(part, self.group)
        return total

    @outside_graphs
    def largest(self, part: Tensor) -> Tensor:
        return self.group.all_reduce(part, dist.ReduceOp.MAX)

    @outside_graphs
    def replicated(self, value: Tensor) -> Tensor:
        same: Tensor = _Replicated.apply(value, self.group)
        return same

    @outside_graphs
    def all_gather(self, rows: Tensor) -> Tensor:
        return self.group.all_gather_rows(rows.detach(), self._x_rows)

    @outside_graphs
    def broadcast(self, *buffers: Tensor) -> None:
        for buffer in buffers:
            self.group.broadcast(buffer)


# --- backward passes that fail on all ranks where one fails ---------------------------------------


class _Gather(GatherContrast):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with ctx.job.group.failing_together():
            return GatherContrast.backward(ctx, *grads)


class _Ring(RingContrast):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with ctx.job.group.failing_together():
            return RingContrast.backward(ctx, *grads)


# --- differentiable sums --------------------------------------------------------------------------


class _Total(torch.autograd.Function):
    """Every rank differentiates its copy of the sum, so a part gets the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.all_reduce(part)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.group.all_reduce(grad), None


class _Replicated(torch.autograd.Function):
    """The W copies of the loss give W times its gradient, a part of it on each rank: the average
    of these parts is the gradient.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.group.all_reduce(grad) / ctx.group.size, None
