"""Equal samples in a batch: the loss at which they hold a trained encoder."""

from __future__ import annotations

import math
from typing import NamedTuple

from ntxent.bounds import VARIANTS, Convention

__all__ = ["Equal", "equal_samples", "samples_held_at"]


class Equal(NamedTuple):
    """How many samples of a batch are alike, and the loss of an encoder that maps them to one."""

    samples: float
    loss: float


def equal_samples(convention: Convention, classes: int | None) -> Equal | None:
    """What ``classes`` of equal size leave where an encoder tells classes apart and nothing else.

    Samples of one class are then one point, and classes the corners of a regular simplex, whose
    cosine is −1/(C−1). Of the candidates of an anchor, ``own`` are as similar as its positive; each
    other adds e^(−C/((C−1)τ)) to the sum. None where a batch has no two samples of a class.

    Raises:
        ValueError: ``classes`` is less than 2.
    """
    if classes is None:
        return None
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise ValueError(f"classes: received {classes!r}, expected an integer >= 2")
    row, size = VARIANTS[convention.variant], convention.batch_size
    samples = size / classes
    if row.queued:
        whole: float = 1 + (convention.queue or 0)
        samples = own = 1 + (convention.queue or 0) / classes
    elif row.theorem == 12:
        own, whole = samples, size * (convention.negatives + 1)
    elif convention.variant == "dcl":
        own, whole = 2 * samples - 2, 2 * size - 2
    else:
        own, whole = convention.views * samples - 1, convention.views * size - 1
    if samples <= 1 or own <= 0 or convention.variant == "sup_con":
        return None
    exponent = -classes / ((classes - 1) * convention.temperature)
    scale = convention.limits().scale
    return Equal(samples, scale * math.log(own + (whole - own) * math.exp(exponent)))


def samples_held_at(convention: Convention, nats: float) -> float:
    """How many equal samples of a batch hold an encoder at a loss; 1 where there need be none.

    >>> round(samples_held_at(Convention(256, 0.1, "info_nce"), 1.386), 2)
    4.0
    """
    own = math.exp(min(nats, 50.0))
    if VARIANTS[convention.variant].theorem in (12, 13):
        return own
    if convention.variant == "dcl":
        return (own + 2) / 2
    return (own + 1) / convention.views
