"""The tables behind a diagnosis as JSON values, for the explorer, which computes in the browser."""

from __future__ import annotations

from typing import Any

from ntxent.bounds import VARIANTS

from . import verdict
from .conventions import CHANGES
from .sentences import DRAWS, NAMED, PHRASES, SAME_VIEWS, SENTENCES, UNRESOLVED
from .value import REFUSALS


def tables() -> dict[str, Any]:
    """``variants`` and ``diagnosis``: conventions, thresholds, sentences, none of which the page
    has of its own."""
    return {
        "variants": {
            name: {
                "title": row.title,
                "theorem": row.theorem,
                "queued": row.queued,
                "scale": row.scale._asdict(),
            }
            for name, row in VARIANTS.items()
        },
        "diagnosis": {
            "at_floor": verdict.AT_FLOOR,
            "at_chance": verdict.AT_CHANCE,
            "decimals": verdict.DECIMALS,
            "bfloat16": verdict.BFLOAT16,
            "float32": verdict.FLOAT32,
            "collapsed": verdict.COLLAPSED,
            "paired": verdict.PAIRED,
            "same_views": SAME_VIEWS,
            "unresolved": UNRESOLVED,
            "draws": DRAWS,
            "named": NAMED,
            "changes": [change._asdict() for change in CHANGES],
            "phrases": PHRASES,
            "refusals": REFUSALS,
            "sentences": {
                name: [line._asdict() for line in lines] for name, lines in SENTENCES.items()
            },
        },
    }
