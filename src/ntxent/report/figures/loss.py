"""Figures of the loss, its position, and what it proves, against the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ntxent import bounds
from ntxent.diagnosis.verdict import PAIRED
from ntxent.report.figures.pieces import (
    STEPS,
    Array,
    Drawn,
    Figure,
    Thinned,
    Trace,
    band,
    curve,
    curves,
    extent,
    grid,
    level,
    line,
    styles,
    thin,
    thinning_notes,
)
from ntxent.report.run import Run
from ntxent.report.words import certified_share

__all__ = ["accuracy", "gradient", "loss", "position", "positive", "rate", "share_limits"]

NEAR = 3  # a ceiling within this many spans from floor to chance is drawn to scale
MARKS = 200  # NaN and infinite losses that are marked at most


def share_limits(runs: Sequence[Run]) -> bool:
    """Whether all runs with a loss have the same floor, chance and ceiling, to nine digits."""
    judged = [run for run in runs if run.trajectory is not None]
    return len({tuple(f"{end:.9g}" for end in run.convention.limits()[:3]) for run in judged}) <= 1


def loss(runs: Sequence[Run]) -> Figure | None:
    """The losses between their limits; None if no run has one, or if the limits differ."""
    drawn = [
        Drawn(run, style, thin(run.loss), len(run.loss.values))
        for run, style in zip(runs, styles(runs, "loss", "orange"), strict=True)
        if run.trajectory is not None
    ]
    if not drawn or not share_limits(runs):
        return None
    chance, floor, ceiling, _ = drawn[0].run.convention.limits()
    smallest, largest = extent(drawn)
    low, high = min(floor, smallest), max(chance, largest)
    # Several runs are compared below chance, so their axis leaves the ceiling out.
    near = len(runs) == 1 and ceiling - floor <= NEAR * (chance - floor)
    top = max(high, ceiling) if near else high
    pad = 0.09 * (top - low or 1.0)
    levels = [
        level(floor, f"floor {floor:.4g}", below=True),
        level(chance, f"chance {chance:.4g}", dash="dash"),
    ]
    if near:
        levels.append(level(ceiling, f"ceiling {ceiling:.4g}"))
    possible = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": floor, "layer": "below"}
    possible |= {"y1": ceiling, "fillcolor": "@blue/0.07", "line": {"width": 0}}
    data, grids = curves(drawn, hover="%{y:.4f} nats")
    for one in drawn:
        marks, steps = _not_finite(one, floor, len(grids))
        if marks:
            data.append(marks)
            grids.append(grid(one.run, steps))
    note = thinning_notes(drawn)
    if len(runs) == 1 and not near:
        note += f" The ceiling, {ceiling:.4g} nats, lies above this axis; zoom out to see it."
    return {
        "data": data,
        "grids": grids,
        "layout": {
            "shapes": [possible, *(shape for shape, _ in levels)],
            "annotations": [words for _, words in levels],
            "xaxis": STEPS,
            "yaxis": {"title": {"text": "loss, nats"}, "range": [low - pad, top + pad]},
        },
        "note": note.strip(),
        "alt": f"{_course(drawn, 'The loss', 'The losses', 4)}, in nats, between the floor "
        f"{floor:.4g} and the ceiling {ceiling:.4g}; chance is {chance:.4g}.",
    }


def _not_finite(one: Drawn, floor: float, grid: int) -> tuple[Trace | None, Array]:
    """Marks on the floor where the loss is NaN or infinite, evenly chosen if there are many."""
    steps = one.run.loss.steps[~np.isfinite(one.run.loss.values)]
    if not len(steps):
        return None, steps
    shown = steps[np.unique(np.linspace(0, len(steps) - 1, MARKS).astype(int))]
    look = {"mode": "markers", "marker": {"symbol": "x", "color": "@purple", "size": 8}}
    of = "" if one.style.name == "loss" else f"{one.style.name}: "
    name = f"{of}NaN or infinite ({len(steps):,})"
    marks = line(
        name, np.full(len(shown), floor), "purple", grid=grid, hovertemplate="not a number", **look
    )
    return marks, shown


def _course(drawn: Sequence[Drawn], name: str, names: str, digits: int) -> str:
    """Subject and course of a figure's description: one run from its first to its last value."""
    if len(drawn) > 1:
        return f"{names} of {len(drawn)} runs against the step"
    mean = drawn[0].series.mean
    finite = mean[np.isfinite(mean)]
    return f"{name} against the step, from {finite[0]:.{digits}g} to {finite[-1]:.{digits}g}"


def position(runs: Sequence[Run]) -> Figure | None:
    """The positions of the losses, 0 at the floor and 1 at chance; None if no run has one."""
    drawn = [
        Drawn(run, style, _positions(run), len(run.loss.values))
        for run, style in zip(runs, styles(runs, "position", "orange"), strict=True)
        if run.trajectory is not None and run.trajectory.end.position is not None
    ]
    if not drawn:
        return None
    levels = [level(0, "floor", below=True), level(1, "chance", dash="dash")]
    smallest, largest = extent(drawn)
    low, high = min(0.0, smallest), max(1.0, largest)
    pad = 0.09 * (high - low)
    data, grids = curves(drawn, hover="%{y:.3f}")
    return {
        "data": data,
        "grids": grids,
        "layout": {
            "shapes": [shape for shape, _ in levels],
            "annotations": [words for _, words in levels],
            "xaxis": STEPS,
            "yaxis": {"title": {"text": "position"}, "range": [low - pad, high + pad]},
        },
        # Of one run the figure of the loss has this note already.
        "note": thinning_notes(drawn) if len(runs) > 1 else "",
        "alt": f"{_course(drawn, 'The position', 'The positions', 3)}; 0 is the floor and 1 is "
        "chance.",
    }


def _positions(run: Run) -> Thinned:
    chance, floor, _, _ = run.convention.limits()
    thinned = thin(run.loss)
    mean, low, high = ((values - floor) / (chance - floor) for values in thinned[1:4])
    return Thinned(thinned.steps, mean, low, high, thinned.per_bin)


def positive(runs: Sequence[Run]) -> Figure | None:
    """The mean cosine of the positive pairs; None if no run has it.

    Of one run the negatives as well, and the interval that the loss alone proves.
    """
    drawn = [
        Drawn(run, style, thin(series), len(series.values))
        for run, style in zip(runs, styles(runs, "positives", "blue"), strict=True)
        if (series := run.columns.get("positive_similarity")) is not None
    ]
    if len(runs) == 1:
        return _similarities(runs[0], drawn)
    if not drawn:
        return None
    data, grids = curves(drawn, hover="%{y:.4f}")
    return {
        "data": data,
        "grids": grids,
        "layout": {"xaxis": STEPS, "yaxis": {"title": {"text": "mean positive cosine"}}},
        "note": thinning_notes(drawn),
        "alt": f"{_course(drawn, '', 'The mean cosines of the positive pairs', 3)}.",
    }


def _similarities(run: Run, measured: Sequence[Drawn]) -> Figure | None:
    """The mean cosines of one run, with the interval that the loss proves of the positives."""
    if run.trajectory is None:
        return None
    data: list[Trace] = []
    grids: list[dict[str, Any]] = []
    lowest = [0.0]
    alt = ""
    if run.convention.variant in PAIRED and run.convention.batch_size != 1:
        thinned = thin(run.loss)
        low, high = _proven(run, thinned)
        data += band("proven", low, high, "blue")
        grids.append(grid(run, thinned.steps))
        lowest.append(float(np.nanmin(low, initial=1)))
        alt = f"The loss proves a mean positive cosine of at least {low[-1]:.3f} at the end. "
    drawn = [(one.style.name, one.style.colour, "solid", one.series) for one in measured]
    if "negative_similarity" in run.columns:
        drawn.append(("negatives", "grey", "dot", thin(run.columns["negative_similarity"])))
    for name, colour, dash, series in drawn:
        look = {"hovertemplate": "%{y:.4f}", "line": {"dash": dash}}
        data += curve(name, series, colour, grid=len(grids), **look)
        grids.append(grid(run, series.steps))
        lowest.append(float(np.nanmin(series.low, initial=1)))
        alt += f"The measured {name} end at {series.mean[-1]:.3f}. "
    if not data:
        return None
    share = certified_share(run)
    note = ""
    if share is not None:
        inside, steps = share
        note = (
            f"The measured mean lies inside the proven interval at {inside:,} of {steps:,} steps."
        )
    return {
        "data": data,
        "grids": grids,
        "layout": {
            "xaxis": STEPS,
            "yaxis": {
                "title": {"text": "mean cosine similarity"},
                "range": [min(lowest) - 0.08, 1.06],
            },
        },
        "note": note,
        "alt": alt.strip(),
    }


def _proven(run: Run, thinned: Thinned) -> tuple[Array, Array]:
    """The interval of the mean positive cosine that each loss proves; NaN without a loss."""
    nats = np.maximum(thinned.mean, 0) / run.convention.limits().scale
    known = np.isfinite(nats)
    ends = bounds.similarity_interval(
        np.where(known, nats, 1.0), run.convention.batch_size, run.convention.temperature
    )
    low, high = (np.where(known, end, np.nan) for end in ends)
    return low, high


def accuracy(run: Run) -> Figure | None:
    """The contrastive accuracy, and the share of it that the loss proves."""
    measured = run.measures
    if not {"step", "contrastive_accuracy", "loss"} <= set(measured):
        return None
    proven = bounds.top1_share(
        np.where(measured["loss"] >= 0, measured["loss"], np.inf).clip(0, 1e3)
    )
    top = 100 * measured["contrastive_accuracy"]
    dots = {"mode": "lines+markers", "marker": {"size": 5}}
    data = [line("measured", top, "green", hovertemplate="%{y:.1f} %", **dots)]
    if proven.max() > 0:
        dash = {"line": {"dash": "dash"}, "hovertemplate": "%{y:.1f} %"}
        data.append(line("proven at least", 100 * proven, "muted", **dash))
    note = "" if proven.max() > 0 else "The loss proves a share only below log 2, 0.693 nats."
    return {
        "data": data,
        "grids": [grid(run, measured["step"])],
        "layout": {
            "xaxis": STEPS,
            "yaxis": {"title": {"text": "anchors, %"}, "range": [-3, 103]},
        },
        "note": note,
        "alt": "The share of anchors whose positive is their most similar candidate, from "
        f"{top[0]:.1f} % to {top[-1]:.1f} %.",
    }


def gradient(run: Run) -> Figure | None:
    """The summed norms of the gradients, and the largest sum that the loss allows."""
    if run.trajectory is None:
        return None
    scale, temperature = run.convention.limits().scale, run.convention.temperature
    thinned = thin(run.loss)
    known = np.isfinite(thinned.mean)
    nats = np.where(known, np.maximum(thinned.mean, 0) / scale, 0)
    largest = np.where(known, scale * bounds.gradient_bound(nats, temperature), np.nan)
    dash = {"line": {"dash": "dash"}, "hovertemplate": "at most %{y:.4g}"}
    data = [line("proven at most", largest, "muted", **dash)]
    grids = [grid(run, thinned.steps)]
    if "gradient" in run.measures:
        dots = {"mode": "lines+markers", "marker": {"size": 5}, "grid": 1}
        data.append(line("measured", run.measures["gradient"], "purple", **dots))
        grids.append(grid(run, run.measures["step"]))
    return {
        "data": data,
        "grids": grids,
        "layout": {
            "xaxis": STEPS,
            "yaxis": {"title": {"text": "Σ ‖∂L/∂z‖, nats"}, "rangemode": "tozero"},
        },
        "alt": "The summed norms of the gradients in the embeddings, below the largest sum that "
        f"the loss allows, {largest[-1]:.4g} at the end.",
    }


def rate(run: Run) -> Figure | None:
    """The learning rate."""
    if "lr" not in run.columns:
        return None
    thinned = thin(run.columns["lr"])
    return {
        "data": curve("learning rate", thinned, "green"),
        "grids": [grid(run, thinned.steps)],
        "layout": {
            "xaxis": STEPS,
            "yaxis": {"title": {"text": "learning rate"}, "rangemode": "tozero"},
        },
        "alt": f"The learning rate against the step, at most {thinned.high.max():.3g}.",
    }
