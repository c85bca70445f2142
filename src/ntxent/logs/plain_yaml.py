"""YAML and JSON as plain values: whatever a tag asks for, nothing is constructed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

__all__ = ["read_yaml"]

_TAG = re.compile(r"(?<=[\s:\-])!\S*\s*|^!\S*\s*")
_ENTRY = re.compile(r"^(\s*)(?:- )?([\w.\-/ ]+?|\"[^\"]+\"|'[^']+')\s*:(?:\s+(.*)|)$")


def read_yaml(path: Path) -> Any:
    """The content of a YAML or JSON file.

    A tag such as ``!!python/object:argparse.Namespace`` is read as the mapping, list or scalar that
    it stands before. Where PyYAML is not installed, mappings of scalars are read, which is what
    settings are.

    Raises:
        ValueError: it is neither.
    """
    text = path.read_bytes().decode("utf-8", errors="strict") if path.stat().st_size else ""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        import yaml
    except ModuleNotFoundError:
        return _mappings(text)

    class Loader(yaml.SafeLoader):
        pass

    def content(loader: Any, tag: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return _scalar(node.value)

    Loader.add_multi_constructor("", content)
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as YAML: {reason}") from error


def _mappings(text: str) -> dict[str, Any]:
    """``key: scalar`` at any depth, by indentation.

    >>> _mappings("loss: !!python/object:a.B\\n  tau: 1e-1\\n  w: {value: 3}\\nn: 8")
    {'loss': {'tau': 0.1, 'w': {'value': 3}}, 'n': 8}
    """
    tree: dict[str, Any] = {}
    inside = [(-1, tree)]
    for line in text.splitlines():
        entry = _ENTRY.match(_TAG.sub("", re.sub(r"\s#.*|^#.*", "", line)).rstrip())
        if entry is None:
            continue
        depth, key, value = len(entry[1]), entry[2].strip("'\""), (entry[3] or "").strip()
        while inside[-1][0] >= depth:
            inside.pop()
        if value:
            inside[-1][1][key] = _scalar(value)
        else:
            inside[-1][1][key] = {}
            inside.append((depth, inside[-1][1][key]))
    return tree


def _scalar(text: str) -> Any:
    if text.startswith("{") and text.endswith("}"):
        pairs = (part.partition(":") for part in text[1:-1].split(",") if ":" in part)
        return {key.strip().strip("'\""): _scalar(value.strip()) for key, _, value in pairs}
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None if text in ("null", "~", "None", "") else text.strip("'\"")
