"""The health of the loss while it trains: a live line on a terminal, a few plain ones elsewhere.

And how long it will take, before anybody has waited for long.
"""

from collections.abc import Iterable, Mapping
from time import perf_counter
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

__all__ = ["Forecast", "LiveHealth", "PlainHealth", "duration", "health_line"]

PLAIN_LINES = 10

# The forecast: seconds and steps it looks at, and from how many seconds on it is worth a line, and
# a remedy.
LOOK, LOOK_STEPS = 5.0, 2
WORTH_TELLING, LONG = 60.0, 600.0


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
            # Steps without a GPU may take longer than the 30 s over which speed is measured.
            speed_estimate_period=600,
        )
        self.task = TaskID(0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.task = self.bar.add_task(
            "training", total=trainer.estimated_stepping_batches, completed=trainer.global_step
        )
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


def duration(seconds: float) -> str:
    """In the words of somebody who waits.

    >>> duration(100), duration(12_000)
    ('2 min', '3 h 20 min')
    """
    hours, minutes = divmod(max(1, round(seconds / 60)), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class Forecast(Callback):
    """One line, after the first steps of a training that will take minutes.

    The first step, in which libraries load and memory is laid out, does not count.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.first: tuple[int, float] | None = None
        self.told = False

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        step, now = trainer.global_step, perf_counter()
        if self.first is None:
            self.first = step, now
        steps, spent = step - self.first[0], now - self.first[1]
        if self.told or steps < LOOK_STEPS or spent < LOOK:
            return
        self.told = True
        total = int(trainer.estimated_stepping_batches)
        left = (total - step) * spent / steps
        if left < WORTH_TELLING:
            return
        line = f"about {duration(left)} left, after {step} of {total} steps"
        if left >= LONG:
            line += (
                "; Ctrl-C stops and keeps what is done, and --epochs, --data.image_size and "
                "--model.encoder make a run shorter"
            )
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
