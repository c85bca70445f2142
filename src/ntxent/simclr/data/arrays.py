"""Images from NumPy files: one .npz, or an .npy with its labels in another."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.images import Labels, MemoryImages, Source

__all__ = ["open_arrays", "pixels_from"]

# Names of arrays of images and of their labels; the first names found in a file are used.
TRAIN_NAMES = (("train_images", "train_labels"), ("x_train", "y_train"), ("X_train", "y_train"))
TEST_NAMES = (("test_images", "test_labels"), ("x_test", "y_test"), ("X_test", "y_test"))
ALL_NAMES = (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels"))


def open_arrays(path: Path, config: DataConfig) -> Source:
    """Returns the images of a .npz or .npy file, with their labels ``[n]`` if it has any.

    Images are ``[n, H, W]``, ``[n, H, W, C]`` or ``[n, C, H, W]``.

    Raises:
        ValueError: the arrays have other shapes or types; the message begins with the file.
    """
    try:
        if path.suffix == ".npy":
            arrays = {"images": np.load(path, mmap_mode="r", allow_pickle=False)}
            if config.labels not in ("auto", "none"):
                arrays["labels"] = np.load(config.labels, allow_pickle=False)
        else:
            arrays = dict(np.load(path, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise ValueError(f"data.source: {path}: {error}") from error

    train = _pair(arrays, TRAIN_NAMES) or _pair(arrays, ALL_NAMES)
    if train is None:
        raise ValueError(
            f"data.source: {path} has the arrays {', '.join(arrays)}, expected images and labels, "
            "or train_images, train_labels, test_images, test_labels"
        )
    test = _pair(arrays, TEST_NAMES)
    parts = [part for part in (train, test) if part is not None]
    if any(labels is None for _, labels in parts):
        classes: list[str] = []
        numbers: list[Labels | None] = [None] * len(parts)
    else:
        classes, numbers = _number([np.asarray(labels) for _, labels in parts])
    images = [
        _images(path, pixels, labels) for (pixels, _), labels in zip(parts, numbers, strict=True)
    ]
    return Source(images[0], images[1] if test is not None else None, classes)


def _pair(arrays: dict[str, Any], names: tuple[tuple[str, str], ...]) -> tuple[Any, Any] | None:
    for images, labels in names:
        if images in arrays:
            return arrays[images], arrays.get(labels)
    return None


def _number(parts: list[NDArray[Any]]) -> tuple[list[str], list[Labels | None]]:
    """Returns class names, and the labels of each part as indices of these names.

    Integer labels -1 stay -1.
    """
    flat = [part.reshape(len(part), -1)[:, 0] for part in parts]
    together = np.concatenate(flat)
    known = together != -1 if together.dtype.kind == "i" else np.full(len(together), True)
    values, numbers = np.unique(together[known], return_inverse=True)
    result = np.full(len(together), -1)
    result[known] = numbers
    ends = np.cumsum([len(part) for part in flat])[:-1]
    return [str(value) for value in values], list(np.split(result, ends))


def _images(path: Path, array: NDArray[Any], labels: Labels | None) -> MemoryImages:
    try:
        pixels = pixels_from(array)
    except ValueError as error:
        raise ValueError(f"data.source: {path}: {error}") from error
    if labels is not None and len(labels) != len(pixels):
        raise ValueError(
            f"data.source: {path}: received {len(labels)} labels for {len(pixels)} images, "
            "expected one each"
        )
    return MemoryImages(pixels, labels)


def pixels_from(array: NDArray[Any]) -> Tensor:
    """Returns images as ``[n, C, H, W]``, uint8 or float32 in [0, 1]; 16 bits become float32.

    The channels are the second or the last dimension, whichever is smaller; without them the
    images are grey.

    >>> pixels_from(np.zeros((5, 8, 8, 3), np.uint8)).shape
    torch.Size([5, 3, 8, 8])

    Raises:
        ValueError: the shape, the type or the range is not that of images.
    """
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or 0 in array.shape:
        raise ValueError(
            f"received images of shape {list(array.shape)}, expected [n, H, W], [n, H, W, C] or "
            "[n, C, H, W]"
        )
    if array.shape[-1] < array.shape[1]:
        array = array.transpose(0, 3, 1, 2)
    if array.dtype == np.uint8:
        return torch.from_numpy(np.array(array))
    if array.dtype == np.uint16:
        return torch.from_numpy(np.array(array, np.float32) / 65535)
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and 0 <= low <= high <= 1:
        return torch.from_numpy(np.array(array, np.float32))
    if array.dtype.kind in "iu" and 0 <= low <= high <= 255:
        return torch.from_numpy(np.array(array, np.uint8))
    raise ValueError(
        f"received {array.dtype} from {low} to {high}, expected integers from 0 to 255, uint16, "
        "or floats from 0 to 1"
    )
