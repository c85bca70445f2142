"""Linear and nearest-neighbour classifiers of frozen features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

__all__ = ["knn", "linear", "linear_by_sgd", "standardise"]

Array = NDArray[Any]

# Up to this many values in the features, scikit-learn's exact solver takes seconds.
EXACT_VALUES = 5_000_000


def standardise(train: Array, test: Array) -> tuple[Array, Array]:
    """Returns both, less the mean and over the deviation of the training features."""
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def linear(train: Array, labels: Array, test: Array) -> Array:
    """Returns the labels ``[n_test]`` that logistic regression predicts.

    The regression is solved exactly on small sets, and by SGD on large ones.
    """
    if train.size > EXACT_VALUES:
        return linear_by_sgd(train, labels, test)
    return np.asarray(LogisticRegression(max_iter=2000).fit(train, labels).predict(test))


def linear_by_sgd(
    train: Array,
    labels: Array,
    test: Array,
    epochs: int = 50,
    batch_size: int = 512,
    device: torch.device | None = None,
) -> Array:
    """Returns the labels that a linear layer predicts after SGD.

    Momentum is 0.9, and the learning rate falls from 0.1 to 0 as a cosine. The order of the
    features is the same in every call, and moves no global generator.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classes, numbers = np.unique(labels, return_inverse=True)
    inputs = torch.from_numpy(np.asarray(train, np.float32)).to(device)
    targets = torch.from_numpy(numbers).to(device)
    layer = nn.Linear(inputs.shape[1], len(classes)).to(device)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    size = min(batch_size, len(inputs))
    steps = epochs * (len(inputs) // size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        for _ in range(epochs):
            order = torch.randperm(len(inputs), generator=generator).to(device)
            for start in range(0, len(inputs) - size + 1, size):
                rows = order[start : start + size]
                optimizer.zero_grad()
                loss = cross_entropy(layer(inputs[rows]), targets[rows])
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
    with torch.no_grad():
        scores = layer(torch.from_numpy(np.asarray(test, np.float32)).to(device))
    return np.asarray(classes[scores.argmax(1).cpu().numpy()])


@torch.no_grad()
def knn(
    train: Array, labels: Array, test: Array, neighbors: int, device: torch.device | None = None
) -> Array:
    """Returns the labels that most of the nearest training features have, by cosine.

    Of labels with equally many votes the smallest is taken.
    """
    classes, numbers = np.unique(labels, return_inverse=True)
    keys = normalize(torch.from_numpy(np.asarray(train)).to(device), dim=1)
    votes = torch.from_numpy(numbers).to(device)
    predicted: list[Tensor] = []
    for queries in torch.split(torch.from_numpy(np.asarray(test)).to(device), 1024):
        similarities = normalize(queries, dim=1) @ keys.T
        voted = votes[similarities.topk(neighbors, dim=1).indices]
        counts = torch.zeros(len(queries), len(classes), device=device, dtype=torch.int64)
        counts.scatter_add_(1, voted, torch.ones_like(voted))
        predicted.append(counts.argmax(1).cpu())
    return np.asarray(classes[torch.cat(predicted).numpy()])
