import numpy as np
import pytest
import torch

from ntxent.simclr import DataConfig
from ntxent.simclr.data import ImageData


@pytest.fixture(scope="module")
def data():
    return ImageData(DataConfig(), batch_size=256)


def images_of(part):
    return {image.numpy().tobytes() for image in part}


def test_a_quarter_is_held_out_with_equal_class_shares(data):
    assert (len(data.train.pixels), len(data.test.pixels)) == (1347, 450)
    held_out = np.bincount(data.test.labels)
    images = np.bincount(data.train.labels) + held_out
    assert abs(held_out - images * 450 / 1797).max() < 1


def test_no_held_out_image_is_trained_on(data):
    assert not images_of(data.train.pixels) & images_of(data.test.pixels)


def test_the_split_ignores_the_seed(data):
    torch.manual_seed(99)
    np.random.seed(99)
    again = ImageData(DataConfig(), batch_size=256)
    torch.testing.assert_close(again.test.pixels, data.test.pixels, rtol=0, atol=0)


def test_batches_are_full_unlabelled_and_new_each_epoch(data):
    loader = data.train_dataloader()
    first, second = list(loader), list(loader)
    assert [tuple(batch.shape) for batch in first] == [(256, 1, 8, 8)] * (1347 // 256)
    assert len(images_of(torch.cat(first))) == 5 * 256
    assert images_of(torch.cat(first)) <= images_of(data.train.pixels)
    assert not torch.equal(first[0], second[0])


def test_pixels_lie_in_the_unit_interval(data):
    assert data.train.pixels.dtype == torch.float32
    assert (data.train.pixels.min(), data.train.pixels.max()) == (0, 1)


@pytest.mark.parametrize(
    ("batch_size", "held_out", "message"),
    [
        (1348, 0.25, "batch_size: received 1348, expected at most 1347"),
        (2, 0.0001, "data.held_out: received 0.0001"),
        (2, 0.9999, "data.held_out: received 0.9999"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(batch_size, held_out, message):
    with pytest.raises(ValueError, match=message):
        ImageData(DataConfig(held_out=held_out), batch_size)
