"""What is changed at random in a view."""

import math
from dataclasses import dataclass

from ntxent.simclr.config._checks import require, require_share

__all__ = ["AugmentationConfig"]


@dataclass(frozen=True)
class AugmentationConfig:
    """Augmentation: each view draws its own values, uniformly"""

    rotation: float = 15.0
    """Largest rotation, degrees."""
    translation: float = 0.1
    """Largest shift, as a share of the image's side."""
    scale: tuple[float, float] = (0.8, 1.2)
    """Smallest and largest zoom factor."""
    shear: float = 15.0
    """Largest shear, degrees."""
    brightness: float = 0.3
    """Largest change of brightness, as a share of the pixel range."""
    contrast: float = 0.3
    """Largest relative change of contrast."""
    noise: float = 0.1
    """Standard deviation of the Gaussian noise, as a share of the pixel range."""

    def __post_init__(self) -> None:
        for name, largest in (("rotation", 180), ("shear", 80)):
            received, expected = getattr(self, name), f"degrees from 0 to {largest}"
            require(0 <= received <= largest, f"augmentation.{name}", received, expected)
        require_share("augmentation.translation", self.translation)
        require_share("augmentation.brightness", self.brightness)
        require_share("augmentation.contrast", self.contrast)
        low, high = self.scale
        ordered = 0 < low <= high < math.inf
        require(ordered, "augmentation.scale", self.scale, "two factors, 0 < low <= high")
        require(0 <= self.noise < math.inf, "augmentation.noise", self.noise, "a number >= 0")
