"""Fine-tuning of all weights of an encoder and of a linear layer, on a share of the labels."""

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
from ntxent.simclr.evaluation.features import extract_features
from ntxent.simclr.model.views import TwoViews
from ntxent.simclr.stages import Stages, silent

__all__ = ["finetune", "stratified_indices"]

Array = NDArray[Any]


def stratified_indices(labels: Array, share: float) -> list[int]:
    """Returns indices of a share of the images of each class, at least one of each.

    They are the same in every call.

    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> labels[stratified_indices(labels, 0.5)].tolist()
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
    stages: Stages = silent,
    name: str = "fine-tuning",
) -> Array:
    """Returns the labels that a fine-tuned copy of the encoder predicts for the test images.

    It is trained on the run's own views, two of each image in a batch, by SGD with Nesterov
    momentum 0.9; the learning rate falls from 0.05 to 0 as a cosine.
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
        with stages(name, steps) as advance:
            for _ in range(epochs):
                for rows in _batches(len(images), size):
                    batch = torch.cat(views(to_unit(images[rows]).to(device)))
                    batch_labels = targets[rows].repeat(2).to(device)
                    optimizer.zero_grad()
                    torch.autograd.backward(cross_entropy(model(batch), batch_labels))
                    optimizer.step()
                    schedule.step()
                    advance(1)
    features = extract_features(model, test, views.shape, stages=stages)
    return np.asarray(classes[features.argmax(1)])


def _batches(images: int, size: int) -> Sequence[list[int]]:
    order = torch.randperm(images)
    return [order[start : start + size].tolist() for start in range(0, images - size + 1, size)]
