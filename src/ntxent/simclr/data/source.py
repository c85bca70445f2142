"""Sources of images, by their names."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.arrays import open_arrays
from ntxent.simclr.data.custom import open_custom
from ntxent.simclr.data.folder import open_folder
from ntxent.simclr.data.idx import has_idx_files, is_idx, open_idx
from ntxent.simclr.data.images import LARGEST_SIZE, Source
from ntxent.simclr.data.published import PUBLISHED
from ntxent.simclr.stages import Stages, silent

__all__ = ["open_source"]


def open_source(
    config: DataConfig, largest_size: int = LARGEST_SIZE, stages: Stages = silent
) -> Source:
    """Returns the source that ``config.source`` names.

    Args:
        config: The options.
        largest_size: Largest side of a folder's images without ``config.image_size``, pixels.
        stages: Shows the reading of files.

    Raises:
        ValueError: the name is unknown, or the images cannot be used; the message says why.
        OSError: a file is missing or cannot be read.
    """
    if config.labels not in ("auto", "none") and not config.source.endswith(".npy"):
        raise ValueError(
            f"data.labels: received {config.labels!r} for {config.source}, expected auto or none; "
            "a file of labels goes with an .npy file of images"
        )
    source = _opened(config, largest_size, stages)
    if config.labels == "none":
        source.train.labels = None
        if source.test is not None:
            source.test.labels = None
        return replace(source, classes=())
    return source


def _opened(config: DataConfig, largest_size: int, stages: Stages) -> Source:
    name, path = config.source, Path(config.source).expanduser()
    if name in PUBLISHED:
        with stages(f"reading {name}"):
            return PUBLISHED[name](config)
    if path.is_dir() and not has_idx_files(path):
        return open_folder(path, config, largest_size, stages)
    if path.is_dir() or (path.is_file() and is_idx(path)):
        with stages(f"reading {path.name}"):
            return open_idx(path, config)
    if path.suffix in (".npz", ".npy"):
        with stages(f"reading {path.name}"):
            return open_arrays(path, config)
    if ":" in name:
        with stages(f"reading {name}"):
            return open_custom(config)
    nearest = get_close_matches(name, PUBLISHED, n=1)
    raise FileNotFoundError(
        f"data.source: received {name!r}, which is no file or folder here; expected "
        f"{', '.join(PUBLISHED)}, a folder of images, an .npz, .npy or idx file, or "
        f"package.module:Class{f'; did you mean {nearest[0]}?' if nearest else ''}"
    )
