"""Every choice of a training run. The text under a field is its help on the command line."""

from ntxent.simclr.config.augmentation import AugmentationConfig
from ntxent.simclr.config.data import DataConfig
from ntxent.simclr.config.evaluation import EvaluationConfig
from ntxent.simclr.config.model import ModelConfig
from ntxent.simclr.config.optimizer import OptimizerConfig
from ntxent.simclr.config.run import TrainConfig

__all__ = [
    "AugmentationConfig",
    "DataConfig",
    "EvaluationConfig",
    "ModelConfig",
    "OptimizerConfig",
    "TrainConfig",
]
