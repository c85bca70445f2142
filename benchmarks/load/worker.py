"""The process that times the loss functions of one checkout; requests and answers are JSON lines.

``{"n", "d", "contenders", "limit_gib"}`` prepares a size, and answers with the loss, or the error,
of each. ``{"rounds"}`` answers with the seconds of so many rounds, in each of which each of them
makes one step, forward and backward.
"""

import json
import resource
import sys
import time

import torch

import ntxent
from benchmarks.suite.contenders import NT_XENT, Work
from benchmarks.suite.worker import GIB, status_kib

WARM = 3  # steps


class Worker:
    def __init__(self) -> None:
        self._steps: dict[str, Work] = {}
        self._first = 0

    def prepare(
        self, n: int, d: int, contenders: list[str], limit_gib: float
    ) -> dict[str, float | str]:
        torch.manual_seed(0)
        z1, z2 = (torch.randn(n, d, requires_grad=True) for _ in range(2))
        self._steps = {}
        limit = status_kib("VmData") * 1024 + int(limit_gib * GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
        answer: dict[str, float | str] = {}
        for name in contenders:
            try:
                work = NT_XENT[name]()(z1, z2)
                answer[name] = [float(work.both()) for _ in range(WARM)][-1]
            except Exception as error:  # a row that says what happened, not the end of the run
                answer[name] = str(error).strip().partition("\n")[0] or type(error).__name__
            else:
                self._steps[name] = work
        return answer

    def time(self, rounds: int) -> list[dict[str, float]]:
        return [self._round() for _ in range(rounds)]

    def _round(self) -> dict[str, float]:
        """Whoever was first in the last round is last in this."""
        names = list(self._steps)
        self._first = (self._first + 1) % max(1, len(names))
        seconds = {}
        for name in names[self._first :] + names[: self._first]:
            start = time.perf_counter()
            self._steps[name].both()
            seconds[name] = time.perf_counter() - start
        return seconds


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # a library may print
    print(json.dumps({"code": ntxent.__file__}), file=answers, flush=True)
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        answer = worker.time(**request) if "rounds" in request else worker.prepare(**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
