"""Floors and ceilings of the rest of the family."""

import numpy as np

from .calling import Interval, Number, Result
from .logarithms import softplus
from .loss import ceiling, floor
from .registry import theorem
from .witnesses import aligned_simplex, opposed_queue


@theorem(
    12,
    "InfoNCE and CLIP",
    "interval",
    r"\log\Bigl(1 + (N-1)e^{-\frac{N}{N-1}/\tau}\Bigr) \le L_{\mathrm{InfoNCE}}"
    r" \le \log\Bigl(1 + (N-1)e^{2/\tau}\Bigr)",
    validity="N ≥ 2, τ > 0, one direction or the mean of both",
    sharp="floor: d ≥ N−1, aligned pairs on a regular simplex; ceiling: N = 2",
    witness=aligned_simplex,
)
def info_nce_interval(batch_size: Number, temperature: Number) -> Result:
    """Floor and ceiling of InfoNCE with N candidates, the positive among them, in nats.

    >>> [round(end, 6) for end in info_nce_interval(128, 0.07)]
    [7.1e-05, 33.415616]
    """
    others = np.log(batch_size - 1)
    spread = batch_size / (batch_size - 1)
    return Interval(softplus(others - spread / temperature), softplus(others + 2 / temperature))


@theorem(
    13,
    "InfoNCE with a queue",
    "interval",
    r"\log\bigl(1 + Ke^{-2/\tau}\bigr) \le L_{\mathrm{MoCo}} \le \log\bigl(1 + Ke^{2/\tau}\bigr)",
    validity="K ≥ 1, τ > 0, negatives from a queue",
    reference="elementary",
    sharp="both ends, any d",
    witness=opposed_queue,
)
def moco_interval(queue: Number, temperature: Number) -> Result:
    """Floor and ceiling of InfoNCE against K queued negatives, in nats.

    >>> [round(end, 4) for end in moco_interval(65536, 0.2)]
    [1.3801, 21.0904]
    """
    return Interval(
        softplus(np.log(queue) - 2 / temperature), softplus(np.log(queue) + 2 / temperature)
    )


@theorem(
    14,
    "SupCon",
    "interval",
    r"L_{\mathrm{SupCon}} \text{ has the floors of Theorems 6 and 7 and the ceiling of Theorem 4}",
    validity="N ≥ 2, τ > 0, L_out over 2N embeddings whose anchors all have a positive",
    sharp="over all labellings: when every class is one pair it is NT-Xent",
    witness=aligned_simplex,
)
def sup_con_interval(batch_size: Number, temperature: Number, dim: Number | None = None) -> Result:
    """Floor and ceiling of SupCon (L_out), whatever the labels, in nats: those of NT-Xent.

    >>> [round(end, 4) for end in sup_con_interval(1024, 0.5)]
    [5.6253, 10.9487]
    """
    return Interval(floor(batch_size, temperature, dim), ceiling(batch_size, temperature))
