"""Measure two files of embeddings: their exact loss, its limits, and their geometry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from ntxent.commands._plots import pair_cosines, plot_writer

if TYPE_CHECKING:
    from ntxent.analysis import Analysis, Progress

FILES = (
    ".npy, .npz, .pt, .pth, .safetensors or .parquet, as ntxent embed writes; FILE:NAME for one "
    "array of several."
)
SHOWN = 4  # counts of equal negatives in the table
BARS = " ▁▂▃▄▅▆▇█"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("views1", type=str, help=f"First views, N x d: {FILES}")
    parser.add_argument(
        "views2",
        type=str,
        help="Second views. Rows of one name are a pair where both files have names; else row i "
        "is the positive of row i.",
    )
    parser.add_argument(
        "-t", "--temperature", type=float, default=0.5, help="Temperature τ of the loss."
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    parser.add_argument(
        "--plot", type=str, help="Draw the cosines of the pairs to this .html or .png file."
    )
    parser.add_argument(
        "--report",
        nargs="?",
        const="report.html",
        type=str,
        help="Also write an HTML page, report.html unless named.",
    )


def run(options: Any) -> int:
    save = None if options.plot is None else plot_writer(options.plot, "analyze")

    from ntxent.analysis import analyze
    from ntxent.analysis.files import read_pairs
    from ntxent.distributed import join
    from ntxent.simclr.train.processes import torchrun_group

    files = (options.views1, options.views2)
    with torchrun_group("cpu") as processes:
        first = processes.is_rank_zero
        ranks = join("auto", None)
        pairs = read_pairs(*files)
        with _progress(shown=first and not options.json) as on_progress:
            names = [f"{file}, rows paired by name" if pairs.reordered else file for file in files]
            report = analyze(
                pairs.z1,
                pairs.z2,
                options.temperature,
                names=(names[0], names[1]),
                ranks=ranks,
                on_progress=on_progress,
            )
    if not first:
        return 0
    measured = report.to_dict() | {"unpaired": list(pairs.unpaired)}
    note = _unpaired(files, pairs.unpaired)
    if options.json:
        print(json.dumps(measured, indent=2, allow_nan=False))
    else:
        _show(report, note)
    if save is not None:
        save(pair_cosines(measured))
    if options.report is not None:
        from ntxent.report import write_analysis

        write_analysis(measured, files, options.report, note=note)
        if not options.json:
            print(f"\nReport: {options.report}")
    return 0


@contextmanager
def _progress(shown: bool) -> Iterator[Progress]:
    """A bar with the time left on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = not (shown and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda stage, done: bar.update(task, description=stage, completed=done)


def _unpaired(files: tuple[str, str], counts: tuple[int, int]) -> str:
    """Says of how many rows the other file has none of the same name; empty if of none."""
    if not any(counts):
        return ""
    rows = " and ".join(f"{n:,} rows of {file}" for file, n in zip(files, counts, strict=True) if n)
    return f"{rows} have no partner of the same name and are left out."


def _show(report: Analysis, note: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from ntxent.commands._diagnosis import STYLES
    from ntxent.commands._rows import show_table

    judged = report.diagnosis
    console = Console(highlight=False, markup=False)
    console.print(f"N = {judged.batch_size}, d = {judged.dim}, τ = {judged.temperature:g}")
    console.print(note, end="\n\n" if note else "\n", soft_wrap=True)
    position = "" if judged.position is None else f"  position {judged.position:.3f}"
    verdict = judged.verdict.replace("_", " ")
    console.print(Text.assemble((verdict, STYLES[judged.verdict]), position, "\n"))
    loss, bold = _loss(report)
    show_table(console, loss, title="Loss, nats", right=(1,), bold=bold, rules=False)
    title = "\nEmbeddings, and what the loss proves of them"
    show_table(console, _embeddings(report), title=title, right=(1,), rules=False)
    cosines = _histogram(report, console.encoding)
    show_table(console, cosines, title="\nCosines, -1 to 1", unbroken=(1,), rules=False)
    for sentence in report.sentences:
        console.print(f"\n{sentence}")


def _loss(report: Analysis) -> tuple[list[tuple[str, str, str]], list[int]]:
    """The loss among its limits, from small to large, and which row is the loss."""
    judged = report.diagnosis
    rows = [
        (judged.floor, "floor", "no embeddings have less"),
        (report.measured_floor, "measured floor", "none with these mean cosines have less"),
        (judged.loss, "loss", "all pairs as one batch"),
        (judged.chance, "chance", "nothing told apart"),
        (report.similarity_ceiling, "measured ceiling", "none with this positive cosine have more"),
        (judged.ceiling, "ceiling", "no embeddings have more"),
    ]
    if judged.random is not None:
        rows.append((judged.random, "random", "about, for independent uniform embeddings"))
    rows.sort(key=lambda row: row[0])
    cells = [(name, f"{value:.4f}", meaning) for value, name, meaning in rows]
    return cells, [number for number, row in enumerate(cells) if row[0] == "loss"]


def _embeddings(report: Analysis) -> list[tuple[str, str, str]]:
    """The measures of the embeddings, and what the loss alone proves of them."""

    def proven(interval: tuple[float, float]) -> str:
        return "proven {:.4f} to {:.4f}".format(*interval)

    judged = report.diagnosis
    positive, negative = judged.positive_similarity or 0.0, judged.negative_similarity or 0.0
    smallest = min(2 * judged.batch_size, judged.dim or 1)
    rows = [
        ("positive cosine", positive, proven(report.similarity_interval)),
        ("negative cosine", negative, ""),
        ("gap", positive - negative, f"proven at least {report.similarity_gap:.4f}"),
        (
            "candidate cosine",
            report.candidate_similarity,
            proven(report.candidate_similarity_interval),
        ),
        (
            "positives on top",
            report.contrastive_accuracy,
            f"proven at least {judged.top1_share or 0.0:.4f}",
        ),
        ("alignment", report.alignment, "0 is best"),
        ("uniformity", report.uniformity, "0 is collapse, lower is more uniform"),
        ("effective rank", report.effective_rank, f"1 to {smallest}"),
    ]
    found = report.equal_negatives
    if judged.gradient_bound is not None:
        rows.append(("gradient", judged.gradient_bound, "at most, summed norms"))
    cells = [(name, f"{value:.4f}", meaning) for name, value, meaning in rows]
    if found.pairs:
        often = sorted(found.by_anchor, key=lambda pair: -pair[1])[:SHOWN]
        shown = ", ".join(f"{k} in {rows} rows" for k, rows in sorted(often))
        cells.append(("equal negatives", str(found.pairs), f"pairs; of an anchor {shown}"))
    return cells


def _histogram(report: Analysis, encoding: str) -> list[tuple[str, str]]:
    """The two distributions of cosines, two bins a character, each scaled to its own peak."""
    bars = BARS if encoding.startswith("utf") else " .:-=+*#@"

    def draw(counts: list[int]) -> str:
        pairs = [a + b for a, b in zip(counts[::2], counts[1::2], strict=True)]
        levels = (-(-(len(bars) - 1) * count // max(pairs)) for count in pairs)
        return "".join(bars[level] for level in levels)

    histogram = report.histogram
    negatives = f"negatives, {sum(histogram.negative)} drawn" if histogram.sampled else "negatives"
    return [("positives", draw(histogram.positive)), (negatives, draw(histogram.negative))]
