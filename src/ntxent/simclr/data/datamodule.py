"""A LightningDataModule of images: training batches, and a labelled and a held-out part."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.fingerprint import fingerprint
from ntxent.simclr.data.folder import FileImages
from ntxent.simclr.data.images import (
    LARGEST_SIZE,
    Images,
    MemoryImages,
    Shape,
    Skipped,
    Source,
    to_unit,
)
from ntxent.simclr.data.loader import ResumableLoader, ShuffledBatches
from ntxent.simclr.data.source import open_source
from ntxent.simclr.stages import Stages, silent

__all__ = ["ImageData", "split"]

# Not the run's seed: runs with other seeds hold out the same images, and can be compared.
SPLIT_SEED = 0


class ImageData(LightningDataModule):
    """Images to train on, and a labelled and a held-out part for evaluation.

    Training batches are images only, float32 ``[batch_size, C, H, W]`` in [0, 1], on the training
    device; labels never reach the trainer. Of several processes, which have the same seed, each
    gets its own rows of the same batches.

    Attributes:
        train: The training images.
        labelled: The training images with labels, from which probes learn; all training images
            where none has a label.
        test: The held-out images, which training never sees.
        shape: Channels, height and width of an image.
        classes: The names of the labels 0, 1, …

    Raises:
        ValueError: ``batch_size`` exceeds the training images, or ``config.held_out`` leaves a
            class without an image on one side.
    """

    def __init__(
        self,
        config: DataConfig,
        batch_size: int,
        largest_size: int = LARGEST_SIZE,
        stages: Stages = silent,
    ) -> None:
        super().__init__()
        self.config = config
        self.source = open_source(config, largest_size, stages)
        self.classes = self.source.classes
        self.train, self.test = split(self.source, config.held_out)
        self.labelled = _labelled(self.train)
        self.shape: Shape = self.train.shape
        if self.test.shape != self.shape:
            raise ValueError(
                f"data.source: received held-out images of shape {list(self.test.shape)}, "
                f"expected {list(self.shape)}, that of the training images"
            )
        self.batch_size = batch_size

    @property
    def batch_size(self) -> int:
        """Images in a training batch over all processes.

        Setting it to more than there are training images raises a ``ValueError``.
        """
        return self._batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        count = len(self.train)
        if size > count and count < 2:
            raise ValueError(
                f"data.source: received {count} image to learn from, with {len(self.test)} held "
                "out, expected at least 2: one pair has nothing to be contrasted with; add images"
            )
        if size > count:
            raise ValueError(
                f"batch_size: received {size}, expected at most {count}, the training images that "
                f"remain with data.held_out {self.config.held_out}; make either of them smaller"
            )
        self._batch_size = size

    @cached_property
    def fingerprint(self) -> dict[str, str | None]:
        """Hashes of labels and pixels; the images are read when it is first asked for."""
        return fingerprint(self.train, self.test)

    @property
    def has_labels(self) -> bool:
        """Whether there are labels, for training and for held-out images."""
        return self.labelled.labels is not None and self.test.labels is not None

    @property
    def skipped(self) -> list[Skipped]:
        """Files that are not usable images, among those that were read so far."""
        lazy = (part for part in (self.train, self.test) if isinstance(part, FileImages))
        return self.source.skipped + [entry for part in lazy for entry in part.skipped()]

    def train_dataloader(self) -> DataLoader[Tensor]:
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else None
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        images = self.train.to(device, self.config.memory)
        order = ShuffledBatches(len(images), self.batch_size, rank, world)
        workers = 0 if isinstance(images, MemoryImages) else self.config.workers
        return ResumableLoader(
            images,
            order,
            sampler=order,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=workers > 0 and torch.cuda.is_available(),
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return to_unit(batch)


def split(source: Source, held_out: float) -> tuple[Images, Images]:
    """Returns the images to train on and the held-out ones: the source's own, or a share of all.

    Raises:
        ValueError: the share leaves a class without an image on one side.
    """
    images = source.train
    if source.test is not None:
        return images, _labelled(source.test)
    if len(images) < 2:
        raise ValueError(
            "data.source: received 1 image, expected at least 3: two to learn from, one held "
            "out; add images"
        )
    try:
        train, test = train_test_split(
            range(len(images)),
            test_size=held_out,
            stratify=images.labels,
            random_state=SPLIT_SEED,
        )
    except ValueError as error:
        raise ValueError(
            f"data.held_out: received {held_out} for {_described(images)}; {error}"
        ) from error
    return images.take(train), images.take(test)


def _labelled(images: Images) -> Images:
    if images.labels is None or (images.labels >= 0).all():
        return images
    return images.take(np.flatnonzero(images.labels >= 0).tolist())


def _described(images: Images) -> str:
    if images.labels is None:
        return f"{len(images)} images"
    counts = np.unique(images.labels, return_counts=True)[1]
    return f"{len(images)} images of {len(counts)} classes, {counts.min()} in the smallest"
