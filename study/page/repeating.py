"""How exactly the study repeats: some of its runs again, or two sets of rows beside each other."""

import random
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from study.page.rows import Rows, read
from study.page.write import HYPOTHESES, answers
from study.runs.training import Spec, run

KEPT = ["loss", "positive", "negative"]
SETTING = [field.name for field in fields(Spec) if field.name not in ("seed", "second")]
SETTING += ["second_batch_size", "second_temperature"]


def again(specs: list[Spec], folder: Path) -> str:
    """Run them, and report the largest differences from the kept rows."""
    known = read(folder)
    largest, accuracy, same = 0.0, 0.0, 0
    for spec in specs:
        looks, end = run(spec)
        before = known.looks[known.looks.run == spec.key][KEPT].to_numpy()
        now = np.array([[look.get(name, np.nan) for name in KEPT] for look in looks])
        difference = float(np.nanmax(abs(now.astype(np.float32) - before)))
        kept_end = known.runs[known.runs.run == spec.key].few.item()
        off = abs(end["few"] - kept_end)
        same += difference == 0 and off == 0
        largest, accuracy = max(largest, difference), max(accuracy, off)
    return (
        f"{len(specs)} runs again: {same} with the same bits; loss and similarities differ by at "
        f"most {largest:.2g}, the accuracy by {100 * accuracy:.2g} points"
    )


def drawn(specs: list[Spec], count: int) -> list[Spec]:
    return random.Random(0).sample(specs, count)


def compare(ours: Rows, theirs: Rows) -> str:
    """What a whole second study changes: the runs, the means that the page reports, the answers."""
    text = differences(ours, theirs)
    first, second = answers(ours), answers(theirs)
    changed = [name for name, (of, key) in HYPOTHESES.items() if first[of][key] != second[of][key]]
    return f"{text}; hypotheses with another answer: {', '.join(changed) or 'none'}"


def differences(ours: Rows, theirs: Rows) -> str:
    """At the end of each run, and of the means over the seeds of each setting."""
    runs = ours.ends.merge(theirs.ends, on="run", suffixes=("", "_other"))
    if len(runs) < len(ours.runs):
        raise SystemExit(
            f"the two share {len(runs)} of {len(ours.runs)} runs: expected rows of the same grid; "
            "run python -m study run there, without --quick"
        )
    means = runs.groupby(SETTING, dropna=False)[["few", "few_other", "loss", "loss_other"]].mean()
    same = (runs.few == runs.few_other) & (runs.loss == runs.loss_other)
    return (
        f"{len(runs)} runs twice: {same.sum()} alike to the bit; at the end the accuracy differs "
        f"by {_points(runs)}, the loss by {_nats(runs)}; means over the seeds of the "
        f"{len(means)} settings differ by {_points(means)} and {_nats(means)}"
    )


def _points(table: pd.DataFrame) -> str:
    return _apart(100 * abs(table.few - table.few_other), "points")


def _nats(table: pd.DataFrame) -> str:
    return _apart(abs(table.loss - table.loss_other), "nats")


def _apart(difference: pd.Series, unit: str) -> str:
    return f"{difference.median():.2g} {unit} in the median, at most {difference.max():.2g}"
