"""The accuracy of the nearest neighbours while the encoder learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer

from ntxent.simclr.config import EvaluationConfig
from ntxent.simclr.data import ImageData, Images
from ntxent.simclr.evaluation.features import describe
from ntxent.simclr.evaluation.probes import knn, standardised

__all__ = ["OnlineKNN"]

# Enough for a standard error of 0.7 % of the accuracy, and a small part of an epoch.
LARGEST_PART = 5000


class OnlineKNN(Callback):
    """Logs ``knn`` every few epochs: the share of held-out images whose neighbours name them.

    At most 5,000 labelled and 5,000 held-out images are read, the same in every epoch. Features
    are made in evaluation mode; no random number of the training is used, so the loss is the same
    with and without it.

    Attributes:
        history: Epochs and accuracies so far, kept in checkpoints.

    Args:
        data: Labelled and held-out images.
        every: Epochs between two measurements.
        neighbors: Neighbours that vote.
        field: The module's attribute that is the encoder.

    Raises:
        ValueError: the data has no labels.
    """

    def __init__(
        self, data: ImageData, every: int = 1, neighbors: int = 5, field: str = "encoder"
    ) -> None:
        self.train, self.test = _some(data.labelled), _some(data.test)
        if self.train.labels is None or self.test.labels is None:
            raise ValueError(
                "evaluation.knn_every: received images without labels, expected labelled ones; "
                "leave it at 0"
            )
        self.labels, self.test_labels = self.train.labels, self.test.labels
        self.every, self.neighbors, self.field = every, neighbors, field
        self.workers = data.config.workers
        self.history: list[tuple[int, float]] = []

    @classmethod
    def of(cls, data: ImageData, config: EvaluationConfig) -> OnlineKNN | None:
        """The callback that ``evaluation.knn_every`` asks for."""
        return cls(data, config.knn_every, config.neighbors) if config.knn_every else None

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
        """The accuracy now, from 0 to 1."""
        encoder, shape = getattr(module, self.field), module.views.shape
        features = (
            describe(encoder, part, shape, self.workers) for part in (self.train, self.test)
        )
        train, test = standardised(*features)
        answers = knn(train, self.labels, test, min(self.neighbors, len(train)))
        return float((answers == self.test_labels).mean())


def _some(images: Images) -> Images:
    if len(images) <= LARGEST_PART:
        return images
    drawn = np.random.default_rng(0).choice(len(images), LARGEST_PART, replace=False)
    return images.take(np.sort(drawn).tolist())
