"""A diagnosis and a run in a notebook: HTML in its own colours, a table, a figure.

``found`` is a ``Diagnosis`` and ``run`` a ``Trajectory``, whose methods call these functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

__all__ = [
    "bars_figure",
    "diagnosis_html",
    "frame",
    "levels",
    "lines_figure",
    "run_figure",
    "run_html",
    "table_html",
]

# The tones of the report; text and ground are the notebook's own, light or dark.
TONES = {
    "at_floor": "#2e9e5b",
    "learning": "#2e9e5b",
    "at_chance": "#c98a00",
    "above_chance": "#c98a00",
}
BAD = "#d64545"
WIDTH, HEIGHT = 640, 160


def levels(found: Any) -> dict[str, float]:
    """The loss among its limits, from small to large."""
    known = {
        "floor": found.floor,
        "chance": found.chance,
        "random embeddings": found.random,
        "ceiling": found.ceiling,
        "loss": found.loss,
    }
    pairs = [(name, value) for name, value in known.items() if value is not None]
    return dict(sorted(pairs, key=lambda pair: pair[1]))


def table_html(rows: Mapping[str, float]) -> str:
    """Names and numbers in the colours of the page they are shown on."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:right'>{value:.4f}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table>{cells}</table>"


def diagnosis_html(
    found: Any, sentences: Sequence[str] | None = None, above: str = "", below: str = ""
) -> str:
    tone = TONES.get(found.verdict, BAD)
    position = "" if found.position is None else f" position {found.position:.3f}"
    said = found.sentences if sentences is None else sentences
    return (
        f"<div style='border-left:4px solid {tone};padding-left:1em;max-width:45em'>"
        f"<p><strong style='color:{tone}'>{escape(found.verdict.replace('_', ' '))}</strong>"
        f"{position}</p>{above}{table_html(levels(found))}{below}"
        + "".join(f"<p>{escape(sentence)}</p>" for sentence in said)
        + "</div>"
    )


def run_html(run: Any) -> str:
    return diagnosis_html(run.end, run.sentences, _curve(run))


def _curve(run: Any) -> str:
    """The curve between its levels as one small SVG."""
    losses = run.curve.values
    known = {"floor": run.end.floor, "chance": run.end.chance}
    bottom, top = min(*known.values(), losses.min()), max(*known.values(), losses.max())

    def height(value: float) -> float:
        return round(float(HEIGHT * (top - value) / (top - bottom or 1)) + 10, 1)

    across = WIDTH / max(1, len(losses) - 1)
    points = " ".join(f"{k * across:.1f},{height(x)}" for k, x in enumerate(losses))
    lines = "".join(
        f"<line x1='0' x2='{WIDTH}' y1='{height(y)}' y2='{height(y)}' stroke='currentColor' "
        f"stroke-opacity='0.5'/><text x='{WIDTH + 6}' y='{height(y) + 4}' font-size='12' "
        f"fill='currentColor'>{name} {y:.3f}</text>"
        for name, y in known.items()
    )
    return (
        f"<svg viewBox='0 0 {WIDTH + 110} {HEIGHT + 20}' width='100%' role='img' "
        f"aria-label='Loss from step {run.first_step:g} to {run.last_step:g}'>{lines}"
        f"<polyline points='{points}' fill='none' stroke='#e07b39' stroke-width='2'/></svg>"
    )


def frame(rows: Iterable[Mapping[str, Any]]) -> Any:
    """A pandas table of rows.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    try:
        from pandas import DataFrame  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "to_frame needs pandas, which is not installed; pip install pandas, or use to_dict()"
        ) from error
    return DataFrame(list(rows))


def _plotly() -> Any:
    try:
        from plotly import graph_objects
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "plot needs plotly, which is not installed; pip install plotly, or use to_dict()"
        ) from error
    return graph_objects


def bars_figure(edges: Sequence[float], counts: Mapping[str, Sequence[int]]) -> Any:
    """Histograms over the same edges, each as shares of its own, as a plotly figure.

    Raises:
        ModuleNotFoundError: plotly is not installed.
    """
    plotly = _plotly()
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    figure = plotly.Figure()
    for name, own in counts.items():
        shares = [count / max(1, sum(own)) for count in own]
        figure.add_trace(plotly.Bar(x=middles, y=shares, name=name, opacity=0.6))
    return figure.update_layout(
        barmode="overlay", bargap=0, xaxis_title="cosine", yaxis_title="share of the pairs"
    )


def lines_figure(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_title: str, y_title: str
) -> Any:
    """Curves by their names, as a plotly figure.

    Raises:
        ModuleNotFoundError: plotly is not installed.
    """
    plotly = _plotly()
    figure = plotly.Figure(
        [plotly.Scatter(x=list(x), y=list(y), name=name) for name, (x, y) in curves.items()]
    )
    return figure.update_layout(xaxis_title=x_title, yaxis_title=y_title)


def run_figure(run: Any) -> Any:
    """The curve of a run between its levels, as a plotly figure.

    Raises:
        ModuleNotFoundError: plotly is not installed.
    """
    plotly = _plotly()
    figure = plotly.Figure(plotly.Scatter(x=run.curve.steps, y=run.curve.values, name="loss"))
    for name, level in (("floor", run.end.floor), ("chance", run.end.chance)):
        figure.add_hline(y=level, line_dash="dot", annotation_text=f"{name} {level:.4g}")
    return figure.update_layout(xaxis_title="step", yaxis_title="loss, nats")
