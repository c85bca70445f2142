"""Say what a loss value, or the losses of a whole run, mean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from jsonargparse import ArgumentParser

from ntxent.bounds import Convention
from ntxent.commands._convention import add_convention, given_convention
from ntxent.diagnosis import Diagnosis, Trajectory
from ntxent.diagnosis.diagnose import diagnose_in

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ntxent.logs import JudgedLog

STYLES = {
    "impossible": "bold red",
    "at_floor": "bold green",
    "learning": "bold green",
    "at_chance": "bold yellow",
    "collapsed": "bold red",
    "above_chance": "bold yellow",
    "degenerate": "bold red",
}
CHART_ROWS = 9
SHOWN = 8  # alternatives in the table


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "path",
        nargs="?",
        type=str,
        help="Log of a run: its folder, CSV, TSV, JSON lines or TensorBoard events.",
    )
    # type=str, as the parser's own float has no NaN, of which diagnose has more to say.
    parser.add_argument("--loss", type=str, help="One loss, as printed, instead of a log.")
    add_convention(parser)
    parser.add_argument(
        "--positive-similarity", type=float, help="Measured mean cosine of the positive pairs."
    )
    parser.add_argument(
        "--negative-similarity", type=float, help="Measured mean cosine of the negative pairs."
    )
    parser.add_argument("--column", type=str, help="Column of the log that holds the loss.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    parser.add_argument(
        "--report",
        nargs="?",
        const="report.html",
        type=str,
        help="Write the log's page as well, report.html unless named.",
    )


def run(options: Any) -> int:
    if (options.path is None) == (options.loss is None):
        raise ValueError("diagnose: expected either --loss or the path of a log")
    if options.path is not None:
        return _diagnose_log(options)
    if options.column is not None:
        raise ValueError("--column: it chooses a column of a log; give a path or leave it out")
    if options.report is not None:
        raise ValueError("--report: it is the page of a log; give a path, or try ntxent explore")
    given = given_convention(options)
    for name, flag in (("batch_size", "-n/--batch-size"), ("temperature", "-t/--temperature")):
        if name not in given:
            raise ValueError(f"{name.replace('_', ' ')}: not given; add {flag}")
    found = diagnose_in(
        Convention(**given),
        _loss(options.loss),
        options.positive_similarity,
        options.negative_similarity,
    )
    if options.json:
        _print_json(found.to_dict())
    else:
        _print(found.sentences, _verdict(found), _table(found), _alternatives(found))
    return 0


def _diagnose_log(options: Any) -> int:
    for name in ("positive_similarity", "negative_similarity"):
        if getattr(options, name) is not None:
            raise ValueError(f"{name}: it is read from the log; use it with --loss")
    from ntxent.logs import judge_log

    judged = judge_log(options.path, given_convention(options), options.column)
    if judged.trajectory is None:
        raise ValueError(judged.problem)
    if options.json:
        _print_json(judged.trajectory.to_dict() | {"log": _source(judged)})
    else:
        end = judged.trajectory.end
        _print(
            judged.trajectory.sentences,
            *_notes(judged),
            _Chart(judged.trajectory),
            _verdict(end),
            _table(end),
            _alternatives(end),
        )
    if options.report is not None:
        from ntxent.report import write_report

        given = asdict(judged.convention)
        write_report([options.path], options.report, given=given, column=options.column)
        if not options.json:
            print(f"\nReport: {options.report}")
    return 0


def _source(judged: JudgedLog) -> dict[str, Any]:
    log, settings = judged.log, judged.settings
    return {
        "path": str(log.path),
        "column": log.column,
        "others": list(log.others),
        "skipped": log.skipped,
        "problems": list(log.problems),
        "settings": None if settings.source is None else str(settings.source),
    }


def _loss(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--loss: received {text!r}, expected a number") from None


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
    if judged.settings.source is not None:
        yield f"Settings from {judged.settings.source}."


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, indent=2, allow_nan=False))


def _print(sentences: tuple[str, ...], *parts: RenderableType | None) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for part in parts:
        if part is not None:
            console.print(part)
    for sentence in sentences:
        console.print()
        console.print(sentence)


def _verdict(found: Diagnosis) -> RenderableType:
    from rich.text import Text

    position = "" if found.position is None else f"  position {found.position:.3f}"
    verdict = found.verdict.replace("_", " ")
    return Text.assemble("\n", (verdict, STYLES[found.verdict]), position, "\n")


def _table(found: Diagnosis) -> RenderableType:
    """The loss among its limits, from small to large, then what it certifies."""
    from rich.table import Table

    levels = {
        "floor": found.floor,
        "chance": found.chance,
        "random embeddings": found.random,
        "ceiling": found.ceiling,
        "loss": found.loss,
    }
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    meaning = {
        "floor": "smallest possible",
        "chance": "nothing told apart",
        "random embeddings": f"about, d = {found.dim}",
        "ceiling": "largest possible",
        "loss": "",
    }
    known = {name: level for name, level in levels.items() if level is not None}
    for name in sorted(known, key=lambda name: known[name]):
        style = STYLES[found.verdict] if name == "loss" else None
        table.add_row(name, f"{known[name]:.4f}", meaning[name], style=style)
    if found.similarity_interval is not None:
        low, high = found.similarity_interval
        table.add_row("positive cosine", f"{low:.3f} to {high:.3f}", "mean, certified")
    if found.top1_share:
        table.add_row("positives on top", f"{found.top1_share:.1%}", "at least")
    if found.gradient_bound is not None:
        table.add_row("gradient", f"{found.gradient_bound:.4g}", "at most, summed norms")
    return table


def _alternatives(found: Diagnosis) -> RenderableType | None:
    if not found.alternatives:
        return None
    from rich.padding import Padding
    from rich.table import Table

    table = Table("possible under", "verdict", box=None, padding=(0, 2, 0, 0))
    table.add_column("position", justify="right")
    for other in found.alternatives[:SHOWN]:
        position = "—" if other.position is None else f"{other.position:.2f}"
        table.add_row(other.convention, other.verdict.replace("_", " "), position)
    if len(found.alternatives) > SHOWN:
        table.add_row(f"and {len(found.alternatives) - SHOWN} more, with --json")
    return Padding(table, (1, 0, 0, 0))


class _Chart:
    """The curve between its levels, as wide as the terminal."""

    def __init__(self, run: Trajectory) -> None:
        self.run = run

    def __rich_console__(self, console: Console, options: Any) -> Iterator[RenderableType]:
        from rich.text import Text

        point, line = "•─" if options.encoding.startswith("utf") else "*-"
        levels = {"floor": self.run.end.floor, "chance": self.run.end.chance}
        labels = {name: f" {name} {level:.3f}" for name, level in levels.items()}
        width = max(10, options.max_width - max(map(len, labels.values())))
        steps, losses = self.run.curve
        columns = [
            float(np.median(part)) for part in np.array_split(losses, min(width, len(losses)))
        ]
        bottom, top = (pick(*levels.values(), *columns) for pick in (min, max))

        def row(value: float) -> int:
            return round((CHART_ROWS - 1) * (top - value) / (top - bottom or 1))

        canvas = [[" "] * width for _ in range(CHART_ROWS)]
        ends = [""] * CHART_ROWS
        for name, level in levels.items():
            canvas[row(level)] = [line] * width
            ends[row(level)] = labels[name]
        for column in range(width):
            canvas[row(columns[column * len(columns) // width])][column] = point
        yield Text()
        for cells, end in zip(canvas, ends, strict=True):
            yield Text("".join(cells) + end, no_wrap=True)
        first, last = f"step {steps[0]:g}", f"{self.run.last_step:g}"
        yield Text(first + last.rjust(width - len(first)))
