"""Reader of TensorBoard event files.

An event file is a row of records (length, checksum, data, checksum), the data a protocol buffer.
Of it only the fields that hold scalars are read, by their numbers in TensorFlow's ``event.proto``,
``summary.proto`` and ``tensor.proto``, so that neither TensorFlow nor TensorBoard is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ntxent.logs.columns import Columns
from ntxent.logs.grammar import Line

STEP, SUMMARY = 2, 5  # of an event
VALUE = 1  # of a summary
TAG, SIMPLE, TENSOR = 1, 2, 8  # of a value
DTYPE, SHAPE, CONTENT, FLOATS, DOUBLES = 1, 2, 4, 5, 6  # of a tensor
FORMATS = {1: "<f", 2: "<d"}  # DT_FLOAT, DT_DOUBLE


def is_events(path: Path) -> bool:
    """Whether a file is one of events, by its name."""
    return "tfevents" in path.name


def event_rows(path: Path, columns: Columns) -> Iterator[tuple[int, Line]]:
    """Scalars of all event files beside each other: a resumed run writes several."""
    files = sorted(path.glob("*tfevents*")) if path.is_dir() else [path]
    for file in files:
        for number, record in enumerate(_records(file, columns), start=1):
            try:
                step, scalars = _event(record)
            except (IndexError, ValueError, struct.error) as error:
                columns.skip(number, f"not an event: {error}")
                continue
            for tag, value in scalars:
                columns.show({tag: value})
                if columns.want(tag):
                    yield number, Line({tag: value}, step=float(step))


def _records(file: Path, columns: Columns) -> Iterator[bytes]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        while head := stream.read(12):
            length = int.from_bytes(head[:8], "little")
            if len(head) < 12 or length > size - stream.tell():
                columns.skip(1, f"{file.name} ends within a record, or is no event file")
                return
            yield stream.read(length)
            stream.read(4)


def _event(record: bytes) -> tuple[int, list[tuple[str, float]]]:
    step, scalars = 0, []
    for field, value in _fields(record):
        if field == STEP:
            step = value - (1 << 64) if value >> 63 else value
        elif field == SUMMARY:
            for number, inner in _fields(value):
                scalar = _scalar(inner) if number == VALUE else None
                if scalar is not None:
                    scalars.append(scalar)
    return step, scalars


def _scalar(record: bytes) -> tuple[str, float] | None:
    tag, number = "", None
    for field, value in _fields(record):
        if field == TAG:
            tag = value.decode("utf-8", errors="replace")
        elif field == SIMPLE:
            (number,) = struct.unpack("<f", value)
        elif field == TENSOR:
            number = _tensor(value)
    return None if number is None else (tag, number)


def _tensor(record: bytes) -> float | None:
    """TensorFlow 2 writes scalars as tensors without dimensions."""
    fields = dict(_fields(record))
    form = FORMATS.get(fields.get(DTYPE, 0))
    raw = fields.get(CONTENT) or fields.get(FLOATS) or fields.get(DOUBLES)
    if fields.get(SHAPE) or form is None or raw is None or len(raw) != struct.calcsize(form):
        return None
    number: float = struct.unpack(form, raw)[0]
    return number


def _fields(record: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(record):
        key, at = _varint(record, at)
        kind = key & 7
        if kind == 0:
            value: Any
            value, at = _varint(record, at)
        elif kind == 2:
            length, at = _varint(record, at)
            value, at = record[at : at + length], at + length
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = record[at : at + size], at + size
        else:
            raise ValueError(f"wire type {kind}")
        yield key >> 3, value


def _varint(record: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = record[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
