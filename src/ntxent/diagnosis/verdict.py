"""Where a loss stands between its limits, and how exactly a logged value tells."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from ntxent.bounds import Limits

Verdict: TypeAlias = Literal[
    "impossible", "at_floor", "learning", "at_chance", "collapsed", "above_chance", "degenerate"
]

# How good a verdict is: good, doubtful or bad. The report and the terminal choose a colour by it.
TONES: dict[str, str] = {
    "at_floor": "good",
    "learning": "good",
    "at_chance": "doubtful",
    "above_chance": "doubtful",
    "impossible": "bad",
    "collapsed": "bad",
    "degenerate": "bad",
}

AT_FLOOR = 0.10  # positions up to here
AT_CHANCE = 0.02  # positions this close to 1
COLLAPSED = 0.9  # mean similarity of the negatives from which chance is collapse
# The variants whose positives are the N pairs: of these Theorems 3, 5, 6 and 8 are proven.
PAIRED = ("nt_xent", "simclr_tf", "supcon_ref")

# A logged value is a rounded one.
DECIMALS = 5e-4  # half a unit of the third decimal
BFLOAT16 = 2.0**-8  # unit roundoff of bfloat16: 8 bits of significand
FLOAT32 = 2.0**-24  # unit roundoff of float32


def tolerance(limit: float, temperature: float) -> float:
    """How far beyond ``limit`` a logged loss may lie and still have been within it, in nats.

    Three roundings add up: of the printed value to three decimals, 0.0005; of the logged value to
    bfloat16, 2^-8 of it; of logits up to 1/τ in float32, four times 2^-24/τ, one for each step
    from the similarities to the loss.

    >>> round(tolerance(4.93, temperature=0.5), 4)
    0.0198
    """
    return DECIMALS + BFLOAT16 * abs(limit) + 4 * FLOAT32 / temperature


def place(loss: float, limits: Limits, temperature: float) -> tuple[Verdict, float | None]:
    """The verdict from the limits alone, which never falls as the loss rises, and the position."""
    chance, floor, ceiling, scale = limits
    if chance == 0:  # one candidate
        return "degenerate", None
    span = chance - floor
    below, above = (scale * tolerance(end / scale, temperature) for end in (floor, ceiling))
    # At large τ two percent of the span are less than the rounding of a printed value.
    band = max(AT_CHANCE * span, scale * DECIMALS)
    rungs: tuple[tuple[float, Verdict], ...] = (
        (floor - below, "impossible"),
        (min(floor + AT_FLOOR * span, chance - band), "at_floor"),
        (chance - band, "learning"),
        (chance + band, "at_chance"),
        (ceiling + above, "above_chance"),
        (math.inf, "impossible"),
    )
    verdict = next(verdict for top, verdict in rungs if loss <= top)
    return verdict, (loss - floor) / span if span > 0 else None
