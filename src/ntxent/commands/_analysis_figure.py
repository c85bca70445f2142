"""What ``ntxent analyze --plot`` draws."""

from __future__ import annotations

import itertools

from plotly.graph_objects import Bar, Figure

from ntxent.analysis import Analysis

COLOURS = {"positive": "#1b7837", "negative": "#777777"}


def similarities(report: Analysis) -> Figure:
    """How the cosines of both kinds of pairs are distributed, and what the loss alone proves."""
    histogram, judged = report.histogram, report.diagnosis
    edges = histogram.edges
    centres = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    figure = Figure()
    for kind, counts in (("negative", histogram.negative), ("positive", histogram.positive)):
        drawn = ", a sample" if kind == "negative" and histogram.sampled else ""
        figure.add_trace(
            Bar(
                x=centres,
                y=[count / sum(counts) for count in counts],
                width=edges[1] - edges[0],
                name=f"{kind} pairs{drawn}",
                marker={"color": COLOURS[kind], "opacity": 0.6},
            )
        )
    for kind, mean in (
        ("positive", judged.positive_similarity),
        ("negative", judged.negative_similarity),
    ):
        figure.add_vline(mean, line_color=COLOURS[kind], annotation_text=f"mean {kind} {mean:.3f}")
    low, high = report.similarity_interval
    figure.add_vrect(low, high, fillcolor=COLOURS["positive"], opacity=0.1, line_width=0)
    figure.update_layout(
        title=f"Loss {judged.loss:.4f}, {judged.verdict.replace('_', ' ')}, N = "
        f"{judged.batch_size}, τ = {judged.temperature:g}; shaded: what the loss alone proves of "
        "the mean positive cosine",
        xaxis={"title": "cosine similarity", "range": [-1.02, 1.02]},
        yaxis_title="share of the pairs",
        barmode="overlay",
        template="plotly_white",
    )
    return figure
