"""What ``ntxent bounds --plot`` draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from plotly.graph_objects import Figure, Scatter

from ntxent import bounds

POINTS = 401
COLOURS = {"floor": "#1b7837", "chance": "#b8860b", "ceiling": "#b2182b", "random": "#777777"}


def possible_losses(options: Any, size: int, temperature: float) -> Figure:
    """The losses that each mean positive similarity allows, and where the given loss cuts them."""
    similarity = np.linspace(-1, 1, POINTS)
    low = bounds.floor(size, temperature, options.dim, similarity=similarity)
    chord = bounds.upper_bound(size, temperature, similarity=similarity)
    high = np.minimum(chord, bounds.ceiling(size, temperature))
    figure = Figure(
        [
            Scatter(x=similarity, y=high, name="largest", line={"color": COLOURS["ceiling"]}),
            Scatter(
                x=similarity,
                y=low,
                name="smallest",
                fill="tonexty",
                line={"color": COLOURS["floor"]},
            ),
        ]
    )
    figure.add_hline(bounds.chance(size), line_dash="dot", annotation_text="chance")
    if options.loss is not None:
        figure.add_hline(options.loss, annotation_text=f"loss {options.loss:g}")
    if options.similarity is not None:
        figure.add_vline(options.similarity, annotation_text=f"measured {options.similarity:g}")
    figure.update_layout(
        title=f"Possible losses at N = {size}, τ = {temperature:g}",
        xaxis_title="mean cosine similarity of the positive pairs",
        yaxis_title="NT-Xent loss, nats",
        template="plotly_white",
    )
    return figure


def limit_curves(cells: list[dict[str, Any]]) -> Figure:
    """Limits against the temperature, one group of curves per N; against N if τ is one."""
    against, fixed = "temperature", "batch_size"
    if len({cell["temperature"] for cell in cells}) == 1:
        against, fixed = fixed, against
    figure = Figure()
    for group in dict.fromkeys(cell[fixed] for cell in cells):
        part = [cell for cell in cells if cell[fixed] == group]
        for name, colour in COLOURS.items():
            if name in part[0]:
                figure.add_trace(
                    Scatter(
                        x=[cell[against] for cell in part],
                        y=[cell[name] for cell in part],
                        name=f"{name}, {fixed.replace('_', ' ')} {group:g}",
                        mode="lines+markers",
                        line={"color": colour},
                    )
                )
    figure.update_layout(
        title="Limits of the loss",
        xaxis_title=against.replace("_", " "),
        yaxis_title="loss, in the units of the variant",
        template="plotly_white",
    )
    if against == "batch_size":
        figure.update_xaxes(type="log")
    return figure
