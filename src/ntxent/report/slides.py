"""The figures of a page as PNG files, for slides."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ntxent.report.figures.pieces import Figure
from ntxent.report.html.palette import resolve

__all__ = ["write_slides"]

WIDTH, HEIGHT, SCALE = 1280, 720, 2


def write_slides(figures: Mapping[str, Figure], folder: Path) -> list[str]:
    """Draw each figure on a light ground, 2560 by 1440 pixels, and return the files.

    Raises:
        ValueError: kaleido, which draws them in a browser of its own, is not installed.
        OSError: the folder cannot be made, or the browser does not start.
    """
    if find_spec("kaleido") is None:
        raise ValueError("--png: it needs kaleido; pip install kaleido, or leave --png out")
    from plotly.io import to_image

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        try:
            image = to_image(
                _drawn(figure),
                format="png",
                width=WIDTH,
                height=HEIGHT,
                scale=SCALE,
                validate=False,
            )
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise OSError(f"--png: {name} cannot be drawn: {reason}") from error
        path.write_bytes(image)
        files.append(str(path))
    return files


def _drawn(figure: Figure) -> dict[str, Any]:
    """Over steps, with the look that the page gives."""
    data = []
    for trace in figure["data"]:
        own = {key: value for key, value in trace.items() if key not in ("grid", "smooth")}
        if isinstance(trace.get("grid"), int):
            own["x"] = figure["grids"][trace["grid"]]["step"]
        data.append(own)
    axis = {"gridcolor": "@line", "linecolor": "@line", "zeroline": False, "automargin": True}
    axes = {name: axis for name in ("xaxis", "yaxis", *figure["layout"]) if name[1:5] == "axis"}
    look: dict[str, Any] = {"paper_bgcolor": "@ground", "plot_bgcolor": "@ground", "template": None}
    look |= {"font": {"family": "sans-serif", "size": 22, "color": "@ink"}}
    look |= {"margin": {"l": 90, "r": 30, "t": 40, "b": 80}}
    look |= {"legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"}}
    layout = look | figure["layout"]
    for name, own in axes.items():
        layout[name] = own | figure["layout"].get(name, {})
    for words in (layout | {"annotations": layout.get("annotations", [])})["annotations"]:
        words["font"] = words["font"] | {"size": 20}
    drawn: dict[str, Any] = resolve({"data": data, "layout": layout})
    return drawn
