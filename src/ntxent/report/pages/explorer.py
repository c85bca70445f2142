"""The page in which N, τ, d and a loss can be varied."""

from __future__ import annotations

from pathlib import Path

from ntxent.bounds import VARIANTS
from ntxent.diagnosis.tables import tables
from ntxent.report.html.page import write_page
from ntxent.report.html.palette import PALETTES
from ntxent.report.words import HEADLINES, TONES, theorems

__all__ = ["write_explorer"]


def write_explorer(out: str | Path) -> None:
    """Write the page that shows the limits of a loss and its diagnosis while they are varied.

    Raises:
        OSError: the file cannot be written.
    """
    data = {
        "figures": {},
        "palettes": PALETTES,
        **tables(),
        "headlines": HEADLINES,
        "tones": TONES,
    }
    scripts = ["page.js", "bounds.js", "diagnosis.js", "explorer.js"]
    write_page(Path(out), "explorer.html", data, scripts, variants=VARIANTS, theorems=theorems())
