"""The largest batch within a memory limit.

``python -m benchmarks.suite.largest ROWS.json --write`` puts it into the rows.

A contender's peak at its largest measured N, continued by the power of N with which its memory
grows, says where to look. With ``--patience`` a step is tried there, upwards or downwards by
tenths, in a process of its own, unless it would take longer; else the sizes of ROWS bracket it.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.suite.measure import Process, Row

LIMIT_GIB = 8.0
# Rows alone; a matrix of them; or, where all pairs are listed for every anchor, more.
GROWTH = {
    "ntxent": 1,
    "pykeops": 1,
    "dense eager": 2,
    "dense compiled": 2,
    "lightly": 2,
    "optax, jit": 2,
    "pytorch-metric-learning": 3,
}


def extrapolated(rows: list[Row], name: str) -> tuple[float, float]:
    """N at the limit, and the seconds of a step there.

    >>> half = {"contender": "lightly", "n": 100, "peak_mb": 8 * 2**30 / 4e6, "both_ms": 1e3}
    >>> extrapolated([half], "lightly")
    (200.0, 4.0)
    """
    own = [row for row in rows if row["contender"] == name and "error" not in row]
    last = max(own, key=lambda row: row["n"])
    times = (LIMIT_GIB * 2**30 / 1e6 / last["peak_mb"]) ** (1 / GROWTH[name])
    return float(last["n"] * times), float(last["both_ms"] / 1e3 * times**2)


def largest(rows: list[Row], name: str, d: int, patience: float) -> Row:
    n, seconds = extrapolated(rows, name)
    found: Row = {"contender": name, "d": d, "limit_gib": LIMIT_GIB}
    found |= {"extrapolated_n": round(n), "seconds": round(seconds, 1)}
    own = [row for row in rows if row["contender"] == name]
    found["fits_n"] = max(row["n"] for row in own if "error" not in row)
    lacking = [row["n"] for row in own if "out of memory" in row.get("error", "")]
    if lacking:
        found["fails_n"] = min(lacking)
    tenths, ends = 10, set()
    while seconds <= patience and len(ends) < 2:
        size = round(n * tenths / 10)
        process = Process("nt_xent", name, size, d, LIMIT_GIB)
        process.end()
        key, step = ("fails_n", -1) if process.error else ("fits_n", 1)
        found[key] = size
        ends.add(key)
        print(f"{name}: N = {size:,}: {process.error or 'fits'}", flush=True)
        tenths += step
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite.largest", description=__doc__)
    parser.add_argument("rows", type=Path, help="what python -m benchmarks --out wrote")
    parser.add_argument("-d", type=int, default=128)
    parser.add_argument("--contenders", nargs="+", choices=list(GROWTH), default=list(GROWTH))
    parser.add_argument("--patience", type=float, default=0.0, help="seconds of a step to try")
    parser.add_argument("--write", action="store_true", help="put the outcome into the file")
    options = parser.parse_args()
    content = json.loads(options.rows.read_text())
    rows = [row for row in content["rows"] if row["family"] == "nt_xent" and row["d"] == options.d]
    found = {row["contender"]: row for row in content.get("largest", [])}
    found |= {name: largest(rows, name, options.d, options.patience) for name in options.contenders}
    content["largest"] = [found[name] for name in GROWTH if name in found]
    print(json.dumps(content["largest"], indent=1))
    if options.write:
        options.rows.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
