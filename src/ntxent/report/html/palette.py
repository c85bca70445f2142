"""Colours by name, for a light and a dark background.

The hues are those of Okabe and Ito, which colour-blind readers tell apart. Text keeps a contrast of
4.5 with the background, marks one of 3. A figure names a colour as ``@blue``, or as ``@blue/0.2``
with an opacity; the page replaces the name by the shade of its theme, as :func:`resolve` does.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CYCLE", "PALETTES", "resolve"]

PALETTES = {
    "light": {
        "ink": "#1c2430",
        "muted": "#5a6472",
        "line": "#dfe3e8",
        "ground": "#ffffff",
        "page": "#f3f5f8",
        "blue": "#0067a3",
        "orange": "#b85000",
        "green": "#00775a",
        "purple": "#9c4479",
        "sky": "#1b7fb5",
        "amber": "#8a6100",
        "grey": "#6b7480",
    },
    "dark": {
        "ink": "#e8ecf1",
        "muted": "#a4aeba",
        "line": "#323a45",
        "ground": "#181d24",
        "page": "#0e1216",
        "blue": "#5fb5ea",
        "orange": "#f59355",
        "green": "#34c79c",
        "purple": "#e59ac6",
        "sky": "#9bd4f5",
        "amber": "#e6b84a",
        "grey": "#98a2ae",
    },
}

# Neighbours differ in hue and in lightness.
CYCLE = ("blue", "orange", "green", "purple", "amber", "sky", "grey", "ink")


def resolve(value: Any, theme: str = "light") -> Any:
    """The same values, with the colours of a theme in place of their names.

    >>> resolve({"color": ["@blue", "@line/0.5"]})
    {'color': ['#0067a3', 'rgba(223,227,232,0.5)']}
    """
    if isinstance(value, dict):
        return {key: resolve(item, theme) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, theme) for item in value]
    if not (isinstance(value, str) and value.startswith("@")):
        return value
    name, _, opacity = value[1:].partition("/")
    colour = PALETTES[theme][name]
    if not opacity:
        return colour
    channels = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({','.join(map(str, channels))},{opacity})"
