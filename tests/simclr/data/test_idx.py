"""MNIST and its relatives in idx files, in the true layout of each."""

import gzip

import numpy as np
import pytest
import torch
from torchvision import datasets

from ntxent.simclr import DataConfig
from ntxent.simclr.data import ImageData, open_source, published

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)
LABELS = np.arange(30, dtype=np.uint8) % 10


def stored(array):
    """The format as its authors describe it, written without the reader."""
    header = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + header + array.tobytes()


def write(folder, images=PIXELS, labels=LABELS, *, train="train", test="t10k", compress=False):
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, rows in ((train, slice(0, 20)), (test, slice(20, 30))):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = stored(array[rows])
            path = folder / f"{prefix}-{kind}-ubyte"
            if compress:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
            else:
                path.write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def no_system_files(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "SYSTEM", tmp_path / "system")


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")],
)
def test_the_layout_of_torchvision(name, folder, compress, tmp_path):
    raw = write(tmp_path / folder / "raw", compress=compress)
    data = ImageData(DataConfig(source=name, root=str(tmp_path)), batch_size=4)
    assert (len(data.train), len(data.test), data.shape) == (20, 10, (1, 28, 28))
    assert len(data.classes) == 10
    torch.testing.assert_close(data.train[range(20)][:, 0], torch.from_numpy(PIXELS[:20]))
    np.testing.assert_array_equal(data.test.labels, LABELS[20:])
    if not compress:
        theirs = getattr(datasets, folder)(str(tmp_path), train=False)
        torch.testing.assert_close(data.test[range(10)][:, 0], theirs.data)
    assert raw.is_dir()


def test_fashion_mnist_is_found_where_debian_puts_it(tmp_path):
    write(tmp_path / "system/fashion-mnist", compress=True)
    source = open_source(DataConfig(source="fashion_mnist", root=str(tmp_path / "nothing")))
    assert (len(source.train), source.classes[9]) == (20, "Ankle boot")


@pytest.mark.parametrize(("split", "classes"), [("balanced", 47), ("letters", 26), ("digits", 10)])
def test_emnist_stands_upright_and_counts_from_zero(split, classes, tmp_path):
    first = 1 if split == "letters" else 0
    write(
        tmp_path / "EMNIST/raw",
        labels=LABELS + first,
        train=f"emnist-{split}-train",
        test=f"emnist-{split}-test",
    )
    arguments = {} if split == "balanced" else {"split": split}
    source = open_source(DataConfig(source="emnist", root=str(tmp_path), arguments=arguments))
    upright = torch.from_numpy(PIXELS[:20]).transpose(1, 2)
    torch.testing.assert_close(source.train[range(20)][:, 0], upright)
    np.testing.assert_array_equal(source.train.labels, LABELS[:20])
    assert len(source.classes) == classes


def test_an_unknown_split_of_emnist_is_refused(tmp_path):
    config = DataConfig(source="emnist", root=str(tmp_path), arguments={"split": "all"})
    with pytest.raises(ValueError, match=r"split: received 'all', expected .*'balanced'"):
        open_source(config)


@pytest.mark.parametrize("name", ["", "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"])
def test_plain_paths(name, tmp_path):
    folder = write(tmp_path / "mine")
    source = open_source(DataConfig(source=str(folder / name)))
    alone = name.startswith("t10k")
    assert len(source.train) == (10 if alone else 20)
    assert (source.test is None) == alone


def test_the_package_of_debian_is_named_where_the_files_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist, or --data"):
        open_source(DataConfig(source="fashion_mnist", root=str(tmp_path)))


def test_one_missing_part_is_named(tmp_path):
    folder = write(tmp_path / "mnist")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"mnist is not in .*: no t10k-\* files"):
        open_source(DataConfig(source="mnist", root=str(tmp_path)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "magic number of an empty file, expected 00 00 08 03"),
        (
            lambda content: b"\0\0\x0d\3" + content[4:],
            "magic number 00 00 0d 03, expected 00 00 08",
        ),
        (
            lambda content: content[:-1],
            r"received 15679 bytes after the header, expected 15680 for",
        ),
        (lambda content: content[:9], r"received 0 bytes after the header"),
        (
            lambda content: gzip.compress(content)[:-20],
            "the gzip file is damaged: .*; fetch it again",
        ),
        (lambda content: gzip.compress(content)[:200], "the gzip file is damaged"),
    ],
)
def test_damaged_images_are_named(damage, message, tmp_path):
    path = write(tmp_path / "mnist") / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"train-images-idx3-ubyte: .*{message}"):
        open_source(DataConfig(source="mnist", root=str(tmp_path)))


def test_other_labels_than_images_are_refused(tmp_path):
    path = write(tmp_path / "mnist") / "train-labels-idx1-ubyte"
    path.write_bytes(stored(LABELS[:19]))
    with pytest.raises(ValueError, match="received 19 labels for the 20 images of train-images"):
        open_source(DataConfig(source="mnist", root=str(tmp_path)))


def test_a_mistyped_name_gets_a_suggestion():
    with pytest.raises(FileNotFoundError, match=r"did you mean fashion_mnist\?"):
        open_source(DataConfig(source="fashion-mnist"))
