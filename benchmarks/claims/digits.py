"""SimCLR on the digits beside lightly's: what a probe reads from the encoder, and time per step.

Encoder, its first weights, batches, views and number of steps are the same for all contenders of a
seed. They step in turns, each timed from the views to the updated weights, so that a drift of the
machine meets all of them alike. Three contenders:

ntxent           this package's defaults: one pass over both views, its head, loss and optimizer
lightly          SimCLRProjectionHead, NTXentLoss, a pass a view, and SGD as in lightly's CIFAR-10
                 benchmark: rate 0.06 x N / 128, momentum 0.9, weight decay 5e-4, a cosine
lightly, AdamW   the same with the optimizer and the schedule of ntxent

python -m benchmarks.claims.digits --rows rows.json
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import cos, pi
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter
from typing import Any

import torch
from lightly.loss import NTXentLoss as LightlyLoss
from lightly.models.modules import SimCLRProjectionHead
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.environment import describe, environment
from ntxent import NTXentLoss
from ntxent.simclr import TrainConfig
from ntxent.simclr.data import ImageData
from ntxent.simclr.evaluation.features import extract_features
from ntxent.simclr.evaluation.probes import Probes
from ntxent.simclr.model.encoder import ProjectionHead, build_encoder
from ntxent.simclr.model.optimizer import make_optimizer, warmup_cosine
from ntxent.simclr.model.views import TwoViews

MEASURES = ("linear_1", "linear_10", "linear_all", "knn")

Row = dict[str, Any]


@dataclass
class Contender:
    """A model in training; ``times`` has the milliseconds of its steps."""

    encoder: nn.Module
    head: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    one_pass: bool
    optimizer: Optimizer
    schedule: LambdaLR
    times: list[float] = field(default_factory=list)

    def step(self, first: Tensor, second: Tensor) -> float:
        """Takes one step on two views, and returns the loss before it."""
        started = perf_counter()
        self.optimizer.zero_grad()
        if self.one_pass:
            z1, z2 = self.head(self.encoder(torch.cat([first, second]))).chunk(2)
        else:
            z1, z2 = self.head(self.encoder(first)), self.head(self.encoder(second))
        loss = self.loss(z1, z2)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.schedule.step()
        self.times.append(1000 * (perf_counter() - started))
        return float(loss.detach())


def ours(config: TrainConfig, encoder: nn.Module, features: int, steps: int) -> Contender:
    head = ProjectionHead(features, config.model)
    optimizer = make_optimizer(
        [*encoder.parameters(), *head.parameters()], config.optimizer, config.batch_size
    )
    return Contender(
        encoder,
        head,
        NTXentLoss(config.temperature),
        True,
        optimizer,
        _warmed(config, optimizer, steps),
    )


def theirs(
    config: TrainConfig, encoder: nn.Module, features: int, steps: int, adamw: bool
) -> Contender:
    head = SimCLRProjectionHead(features, config.model.hidden_dim, config.model.projection_dim)
    weights = [*encoder.parameters(), *head.parameters()]
    loss = LightlyLoss(temperature=config.temperature)
    if adamw:
        optimizer = make_optimizer(weights, config.optimizer, config.batch_size)
        schedule = _warmed(config, optimizer, steps)
    else:
        rate = 0.06 * config.batch_size / 128
        optimizer = SGD(weights, lr=rate, momentum=0.9, weight_decay=5e-4)
        schedule = LambdaLR(optimizer, lambda step: (1 + cos(pi * step / steps)) / 2)
    return Contender(encoder, head, loss, False, optimizer, schedule)


def _warmed(config: TrainConfig, optimizer: Optimizer, steps: int) -> LambdaLR:
    warmup = int(config.optimizer.warmup * steps)
    return LambdaLR(optimizer, partial(warmup_cosine, steps=steps, warmup=warmup))


MAKERS = {
    "ntxent": ours,
    "lightly": partial(theirs, adamw=False),
    "lightly, AdamW": partial(theirs, adamw=True),
}


def measure(seed: int, epochs: int, names: list[str]) -> Iterator[Row]:
    """One row a contender."""
    config = TrainConfig(seed=seed, epochs=epochs)
    data = ImageData(config.data, config.batch_size)
    views = TwoViews(config.augmentation, data.shape)
    steps = epochs * (len(data.train) // config.batch_size)
    contenders = {}
    for name in names:
        torch.manual_seed(seed)
        encoder, features = build_encoder(config.model, views.shape)
        contenders[name] = MAKERS[name](config, encoder, features, steps)
    torch.manual_seed(seed)
    for epoch in range(epochs):
        for batch, images in enumerate(data.train_dataloader()):
            pair = views(images)
            turn = (epoch + batch) % len(names)
            for name in names[turn:] + names[:turn]:
                contenders[name].step(*pair)
    probes = Probes.of(data, config.evaluation)
    if probes is None:
        raise ValueError("the digits have labels")
    for name, contender in contenders.items():
        parts = (
            extract_features(contender.encoder, p, views.shape) for p in (data.labelled, data.test)
        )
        scores = probes(*parts)
        yield {
            "contender": name,
            "seed": seed,
            "steps": steps,
            "step_ms": median(contender.times),
            "train_s": sum(contender.times) / 1000,
            **{measure: scores[measure].mean for measure in MEASURES},
        }


def table(rows: list[Row]) -> Table:
    seeds = sorted({row["seed"] for row in rows})
    title = (
        f"Digits, {rows[0]['steps']} steps, accuracy in %, mean ± deviation of {len(seeds)} seeds"
    )
    shown = Table(title=title, title_justify="left")
    shown.add_column("contender", no_wrap=True)
    for name in (*MEASURES, "ms a step", "s a run"):
        shown.add_column(name, justify="right")
    for name in dict.fromkeys(row["contender"] for row in rows):
        own = [row for row in rows if row["contender"] == name]
        cells = []
        for measured in MEASURES:
            values = [100 * row[measured] for row in own]
            spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.1f}{spread}")
        times = (median(row[key] for row in own) for key in ("step_ms", "train_s"))
        shown.add_row(name, *cells, *(f"{value:.1f}" for value in times))
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims.digits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--epochs", type=int, default=TrainConfig().epochs)
    parser.add_argument("--contenders", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--rows", type=Path, help="JSON file; rows of other seeds in it are kept")
    options = parser.parse_args()
    rows: list[Row] = []
    if options.rows is not None and options.rows.exists():
        kept = json.loads(options.rows.read_text())["rows"]
        rows = [row for row in kept if row["seed"] not in options.seeds]
    where = environment()
    for seed in options.seeds:
        rows += measure(seed, options.epochs, options.contenders)
        if options.rows is not None:  # at once: the next seed may be interrupted
            options.rows.write_text(
                json.dumps({"environment": where, "rows": rows}, indent=1) + "\n"
            )
    console = Console()
    console.print(table(rows))
    console.print(describe(where), highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
