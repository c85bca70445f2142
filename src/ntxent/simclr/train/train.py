"""One run from its configuration to its folder: train, evaluate, keep everything."""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
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
from ntxent.simclr.data import ImageData, Shape, data_record, skipped_csv
from ntxent.simclr.data.loader import share_of
from ntxent.simclr.evaluation.features import RawPixels, describe, describe_all
from ntxent.simclr.evaluation.online_knn import OnlineKNN
from ntxent.simclr.evaluation.scores import Evaluation, Score
from ntxent.simclr.model.batchnorm import synchronise
from ntxent.simclr.model.module import COLUMNS, SimCLR
from ntxent.simclr.run.export import write_onnx, write_safetensors
from ntxent.simclr.run.folder import RunFolder
from ntxent.simclr.train.checkpoints import Checkpoints
from ntxent.simclr.train.defaults import changed, choose, largest_size, told
from ntxent.simclr.train.loggers import configured_loggers, require_loggers, tensorboard_logger
from ntxent.simclr.train.metrics_file import MetricsFile
from ntxent.simclr.train.processes import Processes, torchrun_group
from ntxent.simclr.train.progress import Forecast, LiveHealth, PlainHealth
from ntxent.simclr.train.recorder import Recorder, record_samples
from ntxent.simclr.train.resume import find_run, open_run
from ntxent.simclr.train.rng import seed_all
from ntxent.simclr.train.signals import Stop, stoppable
from ntxent.simclr.train.summary import summarise
from ntxent.simclr.train.trainer import accelerator_of, make_trainer, quiet_lightning

__all__ = ["train"]


def train(
    config: TrainConfig, left_open: Collection[str] = ()
) -> tuple[RunFolder, dict[str, Any]] | None:
    """Train SimCLR without labels, evaluate the encoder, and write the run folder.

    On the CPU, the same configuration gives the same loss bit for bit, whether the run was
    interrupted and resumed or not. What can be refused is refused before the run folder is made.

    Args:
        config: Every option.
        left_open: Dotted names of the options that nobody chose;
            :mod:`ntxent.simclr.train.defaults`
            may. What it chooses is kept and told.

    Returns:
        The run folder, and the content of its ``summary.json``; None in all but the first of
        several processes.

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
    accelerator = accelerator_of(config)
    with ExitStack() as stack:
        stop = stack.enter_context(stoppable())
        processes = stack.enter_context(torchrun_group(accelerator))
        config, run, left_open = processes.on_rank_zero(
            partial(_find, config, left_open, processes)
        )
        if config.resume is not None and run.summary.exists():
            return (run, json.loads(run.summary.read_text())) if processes.is_rank_zero else None

        seed_all(config.seed)
        largest = largest_size(accelerator, config, left_open)
        data = ImageData(config.data, batch_size=1, largest_size=largest)
        images = len(data.train), data.shape
        chosen = choose(config, left_open, accelerator, *images, processes.size)
        line = told(config, chosen)
        config = changed(config, chosen)
        processes.on_rank_zero(partial(share_of, config.batch_size, processes.size))
        data.batch_size = config.batch_size
        evaluation = Evaluation.of(data, config.evaluation)
        online = OnlineKNN.of(data, config.evaluation)
        model = SimCLR(config, data.shape)
        untrained = deepcopy(model.encoder)
        step = processes.on_rank_zero(partial(open_run, config, run, stack))

        prepared = perf_counter()
        metrics = MetricsFile(run.metrics, COLUMNS) if processes.is_rank_zero else None
        checkpoints = Checkpoints(run.checkpoint, config.checkpoint_seconds, stop, metrics, step)
        with _explained(run, checkpoints, stop, processes):
            if processes.is_rank_zero:
                _record(run, data)
                if line is not None:
                    Console(stderr=True, highlight=False, markup=False).print(line, soft_wrap=True)
            watchers = [] if online is None else [online]
            device = _fit(config, run, model, data, accelerator, processes, checkpoints, watchers)
            if not processes.is_rank_zero:
                return None
            _record(run, data)  # with the files that turned out to be damaged
            encoder = deepcopy(model.encoder)  # without what torch.compile has attached to it
            write_safetensors(encoder, run.encoder)
            if config.onnx:
                write_onnx(deepcopy(encoder).cpu(), model.views.shape, run.onnx)

            trained = perf_counter()
            shape = model.views.shape
            features = partial(describe, encoder, shape=shape, workers=config.data.workers)
            record_samples(run.recording, features, data.test, data.classes)
            encoders = {"encoder": encoder, "untrained_encoder": untrained}
            scores = _evaluate(evaluation, data, encoders, shape)
            seconds = {
                "prepare": prepared - started,
                "train": checkpoints.seconds_trained,
                "evaluate": perf_counter() - trained,
            }
            seconds["total"] = sum(seconds.values())
            warnings = model.monitor.warnings
            summary = summarise(config, run.metrics, seconds, device, scores, warnings)
            if chosen:
                summary["chosen"] = chosen
            if online is not None:
                summary["knn"] = online.history
            with atomic(run.summary) as path:
                path.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
        try:
            write_report([run.path], run.report)
        except OSError as error:
            again = f"ntxent report {shlex.quote(str(run.path))}"
            raise OSError(f"{error}; the run itself is finished and kept: {again}") from error
        return run, summary


def _record(run: RunFolder, data: ImageData) -> None:
    with atomic(run.data) as path:
        path.write_text(json.dumps(data_record(data), indent=2) + "\n")
    if data.skipped:
        with atomic(run.skipped) as path:
            path.write_text(skipped_csv(data))


def _find(
    config: TrainConfig, left_open: Collection[str], processes: Processes
) -> tuple[TrainConfig, RunFolder, Collection[str]]:
    if "batch_size" not in left_open:
        share_of(config.batch_size, processes.size)
    require_loggers(config)
    return find_run(config, left_open)


def _fit(
    config: TrainConfig,
    run: RunFolder,
    model: SimCLR,
    data: ImageData,
    accelerator: str,
    processes: Processes,
    checkpoints: Checkpoints,
    watchers: Sequence[Callback],
) -> torch.device:
    """Train from the start or from the checkpoint to the end, and say on which device."""
    if processes.size > 1 and config.sync_batchnorm:
        synchronise(model, accelerator)
    callbacks: list[Callback] = [checkpoints, *watchers, Recorder(run.recording)]
    loggers: list[Logger] = []
    if checkpoints.metrics is not None:
        console = Console(stderr=True)
        model.monitor.say = partial(console.print, style="yellow", highlight=False, markup=False)
        health: Callback = LiveHealth(console) if console.is_terminal else PlainHealth(console)
        callbacks += [health, Forecast(console), checkpoints.metrics]
        loggers = [tensorboard_logger(run, checkpoints.step), *configured_loggers(config)]
    with quiet_lightning():
        trainer = make_trainer(config, accelerator, processes, callbacks, loggers)
        resumed = None if checkpoints.step is None else run.checkpoint
        trainer.fit(model, data, ckpt_path=resumed, weights_only=True)
    return trainer.strategy.root_device


@contextmanager
def _explained(
    run: RunFolder, checkpoints: Checkpoints, stop: Stop, processes: Processes
) -> Iterator[None]:
    """End with what was kept and how to go on; processes that end alike leave that to the first."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:  # Lightning answers Ctrl-C with SystemExit
        if stop.received is None:
            raise
        if not processes.is_rank_zero:
            raise SystemExit(128 + stop.received) from error
        kept = checkpoints.kept
        raise stop.exception(f"; {kept}; continue with: {_continue(run)}") from error
    except FloatingPointError as error:
        if not processes.is_rank_zero:
            raise SystemExit(1) from error
        remedy = "start another run with a smaller --optimizer.lr, or with --optimizer.clip_norm"
        raise FloatingPointError(f"{error}; {checkpoints.kept}; {remedy}") from error
    except OSError as error:
        remedy = f"once that is mended, continue with: {_continue(run)}"
        raise OSError(f"{error}; {checkpoints.kept}; {remedy}") from error


def _continue(run: RunFolder) -> str:
    return f"ntxent train --resume {shlex.quote(str(run.path))}"


def _evaluate(
    evaluation: Evaluation | None,
    data: ImageData,
    encoders: Mapping[str, torch.nn.Module],
    shape: Shape,
) -> dict[str, dict[str, Score]]:
    """The scores of each representation; none where the images have no labels."""
    if evaluation is None:
        return {}
    described = {"raw_pixels": RawPixels(), **encoders}
    train, test = (
        describe_all(described, part, shape, data.config.workers)
        for part in (data.labelled, data.test)
    )
    return {name: evaluation(train[name], test[name]) for name in described}
