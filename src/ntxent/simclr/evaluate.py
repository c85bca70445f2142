"""How much a classifier reads from frozen features: linear probes with few and all labels, kNN."""

from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from ntxent.simclr.config import EvaluationConfig

__all__ = ["Evaluation", "Score", "describe"]

Array = NDArray[Any]


class Score(NamedTuple):
    """Accuracy on the held-out images; ``sd`` is the sample deviation over the label draws."""

    mean: float
    sd: float | None = None


@torch.no_grad()
def describe(encoder: nn.Module, images: Tensor) -> Array:
    """Features ``[n, f]`` of images ``[n, C, H, W]``, with the encoder in evaluation mode."""
    encoder.eval()
    device = next(encoder.parameters()).device
    features: Array = encoder(images.to(device)).cpu().numpy()
    return features


def _draw(labels: Array, per_class: int, draws: int) -> list[Array]:
    """``draws`` arrays of indices, each ``per_class`` images of every class; always the same."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    generators = map(np.random.default_rng, range(draws))
    return [
        np.concatenate([generator.choice(members, per_class, replace=False) for members in classes])
        for generator in generators
    ]


class Evaluation:
    """Measures any representation of the same images with the same labelled ones.

    Args:
        train_labels: ``[n_train]``, the labels that probes may learn from.
        test_labels: ``[n_test]``, the labels of the held-out images.
        config: The probes.

    Raises:
        ValueError: a probe asks for more labels or neighbours than there are training images.
    """

    def __init__(self, train_labels: Array, test_labels: Array, config: EvaluationConfig) -> None:
        smallest = min(np.unique(train_labels, return_counts=True)[1])
        for count in config.labels_per_class:
            if count > smallest:
                raise ValueError(
                    f"evaluation.labels_per_class: received {count}, expected at most {smallest}, "
                    "the training images of the smallest class"
                )
        if config.neighbors > len(train_labels):
            raise ValueError(
                f"evaluation.neighbors: received {config.neighbors}, expected at most "
                f"{len(train_labels)}, the number of training images"
            )
        self.train_labels, self.test_labels = train_labels, test_labels
        self.neighbors = config.neighbors
        self.draws = {k: _draw(train_labels, k, config.draws) for k in config.labels_per_class}

    def __call__(self, train: Array, test: Array) -> dict[str, Score]:
        """Accuracies from features ``[n_train, f]`` and ``[n_test, f]``.

        Features are standardised by mean and deviation of the training images, which takes no
        label. The measures are ``linear_k`` with k labels per class, ``linear_all`` and ``knn``.
        """
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)

        def accuracy(classifier: Any, labelled: Any = slice(None)) -> float:
            classifier.fit(train[labelled], self.train_labels[labelled])
            return float(classifier.score(test, self.test_labels))

        scores = {}
        for count, draws in self.draws.items():
            values = [accuracy(_linear_probe(), labelled) for labelled in draws]
            scores[f"linear_{count}"] = Score(mean(values), stdev(values))
        scores["linear_all"] = Score(accuracy(_linear_probe()))
        scores["knn"] = Score(accuracy(KNeighborsClassifier(self.neighbors, metric="cosine")))
        return scores


def _linear_probe() -> LogisticRegression:
    return LogisticRegression(max_iter=2000)
