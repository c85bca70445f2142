"""One run: a small SimCLR, measured along its way.

Everything random follows from the seed, and one thread computes it: the same specification gives
the same rows on the same machine.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from math import ceil, cos, pi, sqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize
from torch import Tensor, nn

from ntxent import measures, nt_xent_loss
from study.runs import data
from study.runs.failures import FAILURES, Failure

Row = dict[str, Any]

INPUTS = {"digits": 8 * 8, "patches": 3 * data.CROP**2, "manifold": data.WIDTH}
FEATURES = 128
RATE = 2e-3  # of AdamW at N = 256; it grows with the square root of N
DECAY = 1e-4
WARMUP = 0.05  # share of a phase
LOOKS = 16  # evenly spaced, besides those at powers of two
REFERENCE_PAIRS = 256
REFERENCE_TEMPERATURES = (0.2, 0.5)
LABELS, DRAWS = 5, 100  # a class, and how often they are drawn


@dataclass(frozen=True)
class Spec:
    """What a run is; ``grid`` names the question that asks for it.

    pairs: positive pairs seen in a phase, so that a phase has pairs / batch_size steps.
    strength: of the augmentation; 0 makes both views the same.
    second: (batch_size, temperature) of a second phase of as many pairs, with a warm-up of its own;
        None for none.
    dense: whether loss and similarities are kept at every step.
    """

    grid: str
    data: str
    batch_size: int
    temperature: float
    seed: int
    dim: int = 64
    strength: float = 1.0
    pairs: int = 2**16
    failure: str = "none"
    second: tuple[int, float] | None = None
    dense: bool = False

    @property
    def key(self) -> str:
        """Names the run's file; a change of any field changes it."""
        words = ",".join(f"{name}={value!r}" for name, value in asdict(self).items())
        return f"{self.grid}-{sha256(words.encode()).hexdigest()[:16]}"

    def columns(self) -> Row:
        """The fields as flat columns."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        second = row.pop("second")
        row["second_batch_size"], row["second_temperature"] = second or (0, 0.0)
        return {"run": self.key, **row}


class Model(nn.Module):
    """Encoder and projection head. Probes see the ``encoder``'s features, the loss the output z."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        normed = FAILURES[spec.failure].batch_norm
        self.encoder = nn.Sequential(
            nn.Flatten(),
            _hidden(INPUTS[spec.data], FEATURES, normed),
            _hidden(FEATURES, FEATURES, normed),
        )
        self.head = nn.Sequential(
            _hidden(FEATURES, FEATURES, normed), nn.Linear(FEATURES, spec.dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.head(self.encoder(x))
        return z


def _hidden(inputs: int, outputs: int, normed: bool) -> nn.Module:
    norm = nn.BatchNorm1d(outputs) if normed else nn.Identity()
    return nn.Sequential(nn.Linear(inputs, outputs, bias=not normed), norm, nn.ReLU())


def run(spec: Spec) -> tuple[list[Row], Row]:
    """Rows of the steps that are looked at, and one row of what the run came to."""
    torch.set_num_threads(1)
    torch.manual_seed(spec.seed)
    failure = FAILURES[spec.failure]
    model = Model(spec)
    rows: list[Row] = []
    ends: Row = {}
    phases = [spec]
    if spec.second is not None:
        size, temperature = spec.second
        phases.append(replace(spec, batch_size=size, temperature=temperature))
    for number, phase in enumerate(phases):
        generator = torch.Generator().manual_seed(1_000_003 * (number + 1) + spec.seed)
        before = len(rows) and rows[-1]["step"] + 1
        rows += (
            {"run": spec.key, "phase": number, **row, "step": before + row["step"]}
            for row in _train(model, phase, failure, generator)
        )
        suffix = "" if number == len(phases) - 1 else "_first"
        came_to = {**evaluate(model, spec.data), **held_out_pairs(model, spec.data)}
        ends |= {name + suffix: value for name, value in came_to.items()}
    return rows, {**spec.columns(), **ends}


def _train(model: Model, spec: Spec, failure: Failure, generator: torch.Generator) -> Iterator[Row]:
    source = data.load(spec.data)
    steps = ceil(spec.pairs / spec.batch_size)
    strength = failure.strength * spec.strength
    rate = RATE * sqrt(spec.batch_size / 256) * failure.rate
    optimizer = torch.optim.AdamW(failure.trained(model), lr=rate, weight_decay=DECAY, fused=True)
    look = _looks(steps)
    model.train()
    for step in range(steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = rate * _schedule(step, steps)
        batch = source.train[
            torch.randperm(len(source.train), generator=generator)[: spec.batch_size]
        ]
        views = source.views(torch.cat([batch, batch]), strength, generator)
        z1, z2 = model(views).chunk(2)
        if not torch.isfinite(z1 + z2).all():  # the loss refuses them
            yield {"step": step, "loss": float("nan")}
            return
        loss = failure.loss(z1, z2, spec.temperature)
        if step in look:
            yield {"step": step, **_measured(z1, z2, spec.temperature, loss)}
        elif spec.dense:
            s, n = measures.mean_similarities(z1.detach(), z2.detach())
            yield {"step": step, "loss": loss.item(), "positive": s, "negative": n}
        if step < steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def _looks(steps: int) -> set[int]:
    powers = {2**k for k in range(steps.bit_length()) if 2**k <= steps}
    return {0, *powers, *(round(steps * k / LOOKS) for k in range(1, LOOKS + 1))}


def _schedule(step: int, steps: int) -> float:
    """Linear over the warm-up, then half a cosine, by step."""
    warm = WARMUP * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + cos(pi * (step - warm) / (steps - warm)))


def _measured(z1: Tensor, z2: Tensor, temperature: float, loss: Tensor) -> Row:
    """What is known of one batch. The loss is that of the run, which a failure may have spoiled."""
    z1, z2 = z1.detach(), z2.detach()
    positive, negative = measures.mean_similarities(z1, z2)
    u = F.normalize(torch.cat([z1, z2]), dim=1).requires_grad_()
    exact = nt_xent_loss(*u.chunk(2), temperature=temperature, normalize=False)
    (gradient,) = torch.autograd.grad(exact, u)
    return {
        "loss": loss.item(),
        "positive": positive,
        "negative": negative,
        "gradient": gradient.norm(dim=1).sum().item(),
        "top1": measures.contrastive_accuracy(z1, z2),
    }


@torch.no_grad()
def evaluate(model: Model, name: str) -> Row:
    """Accuracies of probes on the held-out features.

    few: the nearest class mean by cosine, from 5 labels a class; the mean over 100 draws of them.
    linear: ridge regression on all labels. knn: the 20 nearest by cosine.
    """
    source = data.load(name)
    model.eval()
    train, test = (model.encoder(source.plain(x)).numpy() for x in (source.train, source.test))
    if not (np.isfinite(train).all() and np.isfinite(test).all()):
        return dict.fromkeys(("few", "linear", "knn"), np.nan)
    scaler = StandardScaler().fit(train)
    train, test = normalize(scaler.transform(train)), normalize(scaler.transform(test))
    labels, truth = source.train_labels, source.test_labels
    neighbours = KNeighborsClassifier(20, metric="cosine", algorithm="brute").fit(train, labels)
    return {
        "few": _few_labels(train, labels, test, truth),
        "linear": float(RidgeClassifier().fit(train, labels).score(test, truth)),
        "knn": float(neighbours.score(test, truth)),
    }


def _few_labels(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray
) -> float:
    draw = np.random.default_rng(0)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    right = 0.0
    for _ in range(DRAWS):
        means = [train[draw.choice(own, LABELS, replace=False)].mean(0) for own in members]
        right += float((np.argmax(test @ normalize(means).T, 1) == truth).mean())
    return right / DRAWS


@torch.no_grad()
def held_out_pairs(model: Model, name: str) -> Row:
    """Measures of the projections of the same 256 held-out pairs, whatever N and τ of the run."""
    source = data.load(name)
    model.eval()
    draw = torch.Generator().manual_seed(0)
    x = source.test[torch.randperm(len(source.test), generator=draw)[:REFERENCE_PAIRS]]
    z1, z2 = model(source.views(torch.cat([x, x]), 1.0, draw)).chunk(2)
    if not torch.isfinite(torch.cat([z1, z2])).all():
        return {}
    row = {
        f"reference_loss_{t}": nt_xent_loss(z1, z2, temperature=t).item()
        for t in REFERENCE_TEMPERATURES
    }
    return {
        **row,
        "alignment": measures.alignment(z1, z2),
        "uniformity": measures.uniformity(torch.cat([z1, z2])),
        "rank": measures.effective_rank(torch.cat([z1, z2])),
        "reference_top1": measures.contrastive_accuracy(z1, z2),
    }
