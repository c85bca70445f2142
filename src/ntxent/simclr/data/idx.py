"""Images in idx files, the format of MNIST, plain or compressed by gzip."""

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.images import MemoryImages, Source, class_numbers

__all__ = ["find_part", "has_idx_files", "is_idx", "open_idx", "read_idx", "read_part"]

# Third byte of the magic number; the only type in use for images and labels.
UNSIGNED_BYTE = 0x08

Part = tuple[Path, Path]  # images, labels


def is_idx(path: Path) -> bool:
    """Returns whether a file has the name of idx images or labels.

    >>> is_idx(Path("train-images-idx3-ubyte.gz")), is_idx(Path("train.npz"))
    (True, False)
    """
    name = path.name.removesuffix(".gz")
    return name.endswith((".idx", "-ubyte", ".idx3-ubyte")) or "-idx" in name


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Returns the bytes of an idx file as an array of that many dimensions.

    The file begins with two zero bytes, a byte for the type and one for the number of dimensions;
    then come their sizes, 4 bytes each, most significant first.

    Raises:
        ValueError: the file is damaged or has another type; the message begins with the file.
    """
    raw = path.read_bytes()
    try:
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: the gzip file is damaged: {error}; fetch it again") from error
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise ValueError(
            f"{path}: received the magic number {content[:4].hex(' ') or 'of an empty file'}, "
            f"expected {magic.hex(' ')}, an idx file of bytes with {dimensions} dimensions"
        )
    start = 4 + 4 * dimensions
    header = content[4:start]
    sizes = [int.from_bytes(header[at : at + 4], "big") for at in range(0, len(header), 4)]
    received, expected = len(content) - start, math.prod(sizes)
    if len(header) < 4 * dimensions or received != expected:
        raise ValueError(
            f"{path}: received {max(received, 0)} bytes after the header, expected {expected} for "
            f"the shape {sizes}; fetch the file again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes).copy()


def read_part(images: Path, labels: Path, *, transposed: bool = False) -> MemoryImages:
    """Returns the images ``[n, 1, H, W]`` and labels of two idx files.

    Args:
        images: The file of images.
        labels: The file of labels.
        transposed: Whether rows and columns of the images are swapped, as in EMNIST.

    Raises:
        ValueError: a file is damaged, or they have different numbers of entries.
    """
    pixels, numbers = read_idx(images, 3), read_idx(labels, 1).astype(np.int64)
    if len(pixels) != len(numbers):
        raise ValueError(
            f"{labels}: received {len(numbers)} labels for the {len(pixels)} images of "
            f"{images.name}, expected one each; fetch both files again"
        )
    if transposed:
        pixels = pixels.transpose(0, 2, 1).copy()
    return MemoryImages(torch.from_numpy(pixels)[:, None], numbers)


def find_part(folders: Sequence[Path], prefix: str) -> Part | None:
    """Returns the files of images and labels in the first folder that has both."""
    for folder in folders:
        found = [
            next(filter(Path.is_file, (folder / name, folder / f"{name}.gz")), None)
            for name in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
        ]
        images, labels = found
        if images is not None and labels is not None:
            return images, labels
    return None


def has_idx_files(folder: Path) -> bool:
    """Returns whether a folder has the files of MNIST's layout."""
    return find_part([folder], "train") is not None


def open_idx(path: Path, config: DataConfig) -> Source:
    """Returns the images of a folder of MNIST's layout, or of one file of images.

    The labels are those of the file beside it, with ``labels-idx1`` in its name for
    ``images-idx3``. Images of a file ``train-…`` are tested on those of ``t10k-…`` beside it.

    Raises:
        ValueError: a file is damaged, or has other labels than images.
        FileNotFoundError: there is no file of labels.
    """
    if path.is_dir():
        folder, prefix = path, "train"
    else:
        folder, prefix = path.parent, path.name.partition("-images-")[0]
    train = find_part([folder], prefix)
    if train is None:
        raise FileNotFoundError(
            f"data.source: {path}: found no {prefix}-images-idx3-ubyte with a file of labels, "
            f"{prefix}-labels-idx1-ubyte, each with or without .gz, in {folder}"
        )
    test = find_part([folder], "t10k") if prefix == "train" else None
    images = read_part(*train)
    return Source(images, None if test is None else read_part(*test), class_numbers(images))
