"""What each page shows, from what was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ntxent.bounds import THEOREMS, VARIANTS
from ntxent.diagnosis import conventions, verdict
from ntxent.diagnosis.report import COLLAPSED, PAIRED, plain
from ntxent.report.figures.images import neighbours, view_pairs
from ntxent.report.figures.pieces import Figure, figures
from ntxent.report.html.page import write_page
from ntxent.report.html.palette import PALETTES
from ntxent.report.pages.analysis import analysis_page
from ntxent.report.pages.runs import comparison, differences
from ntxent.report.projection import check_projection
from ntxent.report.source import UNTOLD, Convention, Given, Run, read_run
from ntxent.report.words import HEADLINES, REPRESENTATIONS, TONES, classifier, percent, tell

__all__ = ["Tile", "write_analysis", "write_explorer", "write_report"]

# Theorems that a figure or number of the page rests on.
USED = (1, 4, 5, 6, 7, 3, 8, 9, 10)


class Tile(NamedTuple):
    """A number that stands large; ``note`` says what it is measured by."""

    label: str
    value: str
    unit: str
    note: str
    theorem: int | None = None


def write_report(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    given: Given = UNTOLD,
    column: str | None = None,
    projection: str = "pca",
) -> dict[str, Any]:
    """Write the page of one run, or of several beside each other.

    Args:
        paths: Run folders, or logs that ``ntxent diagnose`` reads.
        out: The HTML file.
        given: What to measure by; what it leaves open is read beside each log.
        column: The column of the loss, for logs of other tools.
        projection: How the map of a single run is laid out, ``pca`` or ``umap``.

    Returns:
        What the page says of each run, as JSON values, and where its figures are: ``report``,
        ``runs``, ``figures``.

    Raises:
        OSError: a path cannot be read, or the page not written.
        ValueError: a path holds no log, or is not told by which N and τ to measure it; the
            projection is not known or not installed.
    """
    check_projection(projection)
    runs = [read_run(path, given, column) for path in paths]
    page = Path(out)
    made = _one(runs[0], page, projection) if len(runs) == 1 else _several(runs, page)
    return {"report": str(page), "runs": [_digest(run) for run in runs], "figures": made}


def _one(run: Run, out: Path, projection: str) -> dict[str, Figure]:
    made = figures(run, projection)
    write_page(
        out,
        "run.html",
        {"figures": made, "palettes": PALETTES},
        ["page.js"],
        run=run,
        story=tell(run),
        end=None if run.trajectory is None else run.trajectory.end,
        tiles=_tiles(run),
        figures=made,
        setting=_setting(run.convention),
        evaluation=_evaluation(run),
        pairs=view_pairs(run.pairs),
        neighbours=neighbours(run.samples),
        facts=_facts(run),
        theorems=_theorems(),
        classifier=classifier,
    )
    return made


def _several(runs: Sequence[Run], out: Path) -> dict[str, Figure]:
    compared = comparison(runs)
    write_page(
        out,
        "runs.html",
        {"figures": compared.figures, "palettes": PALETTES},
        ["page.js"],
        runs=[
            {"run": run, "story": tell(run), "setting": _setting(run.convention)} for run in runs
        ],
        compared=compared,
        figures=compared.figures,
        differences=differences(runs),
        theorems=_theorems(),
    )
    return compared.figures


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


def _setting(convention: Convention) -> list[tuple[str, str]]:
    """The convention in symbols and words, for the line under the title."""
    size, temperature, variant, queue, dim = convention
    setting = [("N", f"{size:,} pairs"), ("τ", f"{temperature:g}")]
    if dim is not None:
        setting.append(("d", f"{dim:,}"))
    if queue is not None:
        setting.append(("K", f"{queue:,}"))
    return [*setting, ("loss", VARIANTS[variant].title)]


def _tiles(run: Run) -> list[Tile]:
    if run.trajectory is None:
        return []
    end = run.trajectory.end
    tiles = [
        Tile(
            "loss at the end",
            f"{end.loss:.4g}",
            "nats",
            f"floor {end.floor:.4g}, chance {end.chance:.4g}",
            6,
        )
    ]
    if end.position is not None:
        tiles.append(Tile("position", f"{end.position:.3f}", "", "0 floor, 1 chance", 1))
    if end.similarity_interval is not None:
        low, high = end.similarity_interval
        proven = f"proven {low:.3f} to {high:.3f}"
        if end.positive_similarity is None:
            tiles.append(
                Tile(
                    "positive cosine", f"{low:.3f} – {high:.3f}", "", "proven by the loss alone", 8
                )
            )
        else:
            tiles.append(Tile("positive cosine", f"{end.positive_similarity:.3f}", "", proven, 8))
    if "contrastive_accuracy" in run.measures and len(run.measures["contrastive_accuracy"]):
        top = 100 * run.measures["contrastive_accuracy"][-1]
        guess = 100 / (2 * end.batch_size - 1)
        tiles.append(
            Tile("positives on top", f"{top:.1f}", "%", f"guessing gives {guess:.1f} %", 9)
        )
    scores = run.evaluation.get("encoder", {})
    if scores:
        measure = "linear_all" if "linear_all" in scores else list(scores)[-1]
        raw = run.evaluation.get("raw_pixels", {}).get(measure)
        beside = "" if raw is None else f", raw pixels {100 * raw['mean']:.1f} %"
        value = f"{100 * scores[measure]['mean']:.1f}"
        tiles.append(Tile("held-out accuracy", value, "%", f"{classifier(measure)}{beside}"))
    return tiles


def _evaluation(run: Run) -> dict[str, Any] | None:
    scores = run.evaluation
    if not scores:
        return None
    names = [name for name in REPRESENTATIONS if name in scores]
    names += [name for name in scores if name not in names]
    measures = dict.fromkeys(measure for name in names for measure in scores[name])
    rows = [
        (
            classifier(measure),
            [percent(scores[n][measure]) if measure in scores[n] else "—" for n in names],
        )
        for measure in measures
    ]
    return {"names": [REPRESENTATIONS.get(name, name) for name in names], "rows": rows}


def _facts(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """How the run was made: groups of names and values."""
    summary = run.summary
    groups = []
    if "command" in summary:
        groups.append(("Command line", [("", str(summary["command"]))]))
    data = dict(run.data)
    counts = data.pop("per_class", {}).get("held_out")
    classes = data.pop("classes", None)
    shown = dict(_flat(data))
    if counts and classes:
        pairs = zip(classes, counts, strict=False)
        shown["held out of each class"] = ", ".join(f"{name}: {count}" for name, count in pairs)
    groups.append(("Data", list(shown.items())))
    groups.append(("Configuration", _flat(run.config)))
    seconds = {f"{stage}, s": f"{spent:g}" for stage, spent in summary.get("seconds", {}).items()}
    when = {"finished": str(summary["finished"])} if "finished" in summary else {}
    groups.append(("Time", [*when.items(), *seconds.items()]))
    groups.append(("Environment", _flat(summary.get("environment", {}))))
    groups.append(("Versions", _flat(summary.get("versions", {}))))
    groups.append(("Files", [("read from", str(run.path.resolve()))]))
    return [(title, rows) for title, rows in groups if rows]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            joint = " × " if name == "shape" else ", "
            shown = joint.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            rows.append((f"{prefix}{name}", shown))
    return rows


def _theorems(numbers: Iterable[int] = USED) -> list[dict[str, Any]]:
    """Number, title and the one line that states it, as the function's own documentation has it."""
    known = []
    for number in sorted(numbers):
        own = [theorem for theorem in THEOREMS.values() if theorem.number == number]
        lines = [
            {
                "title": theorem.title,
                "says": (theorem.function.__doc__ or "").partition("\n")[0],
                "function": f"ntxent.bounds.{theorem.function.__name__}",
                "validity": theorem.validity,
                "sharp": theorem.sharp or "not claimed",
            }
            for theorem in own
        ]
        known.append({"number": number, "lines": lines})
    return known


def write_explorer(out: str | Path) -> None:
    """Write the page in which N, τ, d and a loss can be moved, and a log be dropped.

    Raises:
        OSError: the file cannot be written.
    """
    variants = {
        name: {"title": row.title, "theorem": row.theorem, "queued": row.queued}
        for name, row in VARIANTS.items()
    }
    data = {
        "figures": {},
        "palettes": PALETTES,
        "variants": variants,
        "headlines": HEADLINES,
        "tones": TONES,
        "diagnosis": _constants(),
    }
    scripts = ["page.js", "bounds.js", "diagnosis.js", "explorer.js"]
    write_page(Path(out), "explorer.html", data, scripts, variants=variants, theorems=_theorems())


def _constants() -> dict[str, Any]:
    """The thresholds of a diagnosis and the other conventions it looks at."""
    return {
        "at_floor": verdict.AT_FLOOR,
        "at_chance": verdict.AT_CHANCE,
        "decimals": verdict.DECIMALS,
        "bfloat16": verdict.BFLOAT16,
        "float32": verdict.FLOAT32,
        "collapsed": COLLAPSED,
        "paired": PAIRED,
        "ranks": conventions.RANKS,
        "temperatures": conventions.TEMPERATURES,
        "queues": conventions.QUEUES,
        "bases": conventions.BASES,
        "factors": conventions.FACTORS,
    }


def write_analysis(analysis: Mapping[str, Any], files: tuple[str, str], out: str | Path) -> None:
    """Write the page of ``Analysis.to_dict()``, the measures of two files of embeddings.

    Raises:
        OSError: the file cannot be written.
    """
    shown, data = analysis_page(analysis, files)
    theorems = _theorems((*USED, 11))
    write_page(Path(out), "analysis.html", data, ["page.js"], **shown, theorems=theorems)
