"""Draw README's picture from a run: ``python docs/picture.py runs/NAME docs/run.svg``.

Left, the loss between its proven limits. Right, the measured mean similarity of the positives
inside the interval that the loss alone certifies (Theorem 8).
"""

import csv
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ntxent import bounds

INK, BLUE, ORANGE, GREY = "#333333", "#0072b2", "#d55e00", "#888888"


def main(run: str, picture: str) -> None:
    folder = Path(run)
    summary = json.loads((folder / "summary.json").read_text())
    n, temperature, dim = (summary[name] for name in ("batch_size", "temperature", "dim"))
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    step, loss, positive = (
        np.array([float(row[name]) for row in rows])
        for name in ("step", "loss", "positive_similarity")
    )
    low, high = bounds.similarity_interval(loss, n, temperature)

    plt.rcParams |= {"font.size": 10, "svg.hashsalt": "ntxent", "svg.fonttype": "path"}
    plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "text.color": INK}
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    limits = {
        "ceiling": bounds.ceiling(n, temperature),
        "chance": bounds.chance(n),
        "floor": bounds.floor(n, temperature, dim),
    }
    left.axhspan(limits["floor"], limits["ceiling"], color=BLUE, alpha=0.07, lw=0)
    for name, value in limits.items():
        left.axhline(value, color=GREY, lw=1, ls="--" if name == "chance" else "-")
        left.text(step[-1], value, f"{name} {value:.2f}", ha="right", va="bottom", color=INK)
    left.plot(step, loss, color=ORANGE, lw=1.4)
    left.text(step[-1], loss[-5:].mean() + 0.15, "loss", ha="right", va="bottom", color=ORANGE)
    left.set(xlabel="step", ylabel="loss, nats", title=f"The loss, N = {n}, τ = {temperature:g}")

    right.fill_between(step, low, high, color=BLUE, alpha=0.18, lw=0)
    right.plot(step, positive, color=BLUE, lw=1.4)
    middle = len(step) // 2
    right.text(step[middle], low[middle] - 0.08, "certified by the loss alone", va="top")
    right.text(step[middle], positive[middle] - 0.02, "measured", va="top", color=BLUE)
    right.set(xlabel="step", ylabel="similarity", title="Mean similarity of the positives")
    right.set_ylim(-1.02, 1.02)
    figure.savefig(picture, metadata={"Date": None} if picture.endswith("svg") else None, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
