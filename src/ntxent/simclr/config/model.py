"""The encoder and the projection head."""

from dataclasses import dataclass

from ntxent.simclr.config._checks import require

__all__ = ["ModelConfig"]


@dataclass(frozen=True)
class ModelConfig:
    """Model: four convolutions, and the MLP that projects their features for the loss"""

    width: int = 32
    """Channels of the first convolution; the encoder has 4 times as many features."""
    hidden_dim: int = 256
    """Hidden units of the projection head."""
    projection_dim: int = 64
    """Coordinates d of the embeddings that the loss compares."""

    def __post_init__(self) -> None:
        for name in ("width", "hidden_dim", "projection_dim"):
            received = getattr(self, name)
            require(received >= 1, f"model.{name}", received, "an integer >= 1")
