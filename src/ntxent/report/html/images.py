"""Small images as data that a page carries itself."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["data_uri", "png", "sprite"]

Pixels = NDArray[np.uint8]

GRAY, RGB = 0, 2  # colour types of PNG


def png(image: Pixels) -> bytes:
    """A PNG file of an image ``[H, W, C]``, uint8, C = 1 or 3."""
    height, width, channels = image.shape
    kind = RGB if channels == 3 else GRAY
    rows = np.ascontiguousarray(image).reshape(height, -1)
    # Each row is filtered by subtracting the row above, which photographs compress well with.
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.hstack([np.full((height, 1), 2, np.uint8), rows - above])

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    body = zlib.compress(filtered.tobytes(), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def data_uri(image: Pixels) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def sprite(images: Pixels, budget: int, columns: int = 32) -> dict[str, Any]:
    """As many of the images ``[n, H, W, C]`` as ``budget`` bytes hold, on one sheet.

    >>> sheet = sprite(np.zeros((40, 8, 8, 1), np.uint8), budget=10_000)
    >>> sheet["count"], sheet["columns"], sheet["width"], sheet["height"]
    (40, 32, 8, 8)
    """
    count = len(images)
    while True:
        part = images[:count]
        n, height, width, channels = part.shape
        rows = -(-n // columns)
        sheet = np.zeros((rows * columns, height, width, channels), np.uint8)
        sheet[:n] = part
        tiles = sheet.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
        uri = data_uri(tiles.reshape(rows * height, columns * width, channels))
        if len(uri) <= budget or count <= 1:
            break
        count = max(1, int(0.95 * count * budget / len(uri)))
    return {"uri": uri, "count": count, "columns": columns, "width": width, "height": height}
