"""Datasets by name: scikit-learn's digits, and those of torchvision from files on disk."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.idx import find_part, read_part
from ntxent.simclr.data.images import Labels, MemoryImages, Source, class_numbers

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
        classes = names.read_text().split() if names.is_file() else class_numbers(train)
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
    return Source(images, _stl_images(test), train.classes or class_numbers(images))


def _stl_images(part: Any) -> MemoryImages:
    pixels: Tensor = torch.from_numpy(part.data)
    labels: Labels = np.asarray(part.labels, dtype=np.int64)
    return MemoryImages(pixels, labels)


def _svhn(config: DataConfig) -> Source:
    train, test = (_torchvision("svhn", config, split=part) for part in ("train", "test"))
    images = _stl_images(train)
    return Source(images, _stl_images(test), class_numbers(images))


# Where Debian's package dataset-fashion-mnist has its files; other packages may follow its names.
SYSTEM = Path("/usr/share/datasets")


def _mnist(name: str, folder: str, config: DataConfig) -> Source:
    """Returns the images of MNIST, Fashion-MNIST, KMNIST or EMNIST, all in idx files.

    Args:
        name: The source.
        folder: torchvision's folder of the files, which is the name of its class.
        config: The options; ``arguments`` may name the ``split`` of EMNIST.
    """
    from torchvision import datasets

    root = Path(config.root).expanduser()
    folders = [root / folder / "raw", root / name, root, SYSTEM / name.replace("_", "-")]
    split = str(config.arguments.get("split", "balanced"))
    if name == "emnist":
        known = datasets.EMNIST.classes_split_dict
        if split not in known:
            raise ValueError(f"data.arguments: split: received {split!r}, expected {[*known]}")
        prefixes, classes = (f"emnist-{split}-train", f"emnist-{split}-test"), known[split]
    else:
        prefixes, classes = ("train", "t10k"), getattr(datasets, folder).classes
    found = [find_part(folders, prefix) for prefix in prefixes]
    if None in found and config.download:
        options = {"split": split} if name == "emnist" else {}
        getattr(datasets, folder)(str(root), download=True, **options)
        found = [find_part(folders, prefix) for prefix in prefixes]
    missing = [f"{prefix}-*" for prefix, part in zip(prefixes, found, strict=True) if part is None]
    if missing:
        package = "apt-get install dataset-fashion-mnist, or " if name == "fashion_mnist" else ""
        raise FileNotFoundError(
            f"data.root: {name} is not in {', '.join(map(str, folders))}: "
            f"no {' and '.join(missing)} files of images (idx3-ubyte) and labels "
            f"(idx1-ubyte), with or without .gz; get them with {package}--data.download true"
        )
    train, test = (
        read_part(*part, transposed=name == "emnist") for part in found if part is not None
    )
    if classes[0] == "N/A":  # EMNIST's letters are numbered from 1
        classes = classes[1:]
        for images in (train, test):
            assert images.labels is not None
            images.labels = images.labels - 1
    return Source(train, test, [name.partition(" - ")[0] for name in classes])


def _torchvision(name: str, config: DataConfig, **part: Any) -> Any:
    from torchvision import datasets

    class Stl10(datasets.STL10):  # type: ignore[misc, unused-ignore]
        """Accepts any files of the layout: they are plain pixels, whatever their checksums."""

        def _check_integrity(self) -> bool:
            folder = Path(self.root) / self.base_folder
            return all((folder / file).is_file() for file, _ in self.train_list + self.test_list)

    class Svhn(datasets.SVHN):  # type: ignore[misc, unused-ignore]
        """Accepts any file of the format, whatever its checksum."""

        def _check_integrity(self) -> bool:
            return Path(self.root, str(self.filename)).is_file()

    known = {
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
        "stl10": Stl10,
        "svhn": Svhn,
    }
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
    "svhn": _svhn,
    "mnist": partial(_mnist, "mnist", "MNIST"),
    "fashion_mnist": partial(_mnist, "fashion_mnist", "FashionMNIST"),
    "kmnist": partial(_mnist, "kmnist", "KMNIST"),
    "emnist": partial(_mnist, "emnist", "EMNIST"),
}
