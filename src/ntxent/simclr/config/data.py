"""Where the images come from."""

from dataclasses import dataclass

from ntxent.simclr.config._checks import require

__all__ = ["DataConfig"]


@dataclass(frozen=True)
class DataConfig:
    """Data: scikit-learn's handwritten digits, 1797 images of 8x8 pixels"""

    held_out: float = 0.25
    """Share of the images, stratified and the same for every seed, kept for evaluation only."""

    def __post_init__(self) -> None:
        require(0 < self.held_out < 1, "data.held_out", self.held_out, "a share between 0 and 1")
