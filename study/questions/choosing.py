"""Q6: can the bounds choose τ?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ntxent import bounds
from study.page.rows import Rows
from study.page.statistics import RESAMPLES, Estimate, interval, mean
from study.page.style import LINES, canvas, finish
from study.runs.data import DATA

FITTED = "digits"
TESTED = tuple(data for data in DATA if data != FITTED)
POINT = 0.01


def usable(batch_size: Any, temperature: Any) -> Any:
    """The share of chance that is above the floor: u(N, τ) = 1 − floor/chance."""
    return 1 - bounds.floor(batch_size, temperature) / bounds.chance(batch_size)


def accuracies(ends: pd.DataFrame, data: str) -> np.ndarray:
    """``[N, τ, seed]``."""
    own = ends[ends.data == data]
    table = own.pivot_table(index=["batch_size", "temperature"], columns="seed", values="few")
    shape = own.batch_size.nunique(), own.temperature.nunique(), own.seed.nunique()
    return table.to_numpy().reshape(shape)


def by_rule(sizes: np.ndarray, temperatures: np.ndarray, least: float) -> np.ndarray:
    """For each N the index of the largest τ that leaves at least this usable range."""
    enough = usable(sizes[:, None], temperatures[None]) >= least
    last = enough.shape[1] - 1 - enough[:, ::-1].argmax(1)
    return np.where(enough.any(1), last, 0)


class Policies:
    """The rule and the fixed τ that do best on the fitted data set."""

    def __init__(self, rows: Rows) -> None:
        ends = rows.grid("main").ends
        self.sizes = np.sort(ends.batch_size.unique())
        self.temperatures = np.sort(ends.temperature.unique())
        self.table = {data: accuracies(ends, data) for data in DATA}
        fitted = self.table[FITTED].mean(2)
        self.fixed = int(fitted.mean(0).argmax())
        levels = np.unique(usable(self.sizes[:, None], self.temperatures[None]).round(3))
        scores = [self._mean(fitted, by_rule(self.sizes, self.temperatures, c)) for c in levels]
        best = np.flatnonzero(np.isclose(scores, max(scores)))
        self.least = float(levels[best].mean())
        self.chosen = by_rule(self.sizes, self.temperatures, self.least)

    @staticmethod
    def _mean(table: np.ndarray, chosen: np.ndarray) -> float:
        return float(table[np.arange(len(chosen)), chosen].mean())

    def regret(self, data: str, chosen: np.ndarray) -> Estimate:
        """Mean over N of what the best τ of the grid has more, resampled by seed.

        The best is chosen on the same seeds that it is scored with, as a grid search would.
        """
        table = self.table[data]
        rows = np.arange(len(self.sizes))

        def of(seeds: np.ndarray) -> float:
            means = table[:, :, seeds].mean(2)
            return float((means.max(1) - means[rows, chosen]).mean())

        draw = np.random.default_rng(0)
        count = table.shape[2]
        samples = [of(draw.integers(count, size=count)) for _ in range(RESAMPLES)]
        return Estimate(of(np.arange(count)), *interval(np.array(samples)))


def answer(rows: Rows) -> dict[str, Any]:
    p = Policies(rows)
    rule = {data: p.regret(data, p.chosen) for data in DATA}
    always = np.full(len(p.sizes), p.fixed)
    fixed = {data: p.regret(data, always) for data in DATA}
    each = {
        float(t): {data: p.regret(data, np.full(len(p.sizes), k)) for data in DATA}
        for k, t in enumerate(p.temperatures)
    }
    return {
        "least": p.least,
        "chosen": {
            int(n): float(p.temperatures[k]) for n, k in zip(p.sizes, p.chosen, strict=True)
        },
        "fixed_temperature": float(p.temperatures[p.fixed]),
        "rule": rule,
        "fixed": fixed,
        "each": each,
        "best": {
            data: sorted({float(p.temperatures[k]) for k in p.table[data].mean(2).argmax(1)})
            for data in DATA
        },
        "compared": (int(p.sizes[1]), int(p.sizes[-1])),
        "larger": {
            data: mean(p.table[data][-1, p.fixed] - p.table[data][1, p.fixed]) for data in DATA
        },
        "h6": (
            float(np.mean([rule[data].value for data in TESTED])) <= POINT
            and all(rule[data].value <= fixed[data].value + 1e-9 for data in TESTED)
        ),
    }


def draw(rows: Rows, found: dict[str, Any]) -> Figure:
    figure, axes = canvas(3)
    p, lines = Policies(rows), {}
    for data, panel in zip(DATA, axes, strict=True):
        means = 100 * p.table[data].mean(2)
        for row, (size, line) in enumerate(zip(p.sizes, LINES, strict=False)):
            lines[f"N = {size}"] = panel.plot(p.temperatures, means[row], **line)[0]
            at = p.chosen[row]
            panel.plot(
                p.temperatures[at], means[row, at], marker="o", markersize=11, fillstyle="none",
                color=line["color"], linestyle="none",
            )  # fmt: skip
        panel.axvline(p.temperatures[p.fixed], color="black", linewidth=0.8)
        panel.set(xscale="log", xlabel="temperature τ", title=data)
    axes[0].set_ylabel("accuracy from 5 labels a class, %")
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines))
    return finish(figure)
