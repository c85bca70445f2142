"""Embeddings that attain a bound: rows of z1 and z2 at the same place are a positive pair."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .calling import refuse

Array: TypeAlias = NDArray[np.float64]
Pair: TypeAlias = tuple[Array, Array]


def _simplex(points: int) -> Array:
    """Regular simplex: ``points`` unit vectors in R^(points−1), every inner product −1/(points−1).

    Helmert's rows (1, …, 1, −k, 0, …)/√(k(k+1)) are orthonormal and orthogonal to (1, …, 1), so
    their columns have the Gram matrix I − 1/points.
    """
    k = np.arange(1, points)
    rows = np.tril(np.ones((points - 1, points)))
    rows[k - 1, k] = -k
    rows /= np.sqrt(k * (k + 1))[:, None]
    vertices: Array = rows.T * np.sqrt(points / (points - 1))
    return vertices


def equicorrelated(batch_size: int, positive: float, negative: float) -> Pair:
    """All positive pairs at one similarity, all negative pairs at another.

    Pair centres w_i have ‖w_i‖² = (1+s̄)/2 and <w_i, w_k> = n̄: a common component of square a and
    a simplex of square (1+s̄)/2 − a. The two views leave the centre by ±√((1−s̄)/2) along an axis
    of their own. Exists for −(1+s̄)/(2N−2) ≤ n̄ ≤ (1+s̄)/2.
    """
    spread = ((1 + positive) / 2 - negative) * (batch_size - 1) / batch_size
    common = max((1 + positive) / 2 - spread, 0.0)
    centre = np.hstack([np.full((batch_size, 1), common**0.5), spread**0.5 * _simplex(batch_size)])
    step = ((1 - positive) / 2) ** 0.5 * np.eye(batch_size)
    return np.hstack([centre, step]), np.hstack([centre, -step])


def collapse(batch_size: int, temperature: float) -> Pair:
    one = np.ones((batch_size, 1))
    return one, one


def antipodal(batch_size: int, temperature: float) -> Pair:
    one = np.ones((batch_size, 1))
    return one, -one


def aligned_simplex(batch_size: int, temperature: float) -> Pair:
    vertices = _simplex(batch_size)
    return vertices, vertices


def free_simplex(batch_size: int, temperature: float) -> Pair:
    vertices = _simplex(2 * batch_size)
    return vertices[:batch_size], vertices[batch_size:]


def two_poles(batch_size: int, temperature: float) -> Pair:
    if batch_size % 2:
        raise refuse(ValueError, "batch_size", batch_size, "an even number, half at each pole")
    poles = np.where(np.arange(batch_size) % 2, -1.0, 1.0)[:, None]
    return poles, poles


def interior_pairs(batch_size: int, temperature: float) -> Pair:
    return equicorrelated(batch_size, 0.5, 0.25)


def centred_pairs(batch_size: int, temperature: float) -> Pair:
    return equicorrelated(batch_size, 0.5, -0.75 / (batch_size - 1))


def opposed_queue(queue: int, temperature: float) -> Pair:
    return np.ones((1, 1)), np.r_[1.0, -np.ones(queue)][:, None]
