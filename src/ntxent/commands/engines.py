"""List the engines that compute the loss, and why one cannot be used here."""

import json
from dataclasses import asdict
from typing import Any

from jsonargparse import ArgumentParser


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")


def run(options: Any) -> int:
    from rich.console import Console
    from rich.table import Table

    from ntxent.engines import status

    records = status()
    if options.json:
        print(json.dumps([asdict(record) for record in records], indent=2))
        return 0
    table = Table("engine", "available", "devices", "priority", "reason")
    for engine in records:
        devices = ", ".join(engine.devices).replace("*", "any")
        priority = "" if engine.priority is None else str(engine.priority)
        available = "yes" if engine.available else "no"
        table.add_row(engine.name, available, devices, priority, engine.reason)
    Console().print(table)
    return 0
