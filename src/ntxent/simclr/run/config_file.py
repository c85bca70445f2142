"""``config.yaml`` of a run folder: written, read, and compared with other options."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from ntxent.files import atomic, flatten
from ntxent.simclr.config import TrainConfig
from ntxent.simclr.run.folder import RunFolder

__all__ = ["BOOKKEEPING", "parse_config", "read_config", "require_same", "write_config"]

# Options of the place and the logs of a run; its result does not depend on them.
BOOKKEEPING = ("name", "folder", "overwrite", "resume", "checkpoint_seconds", "loggers")
# Options that say where the images lie and how they are read. A run may be continued with others
# if the images are the same, which their fingerprint says.
PLACES = (
    *("data.source", "data.root", "data.download", "data.arguments", "data.labels"),
    *("data.max_skipped", "data.memory", "data.workers"),
)


def write_config(config: TrainConfig, run: RunFolder) -> None:
    """Writes ``config.yaml``, which ``ntxent train --config`` reads."""
    with atomic(run.config) as path:
        path.write_text(yaml.safe_dump(asdict(replace(config, resume=None)), sort_keys=False))


def read_config(run: RunFolder, given: Mapping[str, Any] | None = None) -> TrainConfig:
    """Returns the configuration of a run, with the options of ``given`` in place of its own.

    Raises:
        FileNotFoundError: the folder has no ``config.yaml``.
    """
    try:
        values = yaml.safe_load(run.config.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{run.config} does not exist, so {run.path} is not the folder of a run"
        ) from error
    return parse_config(_merged(values, given or {}))


def parse_config(values: Mapping[str, Any]) -> TrainConfig:
    """Returns the configuration of nested values, as YAML has them, and checks their types."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TrainConfig, as_group=False)
    return TrainConfig(**parser.instantiate(parser.parse_object(dict(values))).as_dict())


def require_same(expected: TrainConfig, received: TrainConfig, run: RunFolder) -> None:
    """Checks that a run is continued with options that give the same result.

    Raises:
        ValueError: options other than :data:`BOOKKEEPING` and :data:`PLACES` differ; the message
            lists them.
    """
    old, new = flatten(asdict(expected)), flatten(asdict(received))
    changed = [
        f"{name} was {old.get(name)!r}, received {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and not _may_change(name)
    ]
    if changed:
        raise ValueError(
            f"resume: {run.path} was started with another configuration: {'; '.join(changed)}; "
            "leave these options out, or start another run with another --name"
        )


def _may_change(name: str) -> bool:
    return name.split(".")[0] in BOOKKEEPING or ".".join(name.split(".")[:2]) in PLACES


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for name, change in changes.items():
        old = result.get(name)
        nested = isinstance(old, dict) and isinstance(change, Mapping)
        result[name] = _merged(old or {}, change) if nested else change
    return result
