"""Reader of TensorBoard event files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ntxent.logs.columns import Columns


def event_rows(path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    """Scalars of all event files beside each other: a resumed run writes several."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.util.tensor_util import make_ndarray

    files = sorted(path.glob("*tfevents*")) if path.is_dir() else [path]
    for file in files:
        for number, record in enumerate(RawEventFileLoader(str(file)).Load(), start=1):
            event = Event.FromString(record)
            for value in event.summary.value:
                if not columns.want(value.tag):
                    continue
                # TensorFlow 2 writes scalars as tensors.
                kind = value.WhichOneof("value")
                if kind == "simple_value":
                    yield number, {"step": event.step, value.tag: value.simple_value}
                elif kind == "tensor" and not value.tensor.tensor_shape.dim:
                    yield number, {"step": event.step, value.tag: float(make_ndarray(value.tensor))}
