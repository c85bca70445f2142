"""The page in which N, τ, d and a loss can be varied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ntxent.bounds import VARIANTS
from ntxent.diagnosis import conventions, verdict
from ntxent.diagnosis.report import COLLAPSED, PAIRED
from ntxent.report.html.page import write_page
from ntxent.report.html.palette import PALETTES
from ntxent.report.words import HEADLINES, TONES, theorems

__all__ = ["write_explorer"]


def write_explorer(out: str | Path) -> None:
    """Write the page that shows the limits of a loss and its diagnosis while they are varied.

    Raises:
        OSError: the file cannot be written.
    """
    variants = {
        name: {"title": row.title, "theorem": row.theorem, "queued": row.queued}
        for name, row in VARIANTS.items()
    }
    data = {
        "figures": {},
        "palettes": PALETTES,
        "variants": variants,
        "headlines": HEADLINES,
        "tones": TONES,
        "diagnosis": _constants(),
    }
    scripts = ["page.js", "bounds.js", "diagnosis.js", "explorer.js"]
    write_page(Path(out), "explorer.html", data, scripts, variants=variants, theorems=theorems())


def _constants() -> dict[str, Any]:
    """The thresholds of a diagnosis and the other conventions it looks at."""
    return {
        "at_floor": verdict.AT_FLOOR,
        "at_chance": verdict.AT_CHANCE,
        "decimals": verdict.DECIMALS,
        "bfloat16": verdict.BFLOAT16,
        "float32": verdict.FLOAT32,
        "collapsed": COLLAPSED,
        "paired": PAIRED,
        "ranks": conventions.RANKS,
        "temperatures": conventions.TEMPERATURES,
        "queues": conventions.QUEUES,
        "bases": conventions.BASES,
        "factors": conventions.FACTORS,
    }
