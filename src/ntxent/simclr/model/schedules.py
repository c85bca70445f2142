"""The learning rate by step, as a share of its peak."""

from math import cos, pi

__all__ = ["warmup_cosine"]


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at ``step``: linear to 1 in ``warmup`` steps, then a cosine.

    The cosine would be 0 at ``steps``, the first step that is not taken.

    >>> [round(warmup_cosine(step, steps=6, warmup=2), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warmup:
        return (step + 1) / warmup
    return (1 + cos(pi * (step - warmup) / (steps - warmup))) / 2
