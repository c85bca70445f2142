"""Write a figure as one self-contained HTML file or as PNG, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def _html(figure: Figure) -> bytes:
    html: str = figure.to_html(include_plotlyjs=True)
    return html.encode()


def _png(figure: Figure) -> bytes:
    try:
        image: bytes = figure.to_image(format="png", width=1000, height=650, scale=2)
    except (ValueError, RuntimeError) as error:
        # Kaleido starts a browser of its own.
        reason = str(error).strip().partition("\n")[0]
        raise OSError(f"--plot: PNG cannot be drawn: {reason}; write to a .html file") from error
    return image


FORMATS: dict[str, Callable[[Figure], bytes]] = {".html": _html, ".png": _png}


def figure_writer(name: str) -> Callable[[Figure], None]:
    """Refuse what cannot be written before anything is computed.

    Raises:
        ValueError: the suffix is neither .html nor .png, or PNG needs what is not installed.
        OSError: there is no such folder.
    """
    path = Path(name)
    if path.suffix not in FORMATS:
        raise ValueError(f"--plot: received {name!r}, expected a name that ends in .html or .png")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--plot: no folder {path.parent}; make it first")
    if path.suffix == ".png" and find_spec("kaleido") is None:
        raise ValueError("--plot: PNG needs kaleido; pip install kaleido, or write to a .html file")

    def write(figure: Figure) -> None:
        content = FORMATS[path.suffix](figure)
        partial = path.with_name(f"{path.name}.partial")
        try:
            partial.write_bytes(content)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    return write
