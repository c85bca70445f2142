"""How the weights are learnt."""

import math
from dataclasses import dataclass
from typing import Literal

from ntxent.simclr.config._checks import require, require_share

__all__ = ["OptimizerConfig"]


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer: warm-up and cosine decay by step"""

    name: Literal["adamw", "lars", "sgd"] = "adamw"
    """Rule of the update; LARS is SimCLR's for large batches."""
    lr: float = 3e-3
    """Peak learning rate, before lr_scaling."""
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    """Peak rate for N pairs: lr, lr * N / 256 (SimCLR: lr 0.3), or lr * sqrt(N) (SimCLR: 0.075)."""
    weight_decay: float = 1e-2
    """Weight decay; decoupled in adamw, part of the gradient in lars and sgd."""
    exclude_vectors: bool | None = None
    """Leave biases, norms and scalars out of weight decay and of LARS' ratio; null: lars only."""
    momentum: float = 0.9
    """Momentum of lars and sgd."""
    trust: float = 1e-3
    """LARS: length of a layer's step, as a share of the length of its weights."""
    clip_norm: float | None = None
    """Largest norm of the gradient of all weights; longer ones are shortened to it."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""

    @property
    def excludes_vectors(self) -> bool:
        """``exclude_vectors``, with its default resolved."""
        return self.name == "lars" if self.exclude_vectors is None else self.exclude_vectors

    def __post_init__(self) -> None:
        for name in ("lr", "trust", "clip_norm"):
            received = getattr(self, name)
            if received is not None:
                require(0 < received < math.inf, f"optimizer.{name}", received, "a number > 0")
        decay = self.weight_decay
        require(0 <= decay < math.inf, "optimizer.weight_decay", decay, "a number >= 0")
        require_share("optimizer.momentum", self.momentum)
        require_share("optimizer.warmup", self.warmup)
