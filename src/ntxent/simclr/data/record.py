"""The files ``data.json`` and ``skipped.csv`` of a run folder."""

import csv
import io
from typing import Any

import numpy as np

from ntxent.simclr.data.datamodule import ImageData
from ntxent.simclr.data.images import Images

__all__ = ["data_record", "skipped_csv"]


def data_record(data: ImageData) -> dict[str, Any]:
    """Returns counts, classes, shape and fingerprint of the images, as plain JSON values."""
    return {
        "source": data.config.source,
        "shape": list(data.shape),
        "classes": list(data.classes),
        "images": {
            "train": len(data.train),
            "labelled": len(data.labelled) if data.has_labels else 0,
            "held_out": len(data.test),
        },
        "per_class": {
            "labelled": _counts(data.labelled, len(data.classes)),
            "held_out": _counts(data.test, len(data.classes)),
        },
        "fingerprint": data.fingerprint,
        "skipped": len(data.skipped),
    }


def _counts(images: Images, classes: int) -> list[int]:
    if images.labels is None:
        return []
    return [int(count) for count in np.bincount(images.labels, minlength=classes)]


def skipped_csv(data: ImageData) -> str:
    """Returns a CSV table of the files that were left out, each with the reason."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("file", "reason"))
    rows.writerows(data.skipped)
    return text.getvalue()
