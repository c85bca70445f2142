"""Encoders by name, with the stem that fits the images, and the two projection heads."""

import pytest
import torch
from torch import nn

from ntxent.simclr import ModelConfig
from ntxent.simclr.model.encoder import CompactEncoder, DigitsEncoder, ProjectionHead, build_encoder


class Flat(nn.Module):
    def __init__(self, keep=1):
        super().__init__()
        self.keep = keep

    def forward(self, images):
        return images if self.keep == 4 else images.flatten(1)


def test_small_images_get_the_cifar_stem():
    """Appendix B.9: a 3x3 convolution of stride 1, no max pooling."""
    encoder, features = build_encoder(ModelConfig(encoder="resnet18"), (3, 32, 32))
    assert features == 512
    assert (encoder.conv1.kernel_size, encoder.conv1.stride) == ((3, 3), (1, 1))
    assert isinstance(encoder.maxpool, nn.Identity)
    # ResNet-18 of 11.18 million parameters without its classifier, less 7x7 and plus 3x3
    assert sum(p.numel() for p in encoder.parameters()) == 11_176_512 - 64 * 3 * (49 - 9)


def test_large_images_and_a_request_keep_the_imagenet_stem():
    for config, side in (
        (ModelConfig(encoder="resnet18"), 96),
        (ModelConfig(encoder="resnet18", stem="imagenet"), 32),
    ):
        encoder, _ = build_encoder(config, (3, side, side))
        assert encoder.conv1.kernel_size == (7, 7)


@pytest.mark.parametrize(("side", "map_side"), [(28, 4), (32, 4), (40, 5), (64, 4)])
def test_the_compact_encoder_halves_large_images_once_more(side, map_side):
    encoder = CompactEncoder(ModelConfig(), (3, side, side)).eval()
    assert sum(p.numel() for p in encoder.parameters()) < 300_000
    images = torch.rand(2, 3, side, side)
    assert nn.Sequential(*list(encoder)[:-2])(images).shape == (2, 128, map_side, map_side)
    assert encoder(images).shape == (2, encoder.features)


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "features"),
    [
        ("auto", {}, (1, 8, 8), 128),
        ("auto", {}, (3, 24, 24), 512),
        ("digits", {}, (3, 20, 20), 128),
        ("compact", {}, (1, 28, 28), 512),
        ("compact", {}, (3, 32, 32), 512),
        ("compact", {}, (3, 64, 48), 512),
        ("resnet10t", {}, (1, 32, 32), 512),
        ("vit_tiny_patch16_224", {"depth": 1}, (3, 64, 48), 192),
        ("convnext_atto", {}, (3, 64, 64), 320),
        (f"{__name__}:Flat", {}, (3, 4, 5), 60),
    ],
)
def test_any_encoder_fits_its_images(name, arguments, shape, features):
    encoder, found = build_encoder(ModelConfig(encoder=name, arguments=arguments), shape)
    assert found == features
    assert encoder.training
    assert encoder(torch.rand(3, *shape)).shape == (3, features)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(encoder="resnet_18"), "received 'resnet_18', .* nearest names are .*resnet18"),
        (ModelConfig(encoder="digit"), "the nearest names are digits"),
        (ModelConfig(encoder="zzzzzzz"), "the nearest names are resnet18, resnet50"),
        (
            ModelConfig(encoder="convnext_atto", stem="cifar"),
            "model.stem: received 'cifar' for con",
        ),
        (ModelConfig(encoder="resnet18", arguments={"nonsense": 1}), "resnet18 .*nonsense"),
        (ModelConfig(encoder="nowhere:Net"), "No module named 'nowhere'"),
        (ModelConfig(encoder="builtins:dict"), "gives dict, expected a torch.nn.Module"),
        (
            ModelConfig(encoder=f"{__name__}:Flat", arguments={"keep": 4}),
            r"gives \(2, 3, 32, 32\) for 2 images, expected one vector",
        ),
        (ModelConfig(encoder="torch.nn:Linear"), "model.arguments: torch.nn:Linear: .*in_features"),
        (
            ModelConfig(encoder="torch.nn:Linear", arguments={"in_features": 5, "out_features": 2}),
            r"refuses images of shape \[3, 32, 32\]",
        ),
    ],
)
def test_an_encoder_that_cannot_be_used_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(config, (3, 32, 32))


def test_building_draws_the_weights_only():
    """The seed gives the same weights whether the number of features is asked for or not."""
    torch.manual_seed(0)
    encoder, _ = build_encoder(ModelConfig(), (1, 8, 8))
    after = torch.rand(1)
    torch.manual_seed(0)
    again, _ = build_encoder(ModelConfig(), (1, 8, 8))
    assert torch.equal(torch.rand(1), after)
    assert encoder.state_dict()["1.num_batches_tracked"] == 0
    for name, weight in encoder.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])


def test_heads_of_two_and_three_layers():
    def kinds(**choice):
        config = ModelConfig(hidden_dim=12, projection_dim=5, **choice)
        head = ProjectionHead(8, config)
        assert head(torch.rand(4, 8)).shape == (4, 5)
        return [type(layer).__name__ for layer in head]

    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds() == [*hidden, "Linear"]
    assert kinds(head_layers=3) == [*hidden, *hidden, "Linear"]
    assert kinds(head_norm=True) == [*hidden, "Linear", "BatchNorm1d"]


def test_a_normalised_head_is_scaled_and_never_shifted():
    head = ProjectionHead(8, ModelConfig(hidden_dim=12, projection_dim=5, head_norm=True))
    output = head(torch.rand(64, 8))
    torch.testing.assert_close(output.mean(0), torch.zeros(5), rtol=0, atol=1e-5)
    assert head[3].bias is None
    assert [p.shape for p in head[4].parameters() if p.requires_grad] == [torch.Size([5])]


@pytest.mark.parametrize("width", [1, 8])
def test_encoder_and_head_shapes(width):
    config = ModelConfig(width=width, hidden_dim=12, projection_dim=5)
    encoder = DigitsEncoder(config)
    features = encoder(torch.rand(16, 1, 8, 8))
    assert features.shape == (16, encoder.features) == (16, 4 * width)
    assert ProjectionHead(encoder.features, config)(features).shape == (16, 5)
