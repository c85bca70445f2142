"""Figures as PNG files, for slides."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ntxent.files import atomic
from ntxent.report.figures import Figure
from ntxent.report.html.palette import resolve

__all__ = ["require_kaleido", "write_png", "write_slides"]

WIDTH, HEIGHT, SCALE = 1280, 720, 2


def require_kaleido(option: str) -> None:
    """Refuse PNG where it cannot be drawn; ``option`` names the option in the message.

    Raises:
        ValueError: kaleido, which draws in a browser of its own, is not installed.
    """
    if find_spec("kaleido") is None:
        raise ValueError(f"{option}: PNG needs kaleido; pip install kaleido, or leave PNG out")


def write_slides(figures: Mapping[str, Figure], folder: Path) -> list[str]:
    """Write each figure to ``folder`` and return the files.

    Raises:
        ValueError: kaleido is not installed.
        OSError: the folder cannot be made, or a figure cannot be drawn.
    """
    require_kaleido("--png")
    folder.mkdir(parents=True, exist_ok=True)
    paths = {folder / f"{name}.png": figure for name, figure in figures.items()}
    for path, figure in paths.items():
        write_png(figure, path, "--png")
    return [str(path) for path in paths]


def write_png(figure: Figure, path: Path, option: str) -> None:
    """Draw a figure on a light ground, 2560 by 1440 pixels.

    Raises:
        OSError: the browser of kaleido does not start, or the file cannot be written.
    """
    from plotly.io import to_image

    try:
        image = to_image(
            _drawn(figure), format="png", width=WIDTH, height=HEIGHT, scale=SCALE, validate=False
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise OSError(f"{option}: {path.name} cannot be drawn: {reason}") from error
    with atomic(path) as partial:
        partial.write_bytes(image)


def _drawn(figure: Figure) -> dict[str, Any]:
    """The figure over steps, in the look of the page, for Plotly."""
    data = []
    for trace in figure["data"]:
        own = {key: value for key, value in trace.items() if key not in ("grid", "smooth")}
        if isinstance(trace.get("grid"), int):
            own["x"] = figure["grids"][trace["grid"]]["step"]
        data.append(own)
    axis = {"gridcolor": "@line", "linecolor": "@line", "zeroline": False, "automargin": True}
    look: dict[str, Any] = {
        "paper_bgcolor": "@ground",
        "plot_bgcolor": "@ground",
        "template": None,
        "font": {"family": "sans-serif", "size": 22, "color": "@ink"},
        "margin": {"l": 90, "r": 30, "t": 40, "b": 80},
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        "xaxis": {},
        "yaxis": {},
    }
    layout = look | figure["layout"]
    for name in [name for name in layout if name[1:5] == "axis"]:
        layout[name] = axis | layout[name]
    layout["annotations"] = [
        words | {"font": words["font"] | {"size": 20}} for words in layout.get("annotations", ())
    ]
    drawn: dict[str, Any] = resolve({"data": data, "layout": layout})
    return drawn
