"""A Dataset or LightningDataModule of the user, by its import path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.arrays import pixels_from
from ntxent.simclr.data.decoding import to_rgb
from ntxent.simclr.data.images import Images, Labels, Source
from ntxent.simclr.importing import load_object

__all__ = ["DatasetImages", "open_custom"]


def open_custom(config: DataConfig) -> Source:
    """Calls what ``config.source`` names with ``config.arguments``, and returns its images.

    Of a LightningDataModule only the datasets are used: that of its training loader, and that of
    its test loader, or else its validation loader, as the held-out part. Its loaders would not
    share batches among processes, nor resume in the middle of an epoch.

    Raises:
        ValueError: it is no Dataset and no LightningDataModule, or its items are no images.
    """
    make = load_object("data.source", config.source)
    try:
        source = make(**config.arguments)
    except TypeError as error:
        raise ValueError(f"data.arguments: {config.source}: {error}") from error
    if not isinstance(source, LightningDataModule):
        train = DatasetImages(source)
        return Source(train, None, _classes(source, train.labels))
    source.prepare_data()
    source.setup("fit")
    train = DatasetImages(_dataset(source.train_dataloader()))
    held_out = _held_out(source)
    test = None if held_out is None else DatasetImages(held_out)
    return Source(train, test, _classes(train.dataset, train.labels))


def _held_out(module: LightningDataModule) -> Dataset[Any] | None:
    base = LightningDataModule
    if type(module).test_dataloader is not base.test_dataloader:
        module.setup("test")
        return _dataset(module.test_dataloader())
    if type(module).val_dataloader is not base.val_dataloader:
        return _dataset(module.val_dataloader())
    return None


def _dataset(loader: Any) -> Dataset[Any]:
    if not isinstance(loader, DataLoader):
        raise ValueError(
            f"data.source: received a loader of type {type(loader).__name__}, expected one "
            "torch.utils.data.DataLoader"
        )
    return loader.dataset


def _classes(dataset: Any, labels: Labels | None) -> list[str]:
    if labels is None:
        return []
    named = getattr(dataset, "classes", None)
    return [str(name) for name in (named or range(int(labels.max()) + 1))]


class DatasetImages(Images):
    """Images of a map-style dataset, whose items are images or tuples of image, label and more.

    An image is one of PIL, an array ``[H, W]`` or ``[H, W, C]``, or a tensor ``[C, H, W]``, with
    pixels of uint8, or floats in [0, 1]. All images have the same shape.
    """

    def __init__(self, dataset: Any) -> None:
        sized = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
        if isinstance(dataset, IterableDataset) or not sized:
            raise ValueError(
                f"data.source: received {type(dataset).__name__}, expected a Dataset with "
                "__len__ and __getitem__, or a LightningDataModule: images are drawn by index"
            )
        if len(dataset) == 0:
            raise ValueError(f"data.source: {type(dataset).__name__} has no images")
        self.dataset = dataset
        channels, height, width = self._read(0).shape
        self.shape = (channels, height, width)
        self.labels = self._labels()

    def __getitem__(self, indices: Sequence[int]) -> Tensor:
        images = [self._read(int(index)) for index in indices]
        other = next((image for image in images if tuple(image.shape) != self.shape), None)
        if other is not None:
            raise ValueError(
                f"data.source: received an image of shape {list(other.shape)} after one of "
                f"{list(self.shape)}, expected one shape; let the Dataset resize and crop"
            )
        return torch.stack(images)

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, indices: Sequence[int]) -> Images:
        return _Subset(self, indices)

    def _read(self, index: int) -> Tensor:
        item = self.dataset[index]
        image = item[0] if isinstance(item, (tuple, list)) else item
        if isinstance(image, Image.Image):
            image = np.asarray(image if image.mode == "L" else to_rgb(image))
        if isinstance(image, Tensor):
            image = image.numpy(force=True)
            image = image[..., None] if image.ndim == 2 else image.transpose(1, 2, 0)
        if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
            raise ValueError(
                f"data.source: item {index} is {type(image).__name__}, expected an image of PIL, "
                "an array [H, W, C], or a tensor [C, H, W]"
            )
        try:
            return pixels_from(image[None])[0]
        except ValueError as error:
            raise ValueError(f"data.source: item {index}: {error}") from error

    def _labels(self) -> Labels | None:
        """Returns ``targets`` or ``labels`` of the dataset, else the labels of its items."""
        for name in ("targets", "labels"):
            found = getattr(self.dataset, name, None)
            if found is not None and len(found) == len(self):
                return np.asarray(found, dtype=np.int64)
        first = self.dataset[0]
        if not isinstance(first, (tuple, list)) or len(first) < 2 or not np.isscalar(first[1]):
            return None
        return np.array([int(self.dataset[index][1]) for index in range(len(self))])


class _Subset(Images):
    def __init__(self, images: Images, indices: Sequence[int]) -> None:
        self.images, self.indices, self.shape = images, np.asarray(indices), images.shape
        self.labels = None if images.labels is None else images.labels[self.indices]

    def __getitem__(self, indices: Sequence[int]) -> Tensor:
        return self.images[self.indices[np.asarray(indices)].tolist()]

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Sequence[int]) -> Images:
        return _Subset(self.images, self.indices[np.asarray(indices)])
