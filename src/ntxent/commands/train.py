"""Train SimCLR on images, evaluate the encoder, and write both to a run folder."""

from argparse import SUPPRESS, Action
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from ntxent.simclr import TrainConfig
from ntxent.simclr.presets import PRESETS


class _ApplyPreset(Action):
    """Sets the preset's values where it stands: later options and files override them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        config = next(action for action in parser._actions if action.dest == "config")
        config(parser, namespace, yaml.safe_dump(PRESETS[values].nested()))


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file of options; given several times, a later one overrides an earlier one.",
    )
    parser.add_argument(
        "--preset",
        action=_ApplyPreset,
        choices=list(PRESETS),
        default=SUPPRESS,
        help="Published settings; ntxent presets lists them with their sources.",
    )
    parser.add_class_arguments(TrainConfig, as_group=False)


def run(options: Any, given: Any) -> int:
    for name in ("config", "preset"):
        options.pop(name, None)
    config = TrainConfig(**options.as_dict())
    if config.resume not in (None, "auto"):
        config = _continued(config.resume, given)

    from rich.console import Console

    from ntxent.simclr.left_open import left_open
    from ntxent.simclr.tables import show
    from ntxent.simclr.training import train

    result = train(config, () if config.resume not in (None, "auto") else left_open(given))
    if result is not None:
        show(*result, Console())
    return 0


def _continued(path: str, given: Any) -> TrainConfig:
    """The configuration of the run, with what else was given, to be compared with it."""
    from ntxent.simclr.run_folder import RunFolder
    from ntxent.simclr.stored import kept_config

    for name in ("config", "preset"):
        given.pop(name, None)
    return kept_config(RunFolder(Path(path)), given.as_dict())
