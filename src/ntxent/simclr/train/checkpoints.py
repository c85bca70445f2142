"""Checkpoints: written whole or not at all, and enough to continue to the same bits."""

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
from ntxent.simclr.train.rng import random_states, set_random_states
from ntxent.simclr.train.signals import Stop

__all__ = ["AtomicCheckpointIO", "Checkpoints"]

# Of the time between two checkpoints, what writing the first of them may have taken.
LARGEST_SHARE = 1 / 50


class AtomicCheckpointIO(TorchCheckpointIO):
    """Replaces a checkpoint by its successor once that is on the disk.

    Lightning's own writer goes through a temporary folder that may be on another file system, from
    where it copies over the old checkpoint: a kill in that moment leaves neither.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        # Into memory first: on a full disk torch.save itself raises a RuntimeError about zip files.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic(Path(path)) as partial:
            partial.write_bytes(buffer.getbuffer())


class Checkpoints(Checkpoint):
    """Keeps the latest state of a run in one file, and stops the run when it is asked to.

    A checkpoint is written after a step when ``seconds`` have passed since the last one, and 50
    times as long as that took; with 0 seconds after every step; after the last step of all; and
    before stopping. Lightning's ModelCheckpoint bounds no share of the time, knows no signal, and
    would keep weights that are no longer finite.

    Several processes decide together, by one reduction in each step.

    Args:
        path: The file.
        seconds: Shortest time from one checkpoint to the next.
        stop: What a signal asks for.
        metrics: The rows that must be on disk first; in the first process only.
        step: Step of the checkpoint that is there already, None without one.
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
        self.cost = 0.0
        self.earlier = 0.0
        self.started: float | None = None
        self.last = 0.0
        self.states: dict[str, Any] | None = None
        self.order: dict[str, Any] | None = None
        self.mid_epoch = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = self.last = perf_counter()
        self.stop.defer = True
        # Lightning has put its own handlers in place, and restores ours at the end. The one for
        # SIGTERM starts a collective operation from wherever each process is: they would wait.
        self.stop.listen()
        loader = _resumable(trainer)
        if self.mid_epoch and self.order is not None and loader is not None:
            # Lightning would do this, but not once the number of steps was asked for.
            loader.load_state_dict(self.order)

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        # In the middle of an epoch, starting the iteration anew has drawn random numbers.
        if self.states is not None and self.mid_epoch:
            set_random_states(self.states)
        self.states = None

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        # Lightning continues from the end of an epoch, but not from the end of its last batch.
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._save_if_due(trainer, mid_epoch=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        finished = trainer.current_epoch + 1 == trainer.max_epochs
        self._save_if_due(trainer, mid_epoch=False, finished=finished)

    def _save_if_due(self, trainer: Trainer, mid_epoch: bool, finished: bool = False) -> None:
        shortest = max(self.seconds, self.cost / LARGEST_SHARE) if self.seconds else 0.0
        due = finished or perf_counter() - self.last >= shortest
        stop, due = _agree(trainer, self.stop.received or 0, due)
        if (due or stop) and (_resumable(trainer) is not None or not mid_epoch):
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
        self.last = perf_counter()
        self.cost = self.last - started

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        loader = _resumable(trainer)
        checkpoint["run"] = {
            "random": random_states(),
            "mid_epoch": self.mid_epoch,
            "order": None if loader is None else loader.state_dict(),
            "seconds": self.seconds_trained,
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        kept = checkpoint["run"]
        self.states, self.mid_epoch = kept["random"], kept["mid_epoch"]
        self.order, self.earlier = kept["order"], kept["seconds"]
        set_random_states(self.states)

    @property
    def seconds_trained(self) -> float:
        """Up to now, or to the end of training; earlier sessions of the run included."""
        if self.started is None:
            return self.earlier
        return self.earlier + perf_counter() - self.started

    @property
    def kept(self) -> str:
        """What a run that ends now leaves behind, in words."""
        if self.step is None:
            return "no checkpoint was written yet"
        return f"the checkpoint of step {self.step} is kept"

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._leave()
        if self.stop.received is not None:  # after the last checkpoint
            raise self.stop.exception()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        self._leave()

    def _leave(self) -> None:
        self.stop.defer = False
        self.earlier, self.started = self.seconds_trained, None


def _resumable(trainer: Trainer) -> ResumableLoader[Any] | None:
    """The loader, if an epoch of it can be continued in its middle; somebody else's may not."""
    loader = trainer.train_dataloader
    return loader if isinstance(loader, ResumableLoader) else None


def _agree(trainer: Trainer, stop: int, due: bool) -> tuple[int, bool]:
    """The largest of every process's wishes."""
    if trainer.world_size == 1:
        return stop, due
    wishes = torch.tensor([stop, due], dtype=torch.int64, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(wishes, torch.distributed.ReduceOp.MAX)
    stop, agreed = wishes.tolist()
    return stop, bool(agreed)
