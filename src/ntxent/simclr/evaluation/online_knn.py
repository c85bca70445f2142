"""kNN accuracy of the encoder during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer

from ntxent.simclr.config import EvaluationConfig
from ntxent.simclr.data import ImageData, Images
from ntxent.simclr.evaluation.classifiers import knn
from ntxent.simclr.evaluation.features import extract_features

__all__ = ["OnlineKNN"]

# The standard error of the accuracy is then at most 0.7 %.
LARGEST_PART = 5000


class OnlineKNN(Callback):
    """Logs ``knn`` every few epochs: the kNN accuracy on held-out images.

    At most 5,000 labelled and 5,000 held-out images are read, the same ones in every epoch. The
    encoder is in evaluation mode and no global random number is drawn, so the training is the same
    with and without this callback.

    Attributes:
        history: Epochs and accuracies so far; checkpoints have them too.

    Args:
        data: Labelled and held-out images.
        every: Epochs from one measurement to the next.
        neighbors: Neighbours that vote, at most the labelled images that are read; by default
            :func:`~ntxent.simclr.evaluation.classifiers.default_neighbors`.
        field: Name of the encoder among the module's attributes.
        temperature: Temperature of the votes, or None.

    Raises:
        ValueError: the data has no labels.
    """

    def __init__(
        self,
        data: ImageData,
        every: int = 1,
        neighbors: int | None = None,
        field: str = "encoder",
        temperature: float | None = 0.1,
    ) -> None:
        self.train, self.test = _subset(data.labelled), _subset(data.test)
        if self.train.labels is None or self.test.labels is None:
            raise ValueError(
                "evaluation.knn_every: received images without labels, expected labelled ones; "
                "leave it at 0"
            )
        self.labels, self.test_labels = self.train.labels, self.test.labels
        self.every, self.field = every, field
        self.neighbors = None if neighbors is None else min(neighbors, len(self.train))
        self.temperature = temperature
        self.workers = data.config.workers
        self.history: list[tuple[int, float]] = []

    @classmethod
    def of(cls, data: ImageData, config: EvaluationConfig) -> OnlineKNN | None:
        """Returns the callback for ``evaluation.knn_every`` epochs, None for 0."""
        if not config.knn_every:
            return None
        temperature = config.knn_temperature
        return cls(data, config.knn_every, config.neighbors, temperature=temperature)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0 and trainer.is_global_zero:
            accuracy = self.accuracy(pl_module)
            self.history.append((epoch, accuracy))
            pl_module.log("knn", accuracy, rank_zero_only=True)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.history = [(epoch, accuracy) for epoch, accuracy in state_dict["history"]]

    def accuracy(self, module: Any) -> float:
        """Returns the accuracy of the encoder as it is, from 0 to 1."""
        encoder, shape = getattr(module, self.field), module.views.shape
        train, test = (
            extract_features(encoder, part, shape, self.workers) for part in (self.train, self.test)
        )
        predicted = knn(train, self.labels, test, self.neighbors, self.temperature)
        return float((predicted == self.test_labels).mean())


def _subset(images: Images) -> Images:
    if len(images) <= LARGEST_PART:
        return images
    drawn = np.random.default_rng(0).choice(len(images), LARGEST_PART, replace=False)
    return images.take(np.sort(drawn).tolist())
