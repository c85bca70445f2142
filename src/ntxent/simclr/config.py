"""Every choice of a training run. The text under a field is its help on the command line."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal


def _require(holds: bool, name: str, received: Any, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name}: received {received!r}, expected {expected}")


def _require_share(name: str, received: float) -> None:
    _require(0 <= received < 1, name, received, "a share from 0 to below 1")


@dataclass(frozen=True)
class DataConfig:
    """Data: scikit-learn's handwritten digits, 1797 images of 8x8 pixels"""

    held_out: float = 0.25
    """Share of the images, stratified and the same for every seed, kept for evaluation only."""

    def __post_init__(self) -> None:
        _require(0 < self.held_out < 1, "data.held_out", self.held_out, "a share between 0 and 1")


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
            _require(0 <= received <= largest, f"augmentation.{name}", received, expected)
        _require_share("augmentation.translation", self.translation)
        _require_share("augmentation.brightness", self.brightness)
        _require_share("augmentation.contrast", self.contrast)
        low, high = self.scale
        ordered = 0 < low <= high < math.inf
        _require(ordered, "augmentation.scale", self.scale, "two factors, 0 < low <= high")
        _require(0 <= self.noise < math.inf, "augmentation.noise", self.noise, "a number >= 0")


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
            _require(received >= 1, f"model.{name}", received, "an integer >= 1")


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer: AdamW, warm-up and cosine decay by step"""

    lr: float = 3e-3
    """Peak learning rate."""
    weight_decay: float = 1e-2
    """Decoupled weight decay."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""

    def __post_init__(self) -> None:
        _require(0 < self.lr < math.inf, "optimizer.lr", self.lr, "a number > 0")
        decay = self.weight_decay
        _require(0 <= decay < math.inf, "optimizer.weight_decay", decay, "a number >= 0")
        _require_share("optimizer.warmup", self.warmup)


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation: probes on the frozen features, beside raw pixels and the untrained encoder"""

    labels_per_class: tuple[int, ...] = (1, 5, 10)
    """Labels per class of the small linear probes; one with all labels is always added."""
    draws: int = 10
    """Random draws of the labels for each small probe."""
    neighbors: int = 5
    """Neighbours that vote in kNN, by cosine similarity."""

    def __post_init__(self) -> None:
        counts = self.labels_per_class
        positive = all(count >= 1 for count in counts)
        _require(positive, "evaluation.labels_per_class", counts, "integers >= 1")
        spread = "an integer >= 2: a standard deviation needs two draws"
        _require(self.draws >= 2, "evaluation.draws", self.draws, spread)
        _require(self.neighbors >= 1, "evaluation.neighbors", self.neighbors, "an integer >= 1")


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    name: str | None = None
    """Name of the run and of its folder; by default the data, the seed and the time of start."""
    folder: str = "runs"
    """Folder that holds the run folders."""
    overwrite: bool = False
    """Replace the files of an earlier run of the same name."""
    seed: int = 0
    """Seed of the weights, the order of the data and the augmentation."""
    epochs: int = 60
    """Passes over the training images."""
    batch_size: int = 256
    """Positive pairs in a batch, N; an incomplete last batch is left out, as limits depend on N."""
    temperature: float = 0.5
    """Temperature of the loss."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device; auto takes CUDA where there is one, else the CPU."""
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**32, "seed", self.seed, "an integer from 0 to 2**32 - 1")
        _require(self.epochs >= 1, "epochs", self.epochs, "an integer >= 1")
        contrast = "an integer >= 2: one pair has nothing to be contrasted with"
        _require(self.batch_size >= 2, "batch_size", self.batch_size, contrast)
        divisor = "a finite number > 0: similarities are divided by it"
        _require(0 < self.temperature < math.inf, "temperature", self.temperature, divisor)
