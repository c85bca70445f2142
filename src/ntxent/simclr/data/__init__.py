"""Images to train on: published datasets, folders, arrays, or a dataset of the user."""

from ntxent.simclr.data.datamodule import ImageData
from ntxent.simclr.data.images import (
    LARGEST_SIZE,
    Images,
    MemoryImages,
    Shape,
    Skipped,
    Source,
    is_tiny,
    to_unit,
)
from ntxent.simclr.data.record import data_record, skipped_csv
from ntxent.simclr.data.source import open_source

__all__ = [
    "LARGEST_SIZE",
    "ImageData",
    "Images",
    "MemoryImages",
    "Shape",
    "Skipped",
    "Source",
    "data_record",
    "is_tiny",
    "open_source",
    "skipped_csv",
    "to_unit",
]
