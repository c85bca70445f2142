"""A step beside other work on the same cores: NT-Xent, forward and backward, float32 on the CPU.

The loss functions make a step in turn, call by call, so that a drift of the machine meets all of
them alike: on idle cores, then beside one busy process, then beside a PyTorch process on every
core. The loads are started and stopped here. With --against another checkout of this repository
takes turns with this one: before and after in one run.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe, environment
from benchmarks.load.beside import LOADS, ROOT, running
from benchmarks.suite.contenders import NT_XENT, TEMPERATURE

Row = dict[str, Any]
Rounds = list[dict[str, float]]
OURS, DENSE, COMPILED = "ntxent", "dense eager", "dense compiled"
FEWEST = 5  # turns of a size, however long they take
TURN = 0.05  # seconds of a turn, at least


class Checkout:
    """A checkout of this repository, and the process that times its loss functions."""

    def __init__(self, name: str, root: Path) -> None:
        self.name, self.code = name, _commit(root)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load.worker"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (root / "src", ROOT)))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        imported = Path(self._answer()["code"])
        if not imported.is_relative_to(root.resolve()):
            raise SystemExit(f"{root}: its process imported {imported}, expected src/ntxent there")

    def ask(self, **request: Any) -> Any:
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit(f"the process of {self.name} ended: {self._process.wait()}")
        return json.loads(line)

    def prepare(self, **size: Any) -> None:
        """Make the steps of a size, and see how long a round of them takes."""
        self.losses = self.ask(**size)
        self.turns: list[Rounds] = []
        once = sum(self.ask(rounds=1)[0].values())
        self._rounds = math.ceil(TURN / max(once, 1e-6))

    def turn(self) -> None:
        """Time some rounds. Of several the first, which finds caches cold, does not count."""
        several = self._rounds > 1
        self.turns.append(self.ask(rounds=self._rounds + several)[several:])

    def close(self) -> None:
        self._process.communicate()


def _commit(root: Path) -> str:
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def measure(checkouts: list[Checkout], n: int, options: argparse.Namespace) -> list[Row]:
    """A row for each checkout and loss function at one size."""
    for number, checkout in enumerate(checkouts):
        names = [OURS, DENSE] if number else list(dict.fromkeys(options.contenders))
        if not number and n in options.compiled_n and COMPILED not in names:
            names.append(COMPILED)
        checkout.prepare(n=n, d=options.d, contenders=names, limit_gib=options.limit_gib)
    start = time.monotonic()
    while len(checkouts[0].turns) < FEWEST or time.monotonic() - start < options.seconds:
        for checkout in checkouts:
            checkout.turn()
    return [
        {"checkout": checkout.name, "n": n, "d": options.d} | row
        for checkout in checkouts
        for row in _rows(checkout, checkouts[1:] if checkout is checkouts[0] else [])
    ]


def _rows(checkout: Checkout, others: list[Checkout]) -> list[Row]:
    rounds = [one for turn in checkout.turns for one in turn]
    rows = []
    for name, loss in checkout.losses.items():
        row: Row = {"contender": name, "temperature": TEMPERATURE}
        if isinstance(loss, str):
            rows.append(row | {"error": loss})
            continue
        low, median, high = _quartiles([1e3 * one[name] for one in rounds])
        row |= {"median_ms": median, "quartiles_ms": [low, high], "rounds": len(rounds)}
        if name != DENSE and DENSE in rounds[0]:
            low, row["x_dense"], high = _quartiles([one[name] / one[DENSE] for one in rounds])
            row["x_dense_quartiles"] = [low, high]
        if name == OURS and others:
            pairs = zip(checkout.turns, others[0].turns, strict=True)
            ratios = [_median(now, name) / _median(before, name) for now, before in pairs]
            low, row["x_against"], high = _quartiles(ratios)
            row["x_against_quartiles"] = [low, high]
        rows.append(row | {"loss": loss})
    return rows


def _quartiles(values: list[float]) -> list[float]:
    return [round(one, 4) for one in statistics.quantiles(values, n=4, method="inclusive")]


def _median(rounds: Rounds, name: str) -> float:
    return statistics.median(one[name] for one in rounds)


def table(rows: list[Row]) -> Table:
    shown = Table(title="forward + backward, float32", title_justify="left")
    for column in ("load", "N", "loss function", "checkout", "median, ms", "quartiles"):
        left = column in ("load", "loss function", "checkout")
        shown.add_column(column, justify="left" if left else "right", no_wrap=True)
    shown.add_column("x dense", justify="right")
    shown.add_column("x against", justify="right")
    for row in rows:
        start = row["load"], f"{row['n']:,}", row["contender"], row["checkout"]
        if "error" in row:
            shown.add_row(*start, row["error"])
            continue
        low, high = row["quartiles_ms"]
        ratios = (f"{row[key]:.2f}" if key in row else "" for key in ("x_dense", "x_against"))
        shown.add_row(*start, f"{row['median_ms']:,.3f}", f"{low:,.3f} to {high:,.3f}", *ratios)
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    sizes = [8, 16, 32, 64, 128, 256, 1024, 4096]
    parser.add_argument("-n", type=int, nargs="+", default=sizes, help="pairs, N")
    parser.add_argument("-d", type=int, default=128, help="dimension of the embeddings")
    parser.add_argument("--load", nargs="+", choices=list(LOADS), default=list(LOADS))
    parser.add_argument("--contenders", nargs="+", choices=list(NT_XENT), default=[OURS, DENSE])
    parser.add_argument(
        "--compiled-n", type=int, nargs="*", default=[4096], help="sizes with dense compiled too"
    )
    parser.add_argument(
        "--against", type=Path, help="another checkout, whose src takes turns with this one's"
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of timing for a size and load")
    parser.add_argument("--limit-gib", type=float, default=8.0, help="memory of the loss functions")
    parser.add_argument("--out", type=Path, help="write rows as JSON")
    options = parser.parse_args()
    if options.against and not (options.against / "src" / "ntxent").is_dir():
        parser.error(f"--against {options.against}: expected a checkout with src/ntxent in it")

    console = Console(width=None if sys.stdout.isatty() else 130)
    checkouts = [Checkout("here", ROOT)]
    if options.against:
        checkouts.append(Checkout("against", options.against.resolve()))
    where = environment() | {
        "code": {checkout.name: checkout.code for checkout in checkouts},
        # Of the last minute, before any load was started: what else runs here spoils "idle".
        "load average": round(os.getloadavg()[0], 2),
    }
    console.print(describe(where), highlight=False)
    console.print(f"code {where['code']}, load average {where['load average']}", highlight=False)
    rows: list[Row] = []
    for name in options.load:
        with running(name) as load:
            for n in options.n:
                console.print(f"measuring, load {name}, N = {n} ...", style="dim")
                load.reset()
                found = measure(checkouts, n, options)
                beside = {"load": name, "load_cores": round(load.cores(), 2)}
                rows += [beside | row for row in found]
                if options.out:
                    options.out.parent.mkdir(parents=True, exist_ok=True)
                    content = {"environment": where, "rows": rows}
                    options.out.write_text(json.dumps(content, indent=1) + "\n")
    for checkout in checkouts:
        checkout.close()
    console.print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
