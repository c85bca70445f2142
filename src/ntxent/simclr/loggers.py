"""Where a run's numbers go beside ``metrics.csv``: TensorBoard, and any logger of Lightning's."""

from dataclasses import asdict
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from ntxent.simclr.config import TrainConfig
from ntxent.simclr.run_folder import RunFolder

__all__ = ["configured_loggers", "tensorboard_logger"]


def tensorboard_logger(run: RunFolder, step: int | None = None) -> TensorBoardLogger:
    """Events in the run folder; after ``step`` steps, those of the last one and later are void."""
    options: dict[str, Any] = {} if step is None else {"purge_step": step - 1}
    return TensorBoardLogger(run.path, name="", version=run.tensorboard.name, **options)


def configured_loggers(config: TrainConfig) -> list[Logger]:
    """The loggers of ``config.loggers``, each told the whole configuration.

    Raises:
        ArgumentError: a class path or an argument of its is wrong.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loggers", type=list[Logger])
    values = parser.parse_object({"loggers": list(config.loggers)})
    loggers: list[Logger] = parser.instantiate(values).loggers
    for logger in loggers:
        logger.log_hyperparams(asdict(config))
    return loggers
