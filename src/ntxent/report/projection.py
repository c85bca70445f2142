"""Directions in many dimensions, laid out on two."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["PROJECTIONS", "check_projection", "project"]

Array: TypeAlias = NDArray[np.float64]

PROJECTIONS = ("pca", "umap")


def check_projection(name: str) -> None:
    """Refuse a projection before anything is read.

    Raises:
        ValueError: there is none of this name, or it needs what is not installed.
    """
    if name not in PROJECTIONS:
        raise ValueError(f"--map: received {name!r}, expected one of {', '.join(PROJECTIONS)}")
    if name == "umap" and find_spec("umap") is None:
        raise ValueError("--map: umap needs umap-learn; pip install umap-learn, or leave it at pca")


def project(features: Array, name: str) -> tuple[Array, tuple[str, str]]:
    """Features ``[n, f]`` as points ``[n, 2]`` by their directions, and the names of the axes."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    if name == "umap":
        from umap import UMAP

        neighbours = min(15, len(unit) - 1)
        flat = UMAP(n_neighbors=neighbours, metric="cosine", random_state=0).fit_transform(unit)
        return np.asarray(flat, dtype=np.float64), ("UMAP, first axis", "UMAP, second axis")
    flat, (first, second) = plane_of(unit)
    return flat, (
        f"first axis, {100 * first:.0f} % of the variance",
        f"second, {100 * second:.0f} %",
    )


def plane_of(points: Array) -> tuple[Array, tuple[float, float]]:
    """Points on their two principal axes, and the shares of the variance there.

    The sign of an axis is fixed by its largest loading, so that the same data give the same map.
    """
    centred = points - points.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    total = float((singular**2).sum()) or 1.0
    flat = np.zeros((len(points), 2))
    flat[:, : len(axes)] = centred @ axes.T
    first, second = (float(value) ** 2 / total for value in [*singular[:2], 0.0, 0.0][:2])
    return flat, (first, second)
