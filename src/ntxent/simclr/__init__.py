"""SimCLR on any images: data, views, encoder, training, and how good the encoder became.

``ntxent.simclr.training.train(TrainConfig())`` does what ``ntxent train`` does. Only the choices
are loaded here: PyTorch and Lightning load when a run starts.
"""

from ntxent.simclr.config import (
    AugmentationConfig,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)

__all__ = [
    "AugmentationConfig",
    "DataConfig",
    "EvaluationConfig",
    "ModelConfig",
    "OptimizerConfig",
    "TrainConfig",
]
