"""Fine-tuning: all weights of the encoder and a linear layer, on a share of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from ntxent.simclr.data import Images, to_unit
from ntxent.simclr.evaluation.features import describe
from ntxent.simclr.model.views import TwoViews

__all__ = ["finetune", "share_of_each_class"]

Array = NDArray[Any]


def share_of_each_class(labels: Array, share: float) -> list[int]:
    """Indices of a share of the images of each class, at least one; always the same.

    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> labels[share_of_each_class(labels, 0.5)].tolist()
    [0, 0, 1]
    """
    generator = np.random.default_rng(0)
    drawn: list[int] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = max(1, round(share * len(members)))
        drawn += generator.choice(members, count, replace=False).tolist()
    return sorted(drawn)


def finetune(
    encoder: nn.Module,
    views: TwoViews,
    images: Images,
    labels: Array,
    test: Images,
    *,
    epochs: int = 30,
    batch_size: int = 128,
    seed: int = 0,
) -> Array:
    """The labels that the fine-tuned encoder gives the images of ``test``.

    A copy of the encoder learns from the run's own views, two of each image in a batch, by
    SGD with Nesterov momentum 0.9 on a cosine from 0.05 to 0; the given encoder stays as it is.
    """
    device = next(encoder.parameters()).device
    classes, numbers = np.unique(labels, return_inverse=True)
    targets = torch.from_numpy(numbers)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        model = nn.Sequential(deepcopy(encoder), nn.LazyLinear(len(classes))).to(device)
        model.eval()(torch.zeros(2, *views.shape, device=device))
        model.train()
        size = min(batch_size, len(images))
        steps = epochs * (len(images) // size)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(epochs):
            for rows in _batches(len(images), size):
                batch = torch.cat(views(to_unit(images[rows]).to(device)))
                answers = targets[rows].repeat(2).to(device)
                optimizer.zero_grad()
                torch.autograd.backward(cross_entropy(model(batch), answers))
                optimizer.step()
                schedule.step()
    return np.asarray(classes[describe(model, test, views.shape).argmax(1)])


def _batches(images: int, size: int) -> Sequence[list[int]]:
    order = torch.randperm(images)
    return [order[start : start + size].tolist() for start in range(0, images - size + 1, size)]
