"""A batch as a loss sees it: alone in one process, or shared by the ranks of a process group."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from typing_extensions import Self

from ntxent import primitive
from ntxent.distributed.gather import GatherContrast
from ntxent.distributed.group import Group, announce
from ntxent.distributed.job import Job
from ntxent.distributed.ring import RingContrast
from ntxent.engines import accumulation_dtype
from ntxent.unit_rows import unit_rows

__all__ = ["GlobalBatch", "LocalBatch", "Mode", "join"]

Mode = Literal["auto", "gather", "ring", "local"]
MODES: tuple[Mode, ...] = ("auto", "gather", "ring", "local")
Fact = str | bool | int | float

# "auto" takes the ring where computing every similarity once spares a rank more multiply-adds than
# its hops cost, or where the rows of all ranks take more bytes than this. A hop's four messages are
# worth 4 * 160 us * 3e10/s on the 2 cores of docs/scaling.md, and 4 * 20 us * 2e14/s on the GPUs
# assumed there; not measured on a GPU.
HOP_WORK = {"cpu": 2e7}
HOP_WORK_ELSEWHERE = 1.6e10
RING_BYTES = 2**28

_log = logging.getLogger("ntxent")
_said: set[str] = set()


class LocalBatch:
    """A batch of this process only."""

    rank, size = 0, 1
    first = 0
    """Number of samples of the ranks before this one."""
    samples = 0
    """Number of samples of all ranks."""
    extra = 0
    """Number of candidates of all ranks beside the samples."""
    lowest_id = 0
    """The smallest id of all ranks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, RuntimeError) and "vmap" in str(error):
            raise RuntimeError(primitive.NO_VMAP) from error

    def handshake(
        self,
        samples: int,
        facts: Mapping[str, Fact],
        scale: Tensor,
        *,
        views: int = 1,
        extra: int = 0,
        lowest_id: int = 0,
    ) -> None:
        """Tell the other ranks what this one has, and check that all want the same loss.

        Args:
            samples: N here, each in ``views`` rows.
            facts: What must be equal on every rank, by the name that an error gives it.
            scale: 1 / tau, which must be equal as well.
            extra: Candidates beside the samples.
            lowest_id: The smallest id of a sample here.

        Raises:
            ValueError: ``facts`` or ``scale`` differ between the ranks.
            RuntimeError: another rank refused its input.
        """
        self.samples, self.extra, self.lowest_id = samples, extra, lowest_id

    contrast = staticmethod(primitive.contrast)
    """:func:`ntxent.primitive.contrast` with the candidates of all ranks; ``target`` names rows of
    this one."""

    def total(self, part: Tensor) -> Tensor:
        """The sum over the ranks, differentiable."""
        return part

    def largest(self, part: Tensor) -> Tensor:
        """The elementwise maximum over the ranks, without gradient."""
        return part

    def replicated(self, value: Tensor) -> Tensor:
        """``value``, equal on all ranks, with an equal gradient on all: that of the loss."""
        return value

    def all_gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks, without gradient; each has ``views`` for each of its samples."""
        return rows

    def broadcast(self, *buffers: Tensor) -> None:
        """Overwrite the buffers by those of the first rank."""


class GlobalBatch(LocalBatch):
    """A batch of which every rank of a process group holds a part."""

    def __init__(self, group: Group, mode: Mode) -> None:
        self.group, self.mode = group, mode
        self.rank, self.size = group.rank, group.size
        self._sent = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not self._sent:
            # The others wait for this rank's message, and would until a timeout.
            self.group.all_gather(_message(self.group.device(), refused=1))

    def handshake(
        self,
        samples: int,
        facts: Mapping[str, Fact],
        scale: Tensor,
        *,
        views: int = 1,
        extra: int = 0,
        lowest_id: int = 0,
    ) -> None:
        facts = {**facts, "views": views}
        device = self.group.device()
        message = _message(device, 0, samples, extra, lowest_id, *map(_code, facts.values()))
        message[-1] = scale.detach().double().view(torch.int64).to(device)
        self._sent = True
        heard = torch.stack(self.group.all_gather(message)).tolist()  # one wait for the device
        self._check(heard, facts)
        _, counts, extras, lowest, *_ = zip(*heard, strict=True)
        self.samples, self.first = sum(counts), sum(counts[: self.rank])
        self.extra, self.lowest_id = sum(extras), min(lowest)
        self._x_rows = [count * views for count in counts]
        self._y_rows = [x + extra for x, extra in zip(self._x_rows, extras, strict=True)]

    def _check(self, heard: Sequence[Sequence[int]], facts: Mapping[str, Fact]) -> None:
        refusing = [rank for rank, row in enumerate(heard) if row[0]]
        if refusing:
            raise RuntimeError(
                f"ntxent: rank {self.rank} stops because rank {refusing[0]} refused its input; "
                "the error there says what to change"
            )
        own = heard[self.rank]
        places: dict[str, int] = {name: place for place, name in enumerate(facts, HEADER)}
        for name, place in {**places, "scale (1 / temperature)": LENGTH - 1}.items():
            others = [rank for rank, row in enumerate(heard) if row[place] != own[place]]
            if others:
                theirs = ""
                value: Fact = facts.get(name, _float(own[place]))
                if name not in facts:
                    theirs = f" ({_float(heard[others[0]][place]):g})"
                ranks = ", ".join(map(str, others))
                raise ValueError(
                    f"{name}: received {value!r} on rank {self.rank} and another on rank {ranks}"
                    f"{theirs}, expected the same on all {self.size} ranks"
                )

    @torch.compiler.disable
    def contrast(  # messages between processes are no part of a graph
        self,
        x: Tensor,
        y: Tensor | None,
        scale: Tensor,
        *,
        x_norm: Tensor | None = None,
        y_norm: Tensor | None = None,
        both_ways: bool = False,
        unit: bool = False,
        engine: str = "auto",
        row_dtype: torch.dtype | None = None,
        **labels: Any,
    ) -> tuple[Tensor, Tensor]:
        unit_dtype = row_dtype or accumulation_dtype(x.dtype)
        if x_norm is not None:
            x = unit_rows(x, x_norm, unit_dtype)
        if y is not None and y_norm is not None:
            y = unit_rows(y, y_norm, unit_dtype)
        y_rows = self._x_rows if y is None else self._y_rows
        ring = self._takes_ring(x, y is None or both_ways, sum(y_rows))
        job = Job(
            x_ids=labels["x_ids"],
            y_ids=labels.get("y_ids"),
            target=labels.get("target"),
            both_ways=both_ways,
            unit=unit,
            group=self.group,
            x_counts=self._x_rows,
            y_counts=y_rows,
            engine=engine,
            row_dtype=row_dtype,
        )
        nll, logit = (RingContrast if ring else GatherContrast).apply(x, y, scale, job)
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

    def total(self, part: Tensor) -> Tensor:
        total: Tensor = _Total.apply(part, self.group)
        return total

    def largest(self, part: Tensor) -> Tensor:
        return self.group.all_reduce(part, dist.ReduceOp.MAX)

    def replicated(self, value: Tensor) -> Tensor:
        same: Tensor = _Replicated.apply(value, self.group)
        return same

    def all_gather(self, rows: Tensor) -> Tensor:
        return self.group.all_gather_rows(rows.detach(), self._x_rows)

    def broadcast(self, *buffers: Tensor) -> None:
        for buffer in buffers:
            self.group.broadcast(buffer)


def join(mode: Mode, process_group: dist.ProcessGroup | None) -> LocalBatch:
    """The batch of a loss: shared by the ranks of the group (the default group where None), or of
    this process alone where there is no group of several, or ``mode`` is ``"local"``.

    Raises:
        ValueError: ``mode`` is none of the known ones, or this process is not in the group.
    """
    if mode not in MODES:
        known = ", ".join(map(repr, MODES))
        raise ValueError(f"distributed: received {mode!r}, expected one of {known}")
    if mode == "local" or not (dist.is_available() and dist.is_initialized()):
        return LocalBatch()
    handle: Any = dist.group.WORLD if process_group is None else process_group
    if dist.get_rank(handle) < 0:
        raise ValueError(
            f"process_group: received one that rank {dist.get_rank()} is not in, expected a group "
            "of this process; let only its members call the loss"
        )
    if dist.get_world_size(handle) == 1:
        return LocalBatch()
    announce()
    return GlobalBatch(Group(handle), mode)


# --- the message that the ranks exchange before anything else -------------------------------------

HEADER = 4  # refused, samples, extra candidates, lowest id
LENGTH = 24


def _message(device: torch.device, refused: int, *rest: int) -> Tensor:
    values = [refused, *rest]
    return torch.tensor(values + [0] * (LENGTH - len(values)), device=device)


def _code(fact: Fact) -> int:
    """Equal for equal facts, in every process."""
    return zlib.crc32(repr(fact).encode())


def _float(bits: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<q", bits))
    return float(value)


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
