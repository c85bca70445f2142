"""Folders of images, with a sub-folder for each class or without, in memory or read on demand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ntxent.simclr.config import DataConfig
from ntxent.simclr.data.decoding import header, read_square
from ntxent.simclr.data.images import (
    LARGEST_SIZE,
    MEGABYTE,
    Images,
    Labels,
    MemoryImages,
    Skipped,
    Source,
)
from ntxent.simclr.stages import Stages, silent

__all__ = ["FileImages", "Scan", "open_folder", "scan_folder"]

# Names of the folder of held-out images beside ``train``; the first one found is used.
HELD_OUT_FOLDERS = ("val", "valid", "validation", "test")

T = TypeVar("T")


class Scan(NamedTuple):
    """The files of a folder, by their names and headers.

    Attributes:
        root: The folder.
        files: Images, sorted, relative to it.
        sizes: Their widths and heights, pixels.
        skipped: All other files, without hidden ones.
    """

    root: Path
    files: list[Path]
    sizes: list[tuple[int, int]]
    skipped: list[Skipped]


def scan_folder(root: Path, stages: Stages = silent) -> Scan:
    """Reads the header of every file under ``root``; follows links, but visits each folder once."""
    paths = sorted(_walk(root))
    scan = Scan(root, [], [], [])
    headers = _map_in_threads(lambda path: _value_or_reason(header, path), paths)
    with stages(f"reading the headers of {len(paths):,} files", len(paths)) as advance:
        for path, found in zip(paths, headers, strict=True):
            relative = path.relative_to(root)
            if isinstance(found, str):
                scan.skipped.append(Skipped(str(relative), found))
            else:
                scan.files.append(relative)
                scan.sizes.append(found)
            advance(1)
    return scan


def open_folder(
    root: Path,
    config: DataConfig,
    largest_size: int = LARGEST_SIZE,
    stages: Stages = silent,
) -> Source:
    """Returns the images under ``root``; the first level of sub-folders names their classes.

    Where ``root`` has a folder ``train`` and one of :data:`HELD_OUT_FOLDERS`, the images of the
    latter are the held-out ones, and the classes are the sub-folders of these two.

    Raises:
        ValueError: no file is a usable image, or the share of those that are not exceeds
            ``config.max_skipped``.
    """
    held_out = [root / name for name in HELD_OUT_FOLDERS if (root / name).is_dir()]
    if not (root / "train").is_dir() or not held_out:
        return _open(scan_folder(root, stages), config, largest_size, stages)
    train = _open(scan_folder(root / "train", stages), config, largest_size, stages)
    same_size = replace(config, image_size=train.train.shape[-1])
    test = _open(scan_folder(held_out[0], stages), same_size, largest_size, stages)
    skipped = [
        Skipped(str(Path(folder.name, file)), reason)
        for folder, part in ((root / "train", train), (held_out[0], test))
        for file, reason in part.skipped
    ]
    return replace(
        train,
        test=_relabelled(test, train.classes, held_out[0]),
        names=[f"train/{name}" for name in train.names or ()],
        test_names=[f"{held_out[0].name}/{name}" for name in test.names or ()],
        skipped=skipped,
    )


def _relabelled(test: Source, classes: Sequence[str], folder: Path) -> Images:
    """Returns the held-out images, their labels numbered as those of the training images."""
    if not classes or not test.classes:
        test.train.labels = None
        return test.train
    unknown = sorted(set(test.classes) - set(classes))
    if unknown:
        raise ValueError(
            f"{folder}: received the classes {', '.join(unknown[:5])}, which train does not have; "
            "give both the same sub-folders, or ignore them with --data.labels none"
        )
    number = np.array([classes.index(name) for name in test.classes])
    test.train.labels = number[test.train.labels]
    return test.train


def _open(scan: Scan, config: DataConfig, largest_size: int, stages: Stages) -> Source:
    total = len(scan.files) + len(scan.skipped)
    if not total:
        raise ValueError(f"data.source: the folder {scan.root} has no files; put images there")
    size = config.image_size or _default_size(scan.sizes, largest_size)
    usable = []
    for index, (file, sides) in enumerate(zip(scan.files, scan.sizes, strict=True)):
        if 2 * min(sides) < size:
            reason = "{}x{} pixels, less than half of data.image_size {}".format(*sides, size)
            scan.skipped.append(Skipped(str(file), reason))
        else:
            usable.append(index)
    files = [scan.files[index] for index in usable]
    _require_few(scan.root, scan.skipped, total, config.max_skipped)

    labels, classes = _classes(files) if config.labels == "auto" else (None, [])
    allowed = int(config.max_skipped * total) - len(scan.skipped)
    images: Images = FileImages(scan.root, files, size, labels, scan.skipped, allowed)
    if len(files) * 3 * size**2 <= config.memory * MEGABYTE:
        images, decoded = _decode_all(scan.root, files, size, labels, scan.skipped, stages)
        files = [files[index] for index in decoded]
        _require_few(scan.root, scan.skipped, total, config.max_skipped)
    names = [str(file) for file in files]
    return Source(images, None, classes, names, skipped=scan.skipped)


def _default_size(sizes: list[tuple[int, int]], largest: int) -> int:
    if not sizes:
        return largest
    return max(4, min(largest, median_low([min(sides) for sides in sizes])))


def _classes(files: list[Path]) -> tuple[Labels | None, list[str]]:
    """Returns the number of each file's first-level folder and the names of these folders.

    Returns None and no names where a file is in no folder, or all are in one.
    """
    names = [file.parts[0] for file in files if len(file.parts) > 1]
    classes = sorted(set(names))
    if len(names) < len(files) or len(classes) < 2:
        return None, []
    return np.array([classes.index(name) for name in names]), classes


def _require_few(root: Path, skipped: list[Skipped], total: int, share: float) -> None:
    if len(skipped) <= share * total and len(skipped) < total:
        return
    first = "; ".join(f"{file}: {reason}" for file, reason in skipped[:3])
    raise ValueError(
        f"data.source: {len(skipped)} of {total} files in {root} are not usable images, more than "
        f"data.max_skipped {share} allows; the first are {first}; `ntxent data inspect` lists all"
    )


class FileImages(Images):
    """Images that are decoded from their files each time they are read.

    In place of a damaged file the next one that can be decoded is read, so batches stay full. Which
    files are damaged is in shared memory, so worker processes read each of them only once.

    Args:
        root: The folder.
        files: The image files, relative to it.
        size: Side of the square that images are scaled to, pixels.
        labels: Their labels, or None.
        skipped: Files that were left out before.
        allowed: How many files may turn out to be damaged.

    Raises:
        ValueError: (on reading) more than ``allowed`` files are damaged.
    """

    def __init__(
        self,
        root: Path,
        files: list[Path],
        size: int,
        labels: Labels | None,
        skipped: list[Skipped],
        allowed: int,
    ) -> None:
        self.root, self.files, self.labels, self.shape = root, files, labels, (3, size, size)
        self.allowed = allowed
        self.known = skipped
        self.damaged = _shared(torch.zeros(len(files), dtype=torch.bool))

    def __getitem__(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.stack([self._read(int(index)) for index in indices]))

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices: Sequence[int]) -> FileImages:
        taken = FileImages(
            self.root,
            [self.files[index] for index in indices],
            self.shape[-1],
            None if self.labels is None else self.labels[indices],
            self.known,
            self.allowed,
        )
        taken.damaged = _shared(self.damaged[torch.as_tensor(indices)])
        return taken

    def skipped(self) -> list[Skipped]:
        """Returns the files that were found to be damaged on reading."""
        damaged = [self.files[index] for index in self.damaged.nonzero().flatten().tolist()]
        return [
            Skipped(str(file), str(_value_or_reason(read_square, self.root / file, self.shape[-1])))
            for file in damaged
        ]

    def _read(self, index: int) -> NDArray[np.uint8]:
        for step in range(len(self)):
            candidate = (index + step) % len(self)
            if self.damaged[candidate]:
                continue
            image = _value_or_reason(read_square, self.root / self.files[candidate], self.shape[-1])
            if not isinstance(image, str):
                return image
            self.damaged[candidate] = True
            self._require_few(self.files[candidate], image)
        raise ValueError(f"data.source: no file in {self.root} can be decoded")

    def _require_few(self, file: Path, reason: str) -> None:
        if int(self.damaged.sum()) > self.allowed:
            raise ValueError(
                f"data.source: more files in {self.root} are damaged than data.max_skipped allows; "
                f"the last is {file}: {reason}; `ntxent data inspect` lists all"
            )


def _shared(flags: Tensor) -> Tensor:
    flags.share_memory_()  # type: ignore[no-untyped-call]
    return flags


def _decode_all(
    root: Path,
    files: list[Path],
    size: int,
    labels: Labels | None,
    skipped: list[Skipped],
    stages: Stages,
) -> tuple[MemoryImages, list[int]]:
    """Returns the decoded images and their indices; adds damaged files to ``skipped``."""
    pixels = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
    decoded: list[int] = []
    results = _map_in_threads(lambda file: _value_or_reason(read_square, root / file, size), files)
    with stages(f"decoding {len(files):,} images", len(files)) as advance:
        for index, (file, image) in enumerate(zip(files, results, strict=True)):
            if isinstance(image, str):
                skipped.append(Skipped(str(file), image))
            else:
                pixels[len(decoded)] = torch.from_numpy(image)
                decoded.append(index)
            advance(1)
    labels = None if labels is None else labels[decoded]
    return MemoryImages(pixels[: len(decoded)], labels), decoded


def _walk(root: Path) -> Iterator[Path]:
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        hidden = [name for name in folders if name.startswith(".")]
        folders[:] = [] if real in seen else [name for name in folders if name not in hidden]
        if real not in seen:
            seen.add(real)
            yield from (Path(folder, name) for name in files if not name.startswith("."))


def _map_in_threads(function: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[T]:
    """Yields the results in order; threads help, as PIL releases the GIL while it decodes."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), 4096):  # map queues all its arguments at once
            yield from pool.map(function, paths[start : start + 4096])


def _value_or_reason(read: Callable[..., T], path: Path, *arguments: Any) -> T | str:
    """Returns what ``read`` returns, or the reason why the file cannot be read."""
    try:
        return read(path, *arguments)
    except OSError as error:
        if error.filename is None and "cannot identify" not in str(error):
            return str(error) or "damaged"
        return "not an image" if "cannot identify" in str(error) else str(error.strerror)
    except Exception as error:  # PIL's formats raise many classes of errors
        return str(error) or type(error).__name__
