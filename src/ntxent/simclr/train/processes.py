"""The processes that torchrun starts for one run."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed

__all__ = ["Processes", "joined"]

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process's number among all of them, and how many share its machine."""

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the run folder, prints and evaluates."""
        return self.rank == 0

    def ask_first(self, question: Callable[[], T]) -> T:
        """What the first process answers, in every process; where it fails, all of them end.

        Only the first raises its exception, for one message instead of many.
        """
        if self.size == 1:
            return question()
        answer: list[Any] = [None, None]
        error: BaseException | None = None
        if self.first:
            try:
                answer[0] = question()
            except BaseException as raised:
                error, answer[1] = raised, repr(raised)
        distributed.broadcast_object_list(answer, src=0)
        if error is not None:
            raise error
        if answer[1] is not None:
            raise SystemExit(2)
        return answer[0]  # type: ignore[no-any-return]


@contextmanager
def joined(accelerator: str) -> Iterator[Processes]:
    """Join torchrun's processes, by NCCL on CUDA and else by gloo; alone without torchrun."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield Processes()
        return
    rank, size, local_size = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    )
    if accelerator == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    ours = not distributed.is_initialized()
    if ours:
        distributed.init_process_group("nccl" if accelerator == "cuda" else "gloo")
    try:
        yield Processes(rank, size, local_size)
    finally:
        if ours:
            distributed.destroy_process_group()
