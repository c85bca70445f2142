"""Batch size, temperature and dimension from the configuration that lies beside a log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ntxent.bounds import NOT_GIVEN, Given

FILES = (
    "config.yaml",
    "hparams.yaml",
    "config.yml",
    "config.json",
    "args.json",
    ".hydra/config.yaml",
)


class _Key(NamedTuple):
    """Under which names a setting stands at any depth, its type, the flag that gives it."""

    names: tuple[str, ...]
    kind: type[int] | type[float]
    flag: str


KEYS = {
    "batch_size": _Key(("batch_size",), int, "-n/--batch-size"),
    "temperature": _Key(("temperature", "tau"), float, "-t/--temperature"),
    "dim": _Key(("projection_dim", "proj_dim", "embedding_dim"), int, "--dim"),
}


class Settings(NamedTuple):
    """Fields of a ``Convention`` that a configuration states, and its path."""

    found: Given = NOT_GIVEN
    source: Path | None = None


def find_settings(log: Path) -> Settings:
    """Read the first configuration in the log's folder or the one above.

    Raises:
        ValueError: it is not YAML or JSON.
    """
    folder = log if log.is_dir() else log.parent
    for place in (folder, folder.absolute().parent):
        for name in FILES:
            if (place / name).is_file():
                return _read(place / name)
    return Settings()


def _read(path: Path) -> Settings:
    import yaml

    class Loader(yaml.SafeLoader):
        """Lightning writes Python objects into hparams.yaml: they are skipped, never built."""

    Loader.add_multi_constructor("", lambda loader, tag, node: None)
    try:
        # JSON is YAML.
        tree = yaml.load(path.read_bytes(), Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as YAML: {reason}") from error
    found = {name: _one(path, name, tree) for name in KEYS}
    return Settings({name: value for name, value in found.items() if value is not None}, path)


def _one(path: Path, name: str, tree: Any) -> Any:
    """The value nearest to the root; several there must agree."""
    keys, kind, flag = KEYS[name]
    hits = sorted(_find(tree, keys), key=lambda hit: hit[0].count("."))
    nearest = [hit for hit in hits if hit[0].count(".") == hits[0][0].count(".")]
    values = set()
    for where, value in nearest:
        try:
            values.add(kind(float(value)))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{path}: {where} is {value!r}, expected a number; give it with {flag}"
            ) from error
    if len(values) > 1:
        stated = ", ".join(f"{where} = {value}" for where, value in nearest)
        raise ValueError(f"{path}: which one is it: {stated}? Give it with {flag}")
    return values.pop() if values else None


def _find(tree: Any, keys: tuple[str, ...], prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        # Weights & Biases wraps each setting as {"value": …}.
        wrapped = value.get("value") if isinstance(value, dict) else None
        if key in keys and (wrapped is not None or not isinstance(value, (dict, type(None)))):
            yield f"{prefix}{key}", value if wrapped is None else wrapped
        elif isinstance(value, dict):
            yield from _find(value, keys, f"{prefix}{key}.")
