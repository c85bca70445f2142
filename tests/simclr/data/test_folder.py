"""Folders as people have them: nested, mixed, damaged, too large for memory."""

import numpy as np
import pytest
import torch
from PIL import Image

from ntxent.simclr import DataConfig
from ntxent.simclr.data import ImageData, skipped_csv
from ntxent.simclr.data.decoding import read_square
from ntxent.simclr.data.folder import open_folder, scan_folder
from pictures import COLOURS, make_tree, picture, spoil

IN_FILES = 0  # megabytes of memory: nothing is kept


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("data") / "my photos")


@pytest.mark.parametrize("memory", [IN_FILES, 1024])
def test_sub_folders_are_classes_however_deep_the_images_lie(tree, memory):
    source = open_folder(tree, DataConfig(memory=memory))
    assert source.classes == sorted(COLOURS)
    assert len(source.train) == 24
    assert source.train.shape == (3, 40, 40)
    np.testing.assert_array_equal(np.bincount(source.train.labels), [8, 8, 8])
    pixels = source.train[range(24)]
    assert pixels.dtype == torch.uint8
    # the strongest channel names the class of each image
    strongest = pixels.float().mean((2, 3)).argmax(1)
    named = [["red", "green", "blue"].index(source.classes[label]) for label in source.train.labels]
    assert strongest.tolist() == named
    for name, label in zip(source.names, source.train.labels, strict=True):
        assert name.startswith(source.classes[label])


def test_files_and_memory_hold_the_same_images(tree):
    lazy, kept = (
        ImageData(DataConfig(source=str(tree), memory=memory), batch_size=4).train
        for memory in (IN_FILES, 1024)
    )
    torch.testing.assert_close(lazy[range(18)], kept[range(18)], rtol=0, atol=0)
    np.testing.assert_array_equal(lazy.labels, kept.labels)
    taken = lazy.take([5, 3])
    torch.testing.assert_close(taken[[1, 0]], kept[[3, 5]], rtol=0, atol=0)


def test_labels_are_ignored_on_request_and_absent_where_folders_name_none(tree, tmp_path):
    assert open_folder(tree, DataConfig(labels="none")).train.labels is None
    (tmp_path / "some").mkdir()
    for path in ("0.png", "some/1.png"):
        picture(np.random.default_rng(0), "red").save(tmp_path / path)
    mixed = open_folder(tmp_path, DataConfig())
    assert (mixed.train.labels, mixed.classes) == (None, [])


def test_a_held_out_folder_is_kept_apart(tmp_path):
    make_tree(tmp_path / "train")
    make_tree(tmp_path / "test", per_class=2)
    data = ImageData(DataConfig(source=str(tmp_path)), batch_size=4)
    assert (len(data.train), len(data.test)) == (24, 6)
    np.testing.assert_array_equal(np.bincount(data.test.labels), [2, 2, 2])
    (tmp_path / "test/violet").mkdir()
    picture(np.random.default_rng(0), "red").save(tmp_path / "test/violet/0.png")
    with pytest.raises(ValueError, match="received the classes violet, which train does not have"):
        ImageData(DataConfig(source=str(tmp_path)), batch_size=4)


@pytest.mark.parametrize("memory", [IN_FILES, 1024])
def test_what_is_no_usable_image_is_counted_named_and_skipped(tmp_path, memory):
    make_tree(tmp_path / "images")
    reasons = spoil(tmp_path / "images" / "red")
    config = DataConfig(source=str(tmp_path / "images"), max_skipped=0.2, memory=memory, workers=0)
    data = ImageData(config, batch_size=2)
    seen = [torch.stack([image for batch in data.train_dataloader() for image in batch])]
    # All of them, as the epoch leaves out one at random.
    seen += [part[range(len(part))] for part in (data.train, data.test)]
    skipped = {entry.file: entry.reason for entry in data.skipped}
    assert set(skipped) == {f"red/{name}" for name in reasons}
    for name, words in reasons.items():
        assert words in skipped[f"red/{name}"]
    assert skipped_csv(data).count("\n") == 1 + len(reasons)
    # What could not be read is replaced: no batch is short, no image is black.
    assert len(seen[0]) == len(data.train) // 2 * 2
    assert min(part.float().mean((1, 2, 3)).min() for part in seen) > 50

    with pytest.raises(ValueError, match=r"of 29 files in .* are not usable images, more than"):
        ImageData(DataConfig(source=config.source, max_skipped=0.05), batch_size=4)


def test_damage_found_while_reading_is_an_error_beyond_the_share(tmp_path):
    make_tree(tmp_path)
    source = open_folder(tmp_path, DataConfig(memory=IN_FILES, max_skipped=0.1))
    for index in (0, 8, 16):  # 2 of 24 are allowed
        path = tmp_path / source.names[index]
        path.write_bytes(path.read_bytes()[:200])
    source.train[[0, 8]]
    assert len(source.train.skipped()) == 2
    with pytest.raises(ValueError, match=r"more files in .* are damaged than data.max_skipped"):
        source.train[[16]]


def test_workers_report_the_damage_they_find(tmp_path):
    make_tree(tmp_path)
    config = DataConfig(source=str(tmp_path), memory=IN_FILES, workers=2)
    data = ImageData(config, batch_size=6)
    path = tmp_path / data.train.files[0]
    path.write_bytes(path.read_bytes()[:200])
    batches = list(data.train_dataloader())
    assert [tuple(batch.shape) for batch in batches] == [(6, 3, 40, 40)] * 3
    assert [entry.file for entry in data.skipped] == [str(data.train.files[0])]


def test_every_mode_becomes_8_bit_colour(tmp_path):
    grey = np.full((40, 60), 0x8000, np.uint16)
    red = Image.new("RGB", (60, 40), (255, 0, 0))
    clear = Image.new("RGBA", (60, 40), (255, 0, 0, 0))
    files = {
        "grey16.png": (Image.fromarray(grey), (127, 127, 127)),
        "grey8.png": (Image.new("L", (60, 40), 90), (90, 90, 90)),
        "int32.tiff": (Image.fromarray(grey.astype(np.int32)), (127, 127, 127)),
        "clear.png": (clear, (255, 255, 255)),
        "grey_clear.png": (clear.convert("LA"), (255, 255, 255)),
        "palette.png": (red.convert("P"), (255, 0, 0)),
        "bits.png": (Image.new("1", (60, 40), 1), (255, 255, 255)),
        "print.jpg": (red.convert("CMYK"), (254, 0, 0)),
        "web.webp": (red, (255, 0, 0)),
    }
    for name, (image, colour) in files.items():
        image.save(tmp_path / name)
        pixels = read_square(tmp_path / name, 32)
        assert (pixels.shape, pixels.dtype) == ((3, 32, 32), np.uint8)
        assert np.abs(pixels.mean((1, 2)) - colour).max() < 2, name


def test_images_stand_upright_and_keep_their_middle(tmp_path):
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80, 0], wide[:20, :, 1] = 255, 255  # red in the middle, green on top
    turned = Image.fromarray(wide).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned by -90 degrees
    turned.save(tmp_path / "turned.png", exif=exif)
    pixels = read_square(tmp_path / "turned.png", 40)
    assert pixels[0].min() > 200
    assert pixels[1, :18].min() > 200
    assert pixels[1, 22:].max() < 50


def test_links_that_run_in_a_circle_end(tmp_path):
    make_tree(tmp_path, per_class=1)
    (tmp_path / "red" / "again").symlink_to(tmp_path)
    assert len(scan_folder(tmp_path).files) == 3


@pytest.mark.parametrize(
    ("files", "change", "message"),
    [
        ([], {}, "has no files; put images there"),
        (["a.txt"], {}, "1 of 1 files in .* are not usable images"),
        (["0.png"], {}, "received 1 image, expected at least 3.*add images"),
        (["0.png", "1.png"], {}, "received 1 image to learn from, with 1 held out.*add images"),
        (["0.png", "1.png", "2.png"], {}, "batch_size: received 4, expected at most 2"),
        (["0.png"] * 2, {"image_size": 224}, "48x40 pixels, less than half of data.image_size 224"),
        (["a/0.png", "b/1.png"], {}, "received 0.25 for 2 images of 2 classes, 1 in the smallest"),
    ],
)
def test_folders_that_cannot_be_used_are_refused(tmp_path, files, change, message):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(np.random.default_rng(0), "red").save(tmp_path / name, format="png")
        if name.endswith("txt"):
            (tmp_path / name).write_text("words")
    with pytest.raises(ValueError, match=message):
        ImageData(DataConfig(source=str(tmp_path), **change), batch_size=4)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder here; expected digits, cifar10"):
        ImageData(DataConfig(source=str(tmp_path / "nowhere")), batch_size=4)
