"""The losses beside other libraries, float32 on the CPU: time, memory, and what is out of reach.

Every contender of a size runs in its own process; they take turns, so that a drift of the machine
meets all of them alike. Times are medians of warm passes. Memory is the peak of a first step
beyond inputs and gradients. A contender that needs more than the limit is a row that says so.
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe, environment
from benchmarks.suite.contenders import FAMILIES
from benchmarks.suite.measure import Row, measure

QUICK = ("ntxent", "dense eager", "dense compiled", "lightly", "pytorch-metric-learning")

# family, sizes N, widths d, contenders; only ours goes where nobody else fits.
Plan = list[tuple[str, int, int, list[str]]]


def plan(options: argparse.Namespace) -> Plan:
    everyone, pairs = list(FAMILIES["nt_xent"]), list(FAMILIES["info_nce"])
    alone = ["ntxent", "matrix products alone"]
    if not options.suite:
        names = options.contenders or [*QUICK, "matrix products alone"]
        sizes: Plan = [("nt_xent", n, options.d, names) for n in options.n]
        return sizes + [("nt_xent", n, options.d, ["ntxent"]) for n in options.memory_n]
    quick = [name for name in everyone if name != "pykeops"]  # minutes a step beyond N = 1024
    return [
        *(("nt_xent", n, 128, everyone) for n in (64, 256, 1024)),
        ("nt_xent", 4096, 128, quick),
        ("nt_xent", 16384, 128, [*alone, "dense eager", "lightly", "optax, jit"]),
        ("nt_xent", 65536, 128, alone),
        *(("nt_xent", n, d, quick) for d in (512, 64, 1024) for n in (4096, 256)),
        *(("info_nce", n, 128, pairs) for n in (256, 1024, 4096, 16384)),
    ]


def table(rows: list[Row]) -> Table:
    shown = Table(title="float32, medians", title_justify="left")
    for column in (
        "family",
        "N",
        "d",
        "loss function",
        "fwd ms",
        "fwd+bwd ms",
        "x ours",
        "peak MB",
    ):
        left = column in ("family", "loss function")
        shown.add_column(column, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        start = (row["family"], str(row["n"]), str(row["d"]), row["contender"])
        if "error" in row:
            shown.add_row(*start, row["error"], "", "", "")
            continue
        ours = ours_beside(row, rows)
        ratio = f"{row['both_ms'] / ours['both_ms']:.2f}" if ours else ""
        times = (f"{row[key]:.2f}" for key in ("forward_ms", "both_ms"))
        shown.add_row(*start, *times, ratio, f"{row['peak_mb']:.0f}")
    return shown


def ours_beside(row: Row, rows: list[Row]) -> Row | None:
    place = ("family", "n", "d")
    beside = (r for r in rows if r["contender"] == "ntxent" and "error" not in r)
    return next((r for r in beside if all(r[key] == row[key] for key in place)), None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("-n", type=int, nargs="+", default=[256, 1024, 4096], help="pairs, N")
    parser.add_argument("-d", type=int, default=128, help="dimension of the embeddings")
    parser.add_argument("--contenders", nargs="+", choices=list(FAMILIES["nt_xent"]))
    parser.add_argument(
        "--memory-n", type=int, nargs="*", default=[16384], help="further sizes, ours alone"
    )
    parser.add_argument("--suite", action="store_true", help="everyone, every size: 20 minutes")
    parser.add_argument("--limit-gib", type=float, default=8.0, help="memory limit of a contender")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of timing for a size")
    parser.add_argument("--out", type=Path, help="write rows as JSON; goes on where it ended")
    options = parser.parse_args()

    console = Console(width=None if sys.stdout.isatty() else 120)
    where = environment()
    console.print(describe(where), highlight=False)
    rows: list[Row] = []
    if options.out and options.out.exists():  # go on where a stopped run ended
        content = json.loads(options.out.read_text())
        if content["environment"] != where:
            parser.error(f"--out: {options.out} was measured elsewhere; name another file")
        rows = content["rows"]
    done = {(row["family"], row["n"], row["d"]) for row in rows}
    for family, n, d, names in plan(options):
        if (family, n, d) in done:
            continue
        console.print(f"measuring {family}, N = {n}, d = {d} ...", style="dim")
        rows += measure(family, names, n, d, options.limit_gib, options.budget)
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            content = {"environment": where, "rows": rows}
            options.out.write_text(json.dumps(content, indent=1) + "\n")
    console.print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
