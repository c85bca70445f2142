"""The encoder and the projection head."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ntxent.simclr.config._checks import require

__all__ = ["ModelConfig"]


@dataclass(frozen=True)
class ModelConfig:
    """Model: an encoder, and the MLP that projects its features for the loss"""

    encoder: str = "auto"
    """digits: four convolutions; any model of timm by name (resnet18, resnet50,
    vit_small_patch16_224); a module of your own, as package.module:Class; auto: digits for views
    of up to 16 pixels a side, else resnet18."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the encoder, for timm ({"pretrained": true}) or for your own class."""
    stem: Literal["auto", "imagenet", "cifar"] = "auto"
    """First layers of a ResNet: cifar is a 3x3 convolution without stride or pooling; auto takes
    it for views of at most 64 pixels, on a GPU."""
    width: int = 32
    """Channels of the first convolution of digits, which has 4 times as many features."""
    hidden_dim: int = 256
    """Hidden units of the projection head."""
    head_layers: Literal[2, 3] = 2
    """Linear layers of the projection head: 2 as in SimCLR, 3 as in SimCLR v2."""
    head_norm: bool = False
    """Normalise the head's output over the batch, as the authors' code does."""
    projection_dim: int = 64
    """Coordinates d of the embeddings that the loss compares."""

    def __post_init__(self) -> None:
        for name in ("width", "hidden_dim", "projection_dim"):
            received = getattr(self, name)
            require(received >= 1, f"model.{name}", received, "an integer >= 1")
        require(self.encoder != "", "model.encoder", self.encoder, "the name of an encoder")
