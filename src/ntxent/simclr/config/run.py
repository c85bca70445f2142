"""A training run, made of the choices of the other files."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from ntxent.simclr.config._checks import require
from ntxent.simclr.config.augmentation import AugmentationConfig
from ntxent.simclr.config.data import DataConfig
from ntxent.simclr.config.evaluation import EvaluationConfig
from ntxent.simclr.config.model import ModelConfig
from ntxent.simclr.config.optimizer import OptimizerConfig

__all__ = ["TrainConfig"]


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    name: str | None = None
    """Name of the run and of its folder; by default the data, the seed and the time of start."""
    folder: str = "runs"
    """Folder that holds the run folders."""
    overwrite: bool = False
    """Replace the files of an earlier run of the same name."""
    resume: str | None = None
    """Run folder to continue; auto continues --folder/--name if it is there, else starts it."""
    checkpoint_seconds: float = 10.0
    """Shortest time between checkpoints, seconds; 0 is every step; the last step is always kept."""
    seed: int = 0
    """Seed of the weights, the order of the data and the augmentation."""
    epochs: int = 60
    """Passes over the training images; fewer without a GPU, if left open (docs/images.md)."""
    batch_size: int = 256
    """Positive pairs in a batch, N; an incomplete last batch is left out, as limits depend on N.
    Smaller without a GPU or with few images, if left open."""
    temperature: float = 0.5
    """Temperature of the loss."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device; auto takes CUDA where there is one, else the CPU."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Type of the encoder's arithmetic; weights and the loss stay in float32, fp16 needs CUDA."""
    gradcache: int | None = None
    """Views embedded at a time, exact for any batch size; batch normalisation sees only those."""
    compile: bool = False
    """Compile encoder and head with torch.compile."""
    channels_last: bool = False
    """Keep images with their channels as the last axis in memory, faster for bf16 and fp16."""
    sync_batchnorm: bool = True
    """Several processes: normalise over the images of all of them, as one process would."""
    loggers: tuple[dict[str, Any], ...] = ()
    """Lightning loggers beside metrics.csv and TensorBoard, each a class_path and its init_args."""
    onnx: bool = False
    """Write the trained encoder as encoder.onnx too, as ntxent export does later."""
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "an integer from 0 to 2**32 - 1")
        require(self.epochs >= 1, "epochs", self.epochs, "an integer >= 1")
        contrast = "an integer >= 2: one pair has nothing to be contrasted with"
        require(self.batch_size >= 2, "batch_size", self.batch_size, contrast)
        seconds = self.checkpoint_seconds
        require(0 <= seconds < math.inf, "checkpoint_seconds", seconds, "a number >= 0")
        chunk = self.gradcache
        require(chunk is None or chunk >= 2, "gradcache", chunk, "an integer >= 2, or null")
        for logger in self.loggers:
            described = isinstance(logger.get("class_path"), str)
            require(described, "loggers", logger, "class_path, and init_args if it has any")
        divisor = "a finite number > 0: similarities are divided by it"
        require(0 < self.temperature < math.inf, "temperature", self.temperature, divisor)
