"""The loss among several processes on this machine: time, memory of a rank, bytes that it sends.

A row is a mode, a number of processes W and a batch N. The processes share the cores: with W ranks
each has cores / W threads, at least one. Times are medians of warm steps, forward and backward,
from one barrier to the next; memory is the largest peak of a rank's first step beyond its inputs
and gradients; bytes are counted where they are handed to torch.distributed. Beside them, what the
cost model of docs/evidence/scaling.md needs of this machine: the rate of a step in one process, and
the latency and bandwidth of messages between two.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.environment import describe, environment
from benchmarks.suite.measure import Row
from benchmarks.suite.worker import status_kib

ROWS = Path(__file__).parents[1] / "rows" / "distributed.json"
TEMPERATURE = 0.5
TIMED = [(w, n) for n in (1024, 4096) for w in (1, 2, 4)]
MEMORY = [(4, n) for n in (8192, 16384, 32768, 65536)]


class Counter:
    """Bytes that this rank hands over to be sent; an all-reduce sends twice (W - 1) / W of it."""

    def __init__(self, size: int) -> None:
        self.bytes, self._size = 0, size
        for name in ("all_gather", "all_reduce", "reduce_scatter", "batch_isend_irecv"):
            setattr(dist, name, self._counting(name, getattr(dist, name)))

    def _counting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.bytes += int(self._sent(name, arguments))
            return function(*arguments, **named)

        return call

    def _sent(self, name: str, arguments: tuple[Any, ...]) -> float:
        others = self._size - 1
        if name == "batch_isend_irecv":
            return sum(op.tensor.nbytes for op in arguments[0] if op.op is dist.isend)
        if name == "all_gather":
            return others * arguments[1].nbytes
        if name == "reduce_scatter":
            return others * arguments[0].nbytes
        return 2 * others / self._size * arguments[0].nbytes


def rank_main(rank: int, size: int, port: int, mode: str, n: int, d: int, steps: int, pipe: Any):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    dist.init_process_group("gloo", rank=rank, world_size=size)
    counter = Counter(size)
    from ntxent import NTXentLoss

    criterion = NTXentLoss(TEMPERATURE, distributed=mode)
    torch.manual_seed(rank)

    def step(z1: torch.Tensor, z2: torch.Tensor) -> float:
        loss = criterion(z1, z2)
        loss.backward()
        return loss.item()

    step(*(torch.randn(8, d, requires_grad=True) for _ in range(2)))
    z1, z2 = (torch.randn(n // size, d, requires_grad=True) for _ in range(2))
    for z in (z1, z2):
        z.grad = torch.zeros_like(z)
    Path("/proc/self/clear_refs").write_text("5")
    before, counter.bytes = status_kib("VmRSS"), 0
    loss = step(z1, z2)
    peak, sent = status_kib("VmHWM") - before, counter.bytes
    seconds = []
    for _ in range(steps):
        dist.barrier()
        start = time.perf_counter()
        step(z1, z2)
        dist.barrier()
        seconds.append(time.perf_counter() - start)
    pipe.send({"peak": peak * 1024, "sent": sent, "seconds": seconds, "loss": loss})
    dist.destroy_process_group()


def link_main(rank: int, size: int, port: int, pipe: Any) -> None:
    """Latency of a small message, and bandwidth of a large one, both there and back."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=size)

    def round_trip(count: int, repeats: int) -> float:
        message, answer = torch.zeros(count), torch.zeros(count)
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            exchange = [
                dist.P2POp(dist.isend, message, 1 - rank),
                dist.P2POp(dist.irecv, answer, 1 - rank),
            ]
            for work in dist.batch_isend_irecv(exchange):
                work.wait()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    round_trip(1, 50)
    latency, large = round_trip(1, 500), round_trip(2**22, 20)
    pipe.send({"latency_s": latency, "bytes_per_s": 2**24 / (large - latency)})
    dist.destroy_process_group()


def launch(target: Callable[..., None], size: int, *arguments: Any) -> list[Any]:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    context = get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = [
        context.Process(target=target, args=(rank, size, port, *arguments, pipes[rank][1]))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    results = [there.recv() for there, _ in pipes]
    for process in processes:
        process.join()
    return results


def measure(mode: str, size: int, n: int, d: int, steps: int) -> Row:
    ranks = launch(rank_main, size, mode, n, d, steps)
    row: Row = {"mode": mode, "processes": size, "n": n, "d": d, "loss": ranks[0]["loss"]}
    if steps:
        seconds = [max(times) for times in zip(*(r["seconds"] for r in ranks), strict=True)]
        low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
        row |= {"step_ms": round(1e3 * middle, 3), "steps": steps}
        row |= {"step_quartiles_ms": [round(1e3 * low, 3), round(1e3 * high, 3)]}
    row["peak_mb"] = round(max(r["peak"] for r in ranks) / 1e6, 1)
    row["sent_mb"] = round(max(r["sent"] for r in ranks) / 1e6, 4)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims.distributed", description=__doc__
    )
    parser.add_argument("-d", type=int, default=128, help="dimension of the embeddings")
    parser.add_argument("--steps", type=int, default=9, help="timed steps of a row")
    parser.add_argument("--quick", action="store_true", help="N = 1024 only, no memory rows")
    parser.add_argument("--out", type=Path, help=f"write rows as JSON; the committed ones: {ROWS}")
    options = parser.parse_args()
    where = environment()
    print(describe(where))
    link = launch(link_main, 2)[0]
    print(f"link: {1e6 * link['latency_s']:.0f} us, {link['bytes_per_s'] / 1e9:.2f} GB/s each way")
    rows = []
    timed = [point for point in TIMED if not options.quick or point[1] == 1024]
    plan = [(w, n, options.steps) for w, n in timed]
    plan += [] if options.quick else [(w, n, 0) for w, n in MEMORY]
    print(f"{'mode':8}{'W':>3}{'N':>8}{'step ms':>12}{'peak MB a rank':>16}{'sent MB a rank':>16}")
    for size, n, steps in plan:
        for mode in ("gather", "ring") if size > 1 else ("local",):
            if not steps and mode == "gather" and n > 16384:
                continue  # the point is made
            row = measure(mode, size, n, options.d, steps)
            rows.append(row)
            shown = f"{row['step_ms']:.1f}" if steps else ""
            print(f"{mode:8}{size:3}{n:8}{shown:>12}{row['peak_mb']:16}{row['sent_mb']:16}")
    if options.out:
        content = {"environment": where, "link": link, "rows": rows}
        options.out.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
