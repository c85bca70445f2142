"""Write an HTML page that shows the limits and the diagnosis of any loss, N and τ."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=str, default="explorer.html", help="The HTML file to write."
    )


def run(options: Any) -> int:
    from ntxent.report import write_explorer

    write_explorer(options.output)
    print(options.output)
    return 0
