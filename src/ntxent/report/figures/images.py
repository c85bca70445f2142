"""The images of a report: pairs of views, and samples beside their nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ntxent.report.html.images import data_uri

__all__ = ["Neighbour", "Query", "class_name", "neighbours", "view_pairs"]

QUERIES, NEIGHBOURS = 8, 6


class Neighbour(NamedTuple):
    uri: str
    name: str
    cosine: float
    same: bool


class Query(NamedTuple):
    uri: str
    name: str
    found: tuple[Neighbour, ...]


def class_name(names: Sequence[Any], label: int) -> str:
    if label < 0:
        return "without a label"
    return str(names[label]) if label < len(names) else str(label)


def view_pairs(pairs: NDArray[np.uint8] | None) -> list[tuple[str, str]]:
    return [] if pairs is None else [(data_uri(one), data_uri(two)) for one, two in pairs]


def neighbours(samples: Mapping[str, NDArray[Any]] | None) -> list[Query]:
    """For one image of each of the first classes, the others whose features point most its way."""
    if samples is None:
        return []
    features = samples["features"].astype(np.float64)
    labels, names = samples["labels"], [str(name) for name in samples["classes"]]
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(length > 0, length, 1)
    if not np.isfinite(unit).all() or len(unit) < 2:
        return []

    def name(index: int) -> str:
        return class_name(names, int(labels[index]))

    chosen = np.unique(labels, return_index=True)[1]
    if len(chosen) == 1:  # without classes, evenly drawn
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
