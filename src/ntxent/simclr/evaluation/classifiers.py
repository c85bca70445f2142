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

__all__ = ["default_neighbors", "knn", "linear", "linear_by_sgd", "standardise"]

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


def default_neighbors(count: int) -> int:
    """Returns the number of neighbours that vote by default among ``count`` labelled features.

    >>> default_neighbors(50_000), default_neighbors(1347), default_neighbors(4)
    (200, 134, 1)
    """
    return max(1, min(200, count // 10))


@torch.no_grad()
def knn(
    train: Array,
    labels: Array,
    test: Array,
    neighbors: int | None = None,
    temperature: float | None = 0.1,
    device: torch.device | None = None,
) -> Array:
    """Returns the labels ``[n_test]`` that the nearest training features vote for.

    The nearest are those of largest cosine similarity c, and a vote weighs exp(c / temperature), or
    1 without a temperature. Of labels with equally heavy votes the smallest is taken.

    Args:
        train: Features ``[n_train, f]``.
        labels: Their labels.
        test: Features ``[n_test, f]``.
        neighbors: How many vote, at most ``n_train``; by default :func:`default_neighbors`.
        temperature: > 0, or None.
        device: Where similarities are computed.

    References:
        Wu et al. 2018 (arXiv 1805.01978); lightly's ``knn_predict`` has the same defaults.
    """
    neighbors = default_neighbors(len(train)) if neighbors is None else neighbors
    classes, numbers = np.unique(labels, return_inverse=True)
    keys = normalize(torch.from_numpy(np.asarray(train)).to(device), dim=1)
    votes = torch.from_numpy(numbers).to(device)
    predicted: list[Tensor] = []
    for queries in torch.split(torch.from_numpy(np.asarray(test)).to(device), 1024):
        similarities = normalize(queries, dim=1) @ keys.T
        nearest = similarities.topk(neighbors, dim=1)
        cosines = nearest.values.double()
        weights = torch.ones_like(cosines) if temperature is None else (cosines / temperature).exp()
        counts = weights.new_zeros(len(queries), len(classes))
        counts.scatter_add_(1, votes[nearest.indices], weights)
        predicted.append(counts.argmax(1).cpu())
    return np.asarray(classes[torch.cat(predicted).numpy()])
