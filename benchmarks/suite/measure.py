"""Time contenders beside each other, in turn, and remember what each needed."""

import multiprocessing
import statistics
from typing import Any

from benchmarks.suite.contenders import TEMPERATURE
from benchmarks.suite.worker import serve

Row = dict[str, Any]


class Process:
    """A contender's process, asked for one timed pass at a time."""

    def __init__(self, family: str, name: str, n: int, d: int, limit_gib: float) -> None:
        self._row: Row = {"family": family, "contender": name, "n": n, "d": d}
        self._row["temperature"] = TEMPERATURE
        self.seconds: dict[str, list[float]] = {"forward": [], "both": []}
        self.error: str | None = None
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there, family, name, n, d, limit_gib))
        self._process.start()
        there.close()
        self._bytes = self._receive()
        self._loss = self._receive()

    def _receive(self) -> Any:
        if self.error:
            return None
        try:
            answer = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            answer = MemoryError("killed by the system")
        if isinstance(answer, Exception):
            kinds = {MemoryError: "out of memory", ImportError: "not installed"}
            self.error = f"{kinds.get(type(answer), 'failed')}: {answer}"
            return None
        return answer

    def run(self, which: str) -> None:
        if not self.error:
            self._pipe.send(which)
            seconds = self._receive()
            if seconds is not None:
                self.seconds[which].append(seconds)

    def end(self) -> None:
        if not self.error:
            self._pipe.send("")
        self._process.join()

    def close(self) -> Row:
        self.end()
        if self.error:
            return self._row | {"error": self.error}
        times: Row = {}
        for which, seconds in self.seconds.items():
            low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
            times[f"{which}_ms"] = round(1e3 * median, 4)
            times[f"{which}_quartiles_ms"] = [round(1e3 * low, 4), round(1e3 * high, 4)]
        memory = round(self._bytes / 1e6, 1)
        repeats = len(self.seconds["both"])
        return self._row | times | {"repeats": repeats, "peak_mb": memory, "loss": self._loss}


def measure(
    family: str, names: list[str], n: int, d: int, limit_gib: float, budget: float
) -> list[Row]:
    """One row a contender. They take turns, so that a drift of the machine meets all alike."""
    processes = [Process(family, name, n, d, limit_gib) for name in names]

    def round_of_all() -> float:
        for process in processes:
            for which in ("forward", "both"):
                process.run(which)
        return sum(s[-1] for p in processes if not p.error for s in p.seconds.values())

    round_of_all()
    once = round_of_all()  # warm
    for process in processes:
        if once < budget / 3:
            process.seconds = {"forward": [], "both": []}
    for _ in range(max(3, min(200, int(budget / max(once, 1e-9)))) if once < budget else 0):
        round_of_all()
    return [process.close() for process in processes]
