import numpy as np
import torch
from torch import nn

from ntxent.simclr.data import MemoryImages
from ntxent.simclr.evaluation.features import extract_features


def test_features_use_running_statistics():
    encoder = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4)).train()
    images = MemoryImages(torch.rand(6, 1, 2, 2))
    features = extract_features(encoder, images, images.shape)
    np.testing.assert_allclose(features, images.pixels.flatten(1), rtol=1e-4)
    assert encoder.training  # as it was
