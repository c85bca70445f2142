"""Options that were given to a command, in place of those of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ntxent.simclr import DataConfig

__all__ = ["data_config", "group"]


def group(given: Any, name: str) -> dict[str, Any]:
    """Returns the options of a group that were given."""
    found = given.get(name)
    values = {} if found is None else found.as_dict()
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }


def data_config(trained_on: DataConfig, given: Any, options: DataConfig) -> DataConfig:
    """Returns the data that a run was trained on with the options that were given in their place.

    Another source has the defaults of :class:`DataConfig`, not the options of the run.
    """
    changes = group(given, "data")
    if "source" in changes:
        return options
    return replace(trained_on, **{name: getattr(options, name) for name in changes})
