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

    from ntxent.commands._rows import show_table

    console = Console(highlight=False, markup=False)
    for name, preset in PRESETS.items():
        rows = [(option, str(value), source) for option, (value, source) in preset.values.items()]
        title = f"{name}: {preset.summary}"
        show_table(console, rows, header=("option", "value", "source"), title=title)
    return 0
