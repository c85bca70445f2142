"""What ``--plot`` draws: figures of the report, alone on a page or as PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ntxent import bounds

if TYPE_CHECKING:
    from ntxent.report.figures import Figure

__all__ = ["Plot", "limit_curves", "pair_cosines", "plot_writer", "possible_losses"]

POINTS = 401
COLOURS = {"floor": "green", "chance": "amber", "ceiling": "orange", "random": "grey"}
# Groups of curves that share their colours differ in their dashes.
DASHES = ("solid", "dash", "dot", "dashdot")


class Plot(NamedTuple):
    """A figure and its words: the title of its page, its heading and its caption."""

    figure: Figure
    title: str
    heading: str
    says: str


def plot_writer(name: str, command: str) -> Callable[[Plot], None]:
    """A function that writes a plot to the file ``name``; refuses the file at once if it must.

    Raises:
        ValueError: the name ends neither in .html nor in .png, or PNG needs a missing package.
        OSError: there is no such folder.
    """
    from ntxent.report.slides import require_kaleido

    path = Path(name)
    if path.suffix not in (".html", ".png"):
        raise ValueError(f"--plot: received {name!r}, expected a name that ends in .html or .png")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--plot: no folder {path.parent}; make it first")
    if path.suffix == ".png":
        require_kaleido("--plot")

    def write(plot: Plot) -> None:
        from ntxent.report.pages.plot import write_plot
        from ntxent.report.slides import write_png

        figure, title, heading, says = plot
        if path.suffix == ".png":
            write_png(figure, path, "--plot")
        else:
            write_plot(
                figure, path, kind=f"ntxent {command}", title=title, heading=heading, says=says
            )

    return write


def pair_cosines(analysis: Mapping[str, Any]) -> Plot:
    """The cosines of the pairs, from ``Analysis.to_dict()``."""
    from ntxent.report.figures import geometry

    return Plot(
        geometry.pair_cosines(analysis),
        title="Loss {loss:.4g}, N = {batch_size:,}, τ = {temperature:g}".format(**analysis),
        heading="Cosines of the pairs",
        says="All pairs as one batch. The lines are the two means.",
    )


def possible_losses(
    size: int,
    temperature: float,
    dim: int | None,
    loss: float | None,
    similarity: float | None,
) -> Plot:
    """The losses of NT-Xent that each mean positive cosine allows, with a given loss and cosine."""
    from ntxent.report.figures.pieces import level, line, rounded

    x = np.linspace(-1, 1, POINTS)
    low = bounds.floor(size, temperature, dim, similarity=x)
    chord = bounds.upper_bound(size, temperature, similarity=x)
    high = np.minimum(chord, bounds.ceiling(size, temperature))
    chance = bounds.chance(size)
    levels = [level(chance, f"chance {chance:.4g}", dash="dash")]
    shapes = []
    if loss is not None:
        levels.append(level(loss, f"loss {loss:g}", below=loss < chance))
    if similarity is not None:
        mean = {"type": "line", "x0": similarity, "x1": similarity, "yref": "paper", "y0": 0}
        shapes = [mean | {"y1": 1, "line": {"color": "@muted", "width": 1.25}}]
    look = {"x": rounded(x), "grid": None, "hovertemplate": "%{y:.4f} nats"}
    at = f"N = {size:,}, τ = {temperature:g}" + ("" if dim is None else f", d = {dim:,}")
    figure: Figure = {
        "data": [
            line("largest", high, "orange", **look),
            line("smallest", low, "green", fill="tonexty", fillcolor="@blue/0.12", **look),
        ],
        "grids": [],
        "layout": {
            "shapes": [shape for shape, _ in levels] + shapes,
            "annotations": [words for _, words in levels],
            "xaxis": {"title": {"text": "mean cosine similarity of the positive pairs"}},
            "yaxis": {"title": {"text": "NT-Xent loss, nats"}},
        },
        "note": "" if similarity is None else f"Vertical line: the measured mean, {similarity:g}.",
        "alt": f"The smallest and the largest loss at each mean positive cosine, {at}.",
    }
    return Plot(
        figure,
        title=f"Possible losses at {at}",
        heading="Loss and positive similarity",
        says="No embeddings have a loss outside the band at this mean cosine of their positive "
        "pairs.",
    )


def limit_curves(cells: Sequence[Mapping[str, Any]]) -> Plot:
    """The limits against τ, a group of curves for each N; or against N, if there is one τ."""
    from ntxent.report.figures.pieces import line, rounded

    against, fixed = "temperature", "batch_size"
    if len({cell["temperature"] for cell in cells}) == 1:
        against, fixed = fixed, against
    symbol = {"temperature": "τ", "batch_size": "N"}
    data = []
    groups = list(dict.fromkeys(cell[fixed] for cell in cells))
    for at, group in enumerate(groups):
        part = [cell for cell in cells if cell[fixed] == group]
        for name, colour in COLOURS.items():
            if name in part[0]:
                data.append(
                    line(
                        f"{name}, {symbol[fixed]} = {group:g}",
                        np.array([cell[name] for cell in part], dtype=float),
                        colour,
                        x=rounded(np.array([cell[against] for cell in part], dtype=float)),
                        grid=None,
                        mode="lines+markers",
                        line={"dash": DASHES[at % len(DASHES)]},
                        marker={"size": 5},
                    )
                )
    scale = {"type": "log"} if against == "batch_size" else {}
    figure: Figure = {
        "data": data,
        "grids": [],
        "layout": {
            "xaxis": {"title": {"text": symbol[against]}} | scale,
            "yaxis": {"title": {"text": "loss, in the units of the variant"}},
        },
        "alt": f"The limits of the loss against {symbol[against]}, for {symbol[fixed]} of "
        f"{', '.join(f'{group:g}' for group in groups)}.",
    }
    return Plot(
        figure,
        title=f"Limits of the loss against {symbol[against]}",
        heading="Floor, chance and ceiling",
        says="No embeddings have a loss below the floor or above the ceiling.",
    )
