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

from ntxent.report import write_report
from ntxent.simclr.config import TrainConfig
from ntxent.simclr.data import DigitsData
from ntxent.simclr.evaluate import Evaluation, Score, describe
from ntxent.simclr.module import SimCLR
from ntxent.simclr.progress import LiveHealth, PlainHealth
from ntxent.simclr.recording import Recorder, record_samples
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
    data = DigitsData(config.batch_size, config.data.held_out)
    evaluation = Evaluation(data.train_labels, data.test_labels, config.evaluation)
    model = SimCLR(config)
    untrained = deepcopy(model.encoder)

    name = _default_name(config.seed) if config.name is None else config.name
    config = replace(config, name=name)
    run = RunFolder.create(config.folder, name, config.overwrite)
    with atomic(run.config) as path:
        path.write_text(yaml.safe_dump(asdict(config), sort_keys=False))

    prepared = perf_counter()
    with _quiet_lightning():
        console = Console(stderr=True)
        model.monitor.say = partial(console.print, style="yellow", highlight=False, markup=False)
        trainer = _trainer(config, run, accelerator, console)
        _fit(trainer, model, data)
    with atomic(run.checkpoint) as path:
        trainer.save_checkpoint(path, weights_only=False)
    with atomic(run.encoder) as path:
        path.write_bytes(save(model.encoder.state_dict()))

    trained = perf_counter()
    record_samples(run.recording, partial(describe, model.encoder), *data.held_out_samples())
    scores = _evaluate(evaluation, data, {"encoder": model.encoder, "untrained_encoder": untrained})
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
    write_report([run.path], run.report)
    return run, summary


def _default_name(seed: int) -> str:
    return f"digits-seed{seed}-{datetime.now():%Y%m%d-%H%M%S}"


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


def _trainer(config: TrainConfig, run: RunFolder, accelerator: str, console: Console) -> Trainer:
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
        callbacks=[health, Recorder(run.recording)],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )


def _fit(trainer: Trainer, model: SimCLR, data: DigitsData) -> None:
    try:
        trainer.fit(model, data)
    except SystemExit as stop:
        # Lightning answers Ctrl-C with exit status 1; how to end is the caller's to say.
        raise KeyboardInterrupt from stop


def _evaluate(
    evaluation: Evaluation, data: DigitsData, encoders: dict[str, torch.nn.Module]
) -> dict[str, dict[str, Score]]:
    images = data.train_images, data.test_images
    scores = {"raw_pixels": evaluation(*(part.flatten(1).numpy() for part in images))}
    for name, encoder in encoders.items():
        scores[name] = evaluation(*(describe(encoder, part) for part in images))
    return scores


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Leave out Lightning's tips, and its warnings about what is meant here."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # The run folder already has config.yaml when the CSV logger first looks into it.
        warnings.filterwarnings("ignore", "Experiment logs directory .* exists and is not empty")
        # The images are on the device: worker processes would only copy them back.
        warnings.filterwarnings("ignore", "The '.*dataloader' does not have many workers")
        # Lightning's own use of a part of PyTorch that moved.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")
        # --accelerator cpu on a machine with a GPU is a choice.
        warnings.filterwarnings("ignore", "GPU available but not used")
        try:
            yield
        finally:
            log.setLevel(level)
