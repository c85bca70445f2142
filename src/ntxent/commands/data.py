"""Inspect images before training: counts, sizes, classes, unusable files, augmented views."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from ntxent.simclr import AugmentationConfig, DataConfig, TrainConfig

PARTS = {"train": "images to train on", "held_out": "images held out"}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=["inspect"], help="What to do: inspect.")
    parser.add_argument("path", type=str, help="Images, as --data.source names them.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    parser.add_argument(
        "--plot", type=str, help="Draw images, each with two augmented views, to this .png file."
    )
    parser.add_class_arguments(DataConfig, "data", skip={"source"})
    parser.add_class_arguments(AugmentationConfig, "augmentation")


def run(options: Any) -> int:
    plot = None if options.plot is None else Path(options.plot)
    if plot is not None and plot.suffix != ".png":
        raise ValueError(f"--plot: received {options.plot!r}, expected a name that ends in .png")
    if plot is not None and not plot.parent.is_dir():
        raise FileNotFoundError(f"--plot: no folder {plot.parent}; make it first")

    from ntxent.simclr.data.inspection import inspect
    from ntxent.simclr.stages import ConsoleStages

    config = replace(options.data, source=options.path)
    source, found = inspect(config, _largest_size(options), ConsoleStages())
    if plot is not None:
        from ntxent.commands._contact_sheet import contact_sheet
        from ntxent.simclr.model.views import TwoViews

        views = TwoViews(options.augmentation, source.train.shape)
        contact_sheet(source.train, views, list(source.classes), plot)
    if options.json:
        print(json.dumps(found, indent=2, allow_nan=False))
    else:
        _show(found, options.plot)
    return 0


def _largest_size(options: Any) -> int:
    """Returns the largest default size of ``ntxent train`` on this machine for these options."""
    from ntxent.simclr.train.defaults import largest_size
    from ntxent.simclr.train.trainer import resolve_accelerator

    config = TrainConfig(augmentation=options.augmentation)
    return largest_size(resolve_accelerator(config), config, ("data.image_size",))


def _show(found: dict[str, Any], plot: str | None) -> None:
    from rich.console import Console

    from ntxent.commands._rows import show_table

    console = Console(highlight=False, markup=False)
    rows = []
    parts = PARTS if "held_out" in found["images"] else {"train": "images"}
    for part, count in found["images"].items():
        rows.append((parts[part], str(count)))
    channels, height, width = found["shape"]
    rows.append(("used as", f"{channels} x {height} x {width}, channels x height x width"))
    for name, (low, middle, high) in (found["original_sizes"] or {}).items():
        rows.append((f"{name} of the files", f"{low} to {high} pixels, median {middle}"))
    for name, values in found["pixels"].items():
        rows.append((f"{name} of the pixels", "  ".join(f"{value:.3f}" for value in values)))
    rows.append(("files left out", str(len(found["skipped"]))))
    show_table(console, rows, title=found["source"])

    classes = found["classes"]
    if classes["train"]:
        counts = [
            (name, *(str(part.get(name, 0)) for part in classes.values()))
            for name in classes["train"]
        ]
        header = ("class", *(parts[part] for part in classes))
        show_table(console, counts, header=header, right=range(1, len(header)))
    else:
        console.print("no labels: training needs none, evaluation compares views only")
    for entry in found["skipped"]:
        console.print(f"left out  {entry['file']}: {entry['reason']}", soft_wrap=True)
    if not found["usable"]:
        console.print(f"training would refuse this: {found['problem']}", soft_wrap=True)
    if plot is not None:
        console.print(f"images and their views drawn to {plot}", soft_wrap=True)
