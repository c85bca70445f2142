from dataclasses import replace

import pytest
import torch

from ntxent.simclr import AugmentationConfig, ModelConfig
from ntxent.simclr.model.encoder import DigitsEncoder, ProjectionHead
from ntxent.simclr.model.optimizer import warmup_cosine
from ntxent.simclr.model.views import TwoViews

IMAGES = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
STILL = AugmentationConfig(
    rotation=0, translation=0, scale=(1, 1), shear=0, brightness=0, contrast=0, noise=0
)


def views(config, seed=0):
    torch.manual_seed(seed)
    return TwoViews(config, (1, 8, 8))(IMAGES)


def test_views_keep_shape_and_range_and_differ():
    first, second = views(AugmentationConfig())
    assert first.shape == second.shape == IMAGES.shape
    assert torch.cat([first, second]).min() >= 0
    assert torch.cat([first, second]).max() <= 1
    assert (first - second).flatten(1).abs().amax(1).min() > 0.01


def test_views_follow_the_seed():
    torch.testing.assert_close(
        views(AugmentationConfig()), views(AugmentationConfig()), rtol=0, atol=0
    )
    assert not torch.equal(views(AugmentationConfig(), 0)[0], views(AugmentationConfig(), 1)[0])


def test_no_augmentation_returns_the_images():
    for view in views(STILL):
        torch.testing.assert_close(view, IMAGES, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"rotation": 30.0},
        {"translation": 0.2},
        {"scale": (0.7, 0.8)},
        {"shear": 20.0},
        {"brightness": 0.3},
        {"contrast": 0.3},
        {"noise": 0.1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_augmentation_acts_alone(change):
    first, second = views(replace(STILL, **change))
    assert (first - IMAGES).abs().max() > 0.01
    assert not torch.equal(first, second)


@pytest.mark.parametrize("width", [1, 8])
def test_encoder_and_head_shapes(width):
    config = ModelConfig(width=width, hidden_dim=12, projection_dim=5)
    encoder = DigitsEncoder(config)
    features = encoder(IMAGES)
    assert features.shape == (16, encoder.features) == (16, 4 * width)
    assert ProjectionHead(encoder.features, config)(features).shape == (16, 5)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (2, 1), (10, 1), (100, 30)])
def test_schedule_rises_to_its_peak_and_falls(steps, warmup):
    factors = [warmup_cosine(step, steps, warmup) for step in range(steps)]
    assert max(factors) == 1
    assert min(factors) > 0
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
