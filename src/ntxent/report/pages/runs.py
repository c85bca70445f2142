"""Several runs beside each other, on one axis only where one axis means the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ntxent.report.figures.pieces import Figure, bars, grid, level, line, text, thinning_note, under
from ntxent.report.html.palette import CYCLE
from ntxent.report.source import Run
from ntxent.report.thinning import Thinned, thin
from ntxent.report.words import HEADLINES, REPRESENTATIONS

__all__ = ["Comparison", "Row", "comparison", "differences"]

DASHES = ("solid", "dash", "dot", "dashdot")


class Row(NamedTuple):
    name: str
    verdict: str
    position: float | None
    loss: float | None
    positive: float | None
    accuracy: float | None
    setting: str
    state: str


class Comparison(NamedTuple):
    """``refusal`` says why the losses have no common axis, where they have none."""

    rows: list[Row]
    figures: dict[str, Figure]
    refusal: str | None
    measure: str | None


def comparison(runs: Sequence[Run]) -> Comparison:
    """The table, best accuracy first where there is one, and the figures that the runs share."""
    known = [run for run in runs if run.trajectory is not None]
    conventions = {tuple(f"{end:.9g}" for end in run.convention.limits()[:3]) for run in known}
    refusal = None
    if len(conventions) > 1:
        stated = "; ".join(f"{run.name}: {_setting(run)}" for run in known)
        refusal = (
            "Their losses have different limits, so one axis would compare what cannot be "
            f"compared: {stated}. The position has one axis for all: how much of its room a run "
            "has used. Neither ranks these encoders; the accuracy of a probe does."
        )
    measures = [list(run.evaluation.get("encoder", {})) for run in runs if run.evaluation]
    shared = [m for m in (measures or [[]])[0] if all(m in other for other in measures)]
    measure = "linear_all" if "linear_all" in shared else shared[-1] if shared else None
    rows = sorted((_row(run, measure) for run in runs), key=_best_first)
    made = {
        "loss": None if refusal or not known else _losses(known),
        "position": _positions(known),
        "positive": _positives(known),
        "evaluation": _evaluations(runs, shared),
    }
    return Comparison(rows, {k: v for k, v in made.items() if v is not None}, refusal, measure)


def _best_first(row: Row) -> tuple[float, float]:
    """By the probe that the runs share; the position ranks no encoders, and comes second."""
    worst = float("inf")
    return (
        worst if row.accuracy is None else -row.accuracy,
        worst if row.position is None else row.position,
    )


def _setting(run: Run) -> str:
    size, temperature, variant, _, dim = run.convention
    dimension = "" if dim is None else f", d = {dim}"
    return f"N = {size}, τ = {temperature:g}{dimension}, {variant}"


def _row(run: Run, measure: str | None) -> Row:
    end = None if run.trajectory is None else run.trajectory.end
    score = run.evaluation.get("encoder", {}).get(measure or "")
    return Row(
        run.name,
        (run.problem or "") if end is None else HEADLINES[end.verdict],
        None if end is None else end.position,
        None if end is None else end.loss,
        None if end is None else end.positive_similarity,
        None if score is None else 100 * score["mean"],
        _setting(run),
        run.state,
    )


def _style(at: int) -> tuple[str, dict[str, Any]]:
    """A colour, and with the eighth run another dash as well."""
    dash = DASHES[at // len(CYCLE) % len(DASHES)]
    return CYCLE[at % len(CYCLE)], {"line": {"dash": dash}, "smooth": True}


def _notes(thinned: Sequence[tuple[Run, Thinned]]) -> str:
    return " ".join(
        f"{run.name}: {note}"
        for run, part in thinned
        if (note := thinning_note(part, len(run.loss.values)))
    )


def _losses(runs: Sequence[Run]) -> Figure:
    parts = [(run, thin(run.loss)) for run in runs]
    chance, floor, _, _ = runs[0].convention.limits()
    levels = [
        level(floor, f"floor {floor:.4g}", below=True),
        level(chance, f"chance {chance:.4g}", dash="dash"),
    ]
    data = []
    for at, (run, part) in enumerate(parts):
        colour, look = _style(at)
        hover = {"hovertemplate": "%{y:.4f} nats", "grid": at}
        data.append(line(text(run.name), part.mean, colour, **look, **hover))
    return {
        "data": data,
        "grids": [grid(run, part.steps) for run, part in parts],
        "layout": {
            "shapes": [shape for shape, _ in levels],
            "annotations": [words for _, words in levels],
            "xaxis": {"title": {"text": "step"}},
            "yaxis": {"title": {"text": "loss, nats"}},
        },
        "note": _notes(parts),
        "alt": f"The losses of {len(runs)} runs between floor and chance.",
    }


def _positions(runs: Sequence[Run]) -> Figure | None:
    placed = [r for r in runs if r.trajectory is not None and r.trajectory.end.position is not None]
    if not placed:
        return None
    parts = [(run, thin(run.loss)) for run in placed]
    levels = [level(0, "floor", below=True), level(1, "chance", dash="dash")]
    data = []
    for at, (run, part) in enumerate(parts):
        chance, floor, _, _ = run.convention.limits()
        position = (part.mean - floor) / (chance - floor)
        colour, look = _style(at)
        hover = {"hovertemplate": "%{y:.3f}", "grid": at}
        data.append(line(text(run.name), position, colour, **look, **hover))
    return {
        "data": data,
        "grids": [grid(run, part.steps) for run, part in parts],
        "layout": {
            "shapes": [shape for shape, _ in levels],
            "annotations": [words for _, words in levels],
            "xaxis": {"title": {"text": "step"}},
            "yaxis": {"title": {"text": "position"}},
        },
        "note": _notes(parts),
        "alt": f"The positions of {len(placed)} runs, 0 at the floor and 1 at chance.",
    }


def _positives(runs: Sequence[Run]) -> Figure | None:
    parts = [
        (run, thin(run.columns["positive_similarity"]))
        for run in runs
        if "positive_similarity" in run.columns
    ]
    if not parts:
        return None
    data = []
    for at, (run, part) in enumerate(parts):
        colour, look = _style(at)
        data.append(line(text(run.name), part.mean, colour, **look, grid=at))
    return {
        "data": data,
        "grids": [grid(run, part.steps) for run, part in parts],
        "layout": {
            "xaxis": {"title": {"text": "step"}},
            "yaxis": {"title": {"text": "mean positive cosine"}},
        },
        "alt": f"The mean cosines of the positive pairs of {len(parts)} runs.",
    }


def _evaluations(runs: Sequence[Run], measures: Sequence[str]) -> Figure | None:
    scored = [(at, run) for at, run in enumerate(runs) if run.evaluation.get("encoder")]
    if not scored or not measures:
        return None
    data = []
    for at, run in scored:
        scores = run.evaluation["encoder"]
        data.append(
            {
                "type": "bar",
                "name": text(run.name),
                "x": [under(measure) for measure in measures],
                **bars([scores[measure] for measure in measures], CYCLE[at % len(CYCLE)]),
            }
        )
    return {
        "data": data,
        "grids": [],
        "layout": {
            "barmode": "group",
            "xaxis": {"type": "category"},
            "yaxis": {"title": {"text": "held-out accuracy, %"}, "range": [0, 104]},
        },
        "alt": f"Held-out accuracy of the {REPRESENTATIONS['encoder']}s of {len(scored)} runs.",
    }


def differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """What the configurations do not have in common: name, and the value in each run."""

    def flat(tree: Any, prefix: str = "") -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in tree.items():
            if isinstance(value, dict):
                found |= flat(value, f"{prefix}{name}.")
            else:
                found[f"{prefix}{name}"] = str(value)
        return found

    configs = [flat(run.config) for run in runs]
    names = dict.fromkeys(name for config in configs for name in config if name != "name")
    rows = [(name, [config.get(name, "—") for config in configs]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
