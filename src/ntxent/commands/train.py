"""Train SimCLR on the digits, evaluate the encoder, keep all of it in a run folder."""

from typing import Any

from jsonargparse import ArgumentParser

from ntxent.simclr import TrainConfig


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file of options.")
    parser.add_class_arguments(TrainConfig, as_group=False)


def run(options: Any) -> int:
    options.pop("config")
    config = TrainConfig(**options.as_dict())

    from rich.console import Console

    from ntxent.simclr.tables import show
    from ntxent.simclr.training import train

    show(*train(config), Console())
    return 0
