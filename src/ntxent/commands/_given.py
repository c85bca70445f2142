"""Options of a command on top of what a run was trained with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ntxent.simclr import DataConfig

__all__ = ["data_config", "group"]


def group(given: Any, name: str) -> dict[str, Any]:
    """The options of one group that the user gave."""
    found = given.get(name)
    values = {} if found is None else found.as_dict()
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }


def data_config(kept: DataConfig, given: Any, options: DataConfig) -> DataConfig:
    """The run's own data with the given changes, or another source with its own defaults."""
    changes = group(given, "data")
    if "source" in changes:
        return options
    return replace(kept, **{name: getattr(options, name) for name in changes})
