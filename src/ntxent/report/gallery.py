"""The images of a report: pairs of views, and samples beside their nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ntxent.report.images import data_uri

__all__ = ["Neighbour", "Query", "neighbours", "view_pairs"]

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
        label = int(labels[index])
        return names[label] if 0 <= label < len(names) else str(label)

    queries = []
    for index in np.unique(labels, return_index=True)[1][:QUERIES]:
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
