"""Q1: how far is each theorem from the measured loss?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ntxent import bounds
from study.page.rows import Rows
from study.page.statistics import mean, median, share
from study.page.style import LINES, canvas, finish

# What is known beside N and τ, and the direction in which the theorem bounds the loss.
THEOREMS = {
    "Th. 2, s̄": "above",
    "Th. 3, s̄": "above",
    "Th. 4, nothing": "above",
    "Th. 5, s̄ and n̄": "below",
    "Th. 6, s̄": "below",
    "Th. 6, nothing": "below",
    "Th. 7, d": "below",
}
EARLY = 0.1  # share of training that H1a leaves out


def gaps(looks: pd.DataFrame) -> pd.DataFrame:
    """Distance of each bound from the loss, in nats; never negative but for rounding."""
    n, t, d = (looks[name].to_numpy() for name in ("batch_size", "temperature", "dim"))
    loss, s, k = (looks[name].to_numpy() for name in ("loss", "positive", "negative"))
    return pd.DataFrame(
        {
            "Th. 2, s̄": bounds.log_sum_exp_bound(n, t, s) - loss,
            "Th. 3, s̄": bounds.upper_bound(n, t, s) - loss,
            "Th. 4, nothing": bounds.ceiling(n, t) - loss,
            "Th. 5, s̄ and n̄": loss - bounds.measured_floor(n, t, s, k),
            "Th. 6, s̄": loss - bounds.floor(n, t, similarity=s),
            "Th. 6, nothing": loss - looks.floor.to_numpy(),
            "Th. 7, d": loss - bounds.uniformity_floor(n, t, d),
        },
        index=looks.index,
    )


def healthy(rows: Rows, *grids: str) -> pd.DataFrame:
    looks = rows.grid(*grids).looks
    return looks[(looks.failure == "none") & looks.gradient.notna()]


def answer(rows: Rows) -> dict[str, Any]:
    looks = healthy(rows, "main", "large", "dimension")
    distance = gaps(looks)
    usable = (looks.chance - looks.floor).to_numpy()[:, None]
    last = looks.groupby("run").cumcount(ascending=False) < 5
    ends = distance[last].groupby(looks.run[last]).mean()
    temperature = looks.groupby("run").temperature.first().loc[ends.index]
    relative = (distance / usable)[last].groupby(looks.run[last]).mean()

    main = looks[looks.grid == "main"]
    after = main[(main.progress > EARLY) & (main.temperature >= 0.1)]
    above = after.loss > after.chance
    first = main[main.step == 0]
    by_run = above.groupby(after.run).mean()
    high, low = ends[temperature >= 0.5], ends[temperature <= 0.05]
    measured = "Th. 5, s̄ and n̄"
    over_dim = _dimension(rows).groupby(["dim", "run"])[["gap", "simplex"]].mean().groupby("dim")
    return {
        "violations": int(
            (distance < -1e-4 * np.maximum(1, looks.loss.to_numpy()[:, None])).sum().sum()
        ),
        "checks": int(distance.size),
        "informative": mean(by_run.to_numpy()),
        "informative_at_start": share((first.loss > first.chance).to_numpy()),
        "h1a": bool(above.mean() < 0.1),
        "high": median(high[measured].to_numpy()),
        "low": median(low[measured].to_numpy()),
        "h1b": bool(high[measured].median() <= 0.1 and low[measured].median() > 0.5),
        "table": {
            name: {
                t: float(relative[name][temperature == t].median())
                for t in sorted(temperature.unique())
            }
            for name in THEOREMS
        },
        "middle": median(ends[measured][temperature == 0.5].to_numpy()),
        "dimension": dict(over_dim.gap.median()),
        "dimension_simplex": dict(over_dim.simplex.median()),
    }


def _dimension(rows: Rows) -> pd.DataFrame:
    """The last looks over d: distance from the floor of Theorem 7 and from that of Theorem 6."""
    looks = rows.with_usual("dimension").looks
    looks = looks[looks.groupby("run").cumcount(ascending=False) < 5]
    distance = gaps(looks)
    return looks.assign(gap=distance["Th. 7, d"], simplex=distance["Th. 6, nothing"])


def draw(rows: Rows, found: dict[str, Any]) -> Figure:
    """Left: at the end over τ. Middle: along training. Right: over d."""
    figure, (left, middle, right) = canvas(3)
    looks = healthy(rows, "main")
    size = int(looks.batch_size.unique()[len(looks.batch_size.unique()) // 2])
    looks = looks[looks.batch_size == size]
    distance = gaps(looks).div(looks.chance - looks.floor, axis=0)
    last = looks.groupby("run").cumcount(ascending=False) < 5
    for (name, side), line in zip(THEOREMS.items(), LINES, strict=False):
        values = distance[name][last].groupby(looks.temperature[last]).median()
        left.plot(values.index, values.clip(lower=1e-3), label=f"{name} ({side})", **line)
    left.set(
        xscale="log", yscale="log", xlabel="temperature τ", title=f"end of training, N = {size}"
    )
    left.set_ylim(top=3000)  # room for the legend
    left.set_ylabel("distance from the loss,\nshare of chance − floor")
    temperatures = sorted(looks.temperature.unique())
    for t, line in zip((temperatures[1], temperatures[-3], temperatures[-1]), LINES, strict=False):
        own = looks[looks.temperature == t]
        gap = gaps(own)["Th. 5, s̄ and n̄"]
        values = gap.groupby((own.progress * 16).round() / 16).median()
        middle.plot(values.index, values, label=f"τ = {t:g}", **line)
    middle.set(
        xlabel="share of training", ylabel="loss − Theorem 5, nats", title="s̄ and n̄ measured"
    )
    over = _dimension(rows).groupby("dim")[["gap", "simplex"]].median()
    right.plot(over.index, over.gap, label="Th. 7, d known", **LINES[0])
    right.plot(over.index, over.simplex, label="Th. 6, d unknown", **LINES[1])
    right.set(
        xscale="log", xlabel="dimension d", ylabel="loss − floor, nats", title="floors over d"
    )
    return finish(figure)
