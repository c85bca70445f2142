"""The page of a single figure."""

from __future__ import annotations

from pathlib import Path

from ntxent.report.figures import Figure
from ntxent.report.html.page import write_page
from ntxent.report.html.palette import PALETTES

__all__ = ["write_plot"]


def write_plot(
    figure: Figure, out: Path, *, kind: str, title: str, heading: str, says: str
) -> None:
    """Write the page.

    Args:
        figure: The figure, as in :mod:`ntxent.report.figures.pieces`.
        out: The HTML file.
        kind: What the page is, in its top line.
        title: The title of the page.
        heading: The heading of the figure.
        says: The caption of the figure.

    Raises:
        OSError: the file cannot be written.
    """
    figures = {"plot": figure}
    write_page(
        out,
        "plot.html",
        {"figures": figures, "palettes": PALETTES},
        ["page.js"],
        kind=kind,
        title=title,
        heading=heading,
        says=says,
        figures=figures,
    )
