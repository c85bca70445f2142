"""Under which other convention a loss would be possible, or exactly chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ntxent import bounds
from ntxent.bounds import VARIANTS, Limits

from .verdict import DECIMALS, Verdict, place

RANKS = (2, 4, 8, 16, 32, 64)
TEMPERATURES = (0.05, 0.07, 0.1, 0.2, 0.5, 1.0)
QUEUES = (4096, 16384, 65536)
BASES = (2, 10)
FACTORS = {
    "simclr_tf": "sum of both directions",
    "supcon_ref": "×τ/0.07",
    "moco_v3": "sum of both directions, each ×2τ, N candidates",
}


class Setting(NamedTuple):
    batch_size: int
    temperature: float
    variant: str
    queue: int | None
    dim: int | None

    def limits(self) -> Limits:
        limits: Limits = bounds.limits(
            self.variant, self.batch_size, self.temperature, self.queue, self.dim
        )
        return limits


@dataclass(frozen=True)
class Alternative:
    """A convention other than the stated one under which the loss is possible.

    ``floor``, ``chance``, ``ceiling`` and ``position`` are those of this convention, in the units
    of the loss. ``exactly_chance``: the loss is its chance level to three decimals, which rarely
    happens by accident.
    """

    convention: str
    verdict: Verdict
    position: float | None
    floor: float
    chance: float
    ceiling: float
    exactly_chance: bool


class _Convention(NamedTuple):
    words: str
    limits: Limits
    temperature: float


def _times(limits: Limits, factor: float) -> Limits:
    return Limits(*(factor * value for value in limits))


def conventions(setting: Setting) -> Iterator[_Convention]:
    """What implementations do instead of what was stated, the likelier first.

    Two change the denominator of e^ℓ = 1 + Σ e^(β(s_ik − s_ip)), sums over the negatives, and so
    carry the proofs of floor (Jensen) and ceiling (Theorem 4's bound for each negative) with them.
    The row itself as a candidate adds e^(β(1 − s_ip)): 1 at the floor, where s_ip = 1, and at
    chance by collapse, e^2β at the ceiling. Without the positive the 1 is missing.
    """
    size, temperature = setting.batch_size, setting.temperature
    stated = VARIANTS[setting.variant]

    def of(words: str, factor: float = 1.0, **instead: Any) -> _Convention:
        arguments = setting._replace(**instead)
        return _Convention(words, _times(arguments.limits(), factor), arguments.temperature)

    reported = setting.limits()
    nats = _times(reported, 1 / reported.scale)

    def changed(words: str, denominator: Iterable[float]) -> _Convention:
        chance, floor, ceiling = denominator
        limits = _times(Limits(chance, floor, ceiling, 1.0), reported.scale)
        return _Convention(words, limits, temperature)

    for name, row in VARIANTS.items():
        if not row.queued:
            yield of(f"{FACTORS.get(name, row.title)} ({name})", variant=name, queue=None)
    if not stated.queued:
        for ranks in RANKS:
            if size % ranks == 0 and size > ranks:
                local = size // ranks
                yield of(f"local negatives on {ranks} ranks (N = {local} each)", batch_size=local)
        if size % 2 == 0 and size > 2:
            yield of(f"N counts both views ({size // 2} pairs)", batch_size=size // 2)
        for ranks in RANKS:
            if size * ranks <= 2**53:
                words = f"negatives gathered from {ranks} ranks (N = {size * ranks})"
                yield of(words, batch_size=size * ranks)
    if stated.theorem == 14:
        own = (0.0, 0.0, 2 / temperature)
        with_self = map(float, map(np.logaddexp, nats[:3], own))
        yield changed(f"self not excluded ({2 * size} candidates)", with_self)
    for anchors in (size, 2 * size):
        yield of(f"sum over {anchors} anchors instead of their mean", factor=anchors)
    for length in QUEUES:
        yield of(f"a queue of {length} negatives (moco)", variant="moco", queue=length)
    for other in TEMPERATURES:
        yield of(f"temperature {other:g} instead of {temperature:g}", temperature=other)
    if 1e-3 <= temperature <= 1e3:
        words = f"similarities times {temperature:g} instead of divided by it"
        yield of(words, temperature=1 / temperature)
    for base in BASES:
        yield of(f"logarithm to base {base}", factor=1 / math.log(base))
    if nats.floor > 0:  # log(e^0 − 1) is −∞
        alone = (x + math.log(-math.expm1(-x)) for x in nats[:3])
        yield changed("the positive left out of the denominator (decoupled, DCL)", alone)
    yield _Convention(
        "embeddings not normalised (no ceiling, floor 0)",
        reported._replace(floor=0.0, ceiling=math.inf),
        temperature,
    )


@lru_cache(maxsize=64)
def _distinct_conventions(setting: Setting) -> tuple[_Convention, ...]:
    """Those with limits of their own; where several share them, their words are joined."""
    stated = setting.limits()
    found: dict[tuple[float, ...], _Convention] = {}
    for convention in conventions(setting):
        key = tuple(float(f"{value:.12g}") for value in convention.limits[:3])
        if key == tuple(float(f"{value:.12g}") for value in stated[:3]):
            continue
        known = found.get(key)
        words = f"{known.words}, or {convention.words}" if known else convention.words
        found[key] = convention._replace(words=words)
    return tuple(found.values())


def alternatives(
    loss: float, setting: Setting, limits: Limits, verdict: Verdict
) -> tuple[Alternative, ...]:
    def hit(chance: float) -> bool:
        return abs(loss - chance) <= DECIMALS

    unexplained = verdict == "impossible" or (verdict == "degenerate" and not hit(0.0))
    if not unexplained and hit(limits.chance):
        return ()
    found = []
    for words, other, temperature in _distinct_conventions(setting):
        chance, floor, ceiling, _ = other
        exactly = hit(chance)
        if not (unexplained or exactly):
            continue
        placed, position = place(loss, other, temperature)
        if placed not in ("impossible", "degenerate"):
            found.append(Alternative(words, placed, position, floor, chance, ceiling, exactly))
    # Trained or untrained, a loss is rarely far above chance.
    return tuple(sorted(found, key=lambda a: (not a.exactly_chance, a.verdict == "above_chance")))
