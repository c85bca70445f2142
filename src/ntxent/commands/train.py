"""Train SimCLR on the digits, evaluate the encoder, keep all of it in a run folder."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from ntxent.simclr import TrainConfig


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file of options.")
    parser.add_class_arguments(TrainConfig, as_group=False)


def run(options: Any, given: Any) -> int:
    options.pop("config")
    config = TrainConfig(**options.as_dict())
    if config.resume not in (None, "auto"):
        config = _continued(config.resume, given)

    from rich.console import Console

    from ntxent.simclr.tables import show
    from ntxent.simclr.training import train

    result = train(config)
    if result is not None:
        show(*result, Console())
    return 0


def _continued(path: str, given: Any) -> TrainConfig:
    """The configuration of the run, with what else was given, to be compared with it."""
    from ntxent.simclr.run_folder import RunFolder
    from ntxent.simclr.stored import kept_config

    given.pop("config", None)
    return kept_config(RunFolder(Path(path)), given.as_dict())
