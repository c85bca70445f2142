"""How much a classifier reads from frozen features: linear probes with few and all labels, kNN."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from ntxent.simclr.config import EvaluationConfig
from ntxent.simclr.data import ImageData
from ntxent.simclr.evaluation.probes import knn, linear, standardised

__all__ = ["Evaluation", "Score", "of_draws", "of_images"]

Array = NDArray[Any]

DEFAULT_LABELS_PER_CLASS = (1, 5, 10)


class Score(NamedTuple):
    """Accuracy on the held-out images.

    ``sd`` is the sample deviation over the label draws. ``low`` to ``high`` is a 95 % interval:
    Student's for the mean over the draws, or Wilson's for the held-out images of a single probe.
    """

    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None


def of_draws(accuracies: Sequence[float]) -> Score:
    """The score of a probe that was fitted to several draws of labels.

    >>> of_draws([0.5, 0.5])
    Score(mean=0.5, sd=0.0, low=0.5, high=0.5)
    """
    middle, sd, count = mean(accuracies), stdev(accuracies), len(accuracies)
    reach = float(student.ppf(0.975, count - 1)) * sd / sqrt(count)
    return Score(middle, sd, max(0.0, middle - reach), min(1.0, middle + reach))


def of_images(right: int, images: int) -> Score:
    """The score of one probe, by Wilson's interval.

    >>> score = of_images(9, 10)
    >>> round(score.low, 3), round(score.high, 3)
    (0.596, 0.982)
    """
    z, share = float(norm.ppf(0.975)), right / images
    middle = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    reach = z * sqrt(share * (1 - share) / images + z**2 / (4 * images**2)) / (1 + z**2 / images)
    return Score(share, None, max(0.0, middle - reach), min(1.0, middle + reach))


def _draw(labels: Array, counts: Array, draws: int) -> list[Array]:
    """``draws`` arrays of indices, ``counts[c]`` images of class c in each; always the same."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    generators = map(np.random.default_rng, range(draws))
    return [
        np.concatenate(
            [
                generator.choice(members, count, replace=False)
                for members, count in zip(classes, counts, strict=True)
            ]
        )
        for generator in generators
    ]


class Evaluation:
    """Measures any representation of the same images with the same labelled ones.

    Args:
        train_labels: ``[n_train]``, the labels that probes may learn from.
        test_labels: ``[n_test]``, the labels of the held-out images.
        config: The probes.

    Raises:
        ValueError: a probe asks for more labels or neighbours than there are training images, or
            there is only one class.
    """

    def __init__(self, train_labels: Array, test_labels: Array, config: EvaluationConfig) -> None:
        sizes = np.unique(train_labels, return_counts=True)[1]
        smallest = int(min(sizes))
        if len(sizes) < 2:
            raise ValueError("data.labels: received one class, expected at least two to tell apart")
        per_class = config.labels_per_class
        if per_class is None:
            per_class = tuple(count for count in DEFAULT_LABELS_PER_CLASS if count <= smallest)
        for count in per_class:
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
        counts = {f"linear_{count}": np.full_like(sizes, count) for count in per_class}
        for share in config.label_shares:
            counts[f"linear_{100 * share:g}%"] = np.maximum(1, np.rint(share * sizes)).astype(int)
        self.draws = {
            measure: _draw(train_labels, count, config.draws) for measure, count in counts.items()
        }

    @classmethod
    def of(cls, data: ImageData, config: EvaluationConfig) -> "Evaluation | None":
        """The probes for labelled data, None for data without labels."""
        train, test = data.labelled.labels, data.test.labels
        return None if train is None or test is None else cls(train, test, config)

    def __call__(self, train: Array, test: Array) -> dict[str, Score]:
        """Accuracies from features ``[n_train, f]`` and ``[n_test, f]``.

        Features are standardised. The measures are ``linear_k`` with k labels per class,
        ``linear_p%`` with a share of the labels, ``linear_all`` and ``knn``.
        """
        return self.scores(self.predictions(train, test))

    def scores(self, predictions: Mapping[str, list[Array]]) -> dict[str, Score]:
        """The accuracies of such predictions."""
        return {name: self._score(answers) for name, answers in predictions.items()}

    def predictions(self, train: Array, test: Array) -> dict[str, list[Array]]:
        """The label that each probe gives each held-out image, a list entry for each draw."""
        train, test = standardised(train, test)
        labels = self.train_labels
        predicted = {
            measure: [linear(train[drawn], labels[drawn], test) for drawn in draws]
            for measure, draws in self.draws.items()
        }
        predicted["linear_all"] = [linear(train, labels, test)]
        predicted["knn"] = [knn(train, labels, test, self.neighbors)]
        return predicted

    def _score(self, answers: list[Array]) -> Score:
        right = [int((answer == self.test_labels).sum()) for answer in answers]
        images = len(self.test_labels)
        if len(right) == 1:
            return of_images(right[0], images)
        return of_draws([count / images for count in right])
