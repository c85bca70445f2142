"""Where images come from: what every source gives, and which source a name stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.images import Images

__all__ = ["LARGEST_SIZE", "Skipped", "Source", "open_source"]

# Pixels a side that the images of a folder get at most, where nobody says how many.
LARGEST_SIZE = 96


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


def open_source(config: DataConfig, largest_size: int = LARGEST_SIZE) -> Source:
    """The source that ``config.source`` names.

    Args:
        config: The choices.
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
        from ntxent.simclr.data.custom import open_own

        return open_own(config)
    raise FileNotFoundError(
        f"data.source: received {name!r}, which is no folder here; expected digits, cifar10, "
        "cifar100, stl10, a folder of images, an .npz or .npy file, or package.module:Class"
    )
