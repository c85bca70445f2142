"""Where a run's numbers go beside ``metrics.csv``: TensorBoard, and any logger of Lightning's."""

from argparse import ArgumentError
from dataclasses import asdict
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from ntxent.simclr.config import TrainConfig
from ntxent.simclr.run.folder import RunFolder

__all__ = ["configured_loggers", "require_loggers", "tensorboard_logger"]


def tensorboard_logger(run: RunFolder, step: int | None = None) -> TensorBoardLogger:
    """Events in the run folder; after ``step`` steps, those of the last one and later are void."""
    options: dict[str, Any] = {} if step is None else {"purge_step": step - 1}
    return TensorBoardLogger(run.path, name="", version=run.tensorboard.name, **options)


def configured_loggers(config: TrainConfig) -> list[Logger]:
    """The loggers of ``config.loggers``, each told the whole configuration."""
    parser, values = _parsed(config)
    loggers: list[Logger] = parser.instantiate(values).loggers
    for logger in loggers:
        logger.log_hyperparams(asdict(config))
    return loggers


def require_loggers(config: TrainConfig) -> None:
    """Refuse what is no logger, without making one.

    Raises:
        ValueError: a class path or an argument of its is wrong.
    """
    _parsed(config)


def _parsed(config: TrainConfig) -> tuple[ArgumentParser, Any]:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loggers", type=list[Logger])
    try:
        return parser, parser.parse_object({"loggers": list(config.loggers)})
    except ArgumentError as error:
        raise ValueError(str(error)) from error
