"""A table of finished runs: the options in which they differ, and their results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ntxent.files import flatten
from ntxent.simclr.run.config_file import BOOKKEEPING
from ntxent.simclr.run.folder import RunFolder

__all__ = ["compare", "last_epoch_loss"]

SMALLER_IS_BETTER = ("position", "loss", "seconds")


def compare(folders: Sequence[str], sort: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns a row for each finished run, the best first, and the folders of unfinished runs.

    ``settings`` of a row are the options in which the runs differ.

    Raises:
        FileNotFoundError: a folder is not that of a run, or no run has finished.
        ValueError: no run has the column to sort by.
    """
    runs, unfinished = [], []
    for folder in folders:
        run = RunFolder(Path(folder))
        if not run.config.exists():
            raise FileNotFoundError(f"{run.config} does not exist, so {folder} is no run folder")
        if run.summary.exists():
            runs.append(run)
        else:
            unfinished.append(folder)
    if not runs:
        raise FileNotFoundError("runs: none has finished; continue them with ntxent train --resume")
    settings = [flatten(yaml.safe_load(run.config.read_text())) for run in runs]
    differing = _differing(settings)
    rows = [
        _row(run, {name: setting.get(name) for name in differing})
        for run, setting in zip(runs, settings, strict=True)
    ]
    values = [_value(row, sort) for row in rows]
    if all(value is None for value in values):
        offered = ["position", "loss", "seconds", *rows[0]["accuracy"]]
        raise ValueError(f"sort: received {sort!r}, expected one of {', '.join(offered)}")
    sign = 1 if sort in SMALLER_IS_BETTER else -1
    ranked = sorted(
        zip(values, rows, strict=True),
        key=lambda pair: (pair[0] is None, sign * (pair[0] or 0)),
    )
    return [row for _, row in ranked], unfinished


def _row(run: RunFolder, settings: dict[str, Any]) -> dict[str, Any]:
    summary = json.loads(run.summary.read_text())
    loss = summary["loss"]
    scores = summary["evaluation"].get("encoder", {})
    return {
        "name": summary["name"],
        "run": str(run.path),
        "settings": settings,
        "batch_size": summary["batch_size"],
        "temperature": summary["temperature"],
        "dim": summary["dim"],
        "loss": last_epoch_loss(summary),
        **{name: loss[name] for name in ("floor", "chance", "position", "steps")},
        "accuracy": {measure: score["mean"] for measure, score in scores.items()},
        "seconds": summary["seconds"]["total"],
    }


def last_epoch_loss(summary: Mapping[str, Any]) -> float:
    """Returns the mean loss over the steps of the last epoch of a finished run."""
    loss = summary["loss"]
    value: float = loss["mean_of_last_epoch"] if "mean_of_last_epoch" in loss else loss["final"]
    return value  # "final" is its name in the folders of earlier versions


def _value(row: Mapping[str, Any], name: str) -> float | None:
    value = row["accuracy"].get(name, row.get(name))
    return value if isinstance(value, float | int) else None


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    names = {name for setting in settings for name in setting}
    return sorted(
        name
        for name in names
        if name.split(".")[0] not in BOOKKEEPING
        and len({repr(setting.get(name)) for setting in settings}) > 1
    )
