"""What the page of two files of embeddings shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ntxent.report.figures.pieces import Figure, histograms
from ntxent.report.html.palette import PALETTES
from ntxent.report.words import judged

__all__ = ["analysis_page"]


def analysis_page(
    analysis: Mapping[str, Any], files: tuple[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The template's values and the page's data, from ``Analysis.to_dict()``."""
    figure = _cosines(analysis)
    shown = {
        "files": files,
        "end": analysis,
        "story": judged(analysis["verdict"], analysis["sentences"]),
        "rows": _rows(analysis),
        "figures": {"similarities": figure},
    }
    return shown, {"figures": shown["figures"], "palettes": PALETTES}


def _cosines(analysis: Mapping[str, Any]) -> Figure:
    """The histogram over the interval that the loss alone proves of the positives' mean."""
    figure = histograms([("", analysis["histogram"])])
    low, high = analysis["similarity_interval"]
    proven = {"type": "rect", "x0": low, "x1": high, "yref": "paper", "y0": 0, "y1": 1}
    proven |= {"fillcolor": "@blue/0.12", "line": {"width": 0}, "layer": "below"}
    figure["layout"]["shapes"] = [proven]
    for name, colour in (("positive_similarity", "blue"), ("negative_similarity", "muted")):
        mean = analysis[name]
        line = {"type": "line", "x0": mean, "x1": mean, "yref": "paper", "y0": 0, "y1": 1}
        figure["layout"]["shapes"].append(line | {"line": {"color": f"@{colour}", "width": 2}})
    figure["note"] = (
        f"Tinted: what the loss alone proves of the mean of the positives. {figure['note']}"
    )
    figure["alt"] += f" The loss proves a mean positive cosine of {low:.3f} to {high:.3f}."
    return figure


def _rows(analysis: Mapping[str, Any]) -> list[tuple[str, str, str, int | None]]:
    """Name, measured value, what is proven or known of it, and the theorem."""

    def proven(interval: list[float]) -> str:
        return "{:.4f} to {:.4f}".format(*interval)

    positive, negative = analysis["positive_similarity"], analysis["negative_similarity"]
    limits = "{:.4f} to {:.4f}".format(analysis["floor"], analysis["ceiling"])
    measured = "{measured_floor:.4f} to {similarity_ceiling:.4f}".format(**analysis)
    return [
        ("loss, nats", f"{analysis['loss']:.4f}", f"{limits} for any embeddings", 6),
        ("", "", f"{measured} given both mean cosines", 5),
        ("positive cosine", f"{positive:.4f}", proven(analysis["similarity_interval"]), 8),
        ("negative cosine", f"{negative:.4f}", "", None),
        (
            "gap of the two",
            f"{positive - negative:.4f}",
            f"at least {analysis['similarity_gap']:.4f}",
            8,
        ),
        (
            "candidate cosine",
            f"{analysis['candidate_similarity']:.4f}",
            proven(analysis["candidate_similarity_interval"]),
            11,
        ),
        (
            "positives on top",
            f"{analysis['contrastive_accuracy']:.4f}",
            f"at least {analysis['top1_share'] or 0:.4f}",
            9,
        ),
        ("alignment", f"{analysis['alignment']:.4f}", "0 is best, 4 is opposed", None),
        ("uniformity, nats", f"{analysis['uniformity']:.4f}", "0 is collapse, −8 at least", None),
        (
            "effective rank",
            f"{analysis['effective_rank']:.2f}",
            f"1 to {min(2 * analysis['batch_size'], analysis['dim'])}",
            None,
        ),
    ]
