"""The page of two files of embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntxent.report.figures.geometry import pair_cosines
from ntxent.report.html.page import write_page
from ntxent.report.html.palette import PALETTES
from ntxent.report.words import judged, theorems

__all__ = ["write_analysis"]


def write_analysis(
    analysis: Mapping[str, Any], files: tuple[str, str], out: str | Path, *, note: str = ""
) -> None:
    """Write the page of an analysis.

    Args:
        analysis: ``Analysis.to_dict()``.
        files: The names of the two files.
        out: The HTML file.
        note: What a reader should know of how the files were read.

    Raises:
        OSError: the file cannot be written.
    """
    figures = {"similarities": pair_cosines(analysis)}
    write_page(
        Path(out),
        "analysis.html",
        {"figures": figures, "palettes": PALETTES},
        ["page.js"],
        files=files,
        note=note,
        end=analysis,
        story=judged(analysis["verdict"], analysis["sentences"]),
        rows=_rows(analysis),
        figures=figures,
        theorems=theorems(11),
    )


def _rows(analysis: Mapping[str, Any]) -> list[tuple[str, str, str, int | None]]:
    """Name, measured value, what is proven or known of it, and the theorem."""

    def interval(low: float, high: float) -> str:
        return f"{low:.4f} to {high:.4f}"

    positive, negative = analysis["positive_similarity"], analysis["negative_similarity"]
    limits = interval(analysis["floor"], analysis["ceiling"])
    measured = interval(analysis["measured_floor"], analysis["similarity_ceiling"])
    proven = interval(*analysis["similarity_interval"])
    candidates = interval(*analysis["candidate_similarity_interval"])
    gap = f"at least {analysis['similarity_gap']:.4f}"
    top = f"at least {analysis['top1_share'] or 0:.4f}"
    ranks = f"1 to {min(2 * analysis['batch_size'], analysis['dim'])}"

    equal = analysis["equal_negatives"]

    def value(name: str, digits: int = 4) -> str:
        return f"{analysis[name]:.{digits}f}"

    return [
        ("loss, nats", value("loss"), f"{limits} for any embeddings", 6),
        ("", "", f"{measured} given the two mean cosines", 5),
        ("positive cosine", value("positive_similarity"), proven, 8),
        ("negative cosine", value("negative_similarity"), "", None),
        ("gap of the two", f"{positive - negative:.4f}", gap, 8),
        ("candidate cosine", value("candidate_similarity"), candidates, 11),
        ("positives on top", value("contrastive_accuracy"), top, 9),
        ("equal negatives", str(equal["pairs"]), f"pairs; of {equal['anchors']} rows", None),
        ("alignment", value("alignment"), "0 is best, 4 is opposite", None),
        ("uniformity, nats", value("uniformity"), "0 is collapse, −8 the least possible", None),
        ("effective rank", value("effective_rank", 2), ranks, None),
    ]
