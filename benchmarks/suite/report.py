"""The tables and the figure of docs/evidence/benchmarks.md, from benchmarks/rows/cpu.json."""

import argparse
import json
import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.environment import describe
from benchmarks.page import fill
from benchmarks.suite.measure import Row

ROOT = Path(__file__).parents[2]
ROWS = ROOT / "benchmarks" / "rows" / "cpu.json"
PAGE = ROOT / "docs" / "evidence" / "benchmarks.md"
FLOOR = "matrix products alone"
STYLES = {
    "ntxent": ("#d55e00", "o-"),
    "dense eager": ("#0072b2", "s-"),
    "dense compiled": ("#56b4e9", "^-"),
    "lightly": ("#009e73", "v-"),
    "pytorch-metric-learning": ("#cc79a7", "D-"),
    "optax, jit": ("#e69f00", "P-"),
    "pykeops": ("#999999", "X-"),
    FLOOR: ("#333333", ":"),
}


def find(rows: list[Row], **wanted: object) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def time_table(rows: list[Row], family: str) -> list[str]:
    lines = [
        "| N | d | loss function | forward, ms | forward + backward, ms | quartiles | × ours "
        "| × floor | peak memory beyond inputs and gradients, MB |",
        "|--:|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in find(rows, family=family):
        place = {"family": family, "n": row["n"], "d": row["d"]}
        start = f"| {row['n']:,} | {row['d']} | {row['contender']} |"
        if "error" in row:
            lines.append(f"{start} {row['error']} | | | | | |")
            continue
        low, high = row["both_quartiles_ms"]
        ratios = []
        for name in ("ntxent", FLOOR):
            beside = [r for r in find(rows, **place, contender=name) if "error" not in r]
            ratios.append(f"{row['both_ms'] / beside[0]['both_ms']:.2f}" if beside else "")
        lines.append(
            f"{start} {row['forward_ms']:,.2f} | {row['both_ms']:,.2f} | {low:,.2f}–{high:,.2f} "
            f"| {ratios[0]} | {ratios[1]} | {row['peak_mb']:,.1f} |"
        )
    return lines


def largest_table(found: list[Row]) -> list[str]:
    lines = [
        "| loss function | fits, N | does not, N | extrapolated, N | a step there |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in found:
        tried = (f"{row[key]:,}" if key in row else "" for key in ("fits_n", "fails_n"))
        rounded = float(f"{row['extrapolated_n']:.2g}")
        lines.append(
            f"| {row['contender']} | {' | '.join(tried)} | {rounded:,.0f} "
            f"| {duration(row['seconds'])} |"
        )
    return lines


def duration(seconds: float) -> str:
    """
    >>> duration(8.2), duration(46800)
    ('8 s', '13 h')
    """
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 3600:,.0f} h"


def memory_slope(rows: list[Row]) -> float:
    """Exponent of N in our peak memory between the two largest sizes at d = 128."""
    ours = find(rows, family="nt_xent", contender="ntxent", d=128)
    low, high = sorted(ours, key=lambda row: row["n"])[-2:]
    return math.log(high["peak_mb"] / low["peak_mb"]) / math.log(high["n"] / low["n"])


def figure(rows: list[Row], path: Path) -> None:
    plt.rcParams |= {"font.size": 10, "svg.hashsalt": "ntxent", "svg.fonttype": "path"}
    plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
    panels = (("both_ms", "forward + backward, ms"), ("peak_mb", "peak memory, MB"))
    drawing, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, (key, label) in zip(axes, panels, strict=True):
        for name, (colour, style) in STYLES.items():
            line = find(rows, family="nt_xent", contender=name, d=128)
            measured = [row for row in line if "error" not in row]
            points = [(row["n"], row[key]) for row in measured if row[key] > 0]
            if points and not (name == FLOOR and key == "peak_mb"):
                look = {"color": colour, "label": name, "lw": 1.4, "ms": 5}
                axis.loglog(*zip(*points, strict=True), style, **look)
        axis.set(xlabel="N, pairs", ylabel=label)
    axes[0].legend(frameon=False, fontsize=9)
    drawing.savefig(path, metadata={"Date": None})


def page() -> str:
    """docs/evidence/benchmarks.md with its tables made anew."""
    content = json.loads(ROWS.read_text())
    rows: list[Row] = content["rows"]
    slope = f"Our peak memory grows as N to the power {memory_slope(rows):.2f}"
    tables = {
        "environment": [describe(content["environment"]).replace("\n", "<br>")],
        "nt_xent": time_table(rows, "nt_xent"),
        "memory": [f"{slope} between the two largest sizes."],
        "largest": largest_table(content["largest"]),
        "info_nce": time_table(rows, "info_nce"),
    }
    return fill(PAGE.read_text(), tables)


def main() -> int:
    name = "python -m benchmarks.suite.report"
    argparse.ArgumentParser(prog=name, description=__doc__).parse_args()
    PAGE.write_text(page())
    figure(json.loads(ROWS.read_text())["rows"], PAGE.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
