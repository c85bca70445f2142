"""List the engines that compute the loss, and why one cannot be used here."""

import json
from dataclasses import asdict
from typing import Any

from jsonargparse import ArgumentParser


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")


def run(options: Any) -> int:
    from rich.console import Console

    from ntxent.commands._rows import show_table
    from ntxent.engines import status

    records = status()
    if options.json:
        print(json.dumps([asdict(record) for record in records], indent=2))
        return 0
    rows = []
    for engine in records:
        devices = ", ".join(engine.devices).replace("*", "any")
        priority = "" if engine.priority is None else str(engine.priority)
        available = "yes" if engine.available else "no"
        rows.append((engine.name, available, devices, priority, engine.reason))
    header = ("engine", "available", "devices", "priority", "reason")
    show_table(Console(highlight=False, markup=False), rows, header=header)
    return 0
