"""Encoders of images by their names, and the projection head."""

from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from ntxent.simclr.config import ModelConfig
from ntxent.simclr.data import Shape, is_tiny
from ntxent.simclr.importing import load_object

__all__ = ["CompactEncoder", "DigitsEncoder", "ProjectionHead", "build_encoder"]

# At 64 pixels a ResNet with the ImageNet stem, which divides the side by 4, ends in maps of 2x2.
CIFAR_STEM_BELOW = 65


def build_encoder(config: ModelConfig, shape: Shape) -> tuple[nn.Module, int]:
    """Returns an encoder of images of ``shape``, channels first, and the number of its features.

    Raises:
        ValueError: there is no encoder of that name, its class refuses the arguments or the shape,
            or it returns no feature vectors.
    """
    channels, height, width = shape
    if config.encoder == "auto":
        config = replace(config, encoder="digits" if is_tiny(shape) else "resnet18")
    if config.encoder == "digits":
        encoder: nn.Module = DigitsEncoder(config, channels)
    elif config.encoder == "compact":
        encoder = CompactEncoder(config, shape)
    elif ":" in config.encoder:
        encoder = _custom(config)
    else:
        encoder = _timm(config, channels, (height, width))
    return encoder, _count_features(encoder, config, shape)


def _custom(config: ModelConfig) -> nn.Module:
    make = load_object("model.encoder", config.encoder)
    try:
        encoder = make(**config.arguments)
    except TypeError as error:
        raise ValueError(f"model.arguments: {config.encoder}: {error}") from error
    if not isinstance(encoder, nn.Module):
        raise ValueError(
            f"model.encoder: {config.encoder} gives {type(encoder).__name__}, "
            "expected a torch.nn.Module"
        )
    return encoder


def _timm(config: ModelConfig, channels: int, sides: tuple[int, int]) -> nn.Module:
    import timm

    name = config.encoder
    if not timm.is_model(name):
        known = ["digits", *timm.list_models()]
        nearest = ", ".join(get_close_matches(name, known, n=3, cutoff=0.4)) or "resnet18, resnet50"
        raise ValueError(
            f"model.encoder: received {name!r}, expected digits, a model of timm or "
            f"package.module:Class; the nearest names are {nearest}"
        )
    arguments = {"num_classes": 0, "in_chans": channels} | config.arguments
    settings = timm.get_pretrained_cfg(name)
    if settings is not None and settings.fixed_input_size:
        arguments.setdefault("img_size", sides)
    try:
        encoder: nn.Module = timm.create_model(name, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ValueError(f"model.encoder: {name} for images of {sides}: {error}") from error
    if _wants_cifar_stem(config, encoder, sides):
        _use_cifar_stem(encoder)
    return encoder


def _wants_cifar_stem(config: ModelConfig, encoder: nn.Module, sides: tuple[int, int]) -> bool:
    from timm.models import ResNet

    if config.stem == "cifar" and not isinstance(encoder, ResNet):
        raise ValueError(
            f"model.stem: received 'cifar' for {config.encoder}, expected a ResNet of timm; "
            "leave it at auto"
        )
    small = isinstance(encoder, ResNet) and max(sides) < CIFAR_STEM_BELOW
    return config.stem == "cifar" or (config.stem == "auto" and small)


def _use_cifar_stem(encoder: Any) -> None:
    """Replaces the stem by a 3x3 convolution of stride 1 without pooling (SimCLR, Appendix B.9)."""
    first = next(layer for layer in encoder.conv1.modules() if isinstance(layer, nn.Conv2d))
    channels, filters = first.in_channels, encoder.bn1.num_features
    encoder.conv1 = nn.Conv2d(channels, filters, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(encoder.conv1.weight, mode="fan_out", nonlinearity="relu")
    encoder.maxpool = nn.Identity()


def _count_features(encoder: nn.Module, config: ModelConfig, shape: Shape) -> int:
    """Returns the number of features of black images; changes no statistics and no generator."""
    training = encoder.training
    encoder.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = encoder(torch.zeros(2, *shape))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"model.encoder: {config.encoder} refuses images of shape {list(shape)}: {reason}"
        ) from error
    finally:
        encoder.train(training)
    received = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or len(output) != 2:
        raise ValueError(
            f"model.encoder: {config.encoder} gives {received} for 2 images, "
            "expected one vector of features each"
        )
    return int(output.shape[1])


def _convolution(channels: int, filters: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, filters, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    ]


class DigitsEncoder(nn.Sequential):
    """Maps images ``[n, C, H, W]`` to features ``[n, features]``, where features = 4 · width."""

    def __init__(self, config: ModelConfig, channels: int = 1) -> None:
        width, self.features = config.width, 4 * config.width
        super().__init__(
            *_convolution(channels, width),
            *_convolution(width, 2 * width),
            nn.MaxPool2d(2),
            *_convolution(2 * width, self.features),
            *_convolution(self.features, self.features),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


class CompactEncoder(nn.Sequential):
    """Maps images ``[n, C, H, W]`` of 17 pixels or more to features ``[n, 16 · width]``.

    Six 3x3 convolutions, with twice the channels wherever the map is halved, from the first one on.
    The last map is averaged to 2x2, so that features know where in the image something is. Images
    of more than 40 pixels are halved once more at first.
    """

    def __init__(self, config: ModelConfig, shape: Shape) -> None:
        channels, *sides = shape
        width, self.features = config.width, 16 * config.width
        first = _convolution(channels, width // 2, stride=2) if max(sides) > 40 else []
        super().__init__(
            *first,
            *_convolution(width // 2 if first else channels, width, stride=2),
            *_convolution(width, width),
            *_convolution(width, 2 * width, stride=2),
            *_convolution(2 * width, 2 * width),
            *_convolution(2 * width, 4 * width, stride=2),
            *_convolution(4 * width, 4 * width),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )


class ProjectionHead(nn.Sequential):
    """Maps features ``[n, features]`` to embeddings ``[n, projection_dim]``.

    It has ``head_layers - 1`` hidden layers with batch normalisation and ReLU, then a linear layer.
    With ``head_norm``, batch normalisation without a shift replaces the bias of the latter.
    """

    def __init__(self, features: int, config: ModelConfig) -> None:
        layers: list[nn.Module] = []
        width = features
        for _ in range(config.head_layers - 1):
            layers += [
                nn.Linear(width, config.hidden_dim, bias=False),
                nn.BatchNorm1d(config.hidden_dim),
                nn.ReLU(),
            ]
            width = config.hidden_dim
        layers.append(nn.Linear(width, config.projection_dim, bias=not config.head_norm))
        if config.head_norm:
            norm = nn.BatchNorm1d(config.projection_dim)
            norm.bias.requires_grad_(False)
            layers.append(norm)
        super().__init__(*layers)
