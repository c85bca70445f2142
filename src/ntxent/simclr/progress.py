"""The health of the loss while it trains: a live line on a terminal, a few plain ones elsewhere."""

from collections.abc import Iterable, Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["LiveHealth", "PlainHealth", "health_line"]

PLAIN_LINES = 10


def health_line(metrics: Mapping[str, Any]) -> str:
    """The loss beside its limits, in 80 columns."""
    shown = {
        "loss": "loss",
        "floor": "floor",
        "chance": "chance",
        "position": "position",
        "positive similarity": "positive_similarity",
    }
    return "  ".join(f"{label} {float(metrics[key]):.3f}" for label, key in shown.items())


class _BarOverHealth(Progress):
    health = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.health)


class LiveHealth(Callback):
    """One bar for all steps, and under it the health of the latest one."""

    def __init__(self, console: Console) -> None:
        self.bar = _BarOverHealth(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self.task = TaskID(0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.task = self.bar.add_task("training", total=trainer.estimated_stepping_batches)
        self.bar.start()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self.bar.health = health_line(trainer.logged_metrics)
        self.bar.update(self.task, completed=trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: Trainer, *args: Any) -> None:
        self.bar.stop()


class PlainHealth(Callback):
    """About ten lines over the whole training, for files and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done, epochs = trainer.current_epoch + 1, trainer.max_epochs or 1
        if done * PLAIN_LINES // epochs > (done - 1) * PLAIN_LINES // epochs:
            line = f"epoch {done}/{epochs}  {health_line(trainer.logged_metrics)}"
            self.console.print(line, highlight=False, soft_wrap=True)
