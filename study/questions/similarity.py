"""Q2: what does a loss say of the average similarity of the positives?"""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ntxent import bounds
from study.page.rows import Rows
from study.page.statistics import Estimate, median, share
from study.page.style import LINES, canvas, finish
from study.questions.tightness import healthy

CERTAIN = 0.5  # a lower limit of s̄ that is worth having


def answer(rows: Rows) -> dict[str, Any]:
    looks = healthy(rows, "main", "large", "dimension", "strength")
    slack = looks.positive - looks.certified
    with_negative = looks.positive - looks.certified_with_negative
    n, t = looks.batch_size.to_numpy(), looks.temperature.to_numpy()
    _, upper = bounds.similarity_interval(looks.loss.to_numpy(), n, t)
    everywhere = (looks.negative * (2 * n - 2) + looks.positive) / (2 * n - 1)
    _, candidates = bounds.candidate_similarity_interval(
        looks.loss.to_numpy(), n, t, looks.positive.to_numpy()
    )

    ends = rows.grid("main").ends
    gap = (ends.positive - ends.certified).to_numpy()
    rest = (ends.positive - ends.certified_with_negative).to_numpy()
    added = 1 - rest / gap
    high, low = (ends.temperature >= 0.5).to_numpy(), (ends.temperature <= 0.05).to_numpy()
    found = {
        "gap_high": median(gap[high]),
        "gap_low": median(gap[low]),
        "added_high": median(added[high]),
        "added_low": median(added[low]),
    }
    return found | {
        "covered": int(((slack >= -1e-4) & (upper >= looks.positive - 1e-4)).sum()),
        "covered_with_negative": int((with_negative >= -1e-4).sum()),
        "covered_candidates": int((candidates >= everywhere - 1e-4).sum()),
        "candidates_gap": _candidates(looks, candidates - everywhere),
        "looks": len(looks),
        "table": {
            temperature: {
                "position": median(of.position.to_numpy()),
                "similarity": median(of.positive.to_numpy()),
                "negative": median(of.negative.to_numpy()),
                "certified": median(of.certified.to_numpy()),
                "with_negative": median(of.certified_with_negative.to_numpy()),
                "certain": share((of.certified >= CERTAIN).to_numpy()),
                "since": _since(rows, temperature),
            }
            for temperature, of in ends.groupby("temperature")
        },
        "h2": bool(
            found["gap_high"].value <= 0.15
            and found["added_high"].value < 0.1
            and found["gap_low"].value > 0.4
            and found["added_low"].value > 0.5
        ),
    }


def _candidates(looks: pd.DataFrame, gap: pd.Series) -> dict[float, float]:
    """Median distance at the end of Theorem 11's upper limit from the mean of all candidates."""
    last = looks.groupby("run").cumcount(ascending=False) < 5
    found: dict[float, float] = gap[last].groupby(looks.temperature[last]).median().to_dict()
    return found


def _since(rows: Rows, temperature: float) -> Estimate | None:
    """Share of training after which s̄ >= 0.5 is certain, over the runs where it ever is."""
    looks = healthy(rows, "main")
    looks = looks[(looks.temperature == temperature) & (looks.certified >= CERTAIN)]
    return median(looks.groupby("run").progress.min().to_numpy()) if len(looks) else None


def draw(rows: Rows, found: dict[str, Any]) -> Figure:
    figure, (left, middle, right) = canvas(3)
    ends = rows.grid("main").ends
    by = ends.groupby("temperature")
    for name, column, line in (
        ("measured s̄", "positive", LINES[0]),
        ("certified by L, n̄", "certified_with_negative", LINES[1]),
        ("certified by L alone", "certified", LINES[2]),
        ("measured n̄", "negative", LINES[6]),
    ):
        quartiles = by[column].quantile([0.25, 0.5, 0.75]).unstack()
        left.plot(quartiles.index, quartiles[0.5], label=name, **line)
        left.fill_between(
            quartiles.index, quartiles[0.25], quartiles[0.75], color=line["color"], alpha=0.12
        )
    left.set(xscale="log", xlabel="temperature τ", ylabel="mean cosine", title="end of training")
    left.set_ylim(top=1.4)  # room for the legend
    looks = healthy(rows, "main")
    temperatures = sorted(looks.temperature.unique())
    for temperature, line in zip(temperatures[::2], LINES, strict=False):
        own = looks[looks.temperature == temperature]
        at = (own.progress * 16).round() / 16
        certain = (own.certified >= CERTAIN).groupby(at).mean()
        middle.plot(certain.index, certain, label=f"τ = {temperature:g}", **line)
        slack = (own.positive - own.certified).groupby(at).median()
        right.plot(slack.index, slack, label=f"τ = {temperature:g}", **line)
    middle.set(
        xlabel="share of training",
        ylabel=f"share of runs with s̄ ≥ {CERTAIN:g} certain",
        title="from the loss alone",
        ylim=(-0.03, 1.03),
    )
    right.set(xlabel="share of training", ylabel="s̄ − certified lower limit", title="slack")
    right.set_ylim(top=1.35)
    return finish(figure)
