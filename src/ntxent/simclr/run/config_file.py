"""The configuration in a run folder: how it is kept, read again, and compared."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from ntxent.files import atomic, flatten
from ntxent.simclr.config import TrainConfig
from ntxent.simclr.run.folder import RunFolder

__all__ = ["FREE", "config_from", "keep_config", "kept_config", "require_same"]

# What says where a run is kept and how it is watched, but nothing of its result.
FREE = ("name", "folder", "overwrite", "resume", "checkpoint_seconds", "loggers")


def keep_config(config: TrainConfig, run: RunFolder) -> None:
    """Write ``config.yaml``, which ``ntxent train --config`` reads."""
    with atomic(run.config) as path:
        path.write_text(yaml.safe_dump(asdict(replace(config, resume=None)), sort_keys=False))


def kept_config(run: RunFolder, given: Mapping[str, Any] | None = None) -> TrainConfig:
    """The configuration of a run, with the options of ``given`` in place of its own.

    Raises:
        FileNotFoundError: there is no run.
    """
    try:
        values = yaml.safe_load(run.config.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{run.config} does not exist, so {run.path} is not the folder of a run"
        ) from error
    return config_from(_merged(values, given or {}))


def config_from(values: Mapping[str, Any]) -> TrainConfig:
    """Nested plain values, as YAML has them, with their types checked."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TrainConfig, as_group=False)
    return TrainConfig(**parser.instantiate(parser.parse_object(dict(values))).as_dict())


def require_same(kept: TrainConfig, received: TrainConfig, run: RunFolder) -> None:
    """Refuse to continue a run with a configuration that would have another result.

    Raises:
        ValueError: they differ; says in what.
    """
    old, new = flatten(asdict(kept)), flatten(asdict(received))
    changed = [
        f"{name} was {old.get(name)!r}, received {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and name.split(".")[0] not in FREE
    ]
    if changed:
        raise ValueError(
            f"resume: {run.path} was started with another configuration: {'; '.join(changed)}; "
            "leave these options out, or start another run with another --name"
        )


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for name, change in changes.items():
        old = result.get(name)
        nested = isinstance(old, dict) and isinstance(change, Mapping)
        result[name] = _merged(old or {}, change) if nested else change
    return result
