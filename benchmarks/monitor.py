"""What monitoring costs: its share of a training step on the digits, with the defaults of both.

Fits with and without the callback take turns. A step's time is the median over all steps of the
fits without it, from one end of a batch to the next. The cost is the time inside the callback over
a whole fit with it, divided by its steps, looked at or not; median of the fits. The difference of
the two medians is printed as well: its noise is larger than the cost.
"""

import argparse
import logging
import platform
import statistics
import sys
import time
import warnings
from typing import Any

import torch
from lightning import Callback, Trainer

from benchmarks.__main__ import environment
from ntxent.monitor import NTXentCallback
from ntxent.simclr import TrainConfig
from ntxent.simclr.data import DigitsData
from ntxent.simclr.model.module import SimCLR


class StepTimes(Callback):
    """Seconds from the end of one batch to the end of the next."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last: float | None = None

    def on_train_epoch_start(self, *args: Any) -> None:
        self._last = None

    def on_train_batch_end(self, *args: Any) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now


class TimedMonitor(NTXentCallback):
    """The callback, with the seconds spent in it."""

    seconds = 0.0

    def _keep_stats(self, *args: Any) -> None:
        start = time.perf_counter()
        super()._keep_stats(*args)
        self.seconds += time.perf_counter() - start

    def on_train_batch_end(self, *args: Any) -> None:
        start = time.perf_counter()
        super().on_train_batch_end(*args)
        self.seconds += time.perf_counter() - start


def fit(config: TrainConfig, callbacks: list[Callback]) -> int:
    """Train, and return the number of steps."""
    trainer = Trainer(
        accelerator=config.accelerator,
        devices=1,
        max_epochs=config.epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(SimCLR(config), DigitsData(config.batch_size))
    return trainer.global_step


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitor", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="fits with, and as many without")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of a fit, 5 steps each")
    options = parser.parse_args()

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("ntxent").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    config = TrainConfig(epochs=options.epochs)
    fit(config, [])  # warm
    plain, watched, inside = [], [], []
    for _ in range(options.rounds):
        fit(config, [steps := StepTimes()])
        plain += steps.seconds
        monitor = TimedMonitor(config.batch_size, config.temperature, config.model.projection_dim)
        count = fit(config, [monitor, steps := StepTimes()])
        watched += steps.seconds
        inside.append(monitor.seconds / count)

    where = environment()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else where["device"]
    print(f"{device}, {where['threads']} threads, {platform.platform()}")
    print(f"Python {where['python']}, ntxent {where['versions']['ntxent']}, torch", end=" ")
    print(where["versions"]["torch"])
    low, step, high = (1e3 * value for value in statistics.quantiles(plain, n=4))
    cost, difference = 1e3 * statistics.median(inside), 1e3 * statistics.median(watched) - step
    print(f"step           {step:8.3f} ms, quartiles {low:.3f} to {high:.3f}, {len(plain)} steps")
    print(f"monitor        {cost:8.3f} ms a step, looking at every 10th")
    print(f"share          {cost / step:8.2%}")
    print(f"medians differ {difference / step:8.2%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
