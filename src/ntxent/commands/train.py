"""Train SimCLR on images, evaluate the encoder, and write both to a run folder."""

from argparse import SUPPRESS, Action
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from ntxent.simclr import TrainConfig
from ntxent.simclr.presets import PRESETS


def add_arguments(parser: ArgumentParser) -> None:
    read_config = parser.add_argument(
        "--config",
        action="config",
        help="YAML file of options; given several times, a later one overrides an earlier one.",
    )

    class ApplyPreset(Action):
        """Reads the preset like a file given at its place, so later options override it."""

        def __call__(self, parser: Any, namespace: Any, preset: Any, option: Any = None) -> None:
            read_config(parser, namespace, yaml.safe_dump(PRESETS[preset].nested()))

    parser.add_argument(
        "--preset",
        action=ApplyPreset,
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
        config = _resumed_config(config.resume, given)

    from rich.console import Console

    from ntxent.commands._tables import show
    from ntxent.simclr.train.defaults import unset_options
    from ntxent.simclr.train.train import train

    result = train(config, () if config.resume not in (None, "auto") else unset_options(given))
    if result is not None:
        show(*result, Console(highlight=False, markup=False))
    return 0


def _resumed_config(path: str, given: Any) -> TrainConfig:
    """Returns the configuration of the run with the options that were given in place of its own."""
    from ntxent.simclr.run.config_file import read_config
    from ntxent.simclr.run.folder import RunFolder

    for name in ("config", "preset"):
        given.pop(name, None)
    return read_config(RunFolder(Path(path)), given.as_dict())
