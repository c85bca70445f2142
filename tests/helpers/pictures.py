"""Image files of every kind, made on the spot."""

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


def picture(generator, colour, width=48, height=40):
    """A noisy area of one colour."""
    noise = generator.integers(-30, 31, (height, width, 3))
    return Image.fromarray((np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8))


def make_tree(root, per_class=8, suffix="png"):
    """``root/colour/deeper/0.png`` …: three classes, half of the images nested."""
    generator = np.random.default_rng(0)
    for colour in COLOURS:
        for index in range(per_class):
            folder = root / colour / ("deeper" if index % 2 else "")
            folder.mkdir(parents=True, exist_ok=True)
            picture(generator, colour).save(folder / f"{index}.{suffix}")
    return root


def spoil(folder):
    """Files beside the images that are none, or that break when they are decoded.

    Returns:
        What the reason for leaving out each of them must say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "whole.jpg"
    picture(np.random.default_rng(1), "red", 400, 300).save(whole, quality=95)
    (folder / "truncated.jpg").write_bytes(whole.read_bytes()[:5000])
    whole.unlink()
    (folder / "text.png").write_text("not a picture")
    (folder / "empty.jpg").write_bytes(b"")
    Image.new("RGB", (3, 2)).save(folder / "tiny.png")
    Image.fromarray(np.ones((40, 40), np.float32)).save(folder / "float.tiff")
    (folder / ".hidden").write_text("left alone, and not counted")
    return {
        "truncated.jpg": "truncated",
        "text.png": "not an image",
        "empty.jpg": "not an image",
        "tiny.png": "3x2 pixels",
        "float.tiff": "float32",
    }


GENERATOR = np.random.default_rng(0)
# red, green, blue planes, each row by row, as all three data sets store them
PIXELS = GENERATOR.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
LABELS = np.arange(12) % 3


def cifar10_binary(root):
    """Five training files and one for testing; a record is a label and 3072 bytes of planes."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    records = np.concatenate([LABELS[:, None].astype(np.uint8), PIXELS.reshape(12, -1)], axis=1)
    for index in range(5):
        records[2 * index : 2 * index + 2].tofile(folder / f"data_batch_{index + 1}.bin")
    records[10:].tofile(folder / "test_batch.bin")
    (folder / "batches.meta.txt").write_text("airplane\nautomobile\nbird\n\n")
