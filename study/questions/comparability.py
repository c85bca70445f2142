"""Q3: which number ranks runs by accuracy?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ntxent import bounds
from study.page.rows import Rows
from study.page.statistics import Estimate, correlations, correlations_within, interval, mean, share
from study.page.style import COLOURS, LINES, canvas, finish
from study.runs.data import DATA

CELL = ["batch_size", "temperature"]
# Each turned so that more is better; the value is what a table calls it.
CANDIDATES = {
    "loss": "loss L",
    "position": "position",
    "above_chance": "L − log(2N−1)",
    "scaled": "τ L",
    "scaled_above_chance": "τ (L − log(2N−1))",
    "positive": "s̄",
    "gap": "s̄ − n̄",
    "certified_gap": "g(L)",
    "top1": "top-1, of the batch",
    "spread": "alignment + uniformity",
    "rank": "effective rank",
    "reference_loss_0.2": "loss at N = 256, τ = 0.2",
    "reference_loss_0.5": "loss at N = 256, τ = 0.5",
    "reference_position": "position at N = 256, τ = 0.2",
    "reference_top1": "top-1 at N = 256",
}


def goodness(ends: pd.DataFrame) -> pd.DataFrame:
    n, t = ends.batch_size.to_numpy(), ends.temperature.to_numpy()
    above = ends.loss - bounds.chance(n)
    return ends.assign(
        loss=-ends.loss,
        position=-ends.position,
        above_chance=-above,
        scaled=-t * ends.loss,
        scaled_above_chance=-t * above,
        gap=ends.positive - ends.negative,
        certified_gap=bounds.similarity_gap(ends.loss.to_numpy(), n, t),
        spread=-(ends.alignment + ends.uniformity),
        reference_position=-bounds.position(ends["reference_loss_0.2"].to_numpy(), 256, 0.2),
        **{f"reference_loss_{t}": -ends[f"reference_loss_{t}"] for t in (0.2, 0.5)},
    )


def answer(rows: Rows) -> dict[str, Any]:
    ends = goodness(rows.grid("main").ends)
    names = list(CANDIDATES)
    grid, difference, within_size, within_temperature = {}, {}, {}, {}
    for data in DATA:
        own = ends[ends.data == data]
        grid[data], samples = correlations(own, CELL, "few", names)
        gain = samples["position"] - samples["loss"]
        value = grid[data]["position"].value - grid[data]["loss"].value
        difference[data] = Estimate(value, *interval(gain))
        within_size[data] = correlations_within(own, "batch_size", ["temperature"], "few", names)
        within_temperature[data] = correlations_within(
            own, "temperature", ["batch_size"], "few", names
        )
    supported = [
        all(grid[data]["position"].value > 0 for data in DATA),
        all(difference[data].value > 0 for data in DATA),
        sum(difference[data].low > 0 for data in DATA) >= 2,
    ]
    return {
        "grid": grid,
        "difference": difference,
        "within_size": within_size,
        "within_temperature": within_temperature,
        "strength": _strength(rows),
        **_length(rows),
        "dimension": _dimension(rows),
        "h3": all(supported),
        "names": CANDIDATES,
        "losses": _losses(ends),
        "accuracy": {
            data: {
                "lowest": float(own.groupby(CELL).few.mean().min()),
                "highest": float(own.groupby(CELL).few.mean().max()),
                "noise": float(own.groupby(CELL).few.std().median()),
            }
            for data, own in ends.groupby("data")
        },
    }


def _losses(ends: pd.DataFrame) -> list[dict[str, Any]]:
    """Where the runs of each N and τ ended, from one data set to the next, between their limits."""
    table = []
    for (size, temperature), of in ends.groupby(CELL):
        by_data = -of.groupby("data").loss.mean()
        table.append(
            {
                "size": size,
                "temperature": temperature,
                "floor": bounds.floor(size, temperature),
                "lowest": by_data.min(),
                "highest": by_data.max(),
                "chance": bounds.chance(size),
            }
        )
    return table


def _strength(rows: Rows) -> dict[str, Any]:
    """Runs that differ in nothing but the augmentation: accuracy, loss, and their correlation."""
    ends = goodness(rows.with_usual("strength").ends)
    found: dict[str, Any] = {}
    for data in DATA:
        own = ends[ends.data == data]
        found[data] = {
            "correlation": correlations(own, ["strength"], "few", ["loss"])[0]["loss"],
            "table": {
                strength: {
                    "few": mean(of.few.to_numpy()),
                    "loss": mean(-of.loss.to_numpy()),
                }
                for strength, of in own.groupby("strength")
            },
        }
    return found


def _length(rows: Rows) -> dict[str, Any]:
    """Pairs of runs that differ in nothing but that one was trained twice as long.

    The share in which the lower loss has the better accuracy, and the pairs of a data set.
    """
    key = ["data", *CELL, "seed"]
    short = rows.grid("failures", "healthy").ends
    short = short[short.failure == "none"]
    pairs = rows.grid("main").ends.merge(short, on=key, suffixes=("", "_short"))
    pairs = pairs[pairs.pairs == 2 * pairs.pairs_short]
    agree = (pairs.loss < pairs.loss_short) == (pairs.few > pairs.few_short)
    by_data = {data: agree[pairs.data == data].to_numpy() for data in DATA}
    return {
        "length": {data: share(own) for data, own in by_data.items()},
        "length_pairs": len(by_data[DATA[0]]),
    }


def _dimension(rows: Rows) -> dict[str, Estimate]:
    """Mean over τ of the correlation of loss and accuracy among runs that differ in d."""
    ends = goodness(rows.with_usual("dimension").ends)
    return {
        data: correlations_within(ends[ends.data == data], "temperature", ["dim"], "few", ["loss"])[
            "loss"
        ]
        for data in ends.data.unique()
    }


def draw(rows: Rows, found: dict[str, Any]) -> Figure:
    """Left: accuracy over the position, one data set. Right: every candidate's correlation."""
    figure, axes = canvas(4, width=3.4, height=4.6, ratios=(1, 1, 1, 1.3))
    ends = goodness(rows.grid("main").ends)
    temperatures = sorted(ends.temperature.unique())
    for data, panel in zip(DATA, axes, strict=False):
        for temperature, line in zip(temperatures, LINES, strict=False):
            own = ends[(ends.data == data) & (ends.temperature == temperature)]
            mean = own.groupby("batch_size")[["position", "few"]].mean()
            panel.plot(-mean.position, 100 * mean.few, **line)
        panel.set(xlabel="position at the end", title=data)
    axes[0].set_ylabel("accuracy from 5 labels a class, %")
    names = [f"τ = {temperature:g}" for temperature in temperatures]
    figure.legend(axes[0].lines, names, loc="outside lower left", ncols=len(names))
    last = axes[-1]
    order = list(CANDIDATES)[::-1]
    for offset, (data, colour, marker) in enumerate(
        zip(DATA, COLOURS[:: len(COLOURS) // 3], "osD", strict=False)
    ):
        of = found["grid"][data]
        place = np.arange(len(order)) + 0.25 * (1 - offset)
        value, low, high = np.array([of[name] for name in order]).T
        last.errorbar(
            value, place, xerr=[value - low, high - value], fmt=marker, color=colour,
            markersize=4, linewidth=1, label=data,
        )  # fmt: skip
    last.set_yticks(np.arange(len(order)), [CANDIDATES[name] for name in order])
    last.axvline(0, color="black", linewidth=0.8)
    last.set(xlabel="rank correlation with accuracy", xlim=(-1.05, 1.05), title="all N and τ")
    last.legend(loc="upper center", bbox_to_anchor=(0.3, -0.13), ncols=3, columnspacing=0.8)
    return finish(figure)
