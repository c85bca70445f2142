"""The processes that torchrun starts for one command."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed

__all__ = ["Processes", "is_rank_zero", "torchrun_group"]

T = TypeVar("T")


def is_rank_zero() -> bool:
    """Whether this process has rank 0; without torchrun it has."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True)
class Processes:
    """The rank of this process, the number of processes, and how many of them this machine has."""

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes the run folder, prints and evaluates."""
        return self.rank == 0

    def on_rank_zero(self, function: Callable[[], T]) -> T:
        """Calls the function in the process of rank 0, and returns its result in every process.

        Where it raises, the other processes end with status 2 and no message of their own.
        """
        if self.size == 1:
            return function()
        result: list[Any] = [None, None]
        error: BaseException | None = None
        if self.is_rank_zero:
            try:
                result[0] = function()
            except BaseException as raised:
                error, result[1] = raised, repr(raised)
        distributed.broadcast_object_list(result, src=0)
        if error is not None:
            raise error
        if result[1] is not None:
            raise SystemExit(2)
        return result[0]  # type: ignore[no-any-return]


@contextmanager
def torchrun_group(accelerator: str) -> Iterator[Processes]:
    """Joins the process group of torchrun, with NCCL on CUDA and else with gloo, and leaves it.

    Without torchrun it yields the one process that there is.
    """
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield Processes()
        return
    rank, size, local_size = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    )
    if accelerator == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    created = not distributed.is_initialized()
    if created:
        distributed.init_process_group("nccl" if accelerator == "cuda" else "gloo")
    try:
        yield Processes(rank, size, local_size)
    finally:
        if created:
            distributed.destroy_process_group()
