"""Counts, sizes, classes, pixels and unusable files of a source of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
import torch

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.datamodule import split
from ntxent.simclr.data.folder import FileImages, scan_folder
from ntxent.simclr.data.images import LARGEST_SIZE, Images, Source, to_unit
from ntxent.simclr.data.source import open_source
from ntxent.simclr.stages import Stages, silent

__all__ = ["inspect"]

BATCH = 256
LEAST = 3  # images: two to train on, one held out


def inspect(
    config: DataConfig, largest_size: int = LARGEST_SIZE, stages: Stages = silent
) -> tuple[Source, dict[str, Any]]:
    """Returns the source and, as plain JSON values, what ``ntxent data inspect`` prints of it.

    It decodes every image, so it finds every damaged file. The images are counted as training
    divides them; where it would refuse them, ``problem`` says why.
    """
    # Lists all unusable files, however many; training refuses more than ``config.max_skipped``.
    source = open_source(replace(config, max_skipped=1 - 1e-9), largest_size, stages)
    files = [images for images in (source.train, source.test) if images is not None]
    pixels = _pixels(source.train, stages)
    damaged = [
        entry for images in files if isinstance(images, FileImages) for entry in images.skipped()
    ]
    skipped = [*source.skipped, *damaged]
    least = LEAST if source.test is None else LEAST - 1
    total = sum(map(len, files)) + len(source.skipped)
    parts: dict[str, Images] = {"train": source.train}
    problem = None
    try:
        parts["train"], parts["held_out"] = split(source, config.held_out)
    except ValueError as error:
        problem = str(error)
    if len(skipped) > config.max_skipped * total:
        share = f"the share {config.max_skipped:g} of --data.max_skipped"
        problem = f"more files are left out than {share}"
    elif len(source.train) < least:
        problem = f"it needs at least {least} images"
        problem += ", two to learn from and one held out" if source.test is None else ""
    return source, {
        "source": config.source,
        "images": {name: len(images) for name, images in parts.items()},
        "shape": list(source.train.shape),
        "original_sizes": _sizes(config, stages),
        "classes": {name: _counts(images, list(source.classes)) for name, images in parts.items()},
        "pixels": pixels,
        "skipped": [entry._asdict() for entry in skipped],
        "usable": problem is None,
        "problem": problem,
    }


def _counts(images: Images, classes: list[str]) -> dict[str, int]:
    if images.labels is None:
        return {}
    counts = np.bincount(images.labels[images.labels >= 0], minlength=len(classes))
    names = classes or [str(label) for label in range(len(counts))]
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def _sizes(config: DataConfig, stages: Stages) -> dict[str, list[int]] | None:
    """Returns the smallest, median and largest width and height of a folder's files, in pixels."""
    path = Path(config.source).expanduser()
    sizes = scan_folder(path, stages).sizes if path.is_dir() else []
    if not sizes:
        return None
    return {
        name: [min(values), median_low(values), max(values)]
        for name, values in zip(("width", "height"), zip(*sizes, strict=True), strict=True)
    }


def _pixels(images: Images, stages: Stages) -> dict[str, list[float]]:
    """Returns mean and standard deviation of each channel, in [0, 1]."""
    total = torch.zeros(2, images.shape[0], dtype=torch.float64)
    with stages(f"measuring the pixels of {len(images):,} images", len(images)) as advance:
        for start in range(0, len(images), BATCH):
            batch = to_unit(images[list(range(start, min(start + BATCH, len(images))))]).double()
            total += torch.stack([batch.sum((0, 2, 3)), batch.square().sum((0, 2, 3))])
            advance(len(batch))
    mean, square = total / (len(images) * images.shape[1] * images.shape[2])
    deviation = (square - mean.square()).clamp_min(0).sqrt()
    return {
        "mean": [round(value, 4) for value in mean.tolist()],
        "deviation": [round(value, 4) for value in deviation.tolist()],
    }
