"""Under which other convention a loss would be possible, or exactly chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ntxent.bounds import VARIANTS, Convention, Limits

from .result import Alternative
from .verdict import DECIMALS, Verdict, place

RANKS = (2, 4, 8, 16, 32, 64)


class Change(NamedTuple):
    """One thing that an implementation does instead of what was stated.

    It is data: ``report/assets/diagnosis.js`` reads the same table.

    words: what it does, over ``n``, ``temperature`` and ``queue`` as they are then, ``stated`` (τ),
        ``candidates``, ``anchors`` and ``base``.
    divide, multiply: N is divided or multiplied by it, where the variant has no queue and N allows.
    inverted: the similarities are multiplied by τ.
    anchors: the loss is summed over so many times N anchors.
    base: of the logarithm.
    denominator: what it sums: ``with_self``, ``without_positive``, ``unnormalised``.
    negatives: that each query of InfoNCE or CLIP brings along.
    """

    words: str
    variant: str | None = None
    queue: int | None = None
    temperature: float | None = None
    divide: int = 1
    multiply: int = 1
    inverted: bool = False
    anchors: int = 0
    base: float | None = None
    denominator: str | None = None
    negatives: int = 0


# The likelier first.
CHANGES = (
    *(
        Change(f"{row.factor or row.title} ({name})", variant=name)
        for name, row in VARIANTS.items()
        if not row.queued and name != "dcl"  # which is the change of a denominator, below
    ),
    *(Change(f"local negatives on {r} ranks (N = {{n}} each)", divide=r) for r in RANKS),
    Change("N counts both views ({n} pairs)", divide=2),
    *(Change(f"negatives gathered from {r} ranks (N = {{n}})", multiply=r) for r in RANKS),
    Change("self not excluded ({candidates} candidates)", denominator="with_self"),
    *(Change("sum over {anchors} anchors instead of their mean", anchors=a) for a in (1, 2)),
    *(
        Change("a queue of {queue} negatives (moco)", variant="moco", queue=length)
        for length in (4096, 16384, 65536)
    ),
    *(
        Change("temperature {temperature:g} instead of {stated:g}", temperature=other)
        for other in (0.05, 0.07, 0.1, 0.2, 0.5, 1.0)
    ),
    Change("similarities times {stated:g} instead of divided by it", inverted=True),
    *(Change("logarithm to base {base:g}", base=base) for base in (2, 10)),
    Change(
        "the positive left out of the denominator (decoupled, DCL)", denominator="without_positive"
    ),
    *(
        Change("{negatives} hard negatives a query ({hard} candidates)", negatives=k)
        for k in (1, 2, 3, 4, 7, 15)
    ),
    # Two at once, of the commonest.
    *(
        Change(
            f"{VARIANTS[name].factor} ({name}), with local negatives on {r} ranks (N = {{n}} each)",
            variant=name,
            divide=r,
        )
        for name in ("simclr_tf", "supcon_ref")
        for r in RANKS[:3]
    ),
    Change("embeddings not normalised (no ceiling, floor 0)", denominator="unnormalised"),
    Change(
        "embeddings not normalised, and a sum over {anchors} anchors",
        anchors=2,
        denominator="unnormalised",
    ),
)


class Candidate(NamedTuple):
    """A changed convention: its limits, and the temperature that rounding depends on."""

    words: str
    limits: Limits
    temperature: float


def _times(limits: Limits, factor: float) -> Limits:
    return Limits(*(factor * value for value in limits))


def changed(stated: Convention, change: Change) -> Candidate | None:
    """The convention that a change makes of the stated one; None where it does not apply."""
    size, temperature, row = stated.batch_size, stated.temperature, VARIANTS[stated.variant]
    divide, multiply = change.divide, change.multiply
    if divide * multiply > 1 and row.queued:
        return None
    if divide > 1 and (size % divide or size <= divide):
        return None
    if change.negatives and row.theorem != 12:
        return None
    if size * multiply > 2**53 or (change.inverted and not 1e-3 <= temperature <= 1e3):
        return None
    fields: dict[str, Any] = {"batch_size": size // divide * multiply}
    if change.negatives:
        fields["negatives"] = change.negatives
    if change.variant is not None:
        fields |= {"views": 2, "negatives": 0}
        fields |= {"variant": change.variant, "queue": change.queue}
    if change.temperature is not None:
        fields["temperature"] = change.temperature
    if change.inverted:
        fields["temperature"] = 1 / temperature
    convention = replace(stated, **fields)
    factor = float(change.anchors * size or 1)
    if change.base is not None:
        factor = 1 / math.log(change.base)
    limits: Limits | None = _times(convention.limits(), factor)
    if limits is not None and change.denominator is not None:
        limits = _denominator(change.denominator, stated, limits)
    if limits is None:
        return None
    words = change.words.format(
        n=convention.batch_size,
        temperature=convention.temperature,
        queue=convention.queue,
        stated=temperature,
        candidates=2 * size,
        anchors=change.anchors * size,
        negatives=change.negatives,
        hard=size * (change.negatives + 1),
        base=change.base,
    )
    return Candidate(words, limits, convention.temperature)


def _denominator(kind: str, stated: Convention, limits: Limits) -> Limits | None:
    """The limits where the denominator sums something else.

    Two change the denominator of e^ℓ = 1 + Σ e^(β(s_ik − s_ip)), sums over the negatives, and so
    carry the proofs of floor (Jensen) and ceiling (Theorem 4's bound for each negative) with them;
    not that of Theorem 7, nor those of several positives.
    The row itself as a candidate adds e^(β(1 − s_ip)): 1 at the floor, where s_ip = 1, and at
    chance by collapse, e^2β at the ceiling. Without the positive the 1 is missing.
    """
    if kind == "unnormalised":
        if stated.variant == "dcl" or not stated.normalized:
            return None
        return limits._replace(floor=0.0, ceiling=math.inf)
    nats = _times(limits, 1 / limits.scale)
    values: Iterable[float]
    if kind == "with_self":
        if VARIANTS[stated.variant].theorem != 14 or not stated.plain:
            return None
        own = (0.0, 0.0, 2 / stated.temperature)
        values = map(float, map(np.logaddexp, nats[:3], own))
    else:
        if stated.variant in ("sup_con", "dcl") or not stated.plain:
            return None
        nats = _times(replace(stated, dim=None).limits(), 1 / limits.scale)
        if nats.floor <= 0:  # log(e^0 − 1) is −∞
            return None
        values = (x + math.log(-math.expm1(-x)) for x in nats[:3])
    chance, floor, ceiling = values
    return _times(Limits(chance, floor, ceiling, 1.0), limits.scale)


def conventions(stated: Convention) -> Iterator[Candidate]:
    """What implementations do instead of what was stated, the likelier first."""
    candidates = (changed(stated, change) for change in CHANGES)
    return (candidate for candidate in candidates if candidate is not None)


@lru_cache(maxsize=64)
def _distinct(stated: Convention) -> tuple[Candidate, ...]:
    """Those with limits of their own; where several share them, their words are joined."""

    def key(limits: Limits) -> tuple[float, ...]:
        return tuple(float(f"{value:.12g}") for value in limits[:3])

    found: dict[tuple[float, ...], Candidate] = {}
    for candidate in conventions(stated):
        own = key(candidate.limits)
        if own == key(stated.limits()):
            continue
        known = found.get(own)
        words = f"{known.words}, or {candidate.words}" if known else candidate.words
        found[own] = candidate._replace(words=words)
    return tuple(found.values())


def alternatives(
    loss: float, stated: Convention, limits: Limits, verdict: Verdict
) -> tuple[Alternative, ...]:
    """The other conventions that explain a loss, the likelier first."""

    def hit(chance: float) -> bool:
        return abs(loss - chance) <= DECIMALS

    unexplained = verdict == "impossible" or (verdict == "degenerate" and not hit(0.0))
    if not unexplained and hit(limits.chance):
        return ()
    found = []
    for words, other, temperature in _distinct(stated):
        chance, floor, ceiling, _ = other
        exactly = hit(chance)
        if not (unexplained or exactly):
            continue
        placed, position = place(loss, other, temperature)
        if placed not in ("impossible", "degenerate"):
            found.append(Alternative(words, placed, position, floor, chance, ceiling, exactly))
    # Without a ceiling everything is possible; trained or untrained, a loss is rarely far above
    # chance.
    return tuple(
        sorted(
            found,
            key=lambda a: (
                not a.exactly_chance,
                math.isinf(a.ceiling),
                a.verdict == "above_chance",
            ),
        )
    )
