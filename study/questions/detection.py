"""Q4: how soon does the diagnosis see a failure, and how often does it cry wolf?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ntxent import diagnose
from ntxent.trajectory import Series, judge
from study.page.rows import Rows
from study.page.statistics import Estimate, mean, median, share
from study.page.style import canvas, finish
from study.runs.failures import FAILURES, HEALTHY

ROW = 10  # steps in a row that a verdict has to last
SOON = 26  # steps within which H4 wants it
EARLY = 0.1

CHANCE = {"at_chance", "above_chance"}
RIGHT: dict[str, set[str]] = {
    "no augmentation": {"at_floor"},
    "shuffled positives": CHANCE,
    "not normalised": {"impossible"},
    "self not excluded": {"impossible"},
    "directions summed": {"impossible"},
    "learning rate x 100": {"collapsed", "refused", *CHANCE},
    "frozen encoder": set(),
    "nothing trained": {"plateau"},
    "local negatives": {"impossible"},
}


def verdicts(rows: Rows) -> pd.DataFrame:
    """A row a run: the verdict of every step, with the measured similarities and without."""
    looks = rows.grid("failures", "healthy").looks
    found = []
    for run, of in looks.groupby("run", sort=False):
        first = of.iloc[0]
        found.append(
            {
                "run": run,
                "data": first.data,
                "batch_size": first.batch_size,
                "temperature": first.temperature,
                "failure": first.failure,
                "seed": first.seed,
                "few": first.few,
                "measured": [_verdict(look) for look in of.itertuples()],
                "alone": [_verdict(look, measured=False) for look in of.itertuples()],
                "plateau": _plateau(of),
                "same_views": _same_views(of),
                "still": _still(of),
            }
        )
    return pd.DataFrame(found)


def _verdict(look: Any, measured: bool = True) -> str:
    try:
        report = diagnose(
            look.loss,
            int(look.batch_size),
            look.temperature,
            positive_similarity=look.positive if measured else None,
            negative_similarity=look.negative if measured else None,
        )
    except ValueError:  # NaN, or negative
        return "refused"
    return report.verdict


def _plateau(of: pd.DataFrame) -> bool:
    """Whether the run as a whole is one plateau."""
    series = Series(of.step.to_numpy(float), of.loss.to_numpy())
    if not np.isfinite(series.values).any():
        return False
    report = judge(series, int(of.batch_size.iloc[0]), float(of.temperature.iloc[0]))
    steps = of.step.max()
    return any(p.last_step - p.first_step > 0.9 * steps for p in report.plateaus)


STILL = 0.02  # change of the position, between the medians of the first and the last quarter


def _still(of: pd.DataFrame) -> bool:
    """Exploratory rule: the run as a whole has not moved."""
    quarter = len(of) // 4
    change = of.position.iloc[-quarter:].median() - of.position.iloc[:quarter].median()
    return bool(abs(change) < STILL)


SAME = 0.9999  # mean cosine of the two views


def _same_views(of: pd.DataFrame) -> bool:
    """Exploratory rule: the positives agree perfectly before anything was learnt."""
    return bool(of.positive.iloc[0] >= SAME)


def sustained(verdict: list[str], wanted: set[str], since: int = 0) -> int | None:
    """The first step from which ``wanted`` lasts for ``ROW`` steps."""
    streak = 0
    for step, one in enumerate(verdict[since:], since):
        streak = streak + 1 if one in wanted else 0
        if streak == ROW:
            return step - ROW + 1
    return None


def found_at(run: Any, measured: bool = True) -> int | None:
    wanted = RIGHT[run.failure]
    if wanted == {"plateau"}:
        return len(run.measured) - 1 if run.plateau else None
    return sustained(run.measured if measured else run.alone, wanted)


def alarms(verdict: list[str]) -> set[str]:
    """The verdicts that a healthy run should not have had."""
    raised = {one for one in verdict if one in ("impossible", "collapsed", "refused")}
    if sustained(verdict, CHANCE, round(EARLY * len(verdict))) is not None:
        raised.add("chance")
    return raised


def answer(rows: Rows) -> dict[str, Any]:
    runs = verdicts(rows)
    well = runs[runs.failure.isin(HEALTHY)]
    table = {}
    for failure in FAILURES:
        if failure in HEALTHY:
            continue
        of = runs[runs.failure == failure]
        table[failure] = {
            "expected": ", ".join(sorted(RIGHT[failure])) or "nothing",
            "accuracy_lost": _lost(of, well),
            "by_temperature": {
                t: {
                    "measured": _detection(own, True),
                    "alone": _detection(own, False),
                    "usual": _usual(own.measured),
                }
                for t, own in of.groupby("temperature")
            },
            "soon": share(_within(of, SOON)),
        }
    raised = well.measured.map(alarms)
    raised_alone = well.alone.map(alarms)
    quick = [name for name, row in table.items() if row["soon"].value >= 0.9]
    false = share((raised.map(len) > 0).to_numpy())
    return {
        "runs": runs,
        "table": table,
        "soon": quick,
        "healthy": len(well),
        "false": false,
        "false_alone": share((raised_alone.map(len) > 0).to_numpy()),
        "false_kinds": {
            kind: int(raised.map(lambda one, kind=kind: kind in one).sum())
            for kind in ("impossible", "collapsed", "refused", "chance")
        },
        "still": {
            "found": share(runs[runs.failure == "nothing trained"].still.to_numpy()),
            "false": share(well.still.to_numpy()),
        },
        "same_views": {
            "found": share(runs[runs.failure == "no augmentation"].same_views.to_numpy()),
            "runs": int((runs.failure == "no augmentation").sum()),
            "false": share(runs[runs.failure != "no augmentation"].same_views.to_numpy()),
            "others": int((runs.failure != "no augmentation").sum()),
            "healthy_first": _first_positive(rows),
        },
        "h4": len(quick) >= 6 and false.value <= 0.05,
    }


def _first_positive(rows: Rows) -> float:
    """The highest similarity of the positives with which a healthy run started."""
    looks = rows.looks[(rows.looks.strength >= 0.25) & (rows.looks.step == 0)]
    return float(looks[looks.failure == "none"].positive.max())


def _lost(of: pd.DataFrame, well: pd.DataFrame) -> Estimate:
    """Accuracy of a healthy run less that of the failed one, of the same data, τ and seed."""
    key = ["data", "batch_size", "temperature", "seed"]
    both = of.merge(well[well.failure == "none"], on=key, suffixes=("", "_well"))
    lost = both.few_well - both.few.fillna(0)
    return mean(lost.to_numpy())


def _within(of: pd.DataFrame, steps: int) -> np.ndarray:
    found = [found_at(run) for run in of.itertuples()]
    return np.array([at is not None and at + ROW <= steps for at in found])


def _detection(of: pd.DataFrame, measured: bool) -> dict[str, Any]:
    found = [found_at(run, measured) for run in of.itertuples()]
    at = np.array([step for step in found if step is not None])
    return {"share": len(at) / len(found), "steps": median(at) if len(at) else None}


def _usual(verdict: pd.Series) -> str:
    """The verdict of the second half of most runs."""
    half = [one for run in verdict for one in run[len(run) // 2 :]]
    return max(set(half), key=half.count)


# Colour and hatch of each verdict; a refused value is drawn as an impossible one.
SHADES = {
    "impossible": ("#111111", ""),
    "above_chance": ("#7a1f1f", ".."),
    "at_chance": ("#b3402a", "//"),
    "collapsed": ("#d08a1d", "xx"),
    "learning": ("#8fb5d9", ""),
    "at_floor": ("#2a8a5f", "--"),
}


def draw(rows: Rows, found: dict[str, Any]) -> Figure:
    """Share of the runs with each verdict, step by step."""
    runs = found["runs"]
    names = [name for name in FAILURES if name != "none, no batch norm"]
    figure, axes = canvas(5, width=2.7, height=2.5, rows=2)
    for name, panel in zip(names, axes, strict=True):
        of = runs[(runs.failure == name) & runs.run.isin(rows.grid("failures").runs.run)]
        longest = of.measured.map(len).max()
        table = np.array([run + ["impossible"] * (longest - len(run)) for run in of.measured])
        table[table == "refused"] = "impossible"
        stack = [(table == kind).mean(0) for kind in SHADES]
        colours = [colour for colour, _ in SHADES.values()]
        areas = panel.stackplot(np.arange(longest), stack, colors=colours, linewidth=0)
        for area, (_, hatch) in zip(areas, SHADES.values(), strict=True):
            area.set(hatch=hatch, edgecolor="white")
        panel.set(title="healthy" if name == "none" else name, ylim=(0, 1), xlim=(0, longest - 1))
        panel.grid(False)
    axes[0].set_ylabel("share of runs")
    axes[5].set_ylabel("share of runs")
    for panel in axes[5:]:
        panel.set_xlabel("step")
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=kind.replace("_", " "))
        for kind, (colour, hatch) in SHADES.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    return finish(figure)
