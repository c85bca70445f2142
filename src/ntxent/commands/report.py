"""Write one HTML file that explains a run, or compares several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from ntxent.commands._convention import add_convention, given_convention


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        type=str,
        help="Run folders, or logs: CSV, TSV, JSON lines or TensorBoard events.",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=str,
        help="The HTML file; by default report.html, in the run's own folder if it is one.",
    )
    parser.add_argument("--png", type=str, help="Also write the figures as PNG to this folder.")
    parser.add_argument(
        "--map", type=str, default="pca", help="Layout of the map: pca, or umap where installed."
    )
    parser.add_argument("--json", action="store_true", help="Print what the page says as JSON.")
    add_convention(parser)
    parser.add_argument("--column", type=str, help="Column of the log that holds the loss.")


def run(options: Any) -> int:
    from ntxent.report import write_report
    from ntxent.report.slides import write_slides
    from ntxent.simclr.stages import ConsoleStages

    given = given_convention(options)
    out = Path(options.output or _default(options.runs))
    stages = ConsoleStages()
    with stages(f"writing {out.name}, its map by {options.map}"):
        made = write_report(
            options.runs, out, given=given, column=options.column, projection=options.map
        )
    drawn = made.pop("figures")
    made["png"] = []
    if options.png is not None:
        with stages(f"drawing {len(drawn)} figures"):
            made["png"] = write_slides(drawn, Path(options.png))
    if options.json:
        print(json.dumps(made, indent=2, allow_nan=False))
        return 0
    for run in made["runs"]:
        print(f"{run['name']}: {run['headline']}")
    for path in (made["report"], *made["png"]):
        print(path)
    return 0


def _default(runs: list[str]) -> Path:
    own = Path(runs[0])
    return own / "report.html" if len(runs) == 1 and own.is_dir() else Path("report.html")
