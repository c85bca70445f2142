"""Batch size, temperature and dimension, from the files beside a log and from the log itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ntxent.bounds import NOT_GIVEN, Given
from ntxent.logs.names import HELD_OUT, tokens
from ntxent.logs.opening import STDIN
from ntxent.logs.plain_yaml import read_yaml

FILES = (
    "config.yaml",
    "hparams.yaml",
    "config.yml",
    "config.json",
    "args.json",
    ".hydra/config.yaml",
    "files/config.yaml",
    "training_args.json",
    "args.yaml",
    "args.yml",
    "hparams.json",
    "params.json",
    "params.txt",
    "opt.json",
    "opt.yaml",
)
# Words with which a name is of another temperature or batch than that of the training loss.
OTHER = HELD_OUT | {"teacher", "student", "distill", "sampling", "probe", "linear", "eval", "knn"}
LOG_SCALE = 4.7  # a logit scale up to here is its logarithm: CLIP's is at most log 100


class Key(NamedTuple):
    """Names of a setting, the likelier first, by which it may also end; its type; its flag."""

    names: tuple[str, ...]
    kind: type[int] | type[float]
    flag: str


KEYS = {
    "batch_size": Key(
        ("batch_size", "train_batch_size", "batchsize", "bsz", "bs"), int, "-n/--batch-size"
    ),
    "temperature": Key(("temperature", "tau", "temp", "moco_t"), float, "-t/--temperature"),
    "dim": Key(
        (
            *("projection_dim", "proj_dim", "embedding_dim", "proj_output_dim", "out_dim"),
            *("feature_dim", "feat_dim", "moco_dim"),
        ),
        int,
        "--dim",
    ),
    "queue": Key(("moco_k", "queue_size", "queue_length"), int, "--queue"),
}


class Settings(NamedTuple):
    """Fields of a ``Convention`` that were found, where each was, and what was searched."""

    found: Given = NOT_GIVEN
    sources: Mapping[str, str] = {}
    searched: tuple[Path, ...] = ()

    def beside(self, other: Settings) -> Settings:
        """These, and what another has that is not here."""
        return Settings(
            {**other.found, **self.found},
            {**other.sources, **self.sources},
            self.searched + other.searched,
        )


def find_settings(log: Path, stated: Mapping[str, Any] = NOT_GIVEN) -> Settings:
    """Read the configurations in the log's folder or the one above.

    Args:
        log: The log, or its folder.
        stated: Numbers that the log itself states, by their names.

    Raises:
        ValueError: a file is not YAML or JSON, or says two things.
    """
    settings = Settings()
    if log != STDIN:
        folder = log if log.is_dir() else log.parent
        for place in (folder, folder.absolute().parent):
            files = [place / name for name in FILES if (place / name).is_file()]
            for file in files:
                settings = settings.beside(_read(file))
            if (place / "params").is_dir():  # MLflow: a file for each
                tree = {
                    file.name: file.read_text().strip() for file in (place / "params").iterdir()
                }
                settings = settings.beside(_found(str(place / "params"), tree, place / "params"))
            if files:
                break
    return settings.beside(_stated(log, stated))


def _stated(log: Path, stated: Mapping[str, Any]) -> Settings:
    found = _found("the log", stated)
    scale = next(
        (v for n, v in stated.items() if "_".join(tokens(n)).endswith("logit_scale")), None
    )
    if scale and "temperature" not in found.found:
        scale = math.exp(scale) if scale <= LOG_SCALE else scale
        name = "the log's logit scale"
        found = found.beside(Settings({"temperature": 1 / scale}, {"temperature": name}))
    return found


def _read(path: Path) -> Settings:
    return _found(str(path), read_yaml(path), path)


def _found(source: str, tree: Any, path: Path | None = None) -> Settings:
    found = {name: _one(source, name, tree) for name in KEYS}
    known = {name: value for name, value in found.items() if value is not None}
    return Settings(known, dict.fromkeys(known, source), () if path is None else (path,))


def _one(source: str, name: str, tree: Any) -> Any:
    """The value with the likeliest name nearest to the root; several such must agree."""
    _, kind, flag = KEYS[name]
    hits = sorted(_find(tree, name), key=lambda hit: hit[:2])
    nearest = [hit for hit in hits if hit[:2] == hits[0][:2]]
    values = set()
    for _, _, where, value in nearest:
        try:
            values.add(kind(float(value)))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{source}: {where} is {value!r}, expected a number; give it with {flag}"
            ) from error
    if len(values) > 1:
        stated = ", ".join(f"{where} = {value}" for _, _, where, value in nearest)
        raise ValueError(f"{source}: which one is it: {stated}? Give it with {flag}")
    return values.pop() if values else None


def _find(tree: Any, name: str, prefix: str = "") -> Iterator[tuple[int, int, str, Any]]:
    """Depth, place of the name among those of the setting, path and value of each hit."""
    if not isinstance(tree, Mapping):
        return
    for key, value in tree.items():
        # Weights & Biases wraps each setting as {"value": …}.
        wrapped = value.get("value") if isinstance(value, Mapping) else None
        shown = value if wrapped is None else wrapped
        likely = _likely(str(key), name)
        if likely is not None and not isinstance(shown, (Mapping, list, type(None))):
            yield prefix.count("."), likely, f"{prefix}{key}", shown
        elif isinstance(shown, Mapping):
            yield from _find(shown, name, f"{prefix}{key}.")


def _likely(key: str, name: str) -> int | None:
    """How likely a key is the setting, 0 the likeliest; None where it is another."""
    own = key.lower().replace("-", "_").replace(" ", "_")
    names = KEYS[name].names
    if own in names:
        return names.index(own)
    parts = set(own.split("_"))
    whole = [known for known in names if len(known) > 3 and own.endswith(f"_{known}")]
    return None if not whole or parts & OTHER else len(names)
