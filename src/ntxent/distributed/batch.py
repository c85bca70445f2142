"""A batch as a loss sees it: of this process only, or of all ranks of a process group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import Self

from ntxent import primitive

__all__ = ["Batch", "LocalBatch", "Mode"]

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

    _autocast: ExitStack | None = None

    def __enter__(self) -> Self:
        """Leave autocast, which has no common dtype of bfloat16 rows under float16 autocast, and
        no part in a loss; a compiled graph keeps it.
        """
        if not torch.compiler.is_compiling():
            on = [device for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)]
            if on:
                self._autocast = ExitStack()
                for device in on:
                    self._autocast.enter_context(torch.autocast(device, enabled=False))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._autocast is not None:
            self._autocast.close()
            self._autocast = None
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

    contrast: Callable[..., tuple[Tensor, Tensor]]
    """:func:`ntxent.primitive.contrast` with the candidates of all ranks; ``target`` names rows of
    this one."""

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
