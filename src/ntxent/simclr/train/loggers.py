"""The loggers of a run beside ``metrics.csv``: TensorBoard, and any of Lightning."""

from argparse import ArgumentError
from dataclasses import asdict
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from ntxent.simclr.config import TrainConfig
from ntxent.simclr.run.folder import RunFolder

__all__ = ["configured_loggers", "require_loggers", "tensorboard_logger"]


def tensorboard_logger(run: RunFolder, step: int | None = None) -> TensorBoardLogger:
    """Returns a logger to the run folder; events of a resumed run replace those from its step on.

    Args:
        run: The run folder.
        step: Step of the checkpoint that the run continues from, None for a new run.
    """
    options: dict[str, Any] = {} if step is None else {"purge_step": step - 1}
    return TensorBoardLogger(run.path, name="", version=run.tensorboard.name, **options)


def configured_loggers(config: TrainConfig) -> list[Logger]:
    """Returns the loggers of ``config.loggers``, after each has logged the configuration."""
    parser, values = _parsed(config)
    loggers: list[Logger] = parser.instantiate(values).loggers
    for logger in loggers:
        logger.log_hyperparams(asdict(config))
    return loggers


def require_loggers(config: TrainConfig) -> None:
    """Checks ``config.loggers`` without making a logger.

    Raises:
        ValueError: a class path or an argument is wrong.
    """
    _parsed(config)


def _parsed(config: TrainConfig) -> tuple[ArgumentParser, Any]:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loggers", type=list[Logger])
    try:
        return parser, parser.parse_object({"loggers": list(config.loggers)})
    except ArgumentError as error:
        raise ValueError(str(error)) from error
