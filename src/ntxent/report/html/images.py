"""Small images as data URIs, which a page carries itself."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["data_uri", "sprite"]

Pixels = NDArray[np.uint8]


def data_uri(image: Pixels) -> str:
    """An image ``[H, W, C]``, uint8, C = 1 or 3, as the URI of a PNG file."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(
        file, format="PNG", optimize=True
    )
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def sprite(images: Pixels, budget: int, columns: int = 32) -> dict[str, Any]:
    """The first of the images ``[n, H, W, C]`` on one sheet, as many as ``budget`` bytes hold.

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
