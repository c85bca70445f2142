"""The cost of one exact step among W processes: a model, checked against rows, then extrapolated.

``python -m benchmarks.claims.scaling`` prints the tables of docs/evidence/scaling.md, ``--write``
puts them there. The model walks through the messages and the blocks of a step as ring.py and
gather.py make them.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import NamedTuple

from benchmarks.page import fill

ROOT = Path(__file__).parents[2]
ROWS = ROOT / "benchmarks" / "rows" / "distributed.json"
PAGE = ROOT / "docs" / "evidence" / "scaling.md"

IDS, SUMS = 8, 8  # bytes of an id, and of a float64 sum or two float32 numbers


@dataclass(frozen=True)
class Machine:
    """What a rank has. Rates are those that a step reaches, not those of a data sheet."""

    flops: float
    """Floating-point operations a second of a rank, a multiply-add counting two."""
    bandwidth: float
    """Bytes a second that a rank sends while it receives as many."""
    latency: float
    """Seconds of a message without content."""
    element: int = 4
    """Bytes of a coordinate under way."""


class Cost(NamedTuple):
    flops: float
    """Of a rank, forward and backward."""
    sent: float
    """Bytes of a rank."""
    seconds: float
    waiting: float
    """Share of the seconds in which no block is computed."""
    memory: float
    """Bytes of a rank beyond its inputs and gradients, without the tiles."""


def ring(rows: int, d: int, ranks: int, machine: Machine) -> Cost:
    """NT-Xent of M ``rows`` in a ring: W // 2 hops, each similarity computed once."""
    m, hops = ceil(rows / ranks), ranks // 2
    vector = m * d * machine.element
    sent = seconds = computed = flops = 0.0
    # A pass: work of a meeting in units of m^2 d multiply-adds, bytes that go along, that follow.
    for work, along, following in (
        (1, vector + m * IDS, m * SUMS),
        (3, vector + m * (IDS + SUMS), m * d * 4),
    ):
        pass_flops = 0.0
        own = 2 * m * m * d * (0.5 if work == 1 else 1.5)
        message = machine.latency + along / machine.bandwidth
        follower = machine.latency + following / machine.bandwidth
        time = max(own / machine.flops, message if hops else 0.0)
        pass_flops += own
        for hop in range(1, hops + 1):
            meets = 0.5 if 2 * hop == ranks else 1.0
            block = 2 * m * m * d * work * meets
            pass_flops += block
            # The next visitor comes while this one is served; what follows waits for the block.
            time += max(block / machine.flops, message if hop < hops else 0.0) + follower
        sent += hops * (along + following)
        seconds, flops = seconds + time, flops + pass_flops
        computed += pass_flops / machine.flops
    seconds += _agreements(ranks, machine)
    memory = (9.3 if hops else 6.0) * m * d * 4
    return Cost(flops, sent, seconds, 1 - computed / seconds, memory)


def gather(rows: int, d: int, ranks: int, machine: Machine) -> Cost:
    """NT-Xent of M ``rows`` gathered on each rank: own anchors against all, both ways counted."""
    m = ceil(rows / ranks)
    flops = 2 * m * rows * d * 4.0
    others = (ranks - 1) * m
    sent = others * (d * machine.element + IDS) + others * d * 4
    computed = flops / machine.flops
    rounds = 3 * max(1, (ranks - 1).bit_length()) * machine.latency
    seconds = computed + sent / machine.bandwidth + rounds + _agreements(ranks, machine)
    return Cost(flops, sent, seconds, 1 - computed / seconds, 5.4 * rows * d * 4)


def _agreements(ranks: int, machine: Machine) -> float:
    """What the ranks are about to do, the sum of the loss and the sum of its gradient."""
    return 3 * (ranks - 1).bit_length() * machine.latency


# --- tables ---------------------------------------------------------------------------------------

# Assumed, not measured on a GPU: 40 % of 989 TFLOP/s in bfloat16; 8 ranks of a node by NVLink, more
# by a 400 Gbit/s network for each rank; rows are sent in float32.
H100_NODE = Machine(flops=4e14, bandwidth=3e11, latency=1e-5)
H100_CLUSTER = Machine(flops=4e14, bandwidth=4e10, latency=2e-5)


def check_table(content: dict) -> list[str]:
    """Measured steps beside the model, whose three constants come from one process and a link."""
    rows, link = content["rows"], content["link"]
    lines = [
        "| mode | processes | N | measured, ms | model, ms | measured / model | sent a rank, MB "
        "| model, MB | peak a rank, MB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    rates = {}
    for row in rows:
        total = 2 * row["n"]
        if row["mode"] == "local":
            rates[row["n"]] = 4 * total**2 * row["d"] / (row["step_ms"] / 1e3)
        sent, peak = row["sent_mb"], row["peak_mb"]
        start = f"| {row['mode']} | {row['processes']} | {row['n']:,} |"
        if "step_ms" not in row:
            cost = _model(row, Machine(1.0, 1.0, 0.0))
            lines.append(f"{start} | | | {sent:,.2f} | {cost.sent / 1e6:,.2f} | {peak:,.1f} |")
            continue
        # The processes share the cores of one machine.
        shared = rates[row["n"]] / row["processes"]
        machine = Machine(shared, link["bytes_per_s"], link["latency_s"])
        cost = _model(row, machine)
        predicted = 1e3 * cost.seconds
        lines.append(
            f"{start} {row['step_ms']:,.1f} | {predicted:,.1f} | {row['step_ms'] / predicted:.2f} "
            f"| {sent:,.2f} | {cost.sent / 1e6:,.2f} | {peak:,.1f} |"
        )
    return lines


def _model(row: dict, machine: Machine) -> Cost:
    model = gather if row["mode"] == "gather" else ring
    return model(2 * row["n"], row["d"], row["processes"], machine)


def scale_table(d: int = 128) -> list[str]:
    lines = [
        "| GPUs | N | rows a GPU | ring, s | waiting | memory, GB | gather, s | waiting "
        "| memory, GB |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for ranks in (8, 64, 512, 4096):
        machine = H100_NODE if ranks <= 8 else H100_CLUSTER
        for n in (2**15, 2**20, 10**7, 10**8):
            cells = []
            for model in (ring, gather):
                cost = model(2 * n, d, ranks, machine)
                cells += [_number(cost.seconds), f"{cost.waiting:.0%}", _number(cost.memory / 1e9)]
            lines.append(f"| {ranks:,} | {n:,} | {2 * n // ranks:,} | {' | '.join(cells)} |")
    return lines


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.1f}"


def balance_table() -> list[str]:
    """Rows a GPU at which a hop's messages take as long as its block."""
    lines = ["| link | bytes a second | rows a GPU |", "|---|--:|--:|"]
    for name, machine in (("NVLink", H100_NODE), ("network", H100_CLUSTER)):
        # Of both passes: 8 m^2 d operations, and three vectors of d coordinates for each row.
        rows = 3 * machine.element * machine.flops / (8 * machine.bandwidth)
        lines.append(f"| {name} | {machine.bandwidth:.0e} | {rows:,.0f} |")
    return lines


def page() -> str:
    """docs/evidence/scaling.md with its tables made anew."""
    content = json.loads(ROWS.read_text())
    tables = {"check": check_table(content), "scale": scale_table(), "balance": balance_table()}
    return fill(PAGE.read_text(), tables)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims.scaling", description=__doc__
    )
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    options = parser.parse_args()
    if options.write:
        PAGE.write_text(page())
        return 0
    for lines in (check_table(json.loads(ROWS.read_text())), balance_table(), scale_table()):
        print("\n".join(lines), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
