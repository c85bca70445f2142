"""Handwritten digits: the images to learn from, and a held-out part that training never sees."""

from typing import Any

import torch
from lightning import LightningDataModule
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

__all__ = ["DigitsData"]

# The same images are held out whatever the run's seed, so that runs can be compared.
SPLIT_SEED = 0


class _Images(Dataset[Tensor]):
    """Answers a list of indices with the whole batch: one gather instead of N reads and a stack."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __getitem__(self, indices: list[int]) -> Tensor:
        return self.images[indices]

    def __len__(self) -> int:
        return len(self.images)


class DigitsData(LightningDataModule):
    """scikit-learn's digits, float32 ``[n, 1, 8, 8]`` in [0, 1], split with equal class shares.

    Training batches are images only, ``[batch_size, 1, 8, 8]``, on the training device; labels
    never reach the trainer. The images are 460 kB: they live on the device, without workers.

    Raises:
        ValueError: ``batch_size`` exceeds the training images, or ``held_out`` leaves a class
            without an image on one side.
    """

    def __init__(self, batch_size: int, held_out: float = 0.25) -> None:
        super().__init__()
        self.batch_size = batch_size
        pixels, labels = load_digits(return_X_y=True)
        images = torch.from_numpy(pixels).float().div(16).view(-1, 1, 8, 8)
        try:
            train, test = train_test_split(
                range(len(labels)), test_size=held_out, stratify=labels, random_state=SPLIT_SEED
            )
        except ValueError as error:
            raise ValueError(f"data.held_out: received {held_out}; {error}") from error
        self.train_images, self.train_labels = images[train], labels[train]
        self.test_images, self.test_labels = images[test], labels[test]
        if batch_size > len(train):
            raise ValueError(
                f"batch_size: received {batch_size}, expected at most {len(train)}, the training "
                f"images that remain with data.held_out {held_out}; make either of them smaller"
            )

    def train_dataloader(self) -> DataLoader[Tensor]:
        device = self.trainer.strategy.root_device if self.trainer else None
        images = _Images(self.train_images.to(device))
        batches = BatchSampler(RandomSampler(images), self.batch_size, drop_last=True)
        return DataLoader(images, sampler=batches, batch_size=None)

    def held_out_samples(self) -> tuple[Tensor, Any, list[str], dict[str, Any]]:
        """Held-out images, their labels, the names of the classes, and the data in numbers."""
        counts = {"train": len(self.train_images), "held_out": len(self.test_images)}
        names = [str(digit) for digit in range(10)]
        return self.test_images, self.test_labels, names, {"name": "digits", **counts}
