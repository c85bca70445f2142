"""Two random views of every image, drawn in one batch on the device."""

import kornia.augmentation as kornia
import torch
from torch import Tensor, nn

from ntxent.simclr.config import AugmentationConfig

__all__ = ["TwoViews"]


class TwoViews(nn.Module):
    """Images ``[N, C, H, W]`` in [0, 1] to two views of the same shape and range.

    Geometry first, then brightness and contrast, then noise: each of the 2N images draws its own
    values from PyTorch's global generator.
    """

    def __init__(self, config: AugmentationConfig) -> None:
        super().__init__()
        self.augment = nn.Sequential(
            kornia.RandomAffine(
                degrees=config.rotation,
                translate=(config.translation, config.translation),
                scale=config.scale,
                shear=(-config.shear, config.shear),
                p=1.0,
            ),
            kornia.RandomBrightness((1 - config.brightness, 1 + config.brightness), p=1.0),
            kornia.RandomContrast((1 - config.contrast, 1 + config.contrast), p=1.0),
            kornia.RandomGaussianNoise(std=config.noise, p=1.0),
        )

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.augment(torch.cat([images, images])).clamp(0, 1).chunk(2)
        return first, second
