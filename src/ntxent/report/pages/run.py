"""The page of one run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ntxent.files import flatten
from ntxent.report.figures import Figure, figures
from ntxent.report.figures.images import neighbours, view_pairs
from ntxent.report.html.page import write_page
from ntxent.report.html.palette import PALETTES
from ntxent.report.run import Run
from ntxent.report.words import (
    classifier,
    percent,
    representation,
    representations,
    setting,
    tell,
    theorems,
)

__all__ = ["Tile", "write_run"]


def write_run(run: Run, out: Path, projection: str) -> dict[str, Figure]:
    """Write the page and return its figures."""
    drawn = figures(run, projection=projection)
    write_page(
        out,
        "run.html",
        {"figures": drawn, "palettes": PALETTES},
        ["page.js"],
        run=run,
        story=tell(run),
        end=None if run.trajectory is None else run.trajectory.end,
        tiles=_tiles(run),
        figures=drawn,
        setting=setting(run.convention),
        evaluation=_evaluation(run),
        pairs=view_pairs(run.pairs),
        neighbours=neighbours(run.samples),
        facts=_facts(run),
        theorems=theorems(),
    )
    return drawn


class Tile(NamedTuple):
    """A number in large type; ``note`` gives what it is compared with."""

    label: str
    value: str
    unit: str
    note: str
    theorem: int | None = None


def _tiles(run: Run) -> list[Tile]:
    if run.trajectory is None:
        return []
    end = run.trajectory.end
    limits = f"floor {end.floor:.4g}, chance {end.chance:.4g}"
    note = f"mean of the last twentieth of the steps; {limits}"
    tiles = [Tile("loss at the end", f"{end.loss:.4g}", "nats", note, 6)]
    epoch = run.summary.get("loss", {}).get("mean_of_last_epoch")
    if epoch is not None:
        tiles.append(Tile("mean loss of the last epoch", f"{epoch:.4g}", "nats", "over its steps"))
    if end.position is not None:
        tiles.append(Tile("position", f"{end.position:.3f}", "", "0 floor, 1 chance", 1))
    if end.similarity_interval is not None:
        low, high = end.similarity_interval
        value, note = f"{low:.3f} – {high:.3f}", "proven by the loss alone"
        if end.positive_similarity is not None:
            value, note = f"{end.positive_similarity:.3f}", f"proven {low:.3f} to {high:.3f}"
        tiles.append(Tile("positive cosine", value, "", note, 8))
    if len(run.measures.get("contrastive_accuracy", ())):
        top = 100 * run.measures["contrastive_accuracy"][-1]
        guess = 100 / (2 * end.batch_size - 1)
        note = f"guessing gives {guess:.1f} %"
        tiles.append(Tile("positives on top", f"{top:.1f}", "%", note, 9))
    scores = run.evaluation.get("encoder", {})
    if scores:
        measure = "linear_all" if "linear_all" in scores else list(scores)[-1]
        raw = run.evaluation.get("raw_pixels", {}).get(measure)
        beside = "" if raw is None else f"; raw pixels {100 * raw['mean']:.1f} %"
        value = f"{100 * scores[measure]['mean']:.1f}"
        tiles.append(Tile("held-out accuracy", value, "%", f"{classifier(measure)}{beside}"))
    return tiles


def _evaluation(run: Run) -> dict[str, Any] | None:
    """The table of accuracies: a column for each representation, a row for each probe."""
    scores = run.evaluation
    if not scores:
        return None
    names = representations(scores)
    rows = [
        (
            classifier(measure),
            [percent(scores[n][measure]) if measure in scores[n] else "—" for n in names],
        )
        for measure in dict.fromkeys(measure for name in names for measure in scores[name])
    ]
    return {"names": [representation(name) for name in names], "rows": rows}


def _facts(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """How the run was made: titled groups of names and values."""
    summary = run.summary
    groups = []
    if "command" in summary:
        groups.append(("Command line", [("", str(summary["command"]))]))
    groups.append(("Data", _data(run)))
    groups.append(("Configuration", _rows(run.config)))
    seconds = {f"{stage}, s": f"{spent:g}" for stage, spent in summary.get("seconds", {}).items()}
    when = {"finished": str(summary["finished"])} if "finished" in summary else {}
    groups.append(("Time", [*when.items(), *seconds.items()]))
    groups.append(("Environment", _rows(summary.get("environment", {}))))
    groups.append(("Versions", _rows(summary.get("versions", {}))))
    groups.append(("Files", [("read from", str(run.path.resolve()))]))
    return [(title, rows) for title, rows in groups if rows]


def _data(run: Run) -> list[tuple[str, str]]:
    data = dict(run.data)
    counts = data.pop("per_class", {}).get("held_out")
    classes = data.pop("classes", None)
    data.pop("fingerprint", None)
    rows = _rows(data)
    if counts and classes:
        pairs = zip(classes, counts, strict=False)
        rows.append(
            ("held out of each class", ", ".join(f"{name}: {count}" for name, count in pairs))
        )
    return rows


def _rows(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _shown(name, value)) for name, value in flatten(tree).items()]


def _shown(name: str, value: Any) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value)
    return (" × " if name.endswith("shape") else ", ").join(map(str, value))
