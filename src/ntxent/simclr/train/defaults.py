"""What options become that nobody gave: those whose best value depends on device and images.

The defaults of :class:`TrainConfig` are meant for a GPU. Without one the same encoder, ResNet-18,
is made cheap: forward and backward of 128 views of 64x64 took 12.6 s on 2 cores with the stem that
small views get, 0.7 s with the ImageNet stem, and 1.7 s for 96x96. Augmentation took 0.04 s.
"""

from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ntxent.files import flatten
from ntxent.simclr.config import TrainConfig
from ntxent.simclr.data import LARGEST_SIZE, Shape, is_tiny

__all__ = [
    "CHOSEN",
    "MORE",
    "changed",
    "choose",
    "keep_chosen",
    "largest_size",
    "left_open",
    "told",
]

CHOSEN = ("batch_size", "data.image_size", "epochs", "model.stem")

CPU_SIZE = 64
CPU_BATCH = 64
# Images in all epochs together: 30,000 views at 0.7 s for 128 are three minutes.
CPU_IMAGES = 15_000
MORE = 10  # times the epochs: what a run that is not short might have


def left_open(given: Any) -> tuple[str, ...]:
    """Those of :data:`CHOSEN` that neither the command line nor a file of options gave.

    Args:
        given: The options that were given, as jsonargparse's Namespace.
    """
    return tuple(name for name in CHOSEN if given.get(name) is None)


def largest_size(accelerator: str, config: TrainConfig, left_open: Collection[str]) -> int:
    """The largest side that the images of a folder get by default."""
    view = config.augmentation.view_size or 0
    if accelerator != "cpu" or "data.image_size" not in left_open or view > CPU_SIZE:
        return LARGEST_SIZE
    return CPU_SIZE


def choose(
    config: TrainConfig,
    left_open: Collection[str],
    accelerator: str,
    images: int,
    shape: Shape,
    processes: int = 1,
) -> dict[str, Any]:
    """The options that were left open and become something else than their defaults.

    Images that are tiny, such as the digits, are cheap anywhere and keep the defaults; but no batch
    that was left open is larger than half of the images where they do not make a whole one.

    Args:
        config: The configuration.
        left_open: Dotted names of the options that were not given.
        accelerator: ``cpu``, or a device that has time for the defaults.
        images: Training images.
        shape: Channels, height and width of each.
        processes: That share a batch.
    """
    slow = accelerator == "cpu" and not is_tiny(shape)
    chosen: dict[str, Any] = {}
    if slow or images < config.batch_size:
        half = max(2, 2 ** max(0, images // 2).bit_length() // 2)
        batch = min(half, CPU_BATCH if slow else config.batch_size)
        chosen["batch_size"] = max(batch // processes, 1) * processes
    if slow:
        if Path(config.data.source).expanduser().is_dir():
            chosen["data.image_size"] = shape[-1]
        chosen["epochs"] = max(1, min(config.epochs, CPU_IMAGES // max(images, 1)))
        chosen["model.stem"] = "imagenet"
    return {name: value for name, value in chosen.items() if name in left_open}


def keep_chosen(config: TrainConfig, kept: TrainConfig, left_open: Collection[str]) -> TrainConfig:
    """The configuration with the choices that a run was started with, on whatever machine."""
    values = flatten(asdict(kept))
    return changed(config, {name: values[name] for name in CHOSEN if name in left_open})


def changed(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    """The configuration with some options, by their dotted names."""
    for name, value in values.items():
        group, _, option = name.rpartition(".")
        if group:
            option, value = group, replace(getattr(config, group), **{option: value})
        config = replace(config, **{option: value})
    return config


def told(config: TrainConfig, chosen: dict[str, Any]) -> str | None:
    """The choices in one line, and what to pass instead of them; None where there are none."""
    if not chosen:
        return None
    options = " ".join(f"--{name} {value}" for name, value in sorted(chosen.items()))
    if set(chosen) == {"batch_size"}:
        return f"few images: {options}, not {config.batch_size}, unless you pass another"
    if "epochs" not in chosen:
        return f"no GPU: {options}, unless you pass others"
    return (
        f"no GPU: a short run, with {options}, unless you pass others; "
        f"for a serious one pass --epochs {MORE * chosen['epochs']}, or use a GPU"
    )
