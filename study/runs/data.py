"""Three data sets that ship with scikit-learn or are computed: instances, labels and random views.

digits     1,797 handwritten digits of 8 x 8 pixels (10 classes)
patches    2,080 windows of scikit-learn's two photographs; the classes are the 24 regions
           (photograph, row, column) that the windows lie in
manifold   points whose class and nuisance are known: x = f(class centre + instance, nuisance) with
           f a fixed random network, 20 classes; a view draws its nuisance anew
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split
from torch import Generator, Tensor

Views = Callable[[Tensor, float, Generator], Tensor]

DATA = ("digits", "patches", "manifold")


@dataclass(frozen=True)
class DataSet:
    """``views(instances, strength, generator)`` gives one random view of each instance.

    ``plain`` is the view that the evaluation sees: it draws nothing.
    """

    train: Tensor
    train_labels: np.ndarray
    test: Tensor
    test_labels: np.ndarray
    views: Views
    plain: Callable[[Tensor], Tensor]


@cache
def load(name: str) -> DataSet:
    return {"digits": _digits, "patches": _patches, "manifold": _manifold}[name]()


# --- digits ---------------------------------------------------------------------------------------


def _digits() -> DataSet:
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    train, test = train_test_split(
        np.arange(len(x)), test_size=397, random_state=0, stratify=labels
    )
    return DataSet(x[train], labels[train], x[test], labels[test], _digit_views, lambda x: x)


def _digit_views(x: Tensor, strength: float, generator: Generator) -> Tensor:
    """Turned by 25 degrees, scaled by 0.75 to 1.25, shifted by 1 pixel at most; contrast, noise."""
    turn, zoom, right, down, contrast = _uniform(5, len(x), generator) * strength
    x = _moved(x, turn * 0.44, 1 + 0.25 * zoom, right * 0.25, down * 0.25, 8)
    noise = torch.randn(x.shape, generator=generator)
    return x * (1 + 0.4 * contrast).view(-1, 1, 1, 1) + 0.15 * strength * noise


# --- patches --------------------------------------------------------------------------------------

WINDOW, CROP = 16, 12  # pixels


def _patches() -> DataSet:
    """Windows that do not overlap; every fourth, shifted from row to row, is held out."""
    windows, labels, held_out = [], [], []
    for number, photo in enumerate(load_sample_images().images):
        height, width = photo.shape[0] // WINDOW, photo.shape[1] // WINDOW
        x = torch.tensor(photo[: height * WINDOW, : width * WINDOW] / 255, dtype=torch.float32)
        x = x.view(height, WINDOW, width, WINDOW, 3).permute(0, 2, 4, 1, 3).flatten(0, 1)
        row, column = (index.ravel() for index in np.mgrid[:height, :width])
        windows.append(x)
        labels.append(12 * number + 4 * (row * 3 // height) + column * 4 // width)
        held_out.append((column + 2 * row) % 4 == 0)
    x, label, test = torch.cat(windows), np.concatenate(labels), np.concatenate(held_out)
    return DataSet(x[~test], label[~test], x[test], label[test], _patch_views, _centre)


def _centre(x: Tensor) -> Tensor:
    edge = (WINDOW - CROP) // 2
    return x[..., edge : edge + CROP, edge : edge + CROP]


def _patch_views(x: Tensor, strength: float, generator: Generator) -> Tensor:
    """A crop of 8 to 16 pixels in the window, mirrored or not, in other colours or in grey."""
    zoom, right, down, mirror, *colours, light, grey = _uniform(9, len(x), generator)
    scale = CROP / WINDOW * (1 + strength * zoom / 3)
    room = 1 - scale
    mirrored = mirror * strength > 0
    x = _moved(
        x, None, scale, right * room * min(strength, 1), down * room * min(strength, 1), CROP
    )
    x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x)
    gain = 1 + 0.4 * strength * torch.stack(colours[:3], 1)
    x = x * gain[..., None, None] + 0.2 * strength * light.view(-1, 1, 1, 1)
    plain = (grey + 1) / 2 < 0.2 * strength
    return torch.where(plain.view(-1, 1, 1, 1), x.mean(1, keepdim=True), x)


# --- manifold -------------------------------------------------------------------------------------

CLASSES, LATENT, WIDTH = 20, 8, 64


def _manifold() -> DataSet:
    draw = torch.Generator().manual_seed(0)
    centres = F.normalize(torch.randn(CLASSES, LATENT, generator=draw), dim=1)
    labels = torch.arange(4096 + 1024) % CLASSES
    instances = centres[labels] + 0.35 * torch.randn(len(labels), LATENT, generator=draw)
    nuisance = torch.randn(len(labels), LATENT, generator=draw)
    inner = torch.randn(2 * LATENT, WIDTH, generator=draw) / 2
    outer = torch.randn(WIDTH, WIDTH, generator=draw) / WIDTH**0.5

    def observed(instances: Tensor, nuisance: Tensor) -> Tensor:
        return (torch.cat([instances, nuisance], 1) @ inner).tanh() @ outer

    def views(x: Tensor, strength: float, generator: Generator) -> Tensor:
        own, usual = x.split(LATENT, 1)
        drawn = torch.randn(own.shape, generator=generator)
        return observed(own, (1 - min(strength, 1)) * usual + strength * drawn)

    x = torch.cat([instances, nuisance], 1)
    label = labels.numpy()
    return DataSet(
        x[:4096],
        label[:4096],
        x[4096:],
        label[4096:],
        views,
        lambda x: observed(*x.split(LATENT, 1)),
    )


# --- shared ---------------------------------------------------------------------------------------


def _uniform(count: int, rows: int, generator: Generator) -> Tensor:
    """``[count, rows]``, uniform in [-1, 1]."""
    return 2 * torch.rand(count, rows, generator=generator) - 1


def _moved(
    x: Tensor, turn: Tensor | None, scale: Tensor, right: Tensor, down: Tensor, side: int
) -> Tensor:
    """Images sampled on turned, scaled and shifted squares; lengths in halves of the image."""
    turn = torch.zeros(len(x)) if turn is None else turn
    cos, sin = scale * turn.cos(), scale * turn.sin()
    place = torch.stack([cos, -sin, right, sin, cos, down], 1).view(-1, 2, 3)
    grid = F.affine_grid(place, [len(x), x.shape[1], side, side], align_corners=False)
    return F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)
