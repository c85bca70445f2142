"""How the figures look: readable in grey, at least 9 points, the same file for the same rows."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours of rising lightness, each with a dash and a marker of its own.
COLOURS = ("#111111", "#1f4e9c", "#b3402a", "#2a8a5f", "#8a6fc0", "#d08a1d", "#8fa3ad")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (7, 2)), (0, (1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: list[dict[str, Any]] = [
    {"color": colour, "linestyle": dash, "marker": marker, "markersize": 4, "linewidth": 1.5}
    for colour, dash, marker in zip(COLOURS, _DASHES, _MARKERS, strict=True)
]

_SETTINGS = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
}


def canvas(
    columns: int,
    rows: int = 1,
    width: float = 4.0,
    height: float = 3.6,
    ratios: tuple[float, ...] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, row by row; sizes in inches of one panel."""
    mpl.rcParams.update(_SETTINGS)
    size = width * (sum(ratios) if ratios else columns), height * rows
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, width_ratios=ratios)
    return figure, list(axes.ravel())


def finish(figure: Figure) -> Figure:
    for axes in figure.axes:
        if axes.get_legend_handles_labels()[0] and axes.get_legend() is None:
            axes.legend()
    return figure


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".png"), dpi=110, metadata={"Software": None})
