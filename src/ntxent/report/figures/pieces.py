"""The figures of a run, as Plotly's JSON with colours by name.

A figure is a dict: ``data`` and ``layout`` as Plotly knows them, ``alt`` a sentence for those who
do not see it, ``note`` what its caption adds, and ``grids``: the x values of its curves as step,
epoch and time. A trace with ``grid: k`` is drawn over ``grids[k]`` in the unit that the reader
chose, one with ``smooth: true`` may be smoothed by the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ntxent import bounds
from ntxent.diagnosis.report import PAIRED
from ntxent.report.figures.images import class_name
from ntxent.report.html.images import sprite
from ntxent.report.html.palette import CYCLE
from ntxent.report.projection import project
from ntxent.report.source import Run
from ntxent.report.thinning import Thinned, rounded, thin
from ntxent.report.words import REPRESENTATIONS, certified_share, classifier, percent

__all__ = ["Figure", "figures"]

Array: TypeAlias = NDArray[np.float64]
Figure: TypeAlias = dict[str, Any]

SPRITE_BYTES = 500_000
# With the cycle of eight colours, 24 different marks.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")
NEAR = 3  # a ceiling within this many spans from floor to chance is drawn to scale


def figures(run: Run, projection: str = "pca") -> dict[str, Figure]:
    """Those figures that the files of a run have the numbers for, by name."""
    made = {
        "loss": _loss(run),
        "position": _position(run),
        "positive": _positive(run),
        "accuracy": _accuracy(run),
        "gradient": _gradient(run),
        "plane": _plane(run),
        "rank": _rank(run),
        "similarities": _similarities(run),
        "evaluation": _evaluation(run),
        "map": _map(run, projection),
        "rate": _rate(run),
    }
    return {name: figure for name, figure in made.items() if figure is not None}


# --- pieces ---------------------------------------------------------------------------------------


def text(value: object) -> str:
    """Words of the user in a figure, whose texts know a few tags and entities."""
    return escape(str(value), quote=False)


def grid(run: Run, steps: Array) -> dict[str, list[float | None]]:
    return {name: rounded(values) for name, values in run.axes(steps).items()}


def line(name: str, values: Array, colour: str, **more: Any) -> dict[str, Any]:
    style = {"color": f"@{colour}", "width": 2} | more.pop("line", {})
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "y": rounded(values),
        "line": style,
        "grid": 0,
        "hovertemplate": "%{y:.4g}",
    } | more


def band(name: str, low: Array, high: Array, colour: str, **more: Any) -> list[dict[str, Any]]:
    """The space between two curves; the lower one is silent, the legend shows one entry."""
    edge = {"color": f"@{colour}/0.45", "width": 1}
    shade = {"fill": "tonexty", "fillcolor": f"@{colour}/0.16", "line": edge}
    silent = {"showlegend": False, "hoverinfo": "skip", "hovertemplate": None, "line": edge}
    group = {"legendgroup": name}
    return [
        line(name, low, colour, **silent, **group, **more),
        line(name, high, colour, **shade, **group, hoverinfo="skip", hovertemplate=None, **more),
    ]


def curve(name: str, thinned: Thinned, colour: str, **more: Any) -> list[dict[str, Any]]:
    """A logged quantity; where it was thinned, its range within each bin behind it."""
    behind = []
    if thinned.per_point > 1:
        label = f"{name}, smallest to largest"
        behind = band(label, thinned.low, thinned.high, colour, grid=more.get("grid", 0))
        for trace in behind:
            trace["line"] = {"width": 0}
    return [*behind, line(name, thinned.mean, colour, smooth=True, **more)]


def level(value: float, label: str, below: bool = False, dash: str = "solid") -> tuple[Any, Any]:
    """A horizontal line with its name at the right edge, as a shape and an annotation."""
    shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value}
    shape |= {"line": {"color": "@muted", "width": 1.25, "dash": dash}, "layer": "below"}
    words = {"text": label, "xref": "paper", "x": 1, "y": value, "showarrow": False}
    words |= {"xanchor": "right", "yanchor": "top" if below else "bottom"}
    words |= {"font": {"color": "@muted", "size": 12}}
    return shape, words


def thinning_note(thinned: Thinned, count: int) -> str:
    if thinned.per_point == 1:
        return ""
    return (
        f"{count:,} logged steps are drawn as {len(thinned.mean):,} bins of {thinned.per_point:,}: "
        "the line is the mean of a bin, the shade spans its smallest and largest value."
    )


def _x(title: str = "step") -> dict[str, Any]:
    return {"title": {"text": title}}


# --- the loss and what it proves ------------------------------------------------------------------


def _loss(run: Run) -> Figure | None:
    if run.trajectory is None:
        return None
    thinned = thin(run.loss)
    chance, floor, ceiling, _ = run.convention.limits()
    span = chance - floor
    finite = run.loss.values[np.isfinite(run.loss.values)]
    low, high = min(floor, finite.min()), max(chance, finite.max())
    near = ceiling - floor <= NEAR * span
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
    data = curve("loss", thinned, "orange", hovertemplate="%{y:.4f} nats")
    broken = run.loss.steps[~np.isfinite(run.loss.values)]
    if len(broken):
        shown = broken[np.unique(np.linspace(0, len(broken) - 1, 200).astype(int))]
        marks = {"mode": "markers", "marker": {"symbol": "x", "color": "@purple", "size": 8}}
        name = f"NaN or infinite ({len(broken):,})"
        at_floor = np.full(len(shown), floor)
        data.append(line(name, at_floor, "purple", grid=1, hovertemplate="not a number", **marks))
    note = thinning_note(thinned, len(run.loss.values))
    if not near:
        note += f" The ceiling, {ceiling:.4g} nats, lies above this axis; zoom out to see it."
    return {
        "data": data,
        "grids": [grid(run, thinned.steps), grid(run, broken[:200] if not len(broken) else shown)],
        "layout": {
            "shapes": [possible, *(shape for shape, _ in levels)],
            "annotations": [words for _, words in levels],
            "xaxis": _x(),
            "yaxis": {"title": {"text": "loss, nats"}, "range": [low - pad, top + pad]},
        },
        "note": note.strip(),
        "alt": f"The loss against the step, from {finite[0]:.4g} to {finite[-1]:.4g} nats, between "
        f"its floor {floor:.4g} and its ceiling {ceiling:.4g}; chance is {chance:.4g}.",
    }


def _position(run: Run) -> Figure | None:
    if run.trajectory is None or run.trajectory.end.position is None:
        return None
    thinned = thin(run.loss)
    chance, floor, _, _ = run.convention.limits()
    mean, low, high = ((column - floor) / (chance - floor) for column in thinned[1:4])
    position = Thinned(thinned.steps, mean, low, high, thinned.per_point)
    finite = position.mean[np.isfinite(position.mean)]
    levels = [level(0, "floor", below=True), level(1, "chance", dash="dash")]
    ends = min(0.0, float(np.nanmin(position.low))), max(1.0, float(np.nanmax(position.high)))
    pad = 0.09 * (ends[1] - ends[0])
    return {
        "data": curve("position", position, "orange", hovertemplate="%{y:.3f}"),
        "grids": [grid(run, thinned.steps)],
        "layout": {
            "shapes": [shape for shape, _ in levels],
            "annotations": [words for _, words in levels],
            "xaxis": _x(),
            "yaxis": {"title": {"text": "position"}, "range": [ends[0] - pad, ends[1] + pad]},
        },
        "alt": f"The position of the loss against the step, from {finite[0]:.3f} to "
        f"{finite[-1]:.3f}, where 0 is the floor and 1 is chance.",
    }


def _positive(run: Run) -> Figure | None:
    """The measured similarities, and around s̄ the interval that the loss alone certifies."""
    if run.trajectory is None:
        return None
    data: list[dict[str, Any]] = []
    grids: list[dict[str, Any]] = []
    lowest = [0.0]
    note = alt = ""
    if run.convention.variant in PAIRED and run.convention.batch_size != 1:
        thinned = thin(run.loss)
        nats = np.maximum(thinned.mean, 0) / run.convention.limits().scale
        size, temperature = run.convention[:2]
        interval = bounds.similarity_interval(
            np.where(np.isfinite(nats), nats, 1.0), size, temperature
        )
        low, high = (np.where(np.isfinite(nats), end, np.nan) for end in interval)
        data += band("proven", low, high, "blue")
        grids.append(grid(run, thinned.steps))
        lowest.append(np.nanmin(low, initial=1))
        alt = f"The loss proves a mean positive cosine of at least {low[-1]:.3f} at the end. "
    for name, colour, words, dash in (
        ("positive_similarity", "blue", "positives", "solid"),
        ("negative_similarity", "grey", "negatives", "dot"),
    ):
        if name in run.columns:
            thinned = thin(run.columns[name])
            look = {"hovertemplate": "%{y:.4f}", "line": {"dash": dash}}
            data += curve(words, thinned, colour, grid=len(grids), **look)
            grids.append(grid(run, thinned.steps))
            lowest.append(np.nanmin(thinned.low, initial=1))
            alt += f"The measured {words} end at {thinned.mean[-1]:.3f}. "
    if not data:
        return None
    share = certified_share(run)
    if share is not None:
        inside, of = share
        note = (
            f"The measured positives lie inside the proven interval at {inside:,} of {of:,} steps."
        )
    return {
        "data": data,
        "grids": grids,
        "layout": {
            "xaxis": _x(),
            "yaxis": {
                "title": {"text": "mean cosine similarity"},
                "range": [float(min(lowest)) - 0.08, 1.06],
            },
        },
        "note": note,
        "alt": alt.strip(),
    }


def _accuracy(run: Run) -> Figure | None:
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
    note = (
        "" if proven.max() > 0 else "The loss proves a share of top-1 only below log 2, 0.693 nats."
    )
    return {
        "data": data,
        "grids": [grid(run, measured["step"])],
        "layout": {
            "xaxis": _x(),
            "yaxis": {"title": {"text": "anchors, %"}, "range": [-3, 103]},
        },
        "note": note,
        "alt": "The share of anchors whose positive is their most similar candidate, from "
        f"{top[0]:.1f} % to {top[-1]:.1f} %.",
    }


def _gradient(run: Run) -> Figure | None:
    if run.trajectory is None:
        return None
    scale, temperature = run.convention.limits().scale, run.convention.temperature
    thinned = thin(run.loss)
    nats = np.where(np.isfinite(thinned.mean), np.maximum(thinned.mean, 0) / scale, 0)
    largest = scale * bounds.gradient_bound(nats, temperature)
    largest = np.where(np.isfinite(thinned.mean), largest, np.nan)
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
            "xaxis": _x(),
            "yaxis": {"title": {"text": "Σ ‖∂L/∂z‖, nats"}, "rangemode": "tozero"},
        },
        "alt": "The summed norms of the gradients in the embeddings, below the largest sum that "
        f"the loss allows, {largest[-1]:.4g} at the end.",
    }


def _rate(run: Run) -> Figure | None:
    if "lr" not in run.columns:
        return None
    thinned = thin(run.columns["lr"])
    return {
        "data": curve("learning rate", thinned, "green"),
        "grids": [grid(run, thinned.steps)],
        "layout": {
            "xaxis": _x(),
            "yaxis": {"title": {"text": "learning rate"}, "rangemode": "tozero"},
        },
        "alt": f"The learning rate against the step, at most {thinned.high.max():.3g}.",
    }


# --- where the embeddings lie ---------------------------------------------------------------------


def _plane(run: Run) -> Figure | None:
    measured = run.measures
    if not {"step", "alignment", "uniformity"} <= set(measured):
        return None
    x, y, step = (measured[name] for name in ("uniformity", "alignment", "step"))
    path = line("course of the run", y, "purple", grid=None, x=rounded(x), mode="lines+markers")
    path |= {
        "line": {"color": "@purple/0.5", "width": 2},
        "marker": {
            "size": 9,
            "color": rounded(step),
            "colorscale": [[0, "@line"], [1, "@purple"]],
            "line": {"color": "@purple", "width": 1},
        },
        "customdata": rounded(step),
        "hovertemplate": "step %{customdata}<br>alignment %{y:.4f}<br>uniformity %{x:.4f} nats"
        "<extra></extra>",
        "showlegend": False,
    }
    ends = [
        {"x": x[at], "y": y[at], "text": f"step {step[at]:g}", "showarrow": True, "ax": 0}
        | {
            "ay": ay,
            "arrowcolor": "@muted",
            "arrowhead": 0,
            "arrowwidth": 1,
            "font": {"color": "@ink", "size": 12},
        }
        for at, ay in dict.fromkeys(((0, -28), (len(step) - 1, -28)))
    ]
    return {
        "data": [path],
        "grids": [],
        "layout": {
            "annotations": ends[: 1 + (len(step) > 1)],
            "xaxis": {"title": {"text": "uniformity, nats (lower is more even)"}},
            "yaxis": {
                "title": {"text": "alignment (lower is closer)"},
                "rangemode": "tozero",
            },
            "hovermode": "closest",
        },
        "alt": f"Alignment against uniformity over the run, from ({y[0]:.3f}, {x[0]:.3f}) to "
        f"({y[-1]:.3f}, {x[-1]:.3f}); both are better lower.",
    }


def _rank(run: Run) -> Figure | None:
    names = {"feature_rank": ("features", "green"), "effective_rank": ("embeddings", "purple")}
    known = [name for name in names if name in run.measures]
    if not known:
        return None
    data = [
        line(words, run.measures[name], colour, mode="lines+markers", marker={"size": 5})
        for name, (words, colour) in names.items()
        if name in known
    ]
    dim = run.convention.dim
    largest = "" if dim is None else f" The embeddings have {dim} dimensions."
    ends = ", ".join(f"{run.measures[name][-1]:.1f} of the {names[name][0]}" for name in known)
    return {
        "data": data,
        "grids": [grid(run, run.measures["step"])],
        "layout": {
            "xaxis": _x(),
            "yaxis": {"title": {"text": "effective rank"}, "rangemode": "tozero"},
        },
        "note": f"1 is a single direction.{largest}",
        "alt": f"The effective rank against the step; at the end {ends}.",
    }


def _similarities(run: Run) -> Figure | None:
    """Histograms of one column each: the first, the middle, the last recorded step."""
    if not run.histograms:
        return None
    kept = run.histograms if len(run.histograms) <= 3 else (*run.histograms[:2], run.histograms[-1])
    return histograms([(f"step {histogram['step']:,}", histogram) for histogram in kept])


def histograms(kept: Sequence[tuple[str, Mapping[str, Any]]]) -> Figure:
    """The cosines of both kinds of pairs, one panel for each titled histogram."""
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"annotations": [], "barmode": "overlay", "bargap": 0}
    layout |= {"hovermode": "x unified"}
    width = 1 / len(kept)
    for at, (title, histogram) in enumerate(kept):
        edges = np.array(histogram["edges"])
        centres, suffix = (edges[1:] + edges[:-1]) / 2, "" if at == 0 else str(at + 1)
        for kind, colour in (("negative", "grey"), ("positive", "blue")):
            counts = np.array(histogram[kind], dtype=float)
            data.append(
                {
                    "type": "bar",
                    "name": f"{kind}s",
                    "legendgroup": kind,
                    "showlegend": at == 0,
                    "x": rounded(centres),
                    "y": rounded(100 * counts / max(counts.sum(), 1)),
                    "width": float(edges[1] - edges[0]),
                    "marker": {"color": f"@{colour}/0.7", "line": {"width": 0}},
                    "xaxis": f"x{suffix}",
                    "yaxis": f"y{suffix}",
                    "hovertemplate": "%{y:.2f} % of the pairs",
                }
            )
        gap = 0.06 / len(kept)
        domain = [
            at * width + (gap if at else 0),
            (at + 1) * width - (gap if at < len(kept) - 1 else 0),
        ]
        layout[f"xaxis{suffix}"] = {
            "domain": domain,
            "anchor": f"y{suffix}",
            "range": [-1, 1],
            "title": {"text": "cosine similarity" if at == len(kept) // 2 else ""},
            "tickvals": [0, 1] if at else [-1, 0, 1],
            "tickangle": 0,
        }
        layout[f"yaxis{suffix}"] = {"anchor": f"x{suffix}", "matches": "y" if at else None}
        layout[f"yaxis{suffix}"] |= {"showticklabels": at == 0}
        layout["annotations"].append(
            {"text": title, "xref": f"x{suffix} domain", "x": 0.03}
            | {"yref": "paper", "y": 1, "showarrow": False, "xanchor": "left", "yanchor": "top"}
            | {"font": {"color": "@ink", "size": 13}}
        )
    layout["yaxis"]["title"] = {"text": "share of the pairs, %"}
    titles = ", ".join(title for title, _ in kept)
    sampled = any(histogram.get("sampled") for _, histogram in kept)
    return {
        "data": data,
        "grids": [],
        "layout": layout,
        "note": "Of the negatives a random sample is counted." if sampled else "",
        "alt": f"Histograms of the cosines of positive and of negative pairs: {titles}.",
    }


# --- what the encoder is worth --------------------------------------------------------------------


def _evaluation(run: Run) -> Figure | None:
    scores = run.evaluation
    if not scores:
        return None
    names = [name for name in REPRESENTATIONS if name in scores]
    names += [name for name in scores if name not in names]
    measures = list(scores[names[-1]])
    colours = {"raw_pixels": "grey/0.55", "untrained_encoder": "amber/0.75", "encoder": "blue"}
    data = []
    for at, name in enumerate(names):
        known = [measure for measure in measures if measure in scores[name]]
        colour = colours.get(name, CYCLE[at % len(CYCLE)])
        data.append(
            {
                "type": "bar",
                "name": text(REPRESENTATIONS.get(name, name)),
                "x": [under(measure) for measure in known],
                **bars([scores[name][measure] for measure in known], colour),
            }
        )
    best = ", ".join(
        f"{REPRESENTATIONS.get(name, name)} {100 * scores[name][measures[-1]]['mean']:.1f} %"
        for name in names
        if measures[-1] in scores[name]
    )
    return {
        "data": data,
        "grids": [],
        "layout": {
            "barmode": "group",
            "bargap": 0.25,
            "bargroupgap": 0.06,
            "xaxis": {"type": "category"},
            "yaxis": {"title": {"text": "held-out accuracy, %"}, "range": [0, 104]},
            "hovermode": "x unified",
        },
        "alt": f"Held-out accuracy as bars; with {classifier(measures[-1])}: {best}.",
    }


def under(measure: str) -> str:
    """The name of a probe under its bars: ``linear_10`` as two short lines."""
    probe, _, labels = measure.partition("_")
    return f"{text(probe)}<br>{text(labels or 'all')}" + "/class" * labels.isdigit()


def bars(scores: list[Any], colour: str) -> dict[str, Any]:
    """Accuracies in percent, with whiskers where there were several draws of the labels."""
    spread = [score.get("sd") for score in scores]
    return {
        "y": [100 * score["mean"] for score in scores],
        "error_y": {
            "type": "data",
            "array": [None if sd is None else 100 * sd for sd in spread],
            "color": "@ink",
            "thickness": 1.5,
            "width": 4,
        },
        "marker": {"color": f"@{colour}"},
        "customdata": [f"{percent(score)} %" for score in scores],
        "hovertemplate": "%{customdata}",
    }


def _map(run: Run, projection: str) -> Figure | None:
    if run.samples is None or len(run.samples["features"]) < 2:
        return None
    features = run.samples["features"].astype(np.float64)
    labels, classes = run.samples["labels"], run.samples["classes"]
    usable = np.flatnonzero(np.isfinite(features).all(1))
    if len(usable) < 2:
        return None
    flat, axes = project(features[usable], projection)
    sheet = sprite(run.samples["thumbnails"], SPRITE_BYTES)
    data = []
    for label in np.unique(labels):
        own = labels[usable] == label
        named = class_name(classes.tolist(), int(label))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": text(named),
                "x": rounded(flat[own, 0], 4),
                "y": rounded(flat[own, 1], 4),
                "customdata": usable[own].tolist(),
                "marker": {
                    "color": f"@{CYCLE[int(label) % len(CYCLE)]}/0.8",
                    "symbol": SYMBOLS[int(label) % len(SYMBOLS)],
                    "size": 8,
                    "line": {"color": "@ground", "width": 0.5},
                },
                "hovertemplate": f"{text(named)}, image %{{customdata}}<extra></extra>",
            }
        )
    missing = len(run.samples["thumbnails"]) - sheet["count"]
    return {
        "data": data,
        "grids": [],
        "sprite": sheet,
        "layout": {
            "xaxis": {
                "title": {"text": axes[0]},
                "constrain": "domain",
            },
            "yaxis": {
                "title": {"text": axes[1]},
                "scaleanchor": "x",
                "constrain": "domain",
            },
            "hovermode": "closest",
        },
        "note": f"The images of {missing} points do not fit into this file." if missing else "",
        "alt": f"A map of {len(usable)} held-out images by the directions of their features, "
        f"coloured by {len(data)} classes; axes: {axes[0]}, {axes[1]}.",
    }
