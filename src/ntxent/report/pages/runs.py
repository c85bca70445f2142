"""The page that compares several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ntxent.files import flatten
from ntxent.report.figures import Figure, figures
from ntxent.report.figures.evaluation import shared_measures
from ntxent.report.figures.loss import share_limits
from ntxent.report.html.page import write_page
from ntxent.report.html.palette import PALETTES
from ntxent.report.run import Run
from ntxent.report.words import HEADLINES, classifier, setting, tell, theorems

__all__ = ["write_runs"]


def write_runs(runs: Sequence[Run], out: Path) -> dict[str, Figure]:
    """Write the page and return its figures."""
    drawn = figures(*runs)
    measure = _ranking_measure(runs)
    write_page(
        out,
        "runs.html",
        {"figures": drawn, "palettes": PALETTES},
        ["page.js"],
        runs=[{"run": run, "story": tell(run), "setting": setting(run.convention)} for run in runs],
        rows=sorted((_row(run, measure) for run in runs), key=_rank),
        ranked_by=None if measure is None else classifier(measure),
        refusal=None if share_limits(runs) else _refusal(runs),
        figures=drawn,
        differences=differences(runs),
        theorems=theorems(),
    )
    return drawn


class Row(NamedTuple):
    """A run in the table; None stands for what its files do not have."""

    name: str
    state: str
    verdict: str
    position: float | None
    loss: float | None
    positive: float | None
    accuracy: float | None
    setting: str


def _row(run: Run, measure: str | None) -> Row:
    end = None if run.trajectory is None else run.trajectory.end
    score = run.evaluation.get("encoder", {}).get(measure or "")
    return Row(
        name=run.name,
        state=run.state,
        verdict=(run.problem or "") if end is None else HEADLINES[end.verdict],
        position=None if end is None else end.position,
        loss=None if end is None else end.loss,
        positive=None if end is None else end.positive_similarity,
        accuracy=None if score is None else 100 * score["mean"],
        setting=_brief(run),
    )


def _rank(row: Row) -> tuple[float, float]:
    """Order by accuracy, best first. The position ranks no encoders: it only breaks ties."""
    last = float("inf")
    return (
        last if row.accuracy is None else -row.accuracy,
        last if row.position is None else row.position,
    )


def _ranking_measure(runs: Sequence[Run]) -> str | None:
    """The probe that ranks the runs: of those that all have, the linear one with all labels."""
    shared = shared_measures(runs)
    if not shared:
        return None
    return "linear_all" if "linear_all" in shared else shared[-1]


def _brief(run: Run) -> str:
    by = run.convention
    dimension = "" if by.dim is None else f", d = {by.dim}"
    brief = f"N = {by.batch_size}, τ = {by.temperature:g}{dimension}, {by.variant}"
    return brief.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def _refusal(runs: Sequence[Run]) -> str:
    stated = "; ".join(f"{run.name}: {_brief(run)}" for run in runs if run.trajectory is not None)
    return (
        "The limits of these losses differ, so that a common axis would compare what cannot be "
        f"compared: {stated}. Their positions have a common axis. "
        "Neither ranks the encoders; the accuracy of a probe does."
    )


def differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """The options that differ: the name, and the value in each run."""
    configs = [{name: str(value) for name, value in flatten(run.config).items()} for run in runs]
    names = dict.fromkeys(name for config in configs for name in config if name != "name")
    rows = [(name, [config.get(name, "—") for config in configs]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
