"""A PNG of images, each beside two augmented views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ntxent.files import atomic
from ntxent.simclr.data import Images, to_unit
from ntxent.simclr.model.views import TwoViews

__all__ = ["choose_images", "contact_sheet"]

COLUMNS, ROWS = 4, 8
SIDE, GAP, LABEL = 72, 4, 14


def choose_images(images: Images, count: int = COLUMNS * ROWS, seed: int = 0) -> list[int]:
    """Returns indices of at most ``count`` images, drawn from all classes, sorted by class."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(images))
    if images.labels is None:
        return sorted(order[:count].tolist())
    labels = images.labels[order]
    # turn[i]: how many images of the class of image i stand before it in the drawn order
    turn = np.empty(len(order), dtype=np.int64)
    for label in np.unique(labels):
        members = labels == label
        turn[members] = np.arange(members.sum())
    drawn = order[np.lexsort((labels, turn))][:count]
    return sorted(drawn.tolist(), key=lambda index: (images.labels[index], index))  # type: ignore[index]


def contact_sheet(
    images: Images, views: TwoViews, classes: list[str], path: Path, seed: int = 0
) -> None:
    """Writes a PNG: in each cell an image and its two views, under the name of its class."""
    chosen = choose_images(images, seed=seed)
    originals = to_unit(images[chosen])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, second = views(originals)
    width = COLUMNS * (3 * (SIDE + GAP) + 3 * GAP)
    rows = -(-len(chosen) // COLUMNS)
    sheet = Image.new("RGB", (width, rows * (SIDE + LABEL + 2 * GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, index in enumerate(chosen):
        row, column = divmod(place, COLUMNS)
        left = column * (width // COLUMNS) + GAP
        top = row * (SIDE + LABEL + 2 * GAP) + GAP
        draw.text((left, top), _words(images, classes, index), fill="black")
        for step, picture in enumerate((originals[place], first[place], second[place])):
            sheet.paste(_thumbnail(picture), (left + step * (SIDE + GAP), top + LABEL))
    with atomic(path) as partial:
        sheet.save(partial, format="PNG")


def _words(images: Images, classes: list[str], index: int) -> str:
    if images.labels is None:
        return f"{index}"
    label = int(images.labels[index])
    return classes[label] if 0 <= label < len(classes) else f"{index}"


def _thumbnail(picture: Tensor) -> Image.Image:
    channels = picture[:3] if len(picture) >= 3 else picture[:1].expand(3, -1, -1)
    pixels: NDArray[np.uint8] = (channels * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST)
