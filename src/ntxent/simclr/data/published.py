"""Datasets by name: scikit-learn's digits, and CIFAR and STL-10 from files on disk."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.images import Labels, MemoryImages, Source

__all__ = ["PUBLISHED"]


def _digits(config: DataConfig) -> Source:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float().div(16).view(-1, 1, 8, 8)
    return Source(MemoryImages(images, labels), classes=list("0123456789"))


def _cifar(name: str, config: DataConfig) -> Source:
    root = Path(config.root)
    if (root / _BINARY[name].folder).is_dir():
        return _BINARY[name].read(root)
    parts = [_torchvision(name, config, train=train) for train in (True, False)]
    train, test = (
        MemoryImages(torch.from_numpy(part.data).permute(0, 3, 1, 2), np.asarray(part.targets))
        for part in parts
    )
    return Source(train, test, parts[0].classes)


class _Binary:
    """Reads the binary version of CIFAR.

    A record has a few bytes of labels, of which the last is the class, and 3072 bytes of pixels:
    red, green and blue, each row by row.
    """

    def __init__(self, name: str, folder: str, train: str, test: str, labels: int, names: str):
        self.name, self.folder, self.train, self.test = name, folder, train, test
        self.label_bytes, self.names = labels, names

    def read(self, root: Path) -> Source:
        folder = root / self.folder
        train, test = (self._part(folder, pattern) for pattern in (self.train, self.test))
        names = folder / self.names
        classes = names.read_text().split() if names.is_file() else _numbered(train)
        return Source(train, test, classes)

    def _part(self, folder: Path, pattern: str) -> MemoryImages:
        files = sorted(folder.glob(pattern))
        if not files:
            raise FileNotFoundError(f"{folder}: no {pattern}; unpack the archive again")
        record = self.label_bytes + 3072
        parts = [np.fromfile(file, np.uint8) for file in files]
        for file, content in zip(files, parts, strict=True):
            if len(content) == 0 or len(content) % record:
                raise ValueError(
                    f"{file}: received {len(content)} bytes, expected a multiple of {record}; "
                    "unpack the archive again"
                )
        records = np.concatenate(parts).reshape(-1, record)
        labels = records[:, self.label_bytes - 1].astype(np.int64)
        pixels = torch.from_numpy(records[:, self.label_bytes :].reshape(-1, 3, 32, 32))
        return MemoryImages(pixels, labels)


_BINARY = {
    binary.name: binary
    for binary in (
        _Binary(
            *("cifar10", "cifar-10-batches-bin", "data_batch_*.bin", "test_batch.bin"),
            labels=1,
            names="batches.meta.txt",
        ),
        _Binary(
            *("cifar100", "cifar-100-binary", "train.bin", "test.bin"),
            labels=2,  # coarse, fine
            names="fine_label_names.txt",
        ),
    )
}


def _stl10(config: DataConfig) -> Source:
    """Returns the labelled and the unlabelled images to train on; the latter have label -1."""
    train, test = (
        _torchvision("stl10", config, split=part) for part in ("train+unlabeled", "test")
    )
    images = _stl_images(train)
    return Source(images, _stl_images(test), train.classes or _numbered(images))


def _numbered(images: MemoryImages) -> list[str]:
    """Returns the numbers of the classes as their names."""
    return [] if images.labels is None else [str(n) for n in range(int(images.labels.max()) + 1)]


def _stl_images(part: Any) -> MemoryImages:
    pixels: Tensor = torch.from_numpy(part.data)
    labels: Labels = np.asarray(part.labels, dtype=np.int64)
    return MemoryImages(pixels, labels)


def _torchvision(name: str, config: DataConfig, **part: Any) -> Any:
    from torchvision import datasets

    class Stl10(datasets.STL10):  # type: ignore[misc, unused-ignore]
        """Accepts any files of the layout: they are plain pixels, whatever their checksums."""

        def _check_integrity(self) -> bool:
            folder = Path(self.root) / self.base_folder
            return all((folder / file).is_file() for file, _ in self.train_list + self.test_list)

    known = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "stl10": Stl10}
    try:
        return known[name](config.root, download=config.download, **part)
    except RuntimeError as error:  # torchvision's for missing or other files
        raise FileNotFoundError(
            f"data.root: {name} is not in {config.root!r}: {str(error).rstrip('.')}; unpack its "
            f"archive there, or let torchvision fetch it with --data.download true"
        ) from error
    except ValueError as error:
        raise ValueError(f"data.root: {name} in {config.root!r}: {error}") from error


PUBLISHED: dict[str, Callable[[DataConfig], Source]] = {
    "digits": _digits,
    "cifar10": partial(_cifar, "cifar10"),
    "cifar100": partial(_cifar, "cifar100"),
    "stl10": _stl10,
}
