"""Images as a dataset: the interface, images in memory, and what a source of images returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

__all__ = [
    "LARGEST_SIZE",
    "Images",
    "Labels",
    "MemoryImages",
    "Shape",
    "Skipped",
    "Source",
    "class_numbers",
    "is_tiny",
    "to_unit",
]

Shape = tuple[int, int, int]  # channels, height, width

Labels = NDArray[Any]  # int64 [n]; -1 marks an image without one

MEGABYTE = 2**20

# Largest side of a folder's images by default, pixels.
LARGEST_SIZE = 96


class Images(Dataset[Tensor]):
    """A dataset of images of one shape, which are read in batches, by lists of indices.

    A subclass sets ``shape`` and ``labels`` (None for images without labels) and defines
    ``__len__``, ``__getitem__`` and ``take``, so that ``images.take(i)[j]`` equals
    ``images[i[j]]``.
    """

    shape: Shape
    labels: Labels | None

    def __getitem__(self, indices: Sequence[int]) -> Tensor:
        """Returns images ``[len(indices), C, H, W]``, uint8, or float32 in [0, 1]."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def take(self, indices: Sequence[int]) -> Images:
        """Returns the images of these indices, in this order, as a collection."""
        raise NotImplementedError

    def to(self, device: torch.device | None, max_megabytes: int) -> Images:
        """Returns the images on the device, if they are in memory and no larger than that."""
        return self


class MemoryImages(Images):
    """Images in memory: pixels ``[n, C, H, W]``, uint8, or float32 in [0, 1]."""

    def __init__(self, pixels: Tensor, labels: Labels | None = None) -> None:
        channels, height, width = pixels.shape[1:]
        self.pixels, self.labels, self.shape = pixels, labels, (channels, height, width)

    def __getitem__(self, indices: Sequence[int]) -> Tensor:
        return self.pixels[indices]

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, indices: Sequence[int]) -> MemoryImages:
        labels = None if self.labels is None else self.labels[indices]
        return MemoryImages(self.pixels[indices], labels)

    def to(self, device: torch.device | None, max_megabytes: int) -> MemoryImages:
        if self.pixels.nbytes > max_megabytes * MEGABYTE:
            return self
        return MemoryImages(self.pixels.to(device), self.labels)


class Skipped(NamedTuple):
    """A file that is not a usable image, and the reason."""

    file: str
    reason: str


@dataclass(frozen=True)
class Source:
    """The images of a source, with their classes and files.

    Attributes:
        train: The training images; all images where ``test`` is None.
        test: The held-out images, where the source has its own.
        classes: The names of the labels 0, 1, …
        names, test_names: The file of each image of ``train`` and of ``test``.
        skipped: Files that are no usable images.
    """

    train: Images
    test: Images | None = None
    classes: Sequence[str] = ()
    names: Sequence[str] | None = None
    test_names: Sequence[str] | None = None
    skipped: list[Skipped] = field(default_factory=list)


def is_tiny(shape: Shape) -> bool:
    """Returns whether images are too small for crops, blur and a deep encoder.

    >>> is_tiny((1, 8, 8)), is_tiny((3, 32, 32))
    (True, False)
    """
    return max(shape[1:]) <= 16


def class_numbers(images: MemoryImages) -> list[str]:
    """Returns the numbers of the classes, as names where there are no others."""
    return [] if images.labels is None else [str(n) for n in range(int(images.labels.max()) + 1)]


def to_unit(images: Tensor) -> Tensor:
    """Returns pixels as float32 in [0, 1].

    >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return images.float().div(255) if images.dtype == torch.uint8 else images
