"""Compare runs by their evaluation and by the position of their loss."""

from __future__ import annotations

import json
from typing import Any

from jsonargparse import ArgumentParser

MEASURES = ("knn", "linear_all")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", type=str, nargs="+", help="Folders of finished runs.")
    parser.add_argument(
        "--sort",
        type=str,
        default="linear_all",
        help="Column to sort by, the best first: position, loss, or a measure such as knn.",
    )
    parser.add_argument("--json", action="store_true", help="Print a JSON list.")


def run(options: Any) -> int:
    from ntxent.simclr.run.compare import compare

    rows, unfinished = compare(options.runs, options.sort)
    if options.json:
        print(json.dumps(rows, indent=2, allow_nan=False))
        return 0

    from rich.console import Console

    from ntxent.commands._rows import show_table

    console = Console(highlight=False, markup=False)
    settings = sorted({name for row in rows for name in row["settings"]})
    measures = [name for name in MEASURES if any(name in row["accuracy"] for row in rows)]
    numbers = ("loss", "floor", "chance", "position", *measures, "seconds")
    named = {"loss": "mean loss of the last epoch"}
    header = ["run", *settings, *(named.get(name, name.replace("_", " ")) for name in numbers)]
    cells = [
        [
            row["name"],
            *(str(row["settings"].get(name, "")) for name in settings),
            *(f"{row[name]:.3f}" for name in ("loss", "floor", "chance", "position")),
            *(f"{100 * row['accuracy'][n]:.1f}" if n in row["accuracy"] else "" for n in measures),
            f"{row['seconds']:.0f}",
        ]
        for row in rows
    ]
    show_table(console, cells, header=header, right=range(1 + len(settings), len(header)))
    for path in unfinished:
        console.print(f"{path} has not finished", soft_wrap=True)
    console.print(
        "Losses of different N, τ or augmentation cannot be compared. The position is 0 at the "
        "floor and 1 at chance; it does not rank encoders, the accuracy of a probe does.",
        soft_wrap=True,
    )
    return 0
