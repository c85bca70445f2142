"""Image files of any mode, read as squares of 8-bit red, green and blue."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["header", "read_square", "to_rgb"]


def header(path: Path) -> tuple[int, int]:
    """Returns width and height of an image file, without decoding it.

    Raises:
        Exception: the file is no image; PIL has many classes of errors.
    """
    with Image.open(path) as image:
        return image.size


def read_square(path: Path, size: int) -> NDArray[np.uint8]:
    """Returns the middle square of an image, scaled, as ``[3, size, size]``."""
    with Image.open(path) as file:
        file.draft("RGB", (size, size))  # JPEG decodes at a fraction of its size, not below this
        upright = ImageOps.exif_transpose(file)
        square = ImageOps.fit(to_rgb(upright), (size, size), Image.Resampling.BICUBIC)
    return np.array(square).transpose(2, 0, 1)


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns an image as 8-bit RGB; transparent pixels become white."""
    if image.mode.startswith("I"):
        image = _from_16_bits(np.asarray(image))
    if image.mode == "F":
        raise ValueError("pixels of float32, whose range is unknown; save them in 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(values: NDArray[Any]) -> Image.Image:
    if values.size and not 0 <= values.min() <= values.max() < 2**16:
        raise ValueError(f"pixels from {values.min()} to {values.max()}, expected 0 to 65535")
    return Image.fromarray((values.astype(np.uint32) * 255 // 65535).astype(np.uint8))
