"""The contract of a collection of images, and the one that lives in memory."""

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
    "is_tiny",
    "to_unit",
]

Shape = tuple[int, int, int]  # channels, height, width

Labels = NDArray[Any]  # int64 [n]; -1 marks an image without one

MEGABYTE = 2**20

# Pixels a side that the images of a folder get at most, where nobody says how many.
LARGEST_SIZE = 96


class Images(Dataset[Tensor]):
    """Images of one shape, read by lists of indices: a batch is one read, not N and a stack.

    An implementation gives ``shape`` and ``labels`` (None where there are none) and defines
    ``__len__``, ``__getitem__`` and ``take``; ``images.take(i)[j]`` equals ``images[i[j]]``.
    """

    shape: Shape
    labels: Labels | None

    def __getitem__(self, indices: Sequence[int]) -> Tensor:
        """``[len(indices), C, H, W]``, uint8, or float32 in [0, 1]."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def take(self, indices: Sequence[int]) -> Images:
        """Only these images, in this order."""
        raise NotImplementedError

    def near(self, device: torch.device | None, megabytes: int) -> Images:
        """The same images, moved to the device where they are in memory and fit."""
        return self


class MemoryImages(Images):
    """Pixels ``[n, C, H, W]`` of uint8, or of float32 in [0, 1]."""

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

    def near(self, device: torch.device | None, megabytes: int) -> MemoryImages:
        if self.pixels.nbytes > megabytes * MEGABYTE:
            return self
        return MemoryImages(self.pixels.to(device), self.labels)


class Skipped(NamedTuple):
    """A file that is left out, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Images, and what is known of them.

    Attributes:
        train: The images to learn from; all of them where ``test`` is None.
        test: The source's own held-out images.
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
    """Whether cropping, blurring and a deep encoder would leave too little of such images.

    >>> is_tiny((1, 8, 8)), is_tiny((3, 32, 32))
    (True, False)
    """
    return max(shape[1:]) <= 16


def to_unit(images: Tensor) -> Tensor:
    """Pixels as float32 in [0, 1].

    >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return images.float().div(255) if images.dtype == torch.uint8 else images
