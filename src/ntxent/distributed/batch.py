"""A batch as a loss sees it: of this process only, or of all ranks of a process group."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from typing_extensions import Self

from ntxent import primitive

__all__ = ["Batch", "LocalBatch", "Mode", "join"]

Mode = Literal["auto", "gather", "ring", "local"]
MODES: tuple[Mode, ...] = ("auto", "gather", "ring", "local")


class Batch:
    """What a loss asks of its batch.

    Inside ``with batch:`` the first step is :meth:`handshake`. Every error before it is told to the
    other ranks, so that all of them raise it.
    """

    rank: int
    size: int
    first: int = 0
    """Number of samples of the ranks before this one."""
    samples: int = 0
    """Number of samples of all ranks."""
    n_negatives: int = 0
    """Number of candidates of all ranks beside the samples."""
    optional: bool = False
    """Whether any rank wants the steps that are optional."""

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
        facts: Mapping[str, str | bool | int | float | None],
        scale: Tensor | None = None,
        *,
        views: int = 1,
        n_negatives: int = 0,
        optional: bool = False,
        engine: str = "auto",
        device: str = "cpu",
    ) -> None:
        """Tell the other ranks what this one has, and check that all want the same loss.

        Args:
            samples: N here, each in ``views`` rows.
            facts: What must be equal on every rank, by the name that an error gives it.
            scale: 1 / tau, which must be equal as well.
            views: Rows of a sample.
            n_negatives: Candidates beside the samples.
            optional: Whether this rank wants the steps that are optional; all take them where one
                does.
            engine: The engine that will be asked for.
            device: The type of the device that it will run on.

        Raises:
            ValueError, TypeError, RuntimeError: the same on every rank: one of them refused its
                input, or ``facts`` or ``scale`` differ between them.
        """
        raise NotImplementedError

    def contrast(
        self,
        x: Tensor,
        y: Tensor | None,
        scale: Tensor,
        *,
        x_ids: Tensor,
        y_ids: Tensor | None = None,
        target: Tensor | None = None,
        both_ways: bool = False,
        unit: bool = False,
        x_norm: Tensor | None = None,
        y_norm: Tensor | None = None,
        engine: str = "auto",
        row_dtype: torch.dtype | None = None,
    ) -> tuple[Tensor, Tensor]:
        """:func:`ntxent.primitive.contrast` with the candidates of all ranks; ``target`` names rows
        of this one.
        """
        raise NotImplementedError

    def total(self, part: Tensor) -> Tensor:
        """The sum over the ranks, differentiable."""
        raise NotImplementedError

    def largest(self, part: Tensor) -> Tensor:
        """The elementwise maximum over the ranks, without gradient."""
        raise NotImplementedError

    def replicated(self, value: Tensor) -> Tensor:
        """``value``, equal on all ranks, with an equal gradient on all: that of the loss."""
        raise NotImplementedError

    def all_gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks, without gradient; each has ``views`` for each of its samples."""
        raise NotImplementedError

    def broadcast(self, *buffers: Tensor) -> None:
        """Overwrite the buffers by those of the first rank."""
        raise NotImplementedError


class LocalBatch(Batch):
    """A batch of this process only."""

    rank, size = 0, 1

    def handshake(
        self,
        samples: int,
        facts: Mapping[str, str | bool | int | float | None],
        scale: Tensor | None = None,
        *,
        views: int = 1,
        n_negatives: int = 0,
        optional: bool = False,
        engine: str = "auto",
        device: str = "cpu",
    ) -> None:
        self.samples, self.n_negatives, self.optional = samples, n_negatives, optional

    contrast = staticmethod(primitive.contrast)

    def total(self, part: Tensor) -> Tensor:
        return part

    def largest(self, part: Tensor) -> Tensor:
        return part

    def replicated(self, value: Tensor) -> Tensor:
        return value

    def all_gather(self, rows: Tensor) -> Tensor:
        return rows

    def broadcast(self, *buffers: Tensor) -> None:
        pass


def join(mode: Mode, process_group: dist.ProcessGroup | None) -> Batch:
    """The batch of a loss: of the ranks of the group (the default group where None), or of this
    process only, where there is no group of several or ``mode`` is ``"local"``.

    Raises:
        ValueError: ``mode`` is none of the known ones, or this process is not in the group.
        TypeError: ``process_group`` is none. Where a group of several can hear it, both errors
            wait for the handshake, and every rank raises them.
    """
    error: Exception | None = None
    if mode not in MODES:
        known = ", ".join(map(repr, MODES))
        error = ValueError(f"distributed: received {mode!r}, expected one of {known}")
    if mode == "local" or not (dist.is_available() and dist.is_initialized()):
        if error is not None:
            raise error
        return LocalBatch()
    handle: Any = dist.group.WORLD if process_group is None else process_group
    if process_group is not None and not _is_group(process_group):
        error = TypeError(
            f"process_group: received {type(process_group).__name__}, expected a "
            "torch.distributed.ProcessGroup, or None for all processes"
        )
        handle = dist.group.WORLD
    if dist.get_rank(handle) < 0:
        raise ValueError(
            f"process_group: received one that rank {dist.get_rank()} is not in, expected a group "
            "of this process; let only its members call the loss"
        )
    if dist.get_world_size(handle) == 1:
        if error is not None:
            raise error
        return LocalBatch()
    # Only here: this module needs PyTorch's compiler, whose import takes a second.
    from ntxent.distributed.global_batch import GlobalBatch

    return GlobalBatch(handle, mode, error)


def _is_group(handle: object) -> bool:
    return isinstance(handle, dist.ProcessGroup) or handle is dist.GroupMember.NON_GROUP_MEMBER
