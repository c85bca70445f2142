"""Sources of images, by their names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.images import LARGEST_SIZE, Source

__all__ = ["open_source"]


def open_source(config: DataConfig, largest_size: int = LARGEST_SIZE) -> Source:
    """Returns the source that ``config.source`` names.

    Args:
        config: The options.
        largest_size: Largest side of a folder's images without ``config.image_size``, pixels.

    Raises:
        ValueError: the name is unknown, or the images cannot be used; the message says why.
        OSError: a file is missing or cannot be read.
    """
    if config.labels not in ("auto", "none") and not config.source.endswith(".npy"):
        raise ValueError(
            f"data.labels: received {config.labels!r} for {config.source}, expected auto or none; "
            "a file of labels goes with an .npy file of images"
        )
    source = _opened(config, largest_size)
    if config.labels == "none":
        source.train.labels = None
        if source.test is not None:
            source.test.labels = None
        return replace(source, classes=())
    return source


def _opened(config: DataConfig, largest_size: int) -> Source:
    name, path = config.source, Path(config.source).expanduser()
    if name in ("digits", "cifar10", "cifar100", "stl10"):
        from ntxent.simclr.data.published import PUBLISHED

        return PUBLISHED[name](config)
    if path.is_dir():
        from ntxent.simclr.data.folder import open_folder

        return open_folder(path, config, largest_size)
    if path.suffix in (".npz", ".npy"):
        from ntxent.simclr.data.arrays import open_arrays

        return open_arrays(path, config)
    if ":" in name:
        from ntxent.simclr.data.custom import open_custom

        return open_custom(config)
    raise FileNotFoundError(
        f"data.source: received {name!r}, which is no folder here; expected digits, cifar10, "
        "cifar100, stl10, a folder of images, an .npz or .npy file, or package.module:Class"
    )
