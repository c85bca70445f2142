"""What is changed at random in a view."""

import math
from dataclasses import dataclass

from ntxent.simclr.config._checks import require, require_share

__all__ = ["AugmentationConfig"]


@dataclass(frozen=True)
class AugmentationConfig:
    """Augmentation: each view draws its own values, uniformly"""

    recipe: str = "auto"
    """affine: the seven choices from rotation to noise; simclr: random crop, flip, colour
    distortion, blur; auto: affine up to 16 pixels a side, else simclr; or a YAML file that lists
    kornia's augmentations."""
    view_size: int | None = None
    """Side of the views of simclr, pixels; by default the side of the images."""
    strength: float = 1.0
    """Strength s of the colour distortion of simclr."""
    crop: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest area of the random crop of simclr, as shares of the image."""
    flip: bool = True
    """Mirror half of the views of simclr left to right; turn it off where that changes meaning."""
    blur: bool = True
    """Blur half of the views of simclr; the authors leave it out for small images."""
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
        size = self.view_size
        fits = size is None or size >= 4
        require(fits, "augmentation.view_size", size, "an integer >= 4, or null")
        # hue turns by up to 0.2 s, and half a turn is the largest there is
        within = 0 <= self.strength <= 2.5
        require(within, "augmentation.strength", self.strength, "a number from 0 to 2.5")
        small, large = self.crop
        shares = 0 < small <= large <= 1
        require(shares, "augmentation.crop", self.crop, "two shares, 0 < low <= high <= 1")
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
