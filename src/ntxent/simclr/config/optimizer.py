"""How the weights are learnt."""

import math
from dataclasses import dataclass

from ntxent.simclr.config._checks import require, require_share

__all__ = ["OptimizerConfig"]


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
        require(0 < self.lr < math.inf, "optimizer.lr", self.lr, "a number > 0")
        decay = self.weight_decay
        require(0 <= decay < math.inf, "optimizer.weight_decay", decay, "a number >= 0")
        require_share("optimizer.warmup", self.warmup)
