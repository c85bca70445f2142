"""One run from its configuration to its folder: train, evaluate, keep everything."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from time import perf_counter
from typing import Any

import torch
import yaml
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from rich.console import Console
from safetensors.torch import save

from ntxent.simclr.config import EvaluationConfig, TrainConfig
from ntxent.simclr.data import ImageData, Shape, data_record, skipped_csv
from ntxent.simclr.evaluate import Evaluation, Score
from ntxent.simclr.features import RawPixels, describe_all
from ntxent.simclr.module import SimCLR
from ntxent.simclr.online_knn import OnlineKNN
from ntxent.simclr.progress import LiveHealth, PlainHealth
from ntxent.simclr.run_folder import RunFolder, atomic
from ntxent.simclr.summary import summarise

__all__ = ["train"]


def train(config: TrainConfig) -> tuple[RunFolder, dict[str, Any]]:
    """Train SimCLR without labels, evaluate the encoder, and write the run folder.

    On the CPU, the same configuration gives the same loss bit for bit. Everything that can be
    refused is refused before the run folder is made.

    Returns:
        The run folder, and the content of its ``summary.json``.

    Raises:
        ValueError: the configuration does not fit the data or the machine.
        FileExistsError: the run folder exists and ``config.overwrite`` is False.
        OSError: the run folder cannot be written.
    """
    started = perf_counter()
    accelerator = _accelerator(config.accelerator)
    seed_everything(config.seed, verbose=False)
    data = ImageData(config.data, config.batch_size)
    evaluation = Evaluation.of(data, config.evaluation)
    model = SimCLR(config, data.shape)
    untrained = deepcopy(model.encoder)

    callbacks = _callbacks(data, config.evaluation)
    name = _default_name(data.source.name, config.seed) if config.name is None else config.name
    config = replace(config, name=name)
    run = RunFolder.create(config.folder, name, config.overwrite)
    with atomic(run.config) as path:
        path.write_text(yaml.safe_dump(asdict(config), sort_keys=False))
    _record(run, data)

    prepared = perf_counter()
    with _quiet_lightning():
        console = Console(stderr=True)
        model.monitor.say = partial(console.print, style="yellow", highlight=False, markup=False)
        trainer = _trainer(config, run, accelerator, console, callbacks)
        _fit(trainer, model, data)
    with atomic(run.checkpoint) as path:
        trainer.save_checkpoint(path, weights_only=False)
    with atomic(run.encoder) as path:
        path.write_bytes(save(model.encoder.state_dict()))

    _record(run, data)  # files that turned out to be damaged

    trained = perf_counter()
    encoders = {"encoder": model.encoder, "untrained_encoder": untrained}
    scores = _evaluate(evaluation, data, encoders, model.views.shape)
    finished = perf_counter()

    seconds = {
        "prepare": prepared - started,
        "train": trained - prepared,
        "evaluate": finished - trained,
        "total": finished - started,
    }
    device = trainer.strategy.root_device
    summary = summarise(config, run.metrics, seconds, device, scores, model.monitor.warnings)
    with atomic(run.summary) as path:
        path.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return run, summary


def _record(run: RunFolder, data: ImageData) -> None:
    with atomic(run.data) as path:
        path.write_text(json.dumps(data_record(data), indent=2) + "\n")
    if data.skipped:
        with atomic(run.skipped) as path:
            path.write_text(skipped_csv(data))


def _default_name(source: str, seed: int) -> str:
    return f"{source}-seed{seed}-{datetime.now():%Y%m%d-%H%M%S}"


def _accelerator(name: str) -> str:
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return "cuda" if present["cuda"] else "cpu"
    if not present[name]:
        here = ", ".join(device for device, found in present.items() if found)
        raise ValueError(f"accelerator: received {name!r}, expected one of this machine's: {here}")
    return name


def _callbacks(data: ImageData, choice: EvaluationConfig) -> list[Callback]:
    return [OnlineKNN(data, choice.knn_every, choice.neighbors)] if choice.knn_every else []


def _trainer(
    config: TrainConfig,
    run: RunFolder,
    accelerator: str,
    console: Console,
    callbacks: list[Callback],
) -> Trainer:
    health: Callback = LiveHealth(console) if console.is_terminal else PlainHealth(console)
    return Trainer(
        accelerator=accelerator,
        devices=1,
        max_epochs=config.epochs,
        log_every_n_steps=1,
        logger=[
            CSVLogger(run.path, name="", version=""),
            TensorBoardLogger(run.path, name="", version=run.tensorboard.name),
        ],
        callbacks=[health, *callbacks],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )


def _fit(trainer: Trainer, model: SimCLR, data: ImageData) -> None:
    try:
        trainer.fit(model, data)
    except SystemExit as stop:
        # Lightning answers Ctrl-C with exit status 1; how to end is the caller's to say.
        raise KeyboardInterrupt from stop


def _evaluate(
    evaluation: Evaluation | None,
    data: ImageData,
    encoders: dict[str, torch.nn.Module],
    shape: Shape,
) -> dict[str, dict[str, Score]]:
    """The scores of each representation; none where the images have no labels."""
    if evaluation is None:
        return {}
    described = {"raw_pixels": RawPixels()} | encoders
    train, test = (
        describe_all(described, part, shape, data.config.workers)
        for part in (data.labelled, data.test)
    )
    return {name: evaluation(train[name], test[name]) for name in described}


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Leave out Lightning's tips, and its warnings about what is meant here."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # The run folder already has config.yaml when the CSV logger first looks into it.
        warnings.filterwarnings("ignore", "Experiment logs directory .* exists and is not empty")
        # Images in memory are on the device: worker processes would only copy them back.
        warnings.filterwarnings("ignore", "The '.*dataloader' does not have many workers")
        # Lightning's own use of a part of PyTorch that moved.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")
        # --accelerator cpu on a machine with a GPU is a choice.
        warnings.filterwarnings("ignore", "GPU available but not used")
        try:
            yield
        finally:
            log.setLevel(level)
