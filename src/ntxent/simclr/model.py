"""The encoder, whose features are kept, and the projection head, which only the loss sees."""

from torch import nn

from ntxent.simclr.config import ModelConfig

__all__ = ["DigitsEncoder", "ProjectionHead"]


def _convolution(channels: int, filters: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, filters, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
    ]


class DigitsEncoder(nn.Sequential):
    """Images ``[n, 1, 8, 8]`` to features ``[n, features]`` with ``features = 4 * width``."""

    def __init__(self, config: ModelConfig) -> None:
        width, self.features = config.width, 4 * config.width
        super().__init__(
            *_convolution(1, width),
            *_convolution(width, 2 * width),
            nn.MaxPool2d(2),
            *_convolution(2 * width, self.features),
            *_convolution(self.features, self.features),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


class ProjectionHead(nn.Sequential):
    """Features ``[n, features]`` to embeddings ``[n, projection_dim]``, by one hidden layer."""

    def __init__(self, features: int, config: ModelConfig) -> None:
        super().__init__(
            nn.Linear(features, config.hidden_dim, bias=False),
            nn.BatchNorm1d(config.hidden_dim),
            nn.ReLU(),
            nn.Linear(config.hidden_dim, config.projection_dim),
        )
