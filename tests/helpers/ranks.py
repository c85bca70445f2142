"""Several processes joined by gloo, which run functions that a test names."""

import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

import torch
import torch.distributed as dist

# The server imports once; its children start in milliseconds.
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "torch.distributed", "ntxent.distributed.global_batch"])


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _serve(pipe: Any, rank: int, size: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", rank=rank, world_size=size, timeout=timedelta(seconds=60))
    while (job := pipe.recv()) is not None:
        function, arguments = job
        try:
            pipe.send((True, function(*arguments)))
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {error}"))
    dist.destroy_process_group()


class Ranks:
    """``size`` processes; calling it runs a function on each of them at the same time.

    Ranks that failed may be left in the middle of different messages: ``failed`` says so, and a
    test that goes on needs new ones.
    """

    failed = False

    def __init__(self, size: int) -> None:
        self.size = size
        pairs = [CONTEXT.Pipe() for _ in range(size)]
        self._pipes = [here for here, _ in pairs]
        port = free_port()
        self._processes = [
            CONTEXT.Process(target=_serve, args=(there, rank, size, port), daemon=True)
            for rank, (_, there) in enumerate(pairs)
        ]
        for process, (_, there) in zip(self._processes, pairs, strict=True):
            process.start()
            there.close()  # so that a rank that ends closes the last copy of its end

    def outcomes(
        self, function: Callable[..., Any], *arguments: Any, within: float | None = None
    ) -> list[tuple[bool, Any]]:
        """For each rank, whether it returned, and what; else the error as text.

        Args:
            within: Seconds after which a rank that has not answered counts as failed.
        """
        for pipe in self._pipes:
            pipe.send((function, arguments))
        last = None if within is None else time.monotonic() + within
        return [self._outcome(rank, last) for rank in range(self.size)]

    def _outcome(self, rank: int, last: float | None) -> tuple[bool, Any]:
        wait = None if last is None else max(0.0, last - time.monotonic())
        if not self._pipes[rank].poll(wait):
            self.failed = True
            return False, "no answer"
        try:
            outcome: tuple[bool, Any] = self._pipes[rank].recv()
        except EOFError:
            self._processes[rank].join(1)
            self.failed = True
            return False, f"ended with exit code {self._processes[rank].exitcode}"
        return outcome

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        outcomes = self.outcomes(function, *arguments)
        self.failed = not all(well for well, _ in outcomes)
        failed = [f"rank {r}: {what}" for r, (well, what) in enumerate(outcomes) if not well]
        assert not failed, "\n".join(failed)
        return [what for _, what in outcomes]

    def close(self) -> None:
        if self.failed:
            self.kill()
            return
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(10)
        self.kill()

    def kill(self) -> None:
        for process in self._processes:
            process.kill()


class Worlds:
    """``Ranks`` by their number, started once and replaced where they failed."""

    def __init__(self) -> None:
        self._made: dict[int, Ranks] = {}

    def __call__(self, size: int) -> Ranks:
        if size in self._made and self._made[size].failed:
            self._made.pop(size).kill()
        if size not in self._made:
            self._made[size] = Ranks(size)
        return self._made[size]

    def close(self) -> None:
        for ranks in self._made.values():
            ranks.close()
