"""The published conventions: the same theorems in the units that each implementation reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .calling import Argument, Interval, Number, Result, checked, count, plain, refuse
from .family import info_nce_interval, moco_interval, sup_con_interval
from .logarithms import softplus
from .loss import ceiling, chance


class Limits(NamedTuple):
    """Limits in the units that the variant reports, so already multiplied by ``scale``."""

    chance: Result
    floor: Result
    ceiling: Result
    scale: Result


class Scale(NamedTuple):
    """The factor that an implementation puts on its loss, ``times · τ^power / over``."""

    times: float = 1.0
    over: float = 1.0
    power: int = 0

    def __call__(self, temperature: Number) -> Result:
        return temperature**self.power * self.times / self.over


_NATS = Scale()


@dataclass(frozen=True)
class Variant:
    """One published convention: the limits of its loss in nats and the factor it reports them in.

    ``size`` is the batch size N, or the queue length K where ``queued``; ``factor`` names the
    convention by its factor, where it has one.
    """

    title: str
    theorem: int
    chance: Callable[[Number], Result]
    interval: Callable[[Number, Number, Number | None], Result]
    scale: Scale = _NATS
    factor: str | None = None
    queued: bool = False

    def floor(self, size: Number, temperature: Number, dim: Number | None = None) -> Result:
        return self.interval(size, temperature, dim).low

    def ceiling(self, size: Number, temperature: Number) -> Result:
        return self.interval(size, temperature, None).high


def _info_nce(title: str, scale: Scale = _NATS, factor: str | None = None) -> Variant:
    def interval(batch_size: Number, temperature: Number, dim: Number | None) -> Result:
        return info_nce_interval(batch_size, temperature)

    return Variant(title, 12, np.log, interval, scale, factor)


def _nt_xent(title: str, scale: Scale = _NATS, factor: str | None = None) -> Variant:
    return Variant(title, 14, chance, sup_con_interval, scale, factor)


def _decoupled_interval(batch_size: Number, temperature: Number, dim: Number | None) -> Interval:
    """Theorems 6 and 4 without the positive in the denominator.

    The floor is linear in the mean similarities (Jensen), so its proof holds without the 1 that the
    positive adds; that of Theorem 7, which ``dim`` would bring in, does not.
    """
    others, spread = np.log(2 * batch_size - 2), batch_size / (batch_size - 1)
    top = ceiling(batch_size, temperature)
    return Interval(others - spread / temperature, top + np.log(-np.expm1(-top)))


VARIANTS = {
    "nt_xent": _nt_xent("NT-Xent, mean over the 2N anchors"),
    "simclr_tf": _nt_xent(
        "google-research/simclr: sum of both directions", Scale(times=2), "sum of both directions"
    ),
    "supcon_ref": _nt_xent(
        "HobbitLong/SupContrast: base_temperature 0.07", Scale(over=0.07, power=1), "×τ/0.07"
    ),
    "info_nce": _info_nce("InfoNCE, mean over N anchors"),
    "clip": _info_nce("CLIP, mean of both directions"),
    "moco": Variant(
        "MoCo with a queue of K negatives",
        13,
        np.log1p,
        lambda queue, temperature, dim: moco_interval(queue, temperature),
        queued=True,
    ),
    "moco_v3": _info_nce(
        "MoCo v3: sum of both directions, each times 2τ",
        Scale(times=4, power=1),
        "sum of both directions, each ×2τ, N candidates",
    ),
    "sup_con": _nt_xent("SupCon (L_out), mean over the 2N anchors"),
    "dcl": Variant(
        "decoupled (DCL): NT-Xent without the positive in the denominator",
        6,
        lambda batch_size: np.log(2 * batch_size - 2),
        _decoupled_interval,
    ),
}


def _variant(name: str, value: Any) -> Any:
    if not isinstance(value, str) or value not in VARIANTS:
        raise refuse(ValueError, name, value, "one of " + ", ".join(VARIANTS))
    return value


def _truth(name: str, value: Any) -> Any:
    if not isinstance(value, bool):
        raise refuse(TypeError, name, value, "True or False")
    return value


@checked(
    variant=Argument("a key of VARIANTS", _variant),
    batch_size=Argument("N ≥ 1, the number of positive pairs", count(1, "it counts pairs")),
    views=Argument("V ≥ 2, the views of each sample", count(2, "a positive is another view")),
    negatives=Argument(
        "K ≥ 0, the negatives that each query brings along, of InfoNCE and CLIP",
        count(0, "it counts negatives"),
    ),
    normalized=Argument("whether embeddings have unit length", _truth),
)
def limits(
    variant: str,
    batch_size: Number,
    temperature: Number,
    queue: Number | None = None,
    dim: Number | None = None,
    views: Number = 2,
    negatives: Number = 0,
    normalized: bool = True,
) -> Result:
    """Chance, floor and ceiling of a variant, in the units that it reports.

    ``queue`` is required for moco, whose batch size does not matter, and refused elsewhere. ``dim``
    raises the floor of the NT-Xent shapes. A single pair has nothing to contrast: all zero.

    With ``views`` V > 2 an anchor of the NT-Xent shapes has V − 1 positives among VN − 1
    candidates: the floor is log(V − 1 + V(N−1)e^(−N/((N−1)τ))), reached where all views of a sample
    agree on a regular simplex, and no candidate is worse than by 2/τ. With ``negatives`` K of each
    query there are N(K+1) candidates, of which Theorem 13 speaks. Embeddings that are not
    ``normalized`` have neither floor nor ceiling but 0 and infinity.

    >>> [round(x, 4) for x in limits("supcon_ref", 64, 0.1)]
    [6.9203, 0.007, 34.4902, 1.4286]
    >>> round(limits("moco", 256, 0.2, queue=65536).floor, 4)
    1.3801
    """
    row = VARIANTS[variant]
    scale = unit = row.scale(temperature)
    if row.queued:
        if queue is None:
            expected = f"the number of queued negatives, which {variant!r} compares with"
            raise refuse(ValueError, "queue", queue, expected)
        size = queue
    else:
        if queue is not None:
            raise refuse(ValueError, "queue", plain(queue), f"None, as {variant!r} has no queue")
        alone = (batch_size == 1) & (negatives == 0)
        size, unit = np.maximum(batch_size, 2), np.where(alone, 0.0, scale)
    if np.any(views != 2) and row.theorem != 14:
        raise refuse(ValueError, "views", int(np.max(views)), f"2, as {variant!r} has pairs")
    if np.any(negatives != 0) and row.theorem != 12:
        raise refuse(ValueError, "negatives", int(np.max(negatives)), f"0 for {variant!r}")
    level = row.chance(size)
    low, high = row.interval(size, temperature, dim)
    if np.any(views != 2):
        level, low, high = _with_views(views, level, low, high, size, temperature)
    if np.any(negatives != 0):
        others = np.where(negatives == 0, size, batch_size * (negatives + 1)) - 1
        level, (low, high) = np.log1p(others), moco_interval(others, temperature)
    if not normalized:
        if variant == "dcl":
            raise ValueError(
                "normalized=False: expected True for 'dcl', which has no floor without unit rows"
            )
        low, high = np.zeros_like(low), np.full_like(high, np.inf)
    return Limits(unit * level, unit * low, np.where(unit == 0, 0.0, high * scale), scale)


def _with_views(
    views: Number, level: Result, low: Result, high: Result, size: Number, temperature: Number
) -> tuple[Result, Result, Result]:
    others = views * (size - 1)
    spread = np.log(others) - size / (size - 1) / temperature
    more = views > 2
    return (
        np.where(more, np.log(views * size - 1), level),
        np.where(more, np.logaddexp(np.log(np.maximum(views - 1, 1)), spread), low),
        np.where(more, softplus(np.log(views * size - 2) + 2 / temperature), high),
    )


Given: TypeAlias = Mapping[str, Any]
NOT_GIVEN: Given = {}


@dataclass(frozen=True)
class Convention:
    """What the values of a loss are measured by: the settings that its limits depend on.

    A ``Given`` has some of these fields by name, where not all are known yet.

    batch_size: N, the number of positive pairs.
    temperature: τ, by which the similarities are divided.
    variant: a key of ``VARIANTS``.
    queue: the number of queued negatives, for a variant that has a queue.
    dim: d, the dimension of the embeddings, where it is known.
    views: V, the views of each sample.
    negatives: K, the negatives that each query of InfoNCE or CLIP brings along.
    normalized: whether embeddings have unit length; if not, there is neither floor nor ceiling.

    >>> Convention(64, 0.1, "supcon_ref").limits().chance.__round__(4)
    6.9203
    """

    batch_size: int
    temperature: float
    variant: str = "nt_xent"
    queue: int | None = None
    dim: int | None = None
    views: int = 2
    negatives: int = 0
    normalized: bool = True

    @property
    def plain(self) -> bool:
        """Whether what is proved of pairs of unit embeddings holds."""
        return self.views == 2 and self.negatives == 0 and self.normalized

    def limits(self) -> Limits:
        """Its limits by :func:`limits`, which refuses what has none."""
        found: Limits = limits(
            self.variant,
            self.batch_size,
            self.temperature,
            self.queue,
            self.dim,
            self.views,
            self.negatives,
            self.normalized,
        )
        return found
