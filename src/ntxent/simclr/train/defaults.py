"""Defaults that depend on the device and on the images, for options that were not given.

The defaults of :class:`TrainConfig` are meant for a GPU. Without one, images of more than 16 pixels
get the compact encoder on views of at most 32 pixels, and settings with which it learns in some
minutes, chosen on images held back from Fashion-MNIST's training images, never on test images;
``python -m benchmarks.fashion tune`` tries others.
"""

from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ntxent.files import flatten
from ntxent.simclr.config import TrainConfig
from ntxent.simclr.data import LARGEST_SIZE, Shape, is_tiny

__all__ = [
    "DEVICE_DEPENDENT",
    "LONG_RUN_FACTOR",
    "describe_defaults",
    "device_defaults",
    "largest_size",
    "unset_options",
    "with_defaults_of",
    "with_options",
]

# Options whose default depends on the device and on the images.
DEVICE_DEPENDENT = (
    *("augmentation.blur", "augmentation.crop", "augmentation.strength", "augmentation.view_size"),
    *("batch_size", "channels_last", "data.image_size", "epochs", "model.encoder", "temperature"),
)

# Largest sides, pixels, of a folder's images and of the compact encoder's views.
CPU_SIZE, COMPACT_SIZE = 64, 32
COMPACT = {
    "augmentation.blur": False,
    "augmentation.crop": (0.4, 1.0),
    "augmentation.strength": 0.5,
    "channels_last": True,
    "model.encoder": "compact",
    "temperature": 0.1,
}
# Images in all epochs together. With the compact encoder, evaluation takes as long as an epoch and
# counts as one: 121 s beside 5 epochs of 84 s in benchmarks/rows/fashion.json.
COMPACT_IMAGES, CPU_IMAGES = 360_000, 15_000
CPU_BATCH = 64
LONGEST = 200  # epochs
LONG_RUN_FACTOR = 10  # by which a longer run than the default one is suggested


def unset_options(given: Any) -> tuple[str, ...]:
    """Returns those of :data:`DEVICE_DEPENDENT` that neither the command line nor a file gave.

    Args:
        given: The options that were given, as jsonargparse's Namespace.
    """
    return tuple(name for name in DEVICE_DEPENDENT if given.get(name) is None)


def largest_size(accelerator: str, config: TrainConfig, unset: Collection[str]) -> int:
    """Returns the largest side that the images of a folder get by default, in pixels."""
    view = config.augmentation.view_size or 0
    if accelerator != "cpu" or "data.image_size" not in unset or view > CPU_SIZE:
        return LARGEST_SIZE
    return CPU_SIZE


def device_defaults(
    config: TrainConfig,
    unset: Collection[str],
    accelerator: str,
    images: int,
    shape: Shape,
    processes: int = 1,
) -> dict[str, Any]:
    """Returns the values of unset options that differ from the defaults of the configuration.

    On the CPU a run is made small and short, unless its images are tiny, as the digits are. On any
    device, if the images do not fill a batch of the default size, the largest power of two that is
    at most half of their number is the batch size.

    Args:
        config: The configuration.
        unset: Dotted names of the options that were not given.
        accelerator: ``cpu``, or a device that is fast enough for the defaults.
        images: Number of training images.
        shape: Channels, height and width of an image.
        processes: Number of processes that share a batch.
    """
    slow = accelerator == "cpu" and not is_tiny(shape)
    compact = slow and ("model.encoder" in unset or config.model.encoder == "compact")
    values: dict[str, Any] = {}
    largest_batch = CPU_BATCH if slow and not compact else config.batch_size
    if slow or images < config.batch_size:
        half = max(2, 2 ** max(0, images // 2).bit_length() // 2)
        batch = min(half, largest_batch)
        if batch < config.batch_size:
            values["batch_size"] = max(batch // processes, 1) * processes
    if compact:
        values |= COMPACT
        if max(shape[1:]) > COMPACT_SIZE:
            values["augmentation.view_size"] = COMPACT_SIZE
        if config.augmentation.recipe not in ("auto", "simclr"):
            values = {k: v for k, v in values.items() if not k.startswith("augmentation.")}
    if slow:
        if Path(config.data.source).expanduser().is_dir():
            values["data.image_size"] = shape[-1]
        count = max(images, 1)
        epochs = COMPACT_IMAGES // count - 1 if compact else CPU_IMAGES // count
        values["epochs"] = max(1, min(LONGEST if compact else config.epochs, epochs))
    return {name: value for name, value in values.items() if name in unset}


def with_defaults_of(
    config: TrainConfig, earlier: TrainConfig, unset: Collection[str]
) -> TrainConfig:
    """Returns the configuration with the values that unset options had in an earlier one.

    So a run that is continued on another machine has the defaults that it was started with.
    """
    values = flatten(asdict(earlier))
    return with_options(config, {name: values[name] for name in DEVICE_DEPENDENT if name in unset})


def with_options(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    """Returns the configuration with other values of some options, by their dotted names."""
    for name, value in values.items():
        group, _, option = name.rpartition(".")
        if group:
            option, value = group, replace(getattr(config, group), **{option: value})
        config = replace(config, **{option: value})
    return config


def describe_defaults(config: TrainConfig, values: dict[str, Any]) -> str | None:
    """Returns a line with these values and what to pass instead; None if there are none.

    Args:
        config: The configuration without the values.
        values: What :func:`device_defaults` returned.
    """
    if not values:
        return None
    options = " ".join(f"--{name} {_written(value)}" for name, value in sorted(values.items()))
    if set(values) == {"batch_size"}:
        return f"few images: {options}, not {config.batch_size}, unless you pass another"
    if "epochs" not in values:
        return f"no GPU: {options}, unless you pass others"
    return (
        f"no GPU: a short run, with {options}, unless you pass others; "
        f"for a serious one pass --epochs {LONG_RUN_FACTOR * values['epochs']}, or use a GPU"
    )


def _written(value: Any) -> str:
    """Returns a value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)).replace(" ", "") if isinstance(value, tuple) else str(value)
