"""The work that runs beside a measurement, in a process of its own.

idle    nothing
busy    one Python process that computes without pause
torch   a PyTorch process that multiplies matrices on every core, with a thread pool of its own
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")


def _busy() -> Callable[[], object]:
    import numpy as np

    values = np.linspace(0, 1, 10_000)
    return lambda: np.sin(values).sum()


def _torch() -> Callable[[], object]:
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    x = torch.randn(1024, 1024)
    return lambda: x @ x


LOADS = {"idle": None, "busy": _busy, "torch": _torch}


class Load:
    """A load that runs, and how many cores it has kept busy since ``reset``."""

    def __init__(self, process: subprocess.Popen[str] | None) -> None:
        self.process = process
        self.reset()

    def reset(self) -> None:
        self._start, self._before = time.monotonic(), self._cpu_seconds()

    def _cpu_seconds(self) -> float:
        if self.process is None:
            return 0.0
        # What follows the name, which may itself contain spaces and brackets.
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def cores(self) -> float:
        return (self._cpu_seconds() - self._before) / (time.monotonic() - self._start)


@contextmanager
def running(name: str) -> Iterator[Load]:
    """Start a load, wait until it works, and stop it at the end."""
    if LOADS[name] is None:
        yield Load(None)
        return
    command = [sys.executable, "-m", "benchmarks.load.beside", name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            if not process.stdout or process.stdout.readline() != "working\n":
                raise RuntimeError(f"the load {name!r} ended before it worked")
            yield Load(process)
        finally:
            process.kill()


def main(name: str) -> None:
    work = LOADS[name]()
    parent = os.getppid()
    work()
    print("working", flush=True)
    while os.getppid() == parent:  # whoever started it may have been killed
        work()


if __name__ == "__main__":
    main(sys.argv[1])
