"""Named data sets in the true format of their files, arrays, and the user's own classes."""

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ntxent.simclr import DataConfig
from ntxent.simclr.data import ImageData, open_source
from pictures import GENERATOR, LABELS, PIXELS, cifar10_binary


def test_cifar10_binary(tmp_path):
    cifar10_binary(tmp_path)
    data = ImageData(DataConfig(source="cifar10", root=str(tmp_path)), batch_size=4)
    assert (len(data.train), len(data.test), data.shape) == (10, 2, (3, 32, 32))
    assert data.classes == ["airplane", "automobile", "bird"]
    torch.testing.assert_close(data.train[range(10)], torch.from_numpy(PIXELS[:10]))
    np.testing.assert_array_equal(data.test.labels, LABELS[10:])


def test_cifar100_binary_takes_the_fine_label(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    coarse = np.full((12, 1), 7, np.uint8)
    fine = LABELS[:, None].astype(np.uint8)
    records = np.concatenate([coarse, fine, PIXELS.reshape(12, -1)], axis=1)
    records[:9].tofile(folder / "train.bin")
    records[9:].tofile(folder / "test.bin")
    source = open_source(DataConfig(source="cifar100", root=str(tmp_path)))
    np.testing.assert_array_equal(source.train.labels, LABELS[:9])
    torch.testing.assert_close(source.test[[0, 1, 2]], torch.from_numpy(PIXELS[9:]))


def test_cifar10_for_python_is_read_by_torchvision_if_it_is_the_published_one(
    tmp_path, monkeypatch
):
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import calculate_md5

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    parts = [(f"data_batch_{index + 1}", slice(2 * index, 2 * index + 2)) for index in range(5)]
    for name, rows in [*parts, ("test_batch", slice(10, 12))]:
        content = {"data": PIXELS[rows].reshape(2, -1), "labels": LABELS[rows].tolist()}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b", "c"]}))
    config = DataConfig(source="cifar10", root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"cifar10 is not in .* not found or corrupted"):
        open_source(config)  # these are not the published checksums, and pickles can run code

    def listed(*names):
        return [[name, calculate_md5(folder / name)] for name in names]

    monkeypatch.setattr(CIFAR10, "train_list", listed(*(name for name, _ in parts)))
    monkeypatch.setattr(CIFAR10, "test_list", listed("test_batch"))
    meta = {**CIFAR10.meta, "md5": calculate_md5(folder / "batches.meta")}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    source = open_source(config)
    torch.testing.assert_close(source.train[range(10)], torch.from_numpy(PIXELS[:10]))
    assert source.classes == ["a", "b", "c"]


def test_stl10_learns_from_unlabelled_images_and_probes_labelled_ones(tmp_path):
    """Images of STL-10 are stored column by column, labels count from 1."""
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    pixels = GENERATOR.integers(0, 256, (15, 3, 96, 96), dtype=np.uint8)
    stored = pixels.transpose(0, 1, 3, 2)
    stored[:4].tofile(folder / "train_X.bin")
    stored[4:6].tofile(folder / "test_X.bin")
    stored[6:].tofile(folder / "unlabeled_X.bin")
    np.array([1, 2, 1, 10], np.uint8).tofile(folder / "train_y.bin")
    np.array([2, 10], np.uint8).tofile(folder / "test_y.bin")
    (folder / "class_names.txt").write_text("\n".join("abcdefghij"))
    (folder / "fold_indices.txt").write_text("0 1\n" * 10)
    data = ImageData(DataConfig(source="stl10", root=str(tmp_path)), batch_size=4)
    assert (len(data.train), len(data.labelled), len(data.test)) == (13, 4, 2)
    torch.testing.assert_close(data.labelled[range(4)], torch.from_numpy(pixels[:4]))
    torch.testing.assert_close(data.train[range(4, 13)], torch.from_numpy(pixels[6:]))
    np.testing.assert_array_equal(data.labelled.labels, [0, 1, 0, 9])
    np.testing.assert_array_equal(data.test.labels, [1, 9])


NAMES = ("cifar10", "cifar100", "stl10", "svhn", "mnist", "kmnist", "emnist")


@pytest.mark.parametrize("name", NAMES)
def test_missing_files_say_how_to_get_them(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"data.root: {name} .*--data.download true"):
        open_source(DataConfig(source=name, root=str(tmp_path)))


def test_svhn_counts_its_ten_as_zero(tmp_path):
    from scipy.io import savemat

    for part, rows in (("train", slice(0, 9)), ("test", slice(9, 12))):
        labels = np.where(LABELS[rows] == 0, 10, LABELS[rows])[:, None].astype(np.uint8)
        stored = {"X": PIXELS[rows].transpose(2, 3, 1, 0), "y": labels}
        savemat(tmp_path / f"{part}_32x32.mat", stored)
    source = open_source(DataConfig(source="svhn", root=str(tmp_path)))
    torch.testing.assert_close(source.train[range(9)], torch.from_numpy(PIXELS[:9]))
    np.testing.assert_array_equal(source.test.labels, LABELS[9:])


def test_a_cut_off_file_is_named(tmp_path):
    cifar10_binary(tmp_path)
    path = tmp_path / "cifar-10-batches-bin/data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"data_batch_3.bin: received 6145 bytes, expected a mult"):
        open_source(DataConfig(source="cifar10", root=str(tmp_path)))


@pytest.mark.parametrize(
    ("array", "shape", "third"),
    [
        (PIXELS, (3, 32, 32), 1),
        (PIXELS.transpose(0, 2, 3, 1), (3, 32, 32), 1),
        (PIXELS[:, 0], (1, 32, 32), 1),
        (PIXELS.astype(np.int64), (3, 32, 32), 1),
        (PIXELS.astype(np.uint16) * 257, (3, 32, 32), 1 / 255),
        (PIXELS / 255, (3, 32, 32), 1 / 255),
    ],
    ids=["channels first", "channels last", "grey", "int64", "uint16", "float64"],
)
def test_arrays_of_any_layout(tmp_path, array, shape, third):
    np.savez(tmp_path / "a.npz", images=array, labels=np.array(list("cab") * 4))
    source = open_source(DataConfig(source=str(tmp_path / "a.npz")))
    assert source.train.shape == shape
    assert source.classes == ["a", "b", "c"]
    np.testing.assert_array_equal(source.train.labels[:3], [2, 0, 1])
    expected = torch.from_numpy(PIXELS[:, : shape[0]]) * third
    torch.testing.assert_close(source.train[range(12)].float(), expected.float())


def test_arrays_with_a_test_part_and_a_pair_of_files(tmp_path):
    parts = {"x_train": PIXELS[:8], "y_train": LABELS[:8, None], "x_test": PIXELS[8:]}
    np.savez(tmp_path / "a.npz", **parts, y_test=LABELS[8:, None])
    data = ImageData(DataConfig(source=str(tmp_path / "a.npz")), batch_size=4)
    assert (len(data.train), len(data.test)) == (8, 4)
    np.testing.assert_array_equal(data.test.labels, LABELS[8:])
    np.save(tmp_path / "images.npy", PIXELS)
    np.save(tmp_path / "labels.npy", LABELS)
    config = DataConfig(source=str(tmp_path / "images.npy"), labels=str(tmp_path / "labels.npy"))
    np.testing.assert_array_equal(open_source(config).train.labels, LABELS)
    assert open_source(DataConfig(source=config.source)).train.labels is None


def test_minus_one_marks_an_image_without_a_label(tmp_path):
    labels = np.array([5, -1, 9, 5, -1, 9, 5, 9, -1, 5, 9, 5])
    np.savez(tmp_path / "a.npz", x_train=PIXELS, y_train=labels, x_test=PIXELS, y_test=labels)
    data = ImageData(DataConfig(source=str(tmp_path / "a.npz")), batch_size=4)
    assert (len(data.train), len(data.labelled), len(data.test)) == (12, 9, 9)
    assert data.classes == ["5", "9"]
    np.testing.assert_array_equal(data.labelled.labels[:4], [0, 1, 0, 1])


def test_labels_of_any_source_can_be_ignored(tmp_path):
    cifar10_binary(tmp_path)
    data = ImageData(DataConfig(source="cifar10", root=str(tmp_path), labels="none"), batch_size=4)
    assert not data.has_labels
    with pytest.raises(ValueError, match=r"labels: received 'l.npy' for digits, expected auto or"):
        open_source(DataConfig(labels="l.npy"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": PIXELS}, "has the arrays pictures, expected images and labels"),
        ({"images": PIXELS, "labels": LABELS[1:]}, "received 11 labels for 12 images"),
        ({"images": PIXELS / 100}, r"received float64 from 0.0 to 2.55, expected .*floats from 0"),
        ({"images": PIXELS[0, 0]}, r"received images of shape \[32, 32\]"),
        ({"images": np.full((2, 8, 8), np.nan)}, "received float64 from nan to nan"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        open_source(DataConfig(source=str(tmp_path / "a.npz")))


OWN = """
import numpy as np, torch
from lightning import LightningDataModule
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset

class Squares(Dataset):
    classes = ["dark", "light"]
    def __init__(self, count=12, kind="tensor"):
        self.count, self.kind = count, kind
    def __len__(self):
        return self.count
    def __getitem__(self, index):
        if index >= self.count: raise IndexError
        image = torch.full((3, 16, 16), index / 20)
        if self.kind == "pil":
            image = Image.fromarray((image * 255).byte().permute(1, 2, 0).numpy())
        if self.kind == "ragged":
            image = image[:, : 16 - index % 2]
        return image, index % 2

class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1, 8, 8)

class Module(LightningDataModule):
    def setup(self, stage):
        self.stage = stage
    def train_dataloader(self):
        return DataLoader(Squares(12), batch_size=3)
    def val_dataloader(self):
        return DataLoader(Squares(6), batch_size=3)

def number():
    return 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_images.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)  # found there, as the command line's user has it
    yield
    sys.modules.pop("own_images", None)


@pytest.mark.parametrize("kind", ["tensor", "pil"])
@pytest.mark.usefixtures("own")
def test_an_own_dataset(kind):
    config = DataConfig(source="own_images:Squares", arguments={"count": 20, "kind": kind})
    data = ImageData(config, batch_size=4)
    assert (len(data.train), len(data.test), data.shape) == (15, 5, (3, 16, 16))
    assert data.classes == ["dark", "light"]
    (batch, *_) = [data.on_after_batch_transfer(b, 0) for b in data.train_dataloader()]
    assert (batch.dtype, tuple(batch.shape)) == (torch.float32, (4, 3, 16, 16))
    assert 0 <= batch.min() <= batch.max() <= 1
    # labels go with their images: image i is i / 20, label i % 2
    values = data.on_after_batch_transfer(data.test[range(5)], 0)[:, 0, 0, 0]
    assert ((values * 20).round().int() % 2).tolist() == data.test.labels.tolist()


@pytest.mark.usefixtures("own")
def test_an_own_module_gives_its_validation_images_as_held_out():
    data = ImageData(DataConfig(source="own_images:Module"), batch_size=4)
    assert (len(data.train), len(data.test)) == (12, 6)
    assert data.has_labels


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("own_images:Nothing", {}, "has no attribute 'Nothing'"),
        ("no_such_module:Nothing", {}, "No module named 'no_such_module'"),
        ("own_images:number", {}, "received int, expected a Dataset"),
        ("own_images:Stream", {}, "received Stream, expected a Dataset with __len__"),
        ("own_images:Squares", {"size": 3}, "data.arguments: own_images:Squares: .*'size'"),
        ("own_images:Squares", {"count": 0}, "Squares has no images"),
        ("own_images:Squares", {"kind": "ragged"}, r"received an image of shape \[3, 15, 16\]"),
    ],
)
@pytest.mark.usefixtures("own")
def test_own_code_that_gives_no_images_is_refused(source, arguments, message):
    with pytest.raises(ValueError, match=message):
        list(ImageData(DataConfig(source=source, arguments=arguments), 4).train_dataloader())


def test_processes_share_every_batch(tmp_path):
    """Two processes with one seed: their rows, one after the other, are the whole batch."""
    np.savez(tmp_path / "a.npz", images=PIXELS)
    data = ImageData(DataConfig(source=str(tmp_path / "a.npz")), batch_size=4)

    def epoch(rank, world):
        data.trainer = SimpleNamespace(
            global_rank=rank, world_size=world, strategy=SimpleNamespace(root_device="cpu")
        )
        torch.manual_seed(3)
        return list(data.train_dataloader())

    whole, first, second = epoch(0, 1), epoch(0, 2), epoch(1, 2)
    assert len(whole) == 2
    for batch, *parts in zip(whole, first, second, strict=True):
        torch.testing.assert_close(torch.cat(parts), batch, rtol=0, atol=0)
