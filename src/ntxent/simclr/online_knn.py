"""The accuracy of the nearest neighbours while the encoder learns."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer

from ntxent.simclr.data import ImageData, Images
from ntxent.simclr.features import describe
from ntxent.simclr.probes import knn, standardised

__all__ = ["OnlineKNN"]

# Enough for a standard error of 0.7 % of the accuracy, and a small part of an epoch.
LARGEST_PART = 5000


class OnlineKNN(Callback):
    """Logs ``knn`` every few epochs: the share of held-out images whose neighbours name them.

    At most 5,000 labelled and 5,000 held-out images are read, the same in every epoch. Features
    are made in evaluation mode; no random number of the training is used, so the loss is the same
    with and without it.

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

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every == 0:
            pl_module.log("knn", self.accuracy(pl_module), rank_zero_only=True)

    def accuracy(self, module: Any) -> float:
        """The accuracy now, from 0 to 1."""
        encoder, shape = getattr(module, self.field), module.views.shape
        features = (describe(encoder, part, shape) for part in (self.train, self.test))
        train, test = standardised(*features)
        answers = knn(train, self.labels, test, min(self.neighbors, len(train)))
        return float((answers == self.test_labels).mean())


def _some(images: Images) -> Images:
    if len(images) <= LARGEST_PART:
        return images
    drawn = np.random.default_rng(0).choice(len(images), LARGEST_PART, replace=False)
    return images.take(np.sort(drawn).tolist())
