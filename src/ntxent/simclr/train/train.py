"""Train and evaluate a run, and write its folder."""

import json
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import partial
from time import perf_counter
from typing import Any

import torch
from lightning import Callback
from lightning.pytorch.loggers import Logger
from rich.console import Console

from ntxent.files import atomic
from ntxent.report import write_report
from ntxent.simclr.config import TrainConfig
from ntxent.simclr.data import ImageData, data_record, skipped_csv
from ntxent.simclr.data.loader import local_batch_size
from ntxent.simclr.evaluation.features import extract_features
from ntxent.simclr.evaluation.online_knn import OnlineKNN
from ntxent.simclr.evaluation.probes import Probes
from ntxent.simclr.evaluation.scores import Score
from ntxent.simclr.model.batchnorm import convert_sync_batchnorm
from ntxent.simclr.model.module import COLUMNS, SimCLR
from ntxent.simclr.run.export import write_onnx, write_safetensors
from ntxent.simclr.run.folder import RunFolder
from ntxent.simclr.stages import ConsoleStages, Stages, silent
from ntxent.simclr.train.checkpoints import Checkpoints
from ntxent.simclr.train.defaults import (
    describe_defaults,
    device_defaults,
    largest_size,
    with_options,
)
from ntxent.simclr.train.loggers import configured_loggers, require_loggers, tensorboard_logger
from ntxent.simclr.train.metrics_file import MetricsFile
from ntxent.simclr.train.processes import Processes, torchrun_group
from ntxent.simclr.train.progress import Forecast, LiveHealth, PlainHealth
from ntxent.simclr.train.recorder import Recorder, record_samples
from ntxent.simclr.train.resume import check_images, locate_run, start_run
from ntxent.simclr.train.rng import seed_all
from ntxent.simclr.train.signals import Stop, catch_signals
from ntxent.simclr.train.summary import summarise
from ntxent.simclr.train.trainer import make_trainer, quiet_lightning, resolve_accelerator

__all__ = ["train"]


def train(
    config: TrainConfig, unset: Collection[str] = ()
) -> tuple[RunFolder, dict[str, Any]] | None:
    """Trains SimCLR without labels, evaluates the encoder, and writes the run folder.

    On the CPU, the same configuration gives the same loss bit for bit, whether the run was
    interrupted and resumed or not. The run folder is made after all other checks of the
    configuration have passed.

    Args:
        config: Every option.
        unset: Dotted names of the options that were not given; :mod:`ntxent.simclr.train.defaults`
            may set them to other values, which are printed and written to the run folder.

    Returns:
        The run folder, and the content of its ``summary.json``; None in processes of another rank
        than 0.

    Raises:
        ValueError: the configuration does not fit the data or the machine, or is not that of the
            run to resume.
        FileExistsError: the run folder exists and ``config.overwrite`` is False.
        BlockingIOError: another process uses the run folder.
        OSError: the run folder cannot be written; the last checkpoint is kept, or all but the
            report of a finished run.
        FloatingPointError: the loss or a weight is no longer finite; the last checkpoint is kept.
        KeyboardInterrupt, Terminated: on SIGINT and SIGTERM, after a checkpoint.
    """
    started = perf_counter()
    accelerator = resolve_accelerator(config)
    with ExitStack() as stack:
        stop = stack.enter_context(catch_signals())
        processes = stack.enter_context(torchrun_group(accelerator))

        # Locate the run; a finished one has nothing to continue.
        stages: Stages = ConsoleStages() if processes.is_rank_zero else silent
        located = processes.on_rank_zero(partial(_locate, config, unset, processes))
        config, run, unset = located
        if config.resume is not None and run.summary.exists():
            return (run, json.loads(run.summary.read_text())) if processes.is_rank_zero else None

        # Read the images, and set the options that depend on them and on the device.
        seed_all(config.seed)
        largest = largest_size(accelerator, config, unset)
        data = ImageData(config.data, batch_size=1, largest_size=largest, stages=stages)
        processes.on_rank_zero(partial(check_images, config, run, data))
        images = len(data.train), data.shape
        defaults = device_defaults(config, unset, accelerator, *images, processes.size)
        notice = describe_defaults(config, defaults)
        config = with_options(config, defaults)
        processes.on_rank_zero(partial(local_batch_size, config.batch_size, processes.size))
        data.batch_size = config.batch_size

        # Build all that may refuse the configuration before the folder is made.
        probes = Probes.of(data, config.evaluation)
        online_knn = OnlineKNN.of(data, config.evaluation)
        model = SimCLR(config, data.shape)
        encoders = {"untrained_encoder": deepcopy(model.encoder)}
        step = processes.on_rank_zero(partial(start_run, config, run, stack))

        prepared = perf_counter()
        metrics = MetricsFile(run.metrics, COLUMNS) if processes.is_rank_zero else None
        checkpoints = Checkpoints(run.checkpoint, config.checkpoint_seconds, stop, metrics, step)
        with _how_to_continue(run, checkpoints, stop, processes):
            # Train.
            if processes.is_rank_zero:
                _write_data(run, data)
                if notice is not None:
                    console = Console(stderr=True, highlight=False, markup=False)
                    console.print(notice, soft_wrap=True)
            callbacks = [checkpoints, *([] if online_knn is None else [online_knn])]
            device = _fit(run, model, data, accelerator, processes, checkpoints, callbacks)
            if not processes.is_rank_zero:
                return None

            # Write the encoder, and the files that turned out to be damaged.
            _write_data(run, data)
            encoder = deepcopy(model.encoder)  # without what torch.compile has attached to it
            write_safetensors(encoder, run.encoder)
            if config.onnx:
                with stages(f"writing {run.onnx.name}"):
                    write_onnx(deepcopy(encoder).cpu(), model.views.shape, run.onnx)

            # Evaluate.
            trained = perf_counter()
            shape = model.views.shape
            workers = config.data.workers
            extract = partial(
                extract_features, encoder, shape=shape, workers=workers, stages=stages
            )
            record_samples(run.recording, extract, data.test, data.classes)
            scores: dict[str, dict[str, Score]] = {}
            if probes is not None:
                encoders = {"encoder": encoder, **encoders}
                predicted = probes.predictions_of(encoders, data, shape, stages)
                scores = {name: probes.scores(labels) for name, labels in predicted.items()}

            # Write the summary, which marks the run as finished.
            seconds = {
                "prepare": prepared - started,
                "train": checkpoints.seconds_trained,
                "evaluate": perf_counter() - trained,
            }
            seconds["total"] = sum(seconds.values())
            warnings = model.monitor.warnings
            summary = summarise(config, run.metrics, seconds, device, scores, warnings)
            if defaults:
                summary["chosen"] = defaults
            if online_knn is not None:
                summary["knn"] = online_knn.history
            with atomic(run.summary) as path:
                path.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
        try:
            with stages(f"writing {run.report.name}"):
                write_report([run.path], run.report)
        except OSError as error:
            again = f"ntxent report {shlex.quote(str(run.path))}"
            raise OSError(f"{error}; the run itself is finished and kept: {again}") from error
        return run, summary


def _locate(
    config: TrainConfig, unset: Collection[str], processes: Processes
) -> tuple[TrainConfig, RunFolder, Collection[str]]:
    if "batch_size" not in unset:
        local_batch_size(config.batch_size, processes.size)
    require_loggers(config)
    return locate_run(config, unset)


def _write_data(run: RunFolder, data: ImageData) -> None:
    with atomic(run.data) as path:
        path.write_text(json.dumps(data_record(data), indent=2) + "\n")
    if data.skipped:
        with atomic(run.skipped) as path:
            path.write_text(skipped_csv(data))


def _fit(
    run: RunFolder,
    model: SimCLR,
    data: ImageData,
    accelerator: str,
    processes: Processes,
    checkpoints: Checkpoints,
    callbacks: Sequence[Callback],
) -> torch.device:
    """Trains the model to its last step, and returns the device."""
    config = model.config
    if processes.size > 1 and config.sync_batchnorm:
        convert_sync_batchnorm(model, accelerator)
    callbacks = [*callbacks, Recorder(run.recording)]
    loggers: list[Logger] = []
    if checkpoints.metrics is not None:
        console = Console(stderr=True)
        model.monitor.say = partial(console.print, style="yellow", highlight=False, markup=False)
        plain = PlainHealth(console, run.metrics)
        health: Callback = LiveHealth(console) if console.is_terminal else plain
        callbacks += [health, Forecast(console), checkpoints.metrics]
        loggers = [tensorboard_logger(run, checkpoints.step), *configured_loggers(config)]
    with quiet_lightning():
        trainer = make_trainer(config, accelerator, processes, callbacks, loggers)
        resumed = None if checkpoints.step is None else run.checkpoint
        trainer.fit(model, data, ckpt_path=resumed, weights_only=True)
    return trainer.strategy.root_device


@contextmanager
def _how_to_continue(
    run: RunFolder, checkpoints: Checkpoints, stop: Stop, processes: Processes
) -> Iterator[None]:
    """Adds the last checkpoint, and the command that continues from it, to the message of an error.

    Errors that all processes raise alike keep their message in rank 0 only.
    """
    resume = f"ntxent train --resume {shlex.quote(str(run.path))}"
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:  # Lightning turns Ctrl-C into SystemExit
        if stop.received is None:
            raise
        if not processes.is_rank_zero:
            raise SystemExit(128 + stop.received) from error
        message = f"; {checkpoints.last_checkpoint}; continue with: {resume}"
        raise stop.exception(message) from error
    except FloatingPointError as error:
        if not processes.is_rank_zero:
            raise SystemExit(1) from error
        remedy = "start another run with a smaller --optimizer.lr, or with --optimizer.clip_norm"
        raise FloatingPointError(f"{error}; {checkpoints.last_checkpoint}; {remedy}") from error
    except OSError as error:
        remedy = f"once that is mended, continue with: {resume}"
        raise OSError(f"{error}; {checkpoints.last_checkpoint}; {remedy}") from error
