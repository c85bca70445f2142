"""Where a step of a small batch goes: operations and their own time, ours beside the dense form.

python -m benchmarks.small -n 64
"""

import argparse

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from benchmarks.contenders import FAMILIES
from benchmarks.environment import describe, environment

STEPS, SHOWN = 200, 10


def profiled(name: str, n: int, d: int) -> tuple[Table, str]:
    """The operations that take longest, and one line for all of them, of a step."""
    torch.manual_seed(0)
    z1, z2 = (torch.randn(n, d, requires_grad=True) for _ in range(2))
    work = FAMILIES["nt_xent"][name]()(z1, z2)
    for _ in range(STEPS):
        work.both()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(STEPS):
            work.both()
    found = sorted(recorded.key_averages(), key=lambda one: -one.self_cpu_time_total)
    calls = sum(one.count for one in found) / STEPS
    total = sum(one.self_cpu_time_total for one in found) / STEPS
    shown = Table("operation", "calls a step", "own time, µs a step", title=name)
    for one in found[:SHOWN]:
        shown.add_row(one.key, f"{one.count / STEPS:g}", f"{one.self_cpu_time_total / STEPS:.1f}")
    return (
        shown,
        f"{name}: {calls:.0f} calls and {total:.0f} µs a step, the profiler's own included",
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small", description=__doc__)
    parser.add_argument("-n", type=int, default=64, help="pairs, N (%(default)s)")
    parser.add_argument("-d", type=int, default=128, help="dimension (%(default)s)")
    options = parser.parse_args()
    console = Console(width=100)
    console.print(describe(environment()), highlight=False)
    for name in ("ntxent", "dense eager"):
        table, line = profiled(name, options.n, options.d)
        console.print(table, line)


if __name__ == "__main__":
    main()
