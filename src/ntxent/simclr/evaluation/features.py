"""Features of images: the output of an encoder, or their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from torch.utils.data import DataLoader

from ntxent.simclr.data import Images, MemoryImages, Shape, to_unit
from ntxent.simclr.stages import Stages, silent

__all__ = ["RawPixels", "extract_all_features", "extract_features"]

Array = NDArray[Any]

# Pixel values in a batch: 1365 images of CIFAR, or 27 of 224x224.
BATCH_VALUES = 2**22
LARGEST_RAW_SIDE = 32


class RawPixels(nn.Module):
    """Flattens each image to a vector of its pixels, averaged to at most 32x32 of them."""

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        least = min(height, LARGEST_RAW_SIDE), min(width, LARGEST_RAW_SIDE)
        pixels = images if (height, width) == least else adaptive_avg_pool2d(images, least)
        return pixels.flatten(1)


def extract_features(
    encoder: nn.Module, images: Images, shape: Shape, workers: int = 0, stages: Stages = silent
) -> Array:
    """Returns features ``[n, f]``, float32, of the encoder in evaluation mode.

    Images are scaled to ``shape``, that of the views which the encoder was trained on.
    """
    return extract_all_features({"": encoder}, images, shape, workers, stages)[""]


@torch.no_grad()
def extract_all_features(
    encoders: Mapping[str, nn.Module],
    images: Images,
    shape: Shape,
    workers: int = 0,
    stages: Stages = silent,
) -> dict[str, Array]:
    """Returns the features of several encoders, by their names; every image is read once."""
    modes = {name: encoder.training for name, encoder in encoders.items()}
    parts: dict[str, list[Tensor]] = {name: [] for name in encoders}
    devices = {name: _device(encoder) for name, encoder in encoders.items()}
    for encoder in encoders.values():
        encoder.eval()
    try:
        with stages(f"features of {len(images):,} images", len(images)) as advance:
            for batch in _batches(images, workers):
                scaled = _scaled(to_unit(batch), shape)
                for name, encoder in encoders.items():
                    parts[name].append(encoder(scaled.to(devices[name])).float().cpu())
                advance(len(batch))
    finally:
        for name, encoder in encoders.items():
            encoder.train(modes[name])
    return {name: torch.cat(part).numpy() for name, part in parts.items()}


def _device(encoder: nn.Module) -> torch.device:
    weight = next(encoder.parameters(), None)
    return torch.device("cpu") if weight is None else weight.device


def _batches(images: Images, workers: int) -> Iterator[Tensor]:
    channels, height, width = images.shape
    size = max(1, BATCH_VALUES // (channels * height * width))
    batches = [
        list(range(len(images)))[start : start + size] for start in range(0, len(images), size)
    ]
    if isinstance(images, MemoryImages):
        yield from (images[batch] for batch in batches)
    else:
        # Without its own, the loader draws from the global generator, which changes the training.
        generator = torch.Generator()
        yield from DataLoader(
            images, sampler=batches, batch_size=None, num_workers=workers, generator=generator
        )


def _scaled(images: Tensor, shape: Shape) -> Tensor:
    sides = list(shape[1:])
    if list(images.shape[2:]) == sides:
        return images
    return interpolate(images, sides, mode="bilinear", antialias=True)
