"""A diagnosis, and a judged log, as lines of text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ntxent.commands._text import colour, columns, paragraph, table
from ntxent.diagnosis.verdict import TONES

if TYPE_CHECKING:
    from ntxent.diagnosis import Diagnosis, Trajectory
    from ntxent.logs import JudgedLog

__all__ = ["STYLES", "diagnosis_lines", "log_lines"]

_OF_TONE = {"good": "bold green", "doubtful": "bold yellow", "bad": "bold red"}
STYLES = {verdict: _OF_TONE[tone] for verdict, tone in TONES.items()}
CHART_ROWS = 9
SHOWN = 5  # alternatives in the table


def diagnosis_lines(
    found: Diagnosis, sentences: tuple[str, ...] | None = None, shape: str | None = None
) -> Iterator[str]:
    """Verdict, table, alternatives, sentences; those of the diagnosis unless others are given.

    The ``shape`` of a run that asks for something else than its end does comes first.
    """
    position = "" if found.position is None else f"  position {found.position:.3f}"
    verdict = colour(found.verdict.replace("_", " "), STYLES[found.verdict])
    if shape is not None:
        verdict = f"{colour(shape.replace('_', ' '), 'bold yellow')}, at its end {verdict}"
    yield ""
    yield verdict + position
    yield ""
    yield from _levels(found)
    yield from _alternatives(found)
    for sentence in found.sentences if sentences is None else sentences:
        yield ""
        yield from paragraph(sentence)


def log_lines(judged: JudgedLog, run: Trajectory) -> Iterator[str]:
    """What was read, the curve, then the diagnosis of its end with the course of the run."""
    for note in _notes(judged):
        yield from paragraph(note)
    yield from _chart(run)
    course = run.course if run.course is not None and run.course.troubled else None
    yield from diagnosis_lines(run.end, run.sentences, None if course is None else course.shape)


def _levels(found: Diagnosis) -> list[str]:
    """The loss among its limits, from small to large, then what it certifies."""
    levels = {
        "floor": (found.floor, "smallest possible"),
        "chance": (found.chance, "nothing told apart"),
        "random embeddings": (
            found.random,
            f"about, d = {found.dim}; one batch ± {found.random_spread or 0:.2g}",
        ),
        "ceiling": (found.ceiling, "largest possible"),
        "loss": (found.loss, ""),
    }
    known = {name: (x, words) for name, (x, words) in levels.items() if x is not None}
    rows, styles = [], []
    for name, (value, words) in sorted(known.items(), key=lambda item: item[1][0]):
        rows.append((name, f"{value:.4f}", words))
        styles.append(STYLES[found.verdict] if name == "loss" else None)
    if found.loss_interval is not None:
        low, high = found.loss_interval
        rows.append(("positive cosine", f"{low:.3f} to {high:.3f}", "mean, by the loss alone"))
    if found.similarity_interval is not None and found.negative_similarity is not None:
        low, high = found.similarity_interval
        rows.append(("", f"{low:.3f} to {high:.3f}", "with the measured negatives"))
    if found.top1_share:
        rows.append(("positives on top", f"{found.top1_share:.1%}", "at least"))
    if found.gradient_bound is not None:
        rows.append(("gradient", f"{found.gradient_bound:.4g}", "at most, summed norms"))
    return table(rows, right=(1,), styles=styles, wrap=2)


def _alternatives(found: Diagnosis) -> Iterator[str]:
    if not found.alternatives:
        return
    rows = [("possible under", "verdict", "position")]
    for other in found.alternatives[:SHOWN]:
        position = "—" if other.position is None else f"{other.position:.2f}"
        rows.append((other.convention, other.verdict.replace("_", " "), position))
    if len(found.alternatives) > SHOWN:
        rows.append((f"and {len(found.alternatives) - SHOWN} more, with --json", "", ""))
    yield ""
    yield from table(rows, right=(2,), wrap=0, header=True, styles=["bold"])


def _notes(judged: JudgedLog) -> Iterator[str]:
    log = judged.log
    yield f"{log.path}: {len(log.loss.values)} values of {log.column!r}."
    if log.others:
        names = ", ".join(log.others[:5])
        yield f"Other columns may be the loss: {names}; choose with --column."
    if log.skipped:
        yield f"{log.skipped} rows or cells could not be read:"
        yield from (f"  {problem}" for problem in log.problems)
        if log.skipped > len(log.problems):
            yield f"  and {log.skipped - len(log.problems)} more"
    yield from log.notes
    symbols = {"batch_size": "N", "temperature": "τ", "dim": "d", "queue": "K"}
    for source in dict.fromkeys(judged.sources.values()):
        taken = ", ".join(
            f"{symbols.get(name, name)} = {getattr(judged.convention, name):g}"
            for name, place in judged.sources.items()
            if place == source
        )
        yield f"Settings from {source}: {taken}."


def _chart(run: Trajectory) -> Iterator[str]:
    """The curve between its levels, as wide as the reader's lines."""
    point, line = "•─" if (sys.stdout.encoding or "").lower().startswith("utf") else "*-"
    levels = {"floor": run.end.floor, "chance": run.end.chance}
    labels = {name: f" {name} {level:.3f}" for name, level in levels.items()}
    width = max(10, columns() - max(map(len, labels.values())))
    steps, losses = run.curve
    parts = np.array_split(losses, min(width, len(losses)))
    heights = [float(np.median(part)) for part in parts]
    bottom, top = (pick(*levels.values(), *heights) for pick in (min, max))

    def row(value: float) -> int:
        return round((CHART_ROWS - 1) * (top - value) / (top - bottom or 1))

    canvas = [[" "] * width for _ in range(CHART_ROWS)]
    ends = [""] * CHART_ROWS
    for name, level in levels.items():
        canvas[row(level)] = [line] * width
        ends[row(level)] = labels[name]
    for column in range(width):
        canvas[row(heights[column * len(heights) // width])][column] = point
    yield ""
    for cells, end in zip(canvas, ends, strict=True):
        yield ("".join(cells) + end).rstrip()
    first, last = f"step {steps[0]:g}", f"{run.last_step:g}"
    yield first + last.rjust(width - len(first))
