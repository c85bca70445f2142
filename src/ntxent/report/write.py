"""Write the page of one run, or of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ntxent.bounds import NOT_GIVEN, Given
from ntxent.diagnosis.result import plain
from ntxent.report.figures.images import check_projection
from ntxent.report.pages.run import write_run
from ntxent.report.pages.runs import write_runs
from ntxent.report.run import Run, read_run
from ntxent.report.words import tell

__all__ = ["write_report"]


def write_report(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    given: Given = NOT_GIVEN,
    column: str | None = None,
    projection: str = "pca",
) -> dict[str, Any]:
    """Write the page of one run, or one page that compares several.

    Args:
        paths: Run folders, or logs that ``ntxent diagnose`` reads.
        out: The HTML file.
        given: The convention that the losses are measured by. What it leaves open is read from the
            configuration beside each log.
        column: The column of the loss, for logs of other tools.
        projection: How the map of the images is laid out, ``pca`` or ``umap``.

    Returns:
        ``report``, the file; ``runs``, what the page says of each run, as JSON values; and
        ``figures``, the figures by name, as Plotly's JSON.

    Raises:
        OSError: a path cannot be read, or the page cannot be written.
        ValueError: a path has no log; N or τ of a log is neither given nor found; the projection is
            not known or not installed.
    """
    check_projection(projection)
    runs = [read_run(path, given, column) for path in paths]
    page = Path(out)
    drawn = write_run(runs[0], page, projection) if len(runs) == 1 else write_runs(runs, page)
    return {"report": str(page), "runs": [_digest(run) for run in runs], "figures": drawn}


def _digest(run: Run) -> dict[str, Any]:
    story = tell(run)
    diagnosis = None if run.trajectory is None else run.trajectory.end.to_dict()
    return {
        "name": run.name,
        "path": str(run.path),
        "state": run.state,
        "headline": story.headline,
        "sentences": [*story.sentences, *story.next],
        "steps": len(run.loss.values),
        "problem": run.problem,
        "diagnosis": diagnosis,
        "evaluation": plain(run.evaluation),
        "notes": list(run.notes),
    }
