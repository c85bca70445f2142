"""SimCLR on any images: data, views, encoder, training, evaluation.

``ntxent.simclr.training.train(TrainConfig())`` does what ``ntxent train`` does. Importing this
package loads the options only, neither PyTorch nor Lightning.
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
