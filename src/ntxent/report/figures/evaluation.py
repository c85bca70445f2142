"""The figure of held-out accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from ntxent.report.figures.pieces import Figure, styles, text
from ntxent.report.html.palette import CYCLE
from ntxent.report.run import Run
from ntxent.report.words import classifier, percent, representation, representations

__all__ = ["evaluation", "shared_measures"]

Scores: TypeAlias = Mapping[str, Mapping[str, Any]]

COLOURS = {"raw_pixels": "grey/0.55", "untrained_encoder": "amber/0.75", "encoder": "blue"}


class _Bars(NamedTuple):
    name: str
    colour: str
    scores: Scores


def evaluation(runs: Sequence[Run]) -> Figure | None:
    """Accuracies as bars: a run's encoder beside its baselines, or the encoders of several runs.

    None if no run was evaluated, or if several have no probe in common.
    """
    if len(runs) == 1:
        groups = _baselines_and_encoder(runs[0])
        measures = list(groups[-1].scores) if groups else []
    else:
        groups = [
            _Bars(style.name, style.colour, run.evaluation["encoder"])
            for run, style in zip(runs, styles(runs, "", ""), strict=True)
            if run.evaluation.get("encoder")
        ]
        measures = shared_measures(runs)
    if not groups or not measures:
        return None
    best = ", ".join(
        f"{group.name} {percent(group.scores[measures[-1]])} %"
        for group in groups
        if measures[-1] in group.scores
    )
    return {
        "data": [_bars(group, [m for m in measures if m in group.scores]) for group in groups],
        "grids": [],
        "layout": {
            "barmode": "group",
            "bargap": 0.25,
            "bargroupgap": 0.06,
            "xaxis": {"type": "category"},
            "yaxis": {"title": {"text": "held-out accuracy, %"}, "range": [0, 104]},
            "hovermode": "x unified",
        },
        "alt": f"Held-out accuracy as bars; with the probe {classifier(measures[-1])}: {best}.",
    }


def shared_measures(runs: Sequence[Run]) -> list[str]:
    """The probes that every evaluated run has, in the order of the first one."""
    measures = [run.evaluation.get("encoder", {}) for run in runs if run.evaluation]
    return (
        [name for name in measures[0] if all(name in other for other in measures)]
        if measures
        else []
    )


def _baselines_and_encoder(run: Run) -> list[_Bars]:
    return [
        _Bars(
            text(representation(name)),
            COLOURS.get(name, CYCLE[at % len(CYCLE)]),
            run.evaluation[name],
        )
        for at, name in enumerate(representations(run.evaluation))
    ]


def _bars(group: _Bars, measures: Sequence[str]) -> dict[str, Any]:
    """Bars in percent, with whiskers where the labels were drawn several times."""
    scores = [group.scores[measure] for measure in measures]
    spread = [score.get("sd") for score in scores]
    return {
        "type": "bar",
        "name": group.name,
        "x": [_tick(measure) for measure in measures],
        "y": [100 * score["mean"] for score in scores],
        "error_y": {
            "type": "data",
            "array": [None if sd is None else 100 * sd for sd in spread],
            "color": "@ink",
            "thickness": 1.5,
            "width": 4,
        },
        "marker": {"color": f"@{group.colour}"},
        "customdata": [f"{percent(score)} %" for score in scores],
        "hovertemplate": "%{customdata}",
    }


def _tick(measure: str) -> str:
    """The name of a probe on two lines."""
    return text(classifier(measure)).replace(", ", "<br>", 1)
