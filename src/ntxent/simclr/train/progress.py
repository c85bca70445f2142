"""What a run prints while it trains: progress, the loss beside its limits, the time left."""

from collections.abc import Iterable, Mapping
from pathlib import Path
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

from ntxent.simclr.train.metrics_file import epoch_means

__all__ = ["Forecast", "LiveHealth", "PlainHealth", "duration", "health_line"]

PLAIN_LINES = 10

# The forecast is made after so many seconds and steps, printed if so many seconds are left, and
# comes with advice if it is long.
MEASURED_SECONDS, MEASURED_STEPS = 5.0, 2
SHORTEST_FORECAST, LONG_FORECAST = 60.0, 600.0


def health_line(of: str, metrics: Mapping[str, Any]) -> str:
    """Returns the loss beside its limits; ``of`` names the steps whose loss it is.

    >>> values = dict.fromkeys(("loss", "floor", "chance", "position", "positive_similarity"), 1)
    >>> health_line("loss of the last step", values)
    'loss of the last step 1.000  floor 1.000  chance 1.000  position 1.000  positive cosine 1.000'
    """
    names = {"loss": of, "floor": "floor", "chance": "chance", "position": "position"}
    names["positive_similarity"] = "positive cosine"
    return "  ".join(f"{words} {float(metrics[name]):.3f}" for name, words in names.items())


class _BarOverHealth(Progress):
    health = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.health)


class LiveHealth(Callback):
    """Shows a bar of all steps, and under it the loss of the latest one beside its limits."""

    def __init__(self, console: Console) -> None:
        self.bar = _BarOverHealth(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            # A step on the CPU may take longer than the 30 s over which rich measures speed.
            speed_estimate_period=600,
        )
        self.task = TaskID(0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.task = self.bar.add_task(
            "training", total=trainer.estimated_stepping_batches, completed=trainer.global_step
        )
        self.bar.start()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self.bar.health = health_line("loss of the last step", trainer.logged_metrics)
        self.bar.update(self.task, completed=trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: Trainer, *args: Any) -> None:
        self.bar.stop()


class PlainHealth(Callback):
    """Prints about ten lines over the whole training, for files and pipes.

    Each has the means over the steps of an epoch, from ``metrics``, the file of all steps, which a
    resumed run has from the epoch's first step on.
    """

    def __init__(self, console: Console, metrics: Path) -> None:
        self.console, self.metrics = console, metrics

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done, epochs = trainer.current_epoch + 1, trainer.max_epochs or 1
        if done * PLAIN_LINES // epochs > (done - 1) * PLAIN_LINES // epochs:
            # The mean position is that of the mean loss, as it is affine in the loss.
            means = epoch_means(self.metrics)
            line = f"epoch {done}/{epochs}  {health_line('mean loss of the epoch', means)}"
            self.console.print(line, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Returns seconds in hours and minutes.

    >>> duration(100), duration(12_000)
    ('2 min', '3 h 20 min')
    """
    hours, minutes = divmod(max(1, round(seconds / 60)), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class Forecast(Callback):
    """Prints the time left, once, after the first steps of a training that takes minutes.

    The first step is left out, as libraries load and memory is allocated in it.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.first: tuple[int, float] | None = None
        self.printed = False

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        step, now = trainer.global_step, perf_counter()
        if self.first is None:
            self.first = step, now
        steps, spent = step - self.first[0], now - self.first[1]
        if self.printed or steps < MEASURED_STEPS or spent < MEASURED_SECONDS:
            return
        self.printed = True
        total = int(trainer.estimated_stepping_batches)
        left = (total - step) * spent / steps
        if left < SHORTEST_FORECAST:
            return
        line = f"about {duration(left)} left, after {step} of {total} steps"
        if left >= LONG_FORECAST:
            line += (
                "; Ctrl-C stops and keeps what is done, and --epochs, --data.image_size and "
                "--model.encoder make a run shorter"
            )
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
