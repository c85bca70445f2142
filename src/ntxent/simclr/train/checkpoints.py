"""Checkpoints, from which a run continues bit for bit."""

import io
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ntxent.files import atomic
from ntxent.simclr.data.loader import ResumableLoader
from ntxent.simclr.train.metrics_file import MetricsFile
from ntxent.simclr.train.rng import rng_states, set_rng_states
from ntxent.simclr.train.signals import Stop

__all__ = ["AtomicCheckpointIO", "Checkpoints"]

# Largest share of the training time that may be spent on writing checkpoints.
LARGEST_SHARE = 1 / 50


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all.

    Lightning's own writer copies from a temporary folder over the old checkpoint; a process that
    is killed while it copies leaves neither the old one nor the new one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        # In memory first: on a full disk torch.save raises a RuntimeError about zip files.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic(Path(path)) as partial:
            partial.write_bytes(buffer.getbuffer())


class Checkpoints(Checkpoint):
    """Saves the state of a run to one file, and ends the run after a signal.

    A checkpoint is written after a step if ``seconds`` have passed since the last one, and 50 times
    the time that writing it took; with 0 seconds it is written after every step. It is also written
    after the last step of the training, and before the run ends on a signal. Weights that are not
    finite are never written. Lightning's ModelCheckpoint does not limit the share of the time, does
    not handle signals, and does not check the weights.

    Several processes decide together, by a reduction in each step.

    Args:
        path: The file.
        seconds: Shortest time from one checkpoint to the next.
        stop: The handler of signals.
        metrics: The rows that must be on the disk before a checkpoint; in rank 0 only.
        step: Step of the checkpoint that the file has already, None without one.
    """

    def __init__(
        self,
        path: Path,
        seconds: float,
        stop: Stop,
        metrics: MetricsFile | None = None,
        step: int | None = None,
    ) -> None:
        self.path, self.seconds, self.stop, self.metrics = path, seconds, stop, metrics
        self.step = step
        self.write_seconds = 0.0
        self.earlier_seconds = 0.0
        self.started: float | None = None
        self.written = 0.0
        self.rng_states: dict[str, Any] | None = None
        self.loader_state: dict[str, Any] | None = None
        self.mid_epoch = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = self.written = perf_counter()
        self.stop.defer = True
        # Lightning has installed its own handlers, and restores ours at the end. Its handler of
        # SIGTERM starts a collective operation wherever each process is, so they would deadlock.
        self.stop.listen()
        loader = _resumable_loader(trainer)
        if self.mid_epoch and self.loader_state is not None and loader is not None:
            # Lightning does not load it when the number of steps was computed before.
            loader.load_state_dict(self.loader_state)

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        # In the middle of an epoch, random numbers were drawn to start the iteration again.
        if self.rng_states is not None and self.mid_epoch:
            set_rng_states(self.rng_states)
        self.rng_states = None

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        # Lightning can continue from the end of an epoch, but not from the end of its last batch.
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._save_if_due(trainer, mid_epoch=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        finished = trainer.current_epoch + 1 == trainer.max_epochs
        self._save_if_due(trainer, mid_epoch=False, finished=finished)

    def _save_if_due(self, trainer: Trainer, mid_epoch: bool, finished: bool = False) -> None:
        shortest = max(self.seconds, self.write_seconds / LARGEST_SHARE) if self.seconds else 0.0
        due = finished or perf_counter() - self.written >= shortest
        stop, due = _max_over_processes(trainer, self.stop.received or 0, due)
        if (due or stop) and (_resumable_loader(trainer) is not None or not mid_epoch):
            self.mid_epoch = mid_epoch
            self._save(trainer)
        if stop:
            self.stop.received = stop
            raise self.stop.exception()

    def _save(self, trainer: Trainer) -> None:
        started = perf_counter()
        for name, value in trainer.lightning_module.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                raise FloatingPointError(
                    f"step {trainer.global_step}: {name} is no longer finite in the model"
                )
        if self.metrics is not None:
            self.metrics.sync()
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.path, weights_only=False)
        self.step = trainer.global_step
        self.written = perf_counter()
        self.write_seconds = self.written - started

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        loader = _resumable_loader(trainer)
        checkpoint["run"] = {
            "random": rng_states(),
            "mid_epoch": self.mid_epoch,
            "order": None if loader is None else loader.state_dict(),
            "seconds": self.seconds_trained,
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint["run"]
        self.rng_states, self.mid_epoch = state["random"], state["mid_epoch"]
        self.loader_state, self.earlier_seconds = state["order"], state["seconds"]
        set_rng_states(state["random"])

    @property
    def seconds_trained(self) -> float:
        """Training time up to now, or to its end, with that of earlier sessions of the run."""
        if self.started is None:
            return self.earlier_seconds
        return self.earlier_seconds + perf_counter() - self.started

    @property
    def last_checkpoint(self) -> str:
        """A clause that names the last checkpoint."""
        if self.step is None:
            return "no checkpoint was written yet"
        return f"the checkpoint of step {self.step} is kept"

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end()
        if self.stop.received is not None:  # after the last checkpoint
            raise self.stop.exception()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        self._end()

    def _end(self) -> None:
        self.stop.defer = False
        self.earlier_seconds, self.started = self.seconds_trained, None


def _resumable_loader(trainer: Trainer) -> ResumableLoader[Any] | None:
    """Returns the training loader if it can continue in the middle of an epoch, else None."""
    loader = trainer.train_dataloader
    return loader if isinstance(loader, ResumableLoader) else None


def _max_over_processes(trainer: Trainer, stop: int, due: bool) -> tuple[int, bool]:
    """Returns the largest signal of any process, and whether a checkpoint is due in any."""
    if trainer.world_size == 1:
        return stop, due
    values = torch.tensor([stop, due], dtype=torch.int64, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX)
    stop, any_due = values.tolist()
    return stop, bool(any_due)
