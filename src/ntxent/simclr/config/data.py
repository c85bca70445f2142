"""Where the images come from."""

from dataclasses import dataclass, field
from typing import Any

from ntxent.simclr.config._checks import require, require_share

__all__ = ["DataConfig"]


@dataclass(frozen=True)
class DataConfig:
    """Data: images to learn from, and a part held out that only evaluation sees"""

    source: str = "digits"
    """digits: scikit-learn's, 1797 images of 8x8 pixels; cifar10, cifar100 or stl10; a folder of
    images; an .npz or .npy file; or a Dataset or LightningDataModule, as package.module:Class."""
    root: str = "data"
    """Folder that holds the files of cifar10, cifar100 and stl10."""
    download: bool = False
    """Let torchvision download the files that are missing there."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of your own Dataset or LightningDataModule."""
    labels: str = "auto"
    """auto: the first level of sub-folders, or the labels that come with the images; none: ignore
    them; or an .npy file, one label an image of an .npy. They are for evaluation only."""
    held_out: float = 0.25
    """Share of the images, stratified and the same for every seed, kept for evaluation only, where
    the data has no test part of its own."""
    image_size: int | None = None
    """Side of the square, pixels, that the middle of each image of a folder is scaled to; by
    default the median of the shorter sides, at most 96, without a GPU 64."""
    max_skipped: float = 0.1
    """Largest share of a folder's files that may be no usable images; they are listed in the run
    folder, and more of them are an error."""
    memory: int = 1024
    """Megabytes that the images may take to be decoded once and kept on the device; larger ones
    are read by workers in every epoch."""
    workers: int = 2
    """Processes that read images from files."""

    def __post_init__(self) -> None:
        require(self.source != "", "data.source", self.source, "the name of a source of images")
        require(0 < self.held_out < 1, "data.held_out", self.held_out, "a share between 0 and 1")
        size = self.image_size
        fits = size is None or size >= 4
        require(fits, "data.image_size", size, "an integer >= 4, or null")
        require_share("data.max_skipped", self.max_skipped)
        require(self.memory >= 0, "data.memory", self.memory, "an integer >= 0")
        require(self.workers >= 0, "data.workers", self.workers, "an integer >= 0")
