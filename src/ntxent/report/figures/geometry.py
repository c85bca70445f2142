"""Figures of where the embeddings lie on the sphere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ntxent.report.figures.pieces import STEPS, Figure, grid, line, rounded
from ntxent.report.run import Run

__all__ = ["histograms", "pair_cosines", "plane", "rank", "similarities"]


def plane(run: Run) -> Figure | None:
    """Alignment against uniformity, a mark for each recorded step."""
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
    labels = [
        {
            "x": x[at],
            "y": y[at],
            "text": f"step {step[at]:g}",
            "showarrow": True,
            "ax": 0,
            "ay": -28,
            "arrowcolor": "@muted",
            "arrowhead": 0,
            "arrowwidth": 1,
            "font": {"color": "@ink", "size": 12},
        }
        for at in sorted({0, len(step) - 1})
    ]
    return {
        "data": [path],
        "grids": [],
        "layout": {
            "annotations": labels,
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


def rank(run: Run) -> Figure | None:
    """The effective rank of the features and of the embeddings."""
    names = {"feature_rank": ("features", "green"), "effective_rank": ("embeddings", "purple")}
    known = {name: words for name, words in names.items() if name in run.measures}
    if not known:
        return None
    dots = {"mode": "lines+markers", "marker": {"size": 5}}
    data = [
        line(words, run.measures[name], colour, **dots) for name, (words, colour) in known.items()
    ]
    dim = run.convention.dim
    largest = "" if dim is None else f" The embeddings have {dim} dimensions."
    ends = ", ".join(f"{run.measures[name][-1]:.1f} of the {known[name][0]}" for name in known)
    return {
        "data": data,
        "grids": [grid(run, run.measures["step"])],
        "layout": {
            "xaxis": STEPS,
            "yaxis": {"title": {"text": "effective rank"}, "rangemode": "tozero"},
        },
        "note": f"1 is a single direction.{largest}",
        "alt": f"The effective rank against the step; at the end {ends}.",
    }


def similarities(run: Run) -> Figure | None:
    """Histograms of the cosines of the pairs at the first two recorded steps and at the last."""
    if not run.histograms:
        return None
    shown = run.histograms
    if len(shown) > 3:
        shown = (*shown[:2], shown[-1])
    return histograms([(f"step {histogram['step']:,}", histogram) for histogram in shown])


def histograms(titled: Sequence[tuple[str, Mapping[str, Any]]]) -> Figure:
    """The cosines of positive and of negative pairs, one panel for each titled histogram."""
    count = len(titled)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"annotations": [], "barmode": "overlay", "bargap": 0}
    layout |= {"hovermode": "x unified"}
    width, gap = 1 / count, 0.06 / count
    for at, (title, histogram) in enumerate(titled):
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
        left = at * width + (gap if at else 0)
        right = (at + 1) * width - (gap if at < count - 1 else 0)
        layout[f"xaxis{suffix}"] = {
            "domain": [left, right],
            "anchor": f"y{suffix}",
            "range": [-1, 1],
            "title": {"text": "cosine similarity" if at == count // 2 else ""},
            "tickvals": [0, 1] if at else [-1, 0, 1],
            "tickangle": 0,
        }
        layout[f"yaxis{suffix}"] = {
            "anchor": f"x{suffix}",
            "matches": "y" if at else None,
            "showticklabels": at == 0,
        }
        layout["annotations"].append(
            {
                "text": title,
                "xref": f"x{suffix} domain",
                "x": 0.03,
                "yref": "paper",
                "y": 1,
                "showarrow": False,
                "xanchor": "left",
                "yanchor": "top",
                "font": {"color": "@ink", "size": 13},
            }
        )
    layout["yaxis"]["title"] = {"text": "share of the pairs, %"}
    titles = ", ".join(title for title, _ in titled if title)
    sampled = any(histogram.get("sampled") for _, histogram in titled)
    return {
        "data": data,
        "grids": [],
        "layout": layout,
        "note": "The negatives are a random sample." if sampled else "",
        "alt": "Histograms of the cosines of positive and of negative pairs"
        f"{': ' if titles else ''}{titles}.",
    }


def pair_cosines(analysis: Mapping[str, Any]) -> Figure:
    """The histogram of ``Analysis.to_dict()``, over what the loss proves of the positives' mean."""
    figure = histograms([("", analysis["histogram"])])
    low, high = analysis["similarity_interval"]
    span = {"yref": "paper", "y0": 0, "y1": 1}
    proven = {"type": "rect", "x0": low, "x1": high, "layer": "below", **span}
    proven |= {"fillcolor": "@blue/0.12", "line": {"width": 0}}
    figure["layout"]["shapes"] = [proven]
    for name, colour in (("positive_similarity", "blue"), ("negative_similarity", "muted")):
        mean = {"type": "line", "x0": analysis[name], "x1": analysis[name], **span}
        figure["layout"]["shapes"].append(mean | {"line": {"color": f"@{colour}", "width": 2}})
    figure["note"] = (
        "Tinted: the interval that the loss alone proves of the positives' mean cosine. "
        f"{figure['note']}"
    ).strip()
    figure["alt"] += f" The loss proves a mean positive cosine of {low:.3f} to {high:.3f}."
    return figure
