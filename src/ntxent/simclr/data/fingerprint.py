"""Whether the images of a resumed run are those that it was started with, wherever they lie."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ntxent.simclr.data.folder import FileImages
from ntxent.simclr.data.images import Images, MemoryImages

__all__ = ["fingerprint", "require_same_images"]

SAMPLE = 32  # images of each part whose pixels are hashed

# What data.json says of the images, by its names there and in the words of a message. A run folder
# of an earlier version has no fingerprints, and is held to the rest.
_COMPARED = {
    ("images", "train"): "images to train on",
    ("images", "held_out"): "held-out images",
    ("shape",): "shape",
    ("per_class", "labelled"): "labelled images per class",
    ("per_class", "held_out"): "held-out images per class",
    ("fingerprint", "labels"): "labels, by their hash",
    ("fingerprint", "images"): "pixels, by their hash",
}


def fingerprint(train: Images, test: Images) -> dict[str, str | None]:
    """Returns hashes of all labels, and of the pixels of at most 32 evenly spaced images of a part.

    That of the pixels is None where reading an image again gives others, as a Dataset does that
    draws random numbers of its own. The global generators are left as they were.
    """
    parts = (train, test)
    with _fixed_generators():
        pixels = _hash_pixels(parts)
    same = all(isinstance(part, MemoryImages | FileImages) for part in parts)
    if not same:
        with _fixed_generators():
            same = _hash_pixels(parts) == pixels
    return {"labels": _hash_labels(parts), "images": pixels if same else None}


def require_same_images(started: Mapping[str, Any], received: Mapping[str, Any], run: str) -> None:
    """Checks that a run is continued on the images that it was started with.

    Args:
        started, received: What ``data.json`` has, and what :func:`data_record` returns now.
        run: The run folder, for the message.

    Raises:
        ValueError: they are others.
    """
    found = [
        (words, _value(started, path), _value(received, path)) for path, words in _COMPARED.items()
    ]
    changed = [
        f"{words} were {_short(old)}, received {_short(new)}"
        for words, old, new in found
        if old is not None and new is not None and old != new
    ]
    if changed:
        raise ValueError(
            f"data.source: received {received['source']!r}, which has other images than "
            f"{started['source']!r}, with which {run} was started: {'; '.join(changed)}; name the "
            "place where its images lie now, or start another run with another --name"
        )


def _value(record: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = record
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _short(value: Any) -> str:
    return f"{value[:8]}…" if isinstance(value, str) else str(value)


def _hash_labels(parts: tuple[Images, ...]) -> str | None:
    labels = [part.labels for part in parts if part.labels is not None]
    if not labels:
        return None
    return _hash(np.asarray(part, dtype="<i8").tobytes() for part in labels)


def _hash_pixels(parts: tuple[Images, ...]) -> str:
    return _hash(
        np.ascontiguousarray(part[[index]].cpu().numpy()).tobytes()
        for part in parts
        for index in np.unique(np.linspace(0, len(part) - 1, SAMPLE).round()).astype(int).tolist()
    )


def _hash(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _fixed_generators() -> Iterator[None]:
    """Seeds the global generators of Python, NumPy and PyTorch, and restores their states."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed(0)
            np.random.seed(0)
            torch.manual_seed(0)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
