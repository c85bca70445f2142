"""Files that are written whole or not at all, and nested values by their joint names."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["atomic", "flatten"]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a path to write to, which replaces ``path`` when the block ends without an error.

    Readers see the old file or the whole new one, also after a loss of power: the content is on
    the disk before the name is changed.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def flatten(tree: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Returns the values of nested mappings, each by the names on the way to it.

    >>> flatten({"epochs": 3, "data": {"source": "digits", "arguments": {}}})
    {'epochs': 3, 'data.source': 'digits'}
    """
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            inner = flatten(value, separator)
            values |= {f"{name}{separator}{rest}": found for rest, found in inner.items()}
        else:
            values[name] = value
    return values
