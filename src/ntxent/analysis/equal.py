"""Negatives that are equal to their anchors: duplicates and false negatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ntxent import measures
from ntxent.distributed import Batch

__all__ = ["EQUAL", "EqualNegatives", "equal_negatives"]

EQUAL = 0.999  # cosine from which two rows are equal; rounding to float16 leaves 0.9995
CHUNK = 2**22  # cosines at a time
SHOWN = 10  # pairs listed


class EqualNegatives(NamedTuple):
    """Pairs of rows that are negatives of each other and have a cosine of ``EQUAL`` or more.

    pairs: how many there are among all rows of both views.
    anchors: how many of the 2N rows have such a negative.
    by_anchor: (k, rows that have k such negatives), k ascending.
    first: the first of them as (i, k), i < k, the numbers of their samples.
    """

    pairs: int
    anchors: int
    by_anchor: list[tuple[int, int]]
    first: list[tuple[int, int]]


@torch.no_grad()
def equal_negatives(
    z1: Tensor,
    z2: Tensor,
    *,
    ranks: Batch = measures.LOCAL,
    on_progress: Callable[[float], object] | None = None,
) -> EqualNegatives:
    """Count the negatives whose cosine with their anchor is 1, up to rounding.

    It takes 4 N^2 d multiply-adds and O(N d) memory.

    Args:
        z1: First views ``[N, d]``.
        z2: Second views ``[N, d]``; row i is the positive of row i of ``z1``.
        ranks: The ranks of a process group, which divide the work.
        on_progress: Called with the share of the work that is done.

    >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> equal_negatives(z, z)
    EqualNegatives(pairs=4, anchors=4, by_anchor=[(0, 2), (2, 4)], first=[(0, 2)])
    """
    z = measures.unit_pairs(z1, z2)
    count = len(z)
    sample = torch.arange(count, device=z.device) // 2
    height = max(1, CHUNK // count)

    def equal(rows: Tensor) -> Tensor:
        return (z[rows] @ z.T >= EQUAL) & (sample[rows, None] != sample)

    found = torch.zeros(count, dtype=torch.int64, device=z.device)
    for start in range(height * ranks.rank, count, height * ranks.size):
        rows = torch.arange(start, min(start + height, count), device=z.device)
        found[rows] = equal(rows).sum(1)
        if on_progress is not None:
            on_progress(min(1.0, (start + height) / count))
    found = ranks.total(found)
    first: dict[tuple[int, int], None] = {}
    for row in torch.nonzero(found)[: 2 * SHOWN, 0]:
        own = int(row) // 2
        others = torch.nonzero(equal(row[None])[0])[: 2 * SHOWN, 0] // 2
        first |= dict.fromkeys((own, int(k)) for k in others if k > own)
    counts, rows_with = torch.unique(found, return_counts=True)
    return EqualNegatives(
        int(found.sum()) // 2,
        int((found > 0).sum()),
        list(zip(counts.tolist(), rows_with.tolist(), strict=True)),
        list(first)[:SHOWN],
    )
