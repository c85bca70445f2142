"""List the published settings that ``train --preset`` takes, every value with its source."""

import json
from typing import Any

from jsonargparse import ArgumentParser

from ntxent.simclr.presets import PRESETS


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run(options: Any) -> int:
    if options.json:
        listed = {
            name: {
                "summary": preset.summary,
                "values": {option: value._asdict() for option, value in preset.values.items()},
            }
            for name, preset in PRESETS.items()
        }
        print(json.dumps(listed, indent=2))
        return 0

    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    for name, preset in PRESETS.items():
        table = Table("option", "value", "source", title=f"{name}: {preset.summary}")
        for option, (value, source) in preset.values.items():
            table.add_row(option, str(value), source)
        console.print(table)
    return 0
