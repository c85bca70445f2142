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
    """Images ``[n, C, H, W]`` to features ``[n, features]`` with ``features = 4 * width``."""

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


class ProjectionHead(nn.Sequential):
    """Features ``[n, features]`` to embeddings ``[n, projection_dim]``.

    ``head_layers - 1`` hidden layers with batch normalisation, then a linear one; ``head_norm``
    puts batch normalisation there too, scaled but not shifted, in place of the bias.
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
