"""The images of a run: a map of them, pairs of views, and samples with their neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ntxent.report.figures.pieces import Array, Figure, rounded, text
from ntxent.report.html.images import data_uri, sprite
from ntxent.report.html.palette import CYCLE
from ntxent.report.run import Run

__all__ = ["PROJECTIONS", "check_projection", "image_map", "neighbours", "view_pairs"]

PROJECTIONS = ("pca", "umap")
SPRITE_BYTES = 500_000
# Six symbols and the cycle of eight colours mark 24 classes differently.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")
QUERIES, NEIGHBOURS = 8, 6


def _class_name(names: Sequence[str], label: int) -> str:
    if label < 0:
        return "without a label"
    return names[label] if label < len(names) else str(label)


# --- the map --------------------------------------------------------------------------------------


def check_projection(name: str) -> None:
    """Refuse a projection that is not known or not installed.

    Raises:
        ValueError: there is no projection of this name, or its package is missing.
    """
    if name not in PROJECTIONS:
        raise ValueError(f"--map: received {name!r}, expected one of {', '.join(PROJECTIONS)}")
    if name == "umap" and find_spec("umap") is None:
        raise ValueError("--map: umap needs umap-learn; pip install umap-learn, or leave it at pca")


def image_map(run: Run, projection: str) -> Figure | None:
    """The held-out images on a plane, by the directions of their features."""
    if run.samples is None:
        return None
    features = run.samples["features"].astype(np.float64)
    labels, classes = run.samples["labels"], [str(name) for name in run.samples["classes"]]
    usable = np.flatnonzero(np.isfinite(features).all(1))
    if len(usable) < 2:
        return None
    points, axes = _project(features[usable], projection)
    sheet = sprite(run.samples["thumbnails"], SPRITE_BYTES)
    data = []
    for label in np.unique(labels[usable]):
        own = labels[usable] == label
        name = text(_class_name(classes, int(label)))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": rounded(points[own, 0], 4),
                "y": rounded(points[own, 1], 4),
                "customdata": usable[own].tolist(),
                "marker": {
                    "color": f"@{CYCLE[int(label) % len(CYCLE)]}/0.8",
                    "symbol": SYMBOLS[int(label) % len(SYMBOLS)],
                    "size": 8,
                    "line": {"color": "@ground", "width": 0.5},
                },
                "hovertemplate": f"{name}, image %{{customdata}}<extra></extra>",
            }
        )
    missing = len(run.samples["thumbnails"]) - sheet["count"]
    return {
        "data": data,
        "grids": [],
        "sprite": sheet,
        "layout": {
            "xaxis": {"title": {"text": axes[0]}, "constrain": "domain"},
            "yaxis": {"title": {"text": axes[1]}, "scaleanchor": "x", "constrain": "domain"},
            "hovermode": "closest",
        },
        "note": f"The last {missing:,} points have no image: the page would be too large."
        if missing
        else "",
        "alt": f"A map of {len(usable)} held-out images by the directions of their features, "
        f"coloured by {len(data)} classes; axes: {axes[0]}, {axes[1]}.",
    }


def _project(features: Array, name: str) -> tuple[Array, tuple[str, str]]:
    """The directions of features ``[n, f]`` as points ``[n, 2]``, and the names of the axes."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    if name == "umap":
        from umap import UMAP

        near = min(15, len(unit) - 1)
        points = UMAP(n_neighbors=near, metric="cosine", random_state=0).fit_transform(unit)
        return np.asarray(points, dtype=np.float64), ("UMAP, first axis", "UMAP, second axis")
    points, (first, second) = principal_plane(unit)
    return points, (
        f"first axis, {100 * first:.0f} % of the variance",
        f"second axis, {100 * second:.0f} %",
    )


def principal_plane(points: Array) -> tuple[Array, tuple[float, float]]:
    """Points ``[n, f]`` on their two principal axes, and the share of the variance on each.

    The largest loading of an axis is positive, so that the same data give the same map.
    """
    centred = points - points.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    total = float((singular**2).sum()) or 1.0
    plane = np.zeros((len(points), 2))
    plane[:, : len(axes)] = centred @ axes.T
    first, second = (float(value) ** 2 / total for value in [*singular[:2], 0.0, 0.0][:2])
    return plane, (first, second)


# --- galleries ------------------------------------------------------------------------------------


class Neighbour(NamedTuple):
    uri: str
    name: str
    cosine: float
    same: bool  # of the query's class


class Query(NamedTuple):
    uri: str
    name: str
    found: tuple[Neighbour, ...]


def view_pairs(pairs: NDArray[np.uint8] | None) -> list[tuple[str, str]]:
    """The two views of each pair as data URIs."""
    return [] if pairs is None else [(data_uri(one), data_uri(two)) for one, two in pairs]


def neighbours(samples: Mapping[str, NDArray[Any]] | None) -> list[Query]:
    """One image of each of the first classes, and those whose features are most similar to its."""
    if samples is None:
        return []
    features = samples["features"].astype(np.float64)
    labels, names = samples["labels"], [str(name) for name in samples["classes"]]
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(length > 0, length, 1)
    if not np.isfinite(unit).all() or len(unit) < 2:
        return []

    def name(index: int) -> str:
        return _class_name(names, int(labels[index]))

    chosen = np.unique(labels, return_index=True)[1]
    if len(chosen) == 1:  # no classes: evenly spaced images
        chosen = np.unique(np.linspace(0, len(labels) - 1, QUERIES).astype(int))
    queries = []
    for index in chosen[:QUERIES]:
        cosine = unit @ unit[index]
        cosine[index] = -np.inf
        nearest = np.argsort(-cosine, kind="stable")[: min(NEIGHBOURS, len(unit) - 1)]
        found = tuple(
            Neighbour(
                data_uri(samples["thumbnails"][k]),
                name(k),
                float(cosine[k]),
                bool(labels[k] == labels[index]),
            )
            for k in nearest
        )
        queries.append(Query(data_uri(samples["thumbnails"][index]), name(index), found))
    return queries
