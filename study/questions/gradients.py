"""Q5: does the bound on the gradient predict it, and does a run at its floor restart?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ntxent import bounds
from study.page.rows import Rows
from study.page.statistics import mean, median
from study.page.style import LINES, canvas, finish
from study.questions.tightness import EARLY, healthy
from study.runs.data import DATA

LOW, HIGH = 0.25, 0.6  # of H5a
GAIN = 0.01  # of H5b: one point of accuracy


def _looks(rows: Rows) -> pd.DataFrame:
    looks = healthy(rows, "main", "large", "dimension", "strength")
    bound = bounds.gradient_bound(looks.loss.to_numpy(), looks.temperature.to_numpy())
    return looks.assign(bound=bound, ratio=looks.gradient / bound)


def restarts(rows: Rows) -> pd.DataFrame:
    """A row a run with two phases: what the second one changed."""
    grid = rows.grid("restart")
    looks = grid.looks
    last = looks[looks.phase == 0].groupby("run").tail(5).groupby("run")
    first = looks[looks.phase == 1].groupby("run").first()
    runs = grid.runs.set_index("run")
    return runs.assign(
        arm=[_arm(run) for run in runs.itertuples()],
        position_before=last.position.mean(),
        gradient_before=last.gradient.mean(),
        gradient_after=first.gradient,
        bound_before=_bound(last.mean(numeric_only=True)),
        bound_after=_bound(first),
        gain=runs.few - runs.few_first,
    ).reset_index()


def _bound(looks: pd.DataFrame) -> pd.Series:
    bound = bounds.gradient_bound(looks.loss.to_numpy(), looks.temperature.to_numpy())
    return pd.Series(bound, index=looks.index)


def _arm(run: Any) -> str:
    raised = run.second_batch_size != run.batch_size
    lowered = run.second_temperature != run.temperature
    return {
        (False, False): "go on",
        (False, True): "lower τ",
        (True, False): "raise N",
        (True, True): "both",
    }[raised, lowered]


def answer(rows: Rows) -> dict[str, Any]:
    looks = _looks(rows)
    after = looks[(looks.progress > EARLY) & (looks.bound > 0)]
    inside = (after.ratio >= LOW) & (after.ratio <= HIGH)
    runs = restarts(rows)
    key = ["data", "seed"]
    base = runs[runs.arm == "go on"].set_index(key).few
    gains: dict[str, Any] = {}
    for arm in ("lower τ", "raise N", "both"):
        of = runs[runs.arm == arm].set_index(key)
        difference = (of.few - base).rename("gain").reset_index()
        gains[arm] = {data: mean(difference[difference.data == data].gain) for data in DATA}
    lowered = gains["lower τ"].values()
    return {
        "violations": int((looks.ratio > 1 + 1e-4).sum()),
        "looks": len(looks),
        "inside": mean(inside.groupby(after.run).mean().to_numpy()),
        "ratio": {t: median(of.ratio.to_numpy()) for t, of in after.groupby("temperature")},
        "quantiles": [float(x) for x in after.ratio.quantile([0.05, 0.5, 0.95])],
        "correlation": float(
            np.corrcoef(np.log(after.gradient.clip(1e-9)), np.log(after.bound))[0, 1]
        ),
        "gains": gains,
        "position_before": {data: mean(of.position_before) for data, of in runs.groupby("data")},
        "rise": {
            arm: {
                "measured": median((of.gradient_after / of.gradient_before).to_numpy()),
                "bound": median((of.bound_after / of.bound_before).to_numpy()),
            }
            for arm, of in runs.groupby("arm")
        },
        "h5a": bool(inside.mean() >= 0.9),
        "h5b": (
            sum(one.value >= GAIN and one.low > 0 for one in lowered) >= 2
            and all(one.value < GAIN for one in gains["raise N"].values())
        ),
    }


def draw(rows: Rows, found: dict[str, Any]) -> Figure:
    figure, (left, middle, right) = canvas(3)
    looks = _looks(rows)
    for temperature, line in zip(sorted(looks.temperature.unique()), LINES, strict=False):
        own = looks[looks.temperature == temperature]
        style = {name: line[name] for name in ("color", "marker", "markersize")}
        sample = own.iloc[:: max(1, len(own) // 150)]
        left.plot(
            sample.bound, sample.gradient, linestyle="none", alpha=0.5,
            label=f"τ = {temperature:g}", **style,
        )  # fmt: skip
        by = own.ratio.groupby((own.progress * 16).round() / 16).median()
        middle.plot(by.index, by, **line)
    ends = [looks.bound.min(), looks.bound.max()]
    left.plot(ends, ends, color="black", linewidth=1)
    left.set(
        xscale="log", yscale="log", xlabel="Theorem 10, (4/τ)(1 − e^−L)",
        ylabel="measured Σ ‖∂L/∂z‖", title="every look",
    )  # fmt: skip
    left.legend(ncols=2, handletextpad=0.1, columnspacing=0.6)
    middle.axhspan(LOW, HIGH, color="#dddddd", zorder=0)
    middle.set(xlabel="share of training", ylabel="measured / bound", ylim=(0, 1), title="median")
    gains = found["gains"]
    for offset, (arm, line) in enumerate(zip(gains, LINES, strict=False)):
        value, low, high = 100 * np.array([gains[arm][data] for data in DATA]).T
        error = [value - low, high - value]
        right.errorbar(
            np.arange(len(DATA)) + 0.2 * (offset - 1), value, yerr=error, fmt=line["marker"],
            color=line["color"], label=arm, capsize=3,
        )  # fmt: skip
    right.axhline(0, color="black", linewidth=0.8)
    right.set_xticks(np.arange(len(DATA)), DATA)
    right.set(ylabel="accuracy over going on, points", title="second phase, after τ = 2")
    return finish(figure)
