"""Readers of CSV, TSV and JSON lines; every line stands alone, so one broken line costs itself."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ntxent.logs.columns import Columns, NoLog

DELIMITERS = ",\t;"


def text_rows(path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as binary:
        if b"\0" in binary.read(4096):
            raise NoLog(
                f"{path}: a binary file; expected CSV, TSV, JSON lines or TensorBoard events"
            )
    # A stray byte spoils its cell, not the file.
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        first = lines.readline()
        if not first.strip():
            raise NoLog(f"{path}: empty; expected a header and rows, or JSON lines")
        lines.seek(0)
        read = _json_rows if first.lstrip().startswith("{") else _table_rows
        yield from read(lines, columns)


def _json_rows(lines: TextIO, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            columns.skip(number, f"not JSON: {error}")
            continue
        if not isinstance(row, dict):
            columns.skip(number, "not a JSON object")
            continue
        flat = dict(_flat(row))
        yield number, {name: value for name, value in flat.items() if columns.want(name)}


def _flat(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """{"train": {"loss": 5}} has the column train/loss."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def _table_rows(lines: TextIO, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    header = next(lines)
    delimiter = max(DELIMITERS, key=header.count)
    names = [name.strip() for name in _cells(header, delimiter)]
    wanted = [(index, name) for index, name in enumerate(names) if columns.want(name)]
    for number, line in enumerate(lines, start=2):
        if line.isspace():
            continue
        cells = _cells(line, delimiter)
        if len(cells) == len(names):
            yield number, {name: cells[index] for index, name in wanted}
        else:
            columns.skip(number, f"{len(cells)} cells, the header has {len(names)}")


def _cells(line: str, delimiter: str) -> list[str]:
    line = line.rstrip("\r\n")
    if '"' not in line:
        return line.split(delimiter)
    return next(csv.reader([line], delimiter=delimiter))
