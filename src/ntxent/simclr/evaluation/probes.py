"""Linear probes with few and all labels, and kNN, on frozen features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ntxent.simclr.config import EvaluationConfig
from ntxent.simclr.data import ImageData, Shape
from ntxent.simclr.evaluation.classifiers import knn, linear, standardise
from ntxent.simclr.evaluation.features import RawPixels, extract_all_features
from ntxent.simclr.evaluation.scores import Score, mean_score, wilson_score
from ntxent.simclr.stages import Stages, silent

__all__ = ["Probes"]

Array = NDArray[Any]

DEFAULT_LABELS_PER_CLASS = (1, 5, 10)


class Probes:
    """Classifiers of the same labelled images, for any representation of them.

    ``predictions`` and ``scores`` have an entry for each probe: ``linear_k`` with k labels per
    class, ``linear_p%`` with a share of the labels, ``linear_all`` and ``knn``.

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
        if config.neighbors is not None and config.neighbors > len(train_labels):
            raise ValueError(
                f"evaluation.neighbors: received {config.neighbors}, expected at most "
                f"{len(train_labels)}, the number of training images"
            )
        self.train_labels, self.test_labels = train_labels, test_labels
        self.neighbors, self.knn_temperature = config.neighbors, config.knn_temperature
        counts = {f"linear_{count}": np.full_like(sizes, count) for count in per_class}
        for share in config.label_shares:
            counts[f"linear_{100 * share:g}%"] = np.maximum(1, np.rint(share * sizes)).astype(int)
        self.draws = {
            name: _label_draws(train_labels, count, config.draws) for name, count in counts.items()
        }

    @classmethod
    def of(cls, data: ImageData, config: EvaluationConfig) -> Probes | None:
        """Returns the probes for labelled data, None for data without labels."""
        train, test = data.labelled.labels, data.test.labels
        return None if train is None or test is None else cls(train, test, config)

    def __call__(self, train: Array, test: Array) -> dict[str, Score]:
        """Returns the accuracy of each probe on features ``[n_train, f]`` and ``[n_test, f]``."""
        return self.scores(self.predictions(train, test))

    def scores(self, predictions: Mapping[str, list[Array]]) -> dict[str, Score]:
        """Returns the accuracy of each probe from its predictions."""
        return {name: self._score(labels) for name, labels in predictions.items()}

    def predictions(
        self, train: Array, test: Array, of: str = "features", stages: Stages = silent
    ) -> dict[str, list[Array]]:
        """Returns the label that each probe gives each held-out image, a list entry for each draw.

        The features, ``[n_train, f]`` and ``[n_test, f]``, are standardised for the linear probes.
        ``of`` names them where the probes are shown.
        """
        labels = self.train_labels
        with stages(f"kNN of {of}"):
            near = knn(train, labels, test, self.neighbors, self.knn_temperature)
        train, test = standardise(train, test)
        predicted: dict[str, list[Array]] = {name: [] for name in self.draws}
        for name, draws in self.draws.items():
            with stages(f"probe {name} of {of}, {len(draws)} draws", len(draws)) as advance:
                for rows in draws:
                    predicted[name].append(linear(train[rows], labels[rows], test))
                    advance(1)
        with stages(f"probe linear_all of {of}"):
            predicted["linear_all"] = [linear(train, labels, test)]
        return predicted | {"knn": [near]}

    def predictions_of(
        self,
        encoders: Mapping[str, nn.Module],
        data: ImageData,
        shape: Shape,
        stages: Stages = silent,
    ) -> dict[str, dict[str, list[Array]]]:
        """Returns the predictions for raw pixels and for each encoder.

        Args:
            encoders: Modules from images to features, by their names.
            data: The labelled and the held-out images.
            shape: The shape of the views that the encoders take.
            stages: Shows the features and each probe.
        """
        representations = {"raw_pixels": RawPixels(), **encoders}
        train, test = (
            extract_all_features(representations, images, shape, data.config.workers, stages)
            for images in (data.labelled, data.test)
        )
        return {
            name: self.predictions(train[name], test[name], name.replace("_", " "), stages)
            for name in representations
        }

    def _score(self, draws: list[Array]) -> Score:
        right = [int((labels == self.test_labels).sum()) for labels in draws]
        images = len(self.test_labels)
        if len(right) == 1:
            return wilson_score(right[0], images)
        return mean_score([count / images for count in right])


def _label_draws(labels: Array, counts: Array, draws: int) -> list[Array]:
    """Returns ``draws`` arrays of indices, each with ``counts[c]`` images of class c.

    They are the same in every call.
    """
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
