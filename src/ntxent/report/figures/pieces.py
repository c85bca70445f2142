"""The parts that figures share: curves, bands and levels, and series thinned for drawing.

A figure is a dict of JSON values. ``data`` and ``layout`` are Plotly's, with colours by name (see
:mod:`ntxent.report.html.palette`); ``alt`` describes the figure in a sentence, ``note`` ends its
caption. ``grids`` holds x values: each grid has the steps and, where they are known, the epochs and
the seconds. The page draws a trace with ``grid: k`` over ``grids[k]`` in the unit that the reader
chooses, and may smooth a trace with ``smooth: true``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ntxent.diagnosis import Series
from ntxent.report.html.palette import CYCLE
from ntxent.report.run import Run

__all__ = ["Figure", "Style", "Thinned", "rounded", "styles", "thin"]

Array: TypeAlias = NDArray[np.float64]
Figure: TypeAlias = dict[str, Any]
Trace: TypeAlias = dict[str, Any]

POINTS = 1000
DASHES = ("solid", "dash", "dot", "dashdot")
STEPS = {"title": {"text": "step"}}


def text(value: object) -> str:
    """A user's words, escaped: Plotly's texts know a few tags and entities."""
    return escape(str(value), quote=False)


def rounded(values: Array, digits: int = 6) -> list[float | None]:
    """JSON numbers of ``digits`` significant digits; None for what is not finite.

    >>> rounded(np.array([1 / 3, np.nan]))
    [0.333333, None]
    """
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in map(float, values)]


# --- series with fewer points ---------------------------------------------------------------------


class Thinned(NamedTuple):
    """Consecutive bins of a series: the mean step, and the mean, smallest and largest value.

    A bin without a finite value is NaN. ``per_bin`` is the number of values in a bin; where it is
    1, the three curves are the series itself.
    """

    steps: Array
    mean: Array
    low: Array
    high: Array
    per_bin: int


def thin(series: Series, points: int = POINTS) -> Thinned:
    """The series in at most ``points`` bins of equal size, the last one smaller.

    >>> spike = Series(np.arange(6.0), np.array([0, 0, 9, 0, 0, 0.0]))
    >>> [column.tolist() for column in thin(spike, points=2)[:4]]
    [[1.0, 4.0], [3.0, 0.0], [0.0, 0.0], [9.0, 0.0]]
    """
    steps, values = (np.asarray(column, dtype=np.float64) for column in series)
    per_bin = max(1, -(-len(values) // points))
    finite = np.where(np.isfinite(values), values, np.nan)
    if per_bin == 1:
        return Thinned(steps, finite, finite, finite, 1)
    padding = (0, -len(values) % per_bin)
    bins = np.pad(finite, padding, constant_values=np.nan).reshape(-1, per_bin)
    places = np.pad(steps, padding, constant_values=np.nan).reshape(-1, per_bin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a bin of NaNs only is NaN
        return Thinned(
            np.nanmean(places, 1),
            np.nanmean(bins, 1),
            np.nanmin(bins, 1),
            np.nanmax(bins, 1),
            per_bin,
        )


# --- traces and shapes ----------------------------------------------------------------------------


def line(name: str, values: Array, colour: str, **more: Any) -> Trace:
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


def band(name: str, low: Array, high: Array, colour: str, **more: Any) -> list[Trace]:
    """The area between two curves, with one entry in the legend and no hover."""
    edge = {"color": f"@{colour}/0.45", "width": 1}
    shade = {"fill": "tonexty", "fillcolor": f"@{colour}/0.16", "line": edge}
    silent = {"showlegend": False, "hoverinfo": "skip", "hovertemplate": None, "line": edge}
    group = {"legendgroup": name}
    return [
        line(name, low, colour, **silent, **group, **more),
        line(name, high, colour, **shade, **group, hoverinfo="skip", hovertemplate=None, **more),
    ]


def curve(name: str, thinned: Thinned, colour: str, **more: Any) -> list[Trace]:
    """A logged quantity; if it is thinned, the range of each bin is a band behind it."""
    behind = []
    if thinned.per_bin > 1:
        label = f"{name}, smallest to largest"
        behind = band(label, thinned.low, thinned.high, colour, grid=more.get("grid", 0))
        for trace in behind:
            trace["line"] = {"width": 0}
    return [*behind, line(name, thinned.mean, colour, smooth=True, **more)]


def level(value: float, label: str, below: bool = False, dash: str = "solid") -> tuple[Any, Any]:
    """A horizontal line and its label at the right edge, as a shape and an annotation."""
    shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value}
    shape |= {"line": {"color": "@muted", "width": 1.25, "dash": dash}, "layer": "below"}
    words = {"text": label, "xref": "paper", "x": 1, "y": value, "showarrow": False}
    words |= {"xanchor": "right", "yanchor": "top" if below else "bottom"}
    words |= {"font": {"color": "@muted", "size": 12}}
    return shape, words


def grid(run: Run, steps: Array) -> dict[str, list[float | None]]:
    return {name: rounded(values) for name, values in run.axes(steps).items()}


# --- one run, or several in one figure ------------------------------------------------------------


class Style(NamedTuple):
    name: str
    colour: str
    dash: str = "solid"


def styles(runs: Sequence[Run], name: str, colour: str) -> list[Style]:
    """A style for each run: the given one if there is one run, else a colour for each.

    A run has the same colour in every figure. The cycle has eight colours; each further eight runs
    have another dash.
    """
    if len(runs) == 1:
        return [Style(name, colour)]
    size = len(CYCLE)
    return [
        Style(text(run.name), CYCLE[at % size], DASHES[at // size % len(DASHES)])
        for at, run in enumerate(runs)
    ]


class Drawn(NamedTuple):
    """A run in a figure: its style, the series that is drawn, and how many values it had."""

    run: Run
    style: Style
    series: Thinned
    logged: int


def curves(drawn: Sequence[Drawn], hover: str) -> tuple[list[Trace], list[dict[str, Any]]]:
    """The curves and their grids; a single curve shows the range of its bins."""
    data: list[Trace] = []
    for at, (_, style, series, _) in enumerate(drawn):
        look = {"hovertemplate": hover, "grid": at, "line": {"dash": style.dash}}
        if len(drawn) == 1:
            data += curve(style.name, series, style.colour, **look)
        else:
            data.append(line(style.name, series.mean, style.colour, smooth=True, **look))
    return data, [grid(one.run, one.series.steps) for one in drawn]


def extent(drawn: Sequence[Drawn]) -> tuple[float, float]:
    """The smallest and the largest value that :func:`curves` draws."""
    single = len(drawn) == 1
    lows = [one.series.low if single else one.series.mean for one in drawn]
    highs = [one.series.high if single else one.series.mean for one in drawn]
    return float(np.nanmin(np.concatenate(lows))), float(np.nanmax(np.concatenate(highs)))


def thinning_notes(drawn: Sequence[Drawn]) -> str:
    """What the caption says of the curves that are thinned."""
    notes = []
    for one in drawn:
        if one.series.per_bin == 1:
            continue
        bins = f"{len(one.series.mean):,} bins of {one.series.per_bin:,}"
        if len(drawn) == 1:
            notes.append(
                f"{one.logged:,} logged steps are drawn as {bins}: the line is the mean of a bin, "
                "the shade spans its smallest and largest value."
            )
        else:
            notes.append(
                f"{one.run.name}: {one.logged:,} logged steps are drawn as the means of {bins}."
            )
    return " ".join(notes)
