"""The collectives that the losses need, each of which says which process it lost, and why."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["Exchange", "Group", "RankError", "announce", "ended_ranks"]

PATIENCE = 2.0
"""Seconds after which a rank that has not failed like another counts as waiting for it."""
UNUSED_TAG = 2**30 + 1
_position: dict[str, int] = {}
"""Messages begun in each group; equal on ranks that are at the same place."""


class RankError(RuntimeError):
    """What the ranks raise because of what happened on another one."""


class Exchange:
    """Messages under way to one rank and from another; tensors live until :meth:`wait`."""

    def __init__(self, group: Group, sent: list[Tensor], to: int, got: list[Tensor], by: int):
        self._group, self._sent, self._got, self._peers = group, sent, got, (to, by)
        operations = [
            dist.P2POp(kind, tensor, group.global_rank(peer), group.handle)
            for kind, tensors, peer in ((dist.isend, sent, to), (dist.irecv, got, by))
            for tensor in tensors
            if tensor.numel()
        ]
        with group.watched("exchange", *self._peers):
            self._work = dist.batch_isend_irecv(operations) if operations else []

    def wait(self) -> list[Tensor]:
        """What was received."""
        with self._group.watched("exchange", *self._peers):
            for work in self._work:
                work.wait()
        self._sent, self._work = [], []
        return self._got


class Group:
    """A process group, by ranks within it."""

    def __init__(self, handle: dist.ProcessGroup) -> None:
        self.handle, self.name = handle, handle.group_name
        self.rank, self.size = dist.get_rank(handle), dist.get_world_size(handle)

    def global_rank(self, rank: int) -> int:
        return dist.get_global_rank(self.handle, rank)

    def device(self) -> torch.device:
        """Where small messages can be sent from, whatever the embeddings are on."""
        if "nccl" in dist.get_backend(self.handle):
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("cpu")

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """The ranks' tensors, of one shape."""
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with self.watched("all_gather"):
            dist.all_gather(parts, tensor.contiguous(), group=self.handle)
        return parts

    def all_gather_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The ranks' rows one below another; rank r has ``counts[r]``."""
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = self.all_gather(padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def all_reduce(self, tensor: Tensor, by: Any = dist.ReduceOp.SUM) -> Tensor:
        """The sum, or another reduction, over the ranks."""
        total = tensor.clone(memory_format=torch.contiguous_format)
        with self.watched("all_reduce"):
            dist.all_reduce(total, by, group=self.handle)
        return total

    def reduce_scatter_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Of the sum over the ranks of such rows, those of this rank."""
        padded = rows.new_zeros(self.size, max(counts), *rows.shape[1:])
        for part, own in zip(padded, torch.split(rows, list(counts)), strict=True):
            part[: len(own)] = own
        total = torch.empty_like(padded[0])
        with self.watched("reduce_scatter"):
            dist.reduce_scatter(total, list(padded), group=self.handle)
        return total[: counts[self.rank]]

    def broadcast(self, tensor: Tensor) -> None:
        """Overwrite the tensor by that of rank 0."""
        with self.watched("broadcast"):
            dist.broadcast(tensor, self.global_rank(0), group=self.handle)

    @contextmanager
    def watched(self, what: str, *peers: int) -> Iterator[None]:
        """Turn the failure of a message into a sentence that names the ranks it may be due to."""
        _position[self.name] = _position.get(self.name, 0) + 1
        try:
            yield
        except RuntimeError as error:
            raise RankError(self._sentence(what, peers, error)) from error

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Raise on every rank what one of them raises inside."""
        try:
            yield
        except Exception as error:
            if (of_all := self.fail(error)) is not None:
                raise of_all from error
            raise

    def fail(self, error: Exception) -> RankError | None:
        """Say that this rank fails between two messages, which the others would wait for.

        Where all ranks fail at the same place, as where all of them run out of memory, they are
        still in step. Otherwise there is no way back: the connections of a gloo group are closed,
        so that the others fail at once and find the reason in the store. NCCL's own watchdog ends
        the others.

        Returns:
            What this rank is to raise; None where its own error is right.
        """
        if isinstance(error, RankError):
            return None
        with suppress(RuntimeError):  # the store ended with the rank that kept it
            store, here = _store(), f"{self.name}/{_position.get(self.name, 0)}"
            store.set(f"ntxent/failed/{here}/{self.rank}", "")
            everyone = [f"ntxent/failed/{here}/{rank}" for rank in range(self.size)]
            last = time.monotonic() + PATIENCE
            while time.monotonic() < last:
                if store.check(everyone):
                    return None
                time.sleep(0.02)
            sentence = (
                f"rank {self.rank} of {self.size} failed in the middle of a loss: "
                f"{type(error).__name__}: {error}. The others wait for its messages: start all "
                "processes again"
            )
            first = store.compare_set(self._reason, "", sentence).decode()
            self._close()
            return RankError(first)
        return None

    @property
    def _reason(self) -> str:
        """Where the store keeps the reason for which this group was closed."""
        return f"ntxent/closed/{self.name}"

    def _close(self) -> None:
        """Close gloo's connections to the other ranks, as every message that times out does."""
        if "gloo" in dist.get_backend(self.handle):
            peer = self.global_rank((self.rank + 1) % self.size)
            never = dist.irecv(torch.empty(1), peer, group=self.handle, tag=UNUSED_TAG)
            with suppress(RuntimeError):
                never.wait(timedelta(milliseconds=1))  # type: ignore[union-attr]

    def _sentence(self, what: str, peers: Sequence[int], error: RuntimeError) -> str:
        with suppress(RuntimeError):
            if _store().check([self._reason]):
                return str(_store().get(self._reason).decode())
        dead = ended_ranks(range(dist.get_world_size()))
        if dead:
            whose = f"rank {dead[0]} has ended" if len(dead) == 1 else f"ranks {dead} have ended"
        elif peers:
            others = " or ".join(f"rank {self.global_rank(peer)}" for peer in sorted({*peers}))
            whose = f"{others} does not answer"
        else:
            whose = "one of the ranks does not answer"
        return (
            f"ntxent: {what} failed on rank {dist.get_rank()}: {whose}. A process that ends, hangs "
            "or calls another collective stops all of them: look at the first error of the job; "
            f"torchrun names its rank. ({' '.join(str(error).split())})"
        )


_announced: list[Any] = []


def announce() -> None:
    """Tell the others, once, which process on which machine this rank is."""
    store = _store()
    if store not in _announced:
        _announced[:] = [store]
        store.set(f"ntxent/{dist.get_rank()}", f"{socket.gethostname()} {os.getpid()}")


def ended_ranks(ranks: Sequence[int], patience: float = 1.0) -> list[int]:
    """Those of the ranks that announced themselves on this machine and run no more."""
    time.sleep(patience)  # a process takes a moment to end
    dead = []
    for rank in ranks:
        try:
            if not _store().check([f"ntxent/{rank}"]):
                continue
            host, pid = _store().get(f"ntxent/{rank}").decode().split()
        except RuntimeError:  # the store ended with the rank that kept it
            break
        if host == socket.gethostname() and not _runs(int(pid)):
            dead.append(rank)
    return dead


def _store() -> Any:
    # The store that init_process_group made; there is no public way to it.
    return dist.distributed_c10d._get_default_store()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:  # no /proc here, or another user's process
        return True
    return state != "Z"  # ended, and its parent has not noticed yet
