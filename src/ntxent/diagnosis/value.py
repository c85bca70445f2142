"""From a loss to its diagnosis."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ntxent import bounds
from ntxent.bounds import Convention, Limits

from .conventions import alternatives
from .equal import equal_samples, samples_held_at
from .result import Diagnosis
from .sentences import sentences
from .verdict import BFLOAT16, COLLAPSED, PAIRED, place, tolerance

REFUSALS = {
    "nonfinite": "loss={loss:g}: expected a finite number; look for the first step with such a "
    "loss: exp overflows in float16, a zero embedding cannot be normalised, a learning rate is too "
    "high",
    "negative_loss": "loss={loss:g}: expected a number >= 0, for the positive is a candidate in "
    "{variant}; a loss can be negative if its denominator leaves the positive out (decoupled, "
    "DCL: give the variant dcl), if the logarithm is missing, or if it is a negated similarity "
    "(BYOL, SimSiam): none of these has the limits used here",
    "negatives": "negative_similarity={negative:g}: expected {low:.4g} to {high:.4g} beside that "
    "of the positives; measure both on the same unit embeddings",
}


def diagnose(
    loss: float,
    batch_size: int,
    temperature: float,
    variant: str = "nt_xent",
    *,
    queue: int | None = None,
    dim: int | None = None,
    positive_similarity: float | None = None,
    negative_similarity: float | None = None,
    views: int = 2,
    negatives: int = 0,
    normalized: bool = True,
    classes: int | None = None,
) -> Diagnosis:
    """Judge a loss by the limits of its convention.

    Args:
        loss: the value as the implementation reports it: nats times the factor of the variant.
        batch_size: N, the number of positive pairs.
        temperature: τ, by which the similarities are divided.
        variant: a key of ``bounds.VARIANTS``.
        queue: number of queued negatives, for moco only.
        dim: d, the dimension of the embeddings: raises the floor, gives the random reference.
        positive_similarity: s̄ as measured, the mean cosine similarity of the positive pairs.
        negative_similarity: n̄ as measured, that of the negative pairs: tells collapse from chance.
        views: V, the views of each sample, for the NT-Xent shapes.
        negatives: K, the negatives that each query brings along, for InfoNCE and CLIP.
        normalized: whether embeddings have unit length; if not, a loss has neither floor nor
            ceiling, and proves nothing of cosines.
        classes: number of classes, or of distinct samples, among which those of a batch are drawn:
            names a loss that equal samples hold up.

    Raises:
        TypeError, ValueError: an argument without meaning, a negative loss among them.

    >>> diagnose(6.9205, 64, 0.1, "supcon_ref").verdict
    'at_chance'
    >>> diagnose(6.93, 512, 0.5, positive_similarity=1.0, negative_similarity=0.999).verdict
    'collapsed'
    """
    counts = {"batch_size": batch_size, "temperature": temperature, "queue": queue, "dim": dim}
    for name, value in counts.items():
        _one(name, value)
    more: dict[str, Any] = {"views": views, "negatives": negatives, "normalized": normalized}
    # It refuses what has none.
    bounds.limits(variant, batch_size, temperature, queue, dim, **more)
    convention = Convention(int(batch_size), float(temperature), variant, queue, dim, **more)
    return diagnose_in(convention, loss, positive_similarity, negative_similarity, classes)


def diagnose_in(
    convention: Convention,
    loss: float,
    positive_similarity: float | None = None,
    negative_similarity: float | None = None,
    classes: int | None = None,
    *,
    search: bool = True,
) -> Diagnosis:
    """:func:`diagnose`, with the convention as one argument.

    ``search``: whether other conventions are tried on a loss that this one allows, which takes ten
    times as long as all else where N or τ is a new one.
    """
    limits = convention.limits()
    similarities = _Similarities(
        _cosine("positive_similarity", positive_similarity),
        _cosine("negative_similarity", negative_similarity),
    )
    loss = _non_negative(loss, convention, limits)
    verdict, position = place(loss, limits, convention.temperature)
    if verdict == "at_chance" and similarities.collapsed:
        verdict = "collapsed"
    if _contradicted(loss, convention, limits, similarities):
        verdict = "impossible"
    certified = _NOTHING
    if verdict not in ("impossible", "degenerate"):
        certified = _certify(loss, convention, limits, similarities)
    random, spread = _random(convention, limits)
    found = Diagnosis(
        loss=loss,
        batch_size=convention.batch_size,
        temperature=convention.temperature,
        variant=convention.variant,
        queue=convention.queue,
        dim=convention.dim,
        positive_similarity=similarities.positive,
        negative_similarity=similarities.negative,
        verdict=verdict,
        position=position,
        floor=limits.floor,
        chance=limits.chance,
        ceiling=limits.ceiling,
        views=convention.views,
        negatives=convention.negatives,
        normalized=convention.normalized,
        random=random,
        random_spread=spread,
        loss_interval=certified.loss_interval,
        similarity_interval=certified.similarity_interval,
        top1_share=certified.top1_share,
        gradient_bound=certified.gradient_bound,
        alternatives=alternatives(loss, convention, limits, verdict)
        if search or verdict in ("impossible", "degenerate")
        else (),
        classes=classes,
        equal=equal_samples(convention, classes),
        held_at=samples_held_at(convention, loss / limits.scale),
    )
    return replace(found, sentences=sentences(found))


def _random(convention: Convention, limits: Limits) -> tuple[float | None, float | None]:
    """Mean loss of random embeddings, and the standard deviation of one batch about it.

    To second order in the row sums (delta method), SD² = β²/(Nd) + 2V/(M(M−1)) with M = 2N rows and
    V = K_d(2β)/K_d(β)² − 1; a simulation gave 0.94 to 1.05 of it. One draw is not a mean.
    """
    dim, temperature, size = convention.dim, convention.temperature, convention.batch_size
    if dim is None or not convention.plain:
        return None, None
    kernel = bounds.log_kernel_mean(dim, temperature)
    exponent = bounds.log_kernel_mean(dim, temperature / 2) - 2 * kernel
    variance = 1 / (temperature**2 * size * dim)
    if size > 1 and exponent < 700:
        variance += 2 * math.expm1(exponent) / (2 * size * (2 * size - 1))
    return limits.chance + limits.scale * kernel, limits.scale * math.sqrt(variance)


# --- arguments ------------------------------------------------------------------------------------


class _Similarities(NamedTuple):
    positive: float | None
    negative: float | None

    @property
    def collapsed(self) -> bool:
        """At chance the average negative is no less similar than the positive, so either tells."""
        known = self.positive if self.negative is None else self.negative
        return known is not None and known >= COLLAPSED


def _one(name: str, value: Any) -> Any:
    if np.ndim(value):
        raise TypeError(f"{name}: received {np.size(value)} values, expected one at a time")
    return value


def _cosine(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    slack = bounds.SIMILARITY_SLACK
    if not abs(_one(name, value)) <= 1 + slack:
        raise ValueError(f"{name}={value!r}: expected a mean cosine similarity in [-1, 1]")
    return min(max(float(value), -1.0), 1.0)


def _non_negative(loss: float, convention: Convention, limits: Limits) -> float:
    if isinstance(_one("loss", loss), bool) or not hasattr(loss, "__float__"):
        raise TypeError(f"loss={loss!r}: expected a number")
    value = float(loss)
    if not math.isfinite(value):
        raise ValueError(REFUSALS["nonfinite"].format(loss=value))
    least = min(limits.floor, 0.0) - limits.scale * tolerance(0.0, convention.temperature)
    if value < least and limits.floor >= 0:
        raise ValueError(REFUSALS["negative_loss"].format(loss=value, variant=convention.variant))
    return value


def _contradicted(
    loss: float, convention: Convention, limits: Limits, similarities: _Similarities
) -> bool:
    """Whether the measured similarities leave the loss no room (Theorems 3, 5 and 6).

    Similarities were rounded as well, at most by bfloat16's 2^-8: each moves a bound by that / τ.
    """
    size, temperature = convention.batch_size, convention.temperature
    positive, negative = similarities
    if convention.variant not in PAIRED or size == 1 or not convention.plain:
        return False
    lowest, highest = 0.0, math.inf
    if positive is not None:
        lowest = bounds.floor(size, temperature, convention.dim, similarity=positive)
        highest = bounds.upper_bound(size, temperature, similarity=positive)
    if negative is not None:
        aligned = 1.0 if positive is None else positive
        low, high = -(1 + aligned) / (2 * size - 2), (1 + aligned) / 2
        if not low - bounds.SIMILARITY_SLACK <= negative <= high + bounds.SIMILARITY_SLACK:
            raise ValueError(REFUSALS["negatives"].format(negative=negative, low=low, high=high))
        measured = bounds.measured_floor(size, temperature, aligned, negative)
        lowest = max(lowest, measured)
    nats, rounding = loss / limits.scale, 2 * BFLOAT16 / temperature
    return not (
        lowest - rounding - tolerance(lowest, temperature)
        <= nats
        <= highest + rounding + tolerance(highest, temperature)
    )


# --- certificates ---------------------------------------------------------------------------------


class _Certificates(NamedTuple):
    loss_interval: tuple[float, float] | None
    similarity_interval: tuple[float, float] | None
    top1_share: float | None
    gradient_bound: float | None


_NOTHING = _Certificates(None, None, None, None)


def _certify(
    loss: float, convention: Convention, limits: Limits, similarities: _Similarities
) -> _Certificates:
    """What the loss proves, taken as exact where it can be.

    Not above the floor it was rounded: it proves what the largest value it may have had does.
    Theorems 9 and 10 use of the loss only that it is a cross-entropy over candidates, the positive
    among them, and so hold for every variant.
    """
    if convention.variant == "dcl":  # no cross-entropy, the positive being no candidate
        return _NOTHING
    size, temperature = convention.batch_size, convention.temperature
    floor, scale = limits.floor / limits.scale, limits.scale
    nats = loss / scale
    if nats <= floor:
        nats = floor + tolerance(floor, temperature)
    alone = interval = None
    if convention.variant in PAIRED and convention.plain:
        low, high = alone = bounds.similarity_interval(nats, size, temperature)
        if similarities.negative is not None:
            gap = bounds.similarity_gap(nats, size, temperature)
            low = max(low, min(similarities.negative + gap, high))
        interval = (low, high)
    return _Certificates(
        alone,
        interval,
        bounds.top1_share(nats),
        scale * bounds.gradient_bound(nats, temperature) if convention.normalized else None,
    )
