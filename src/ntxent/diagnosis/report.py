"""From a loss to its diagnosis."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ntxent import bounds
from ntxent.bounds import Limits

from .conventions import Alternative, Setting, alternatives
from .sentences import sentences
from .verdict import BFLOAT16, Verdict, place, tolerance

# Mean similarity of the negatives from which chance is collapse.
COLLAPSED = 0.9
# The variants whose positives are the N pairs: of these Theorems 3, 5, 6 and 8 are proven.
PAIRED = ("nt_xent", "simclr_tf", "supcon_ref")


@dataclass(frozen=True)
class Diagnosis:
    """What a loss value means; its limits are in the units of the loss itself.

    position: (loss − floor)/(chance − floor); None where the two are equal.
    random: loss of independent uniform embeddings, a reference and no bound; needs ``dim``.
    similarity_interval: holds the mean cosine similarity of the positive pairs (Theorems 5, 8).
    top1_share: at least this share of the anchors has its positive on top (Theorem 9).
    gradient_bound: Σ ‖∂loss/∂z‖ over the embeddings is at most this (Theorem 10).
    alternatives: for an impossible loss all known conventions under which it is possible, the most
        plausible first; for a possible loss those whose chance level it hits exactly.

    A certificate is None where it is not proven for the variant, or the loss is impossible.
    """

    loss: float
    batch_size: int
    temperature: float
    variant: str
    queue: int | None
    dim: int | None
    positive_similarity: float | None
    negative_similarity: float | None
    verdict: Verdict
    position: float | None
    floor: float
    chance: float
    ceiling: float
    random: float | None
    similarity_interval: tuple[float, float] | None
    top1_share: float | None
    gradient_bound: float | None
    alternatives: tuple[Alternative, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the value means, likely causes, what to do next."""
        return sentences(self)

    def to_dict(self) -> dict[str, Any]:
        """The fields and the sentences as JSON values: an infinite number becomes None."""
        report: dict[str, Any] = plain(asdict(self) | {"sentences": self.sentences})
        return report


def plain(value: Any) -> Any:
    """Values of strict JSON: tuples become lists, NaN and the infinities None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    limits = bounds.limits(variant, batch_size, temperature, queue, dim)
    similarities = _Similarities(
        _cosine("positive_similarity", positive_similarity),
        _cosine("negative_similarity", negative_similarity),
    )
    loss = _non_negative(loss, variant, limits, temperature)
    setting = Setting(int(batch_size), float(temperature), variant, queue, dim)

    verdict, position = place(loss, limits, temperature)
    if verdict == "at_chance" and similarities.collapsed:
        verdict = "collapsed"
    if _contradicted(loss, setting, limits, similarities):
        verdict = "impossible"
    certified = _NOTHING
    if verdict not in ("impossible", "degenerate"):
        certified = _certify(loss, setting, limits, similarities)
    random = None
    if dim is not None:
        random = limits.chance + limits.scale * bounds.log_kernel_mean(dim, temperature)
    return Diagnosis(
        loss,
        *setting,
        *similarities,
        verdict,
        position,
        limits.floor,
        limits.chance,
        limits.ceiling,
        random,
        certified.similarity_interval,
        certified.top1_share,
        certified.gradient_bound,
        alternatives(loss, setting, limits, verdict),
    )


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


def _non_negative(loss: float, variant: str, limits: Limits, temperature: float) -> float:
    if isinstance(_one("loss", loss), bool) or not hasattr(loss, "__float__"):
        raise TypeError(f"loss={loss!r}: expected a number")
    value = float(loss)
    if not math.isfinite(value):
        raise ValueError(
            f"loss={value}: expected a finite number; look for the first step with such a loss: "
            "exp overflows in float16, a zero embedding cannot be normalised, a learning rate is "
            "too high"
        )
    if value < -limits.scale * tolerance(0.0, temperature):
        raise ValueError(
            f"loss={value:g}: expected a number >= 0, for the positive is a candidate in "
            f"{variant!r}; a loss can be negative if its denominator leaves the positive out "
            "(decoupled, DCL), if the logarithm is missing, or if it is a negated similarity "
            "(BYOL, SimSiam): none of these has the limits used here"
        )
    return value


def _contradicted(
    loss: float, setting: Setting, limits: Limits, similarities: _Similarities
) -> bool:
    """Whether the measured similarities leave the loss no room (Theorems 3, 5 and 6).

    Similarities were rounded as well, at most by bfloat16's 2^-8: each moves a bound by that / τ.
    """
    size, temperature, variant, _, dim = setting
    positive, negative = similarities
    if variant not in PAIRED or size == 1:
        return False
    lowest, highest = 0.0, math.inf
    if positive is not None:
        lowest = bounds.floor(size, temperature, dim, similarity=positive)
        highest = bounds.upper_bound(size, temperature, similarity=positive)
    if negative is not None:
        aligned = 1.0 if positive is None else positive
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
    similarity_interval: tuple[float, float] | None
    top1_share: float | None
    gradient_bound: float | None


_NOTHING = _Certificates(None, None, None)


def _certify(
    loss: float, setting: Setting, limits: Limits, similarities: _Similarities
) -> _Certificates:
    """What the loss proves, taken as exact where it can be.

    Not above the floor it was rounded: it proves what the largest value it may have had does.
    Theorems 9 and 10 use of the loss only that it is a cross-entropy over candidates, the positive
    among them, and so hold for every variant.
    """
    size, temperature, variant, _, _ = setting
    floor, scale = limits.floor / limits.scale, limits.scale
    nats = loss / scale
    if nats <= floor:
        nats = floor + tolerance(floor, temperature)
    interval = None
    if variant in PAIRED:
        low, high = bounds.similarity_interval(nats, size, temperature)
        if similarities.negative is not None:
            gap = bounds.similarity_gap(nats, size, temperature)
            low = max(low, min(similarities.negative + gap, high))
        interval = (low, high)
    return _Certificates(
        interval, bounds.top1_share(nats), scale * bounds.gradient_bound(nats, temperature)
    )
