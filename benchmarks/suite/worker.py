"""One contender in a process of its own: peak memory of a first step, then a time per request."""

import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

GIB = 2**30


def status_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}; memory is measured on Linux only")


def _seconds(run: Callable[[], Any]) -> float:
    """Seconds of a warm pass. The first pass after the others' turns wakes threads and fills
    caches, and only stands where passes are long; short ones are repeated for 30 ms.
    """
    first = _time(run, 1)
    return first if first > 0.5 else _time(run, max(1, int(0.03 / first)))


def _time(run: Callable[[], Any], passes: int) -> float:
    start = time.perf_counter()
    for _ in range(passes):
        run()
    return (time.perf_counter() - start) / passes


def serve(pipe: Connection, family: str, name: str, n: int, d: int, limit_gib: float) -> None:
    """Send the first step's extra memory in bytes and its loss; then, for each message, the seconds
    of what it names. Whatever goes wrong is sent instead, and ends it.
    """
    import torch

    from benchmarks.suite.contenders import FAMILIES

    torch.manual_seed(0)
    z1, z2 = (torch.randn(n, d, requires_grad=True) for _ in range(2))
    for z in (z1, z2):
        z.grad = torch.zeros_like(z)  # inputs and gradients are not extra memory
    try:
        contender = FAMILIES[family][name]()
        # Libraries, thread pools and compilers settle on a small problem of the same width, which
        # leaves nothing of size N behind.
        small = contender(*(torch.randn(8, d, requires_grad=True) for _ in range(2)))
        small.forward()
        small.both()
        limit = status_kib("VmData") * 1024 + int(limit_gib * GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))

        work = contender(z1, z2)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
        before = status_kib("VmRSS")
        value = work.both()
        pipe.send((status_kib("VmHWM") - before) * 1024)
        pipe.send(float(value))
        while pass_ := pipe.recv():
            pipe.send(_seconds(getattr(work, pass_)))
    except ImportError as error:
        pipe.send(ImportError(str(error)))
    except (RuntimeError, MemoryError, ValueError) as error:
        text = str(error).strip().partition("\n")[0]
        words = ("allocate", "bad_alloc", "Out of memory", "RESOURCE_EXHAUSTED")
        lack = isinstance(error, MemoryError) or any(word in str(error) for word in words)
        pipe.send(MemoryError(f"more than {limit_gib:g} GiB") if lack else RuntimeError(text))
