"""The optimizers of a run: which parameters decay, the peak learning rate, and LARS."""

from collections.abc import Iterable
from math import cos, pi, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from ntxent.simclr.config import OptimizerConfig

__all__ = ["LARS", "make_optimizer", "parameter_groups", "peak_lr", "warmup_cosine"]


class LARS(Optimizer):
    """SGD with layer-wise adaptive rates: a step is a share of its layer's weights.

    With g the gradient plus ``weight_decay`` · w, and in every parameter tensor of a group that
    has ``adapt``: ratio = trust · ‖w‖ / ‖g‖, or 1 where either norm is 0, and

        v ← momentum · v + lr · ratio · g,    w ← w − v.

    Without ``adapt`` the ratio is 1. This is SimCLR's form: the norm of the sum g, where the paper
    has the sum of the norms; and the learning rate is inside v, so a change of it acts slowly.

    Args:
        params: Parameters, or groups of them as for any optimizer of PyTorch.
        lr: Learning rate, > 0.
        momentum: Share of v that is kept, from 0 to below 1.
        weight_decay: >= 0.
        trust: > 0; the paper and SimCLR use 0.001.
        adapt: Whether the ratio is used.

    References:
        You et al. 2017 (arXiv 1708.03888), Algorithm 1; SimCLR's ``lars_optimizer.py``.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        adapt: bool = True,
    ) -> None:
        for name, received, holds, expected in (
            ("lr", lr, lr >= 0, "a number >= 0"),
            ("momentum", momentum, 0 <= momentum < 1, "a share from 0 to below 1"),
            ("weight_decay", weight_decay, weight_decay >= 0, "a number >= 0"),
            ("trust", trust, trust > 0, "a number > 0"),
        ):
            if not holds:
                raise ValueError(f"{name}: received {received}, expected {expected}")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "adapt": adapt,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._step(weights, [weight.grad for weight in weights], group)
        return loss

    def _step(self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["velocity"] = torch.zeros_like(weight)
        velocities = [self.state[weight]["velocity"] for weight in weights]
        # One kernel for all tensors, as in torch.optim: ResNet-50 has 161, most of them tiny.
        steps = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
        if group["adapt"]:
            ratios = [
                torch.where((w > 0) & (g > 0), group["trust"] * w / g, 1.0)
                for w, g in zip(
                    torch._foreach_norm(weights), torch._foreach_norm(steps), strict=True
                )
            ]
            torch._foreach_mul_(steps, ratios)
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, steps, alpha=group["lr"])
        torch._foreach_sub_(weights, velocities)


def peak_lr(config: OptimizerConfig, batch_size: int) -> float:
    """Returns the learning rate at the end of the warm-up, for N = ``batch_size`` pairs.

    SimCLR's two rules: ``linear`` is lr · N / 256 (the paper: lr = 0.3), ``sqrt`` is lr · √N (the
    paper's appendix: lr = 0.075, better for small batches). They meet at N = 4096.

    >>> rule = lambda lr, scaling: OptimizerConfig(lr=lr, lr_scaling=scaling)
    >>> [peak_lr(rule(0.3, "linear"), size) for size in (256, 4096)]
    [0.3, 4.8]
    >>> [peak_lr(rule(0.075, "sqrt"), size) for size in (256, 4096)]
    [1.2, 4.8]
    """
    factors = {"none": 1.0, "linear": batch_size / 256, "sqrt": sqrt(batch_size)}
    return config.lr * factors[config.lr_scaling]


def parameter_groups(
    parameters: Iterable[nn.Parameter], config: OptimizerConfig
) -> list[dict[str, Any]]:
    """Returns one group of all trained parameters, or two: matrices and kernels, and vectors.

    Vectors, parameters of at most one axis, are biases, scales and shifts of normalisation layers,
    and a temperature. They are a group of their own where weight decay excludes them.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not config.excludes_vectors:
        return [{"params": trained}]
    vectors = [parameter for parameter in trained if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1]},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if config.name == "lars":
        groups[1]["adapt"] = False
    return [group for group in groups if group["params"]]


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: OptimizerConfig, batch_size: int
) -> Optimizer:
    """Returns the optimizer of the configuration, at its peak learning rate."""
    groups = parameter_groups(parameters, config)
    lr, decay = peak_lr(config, batch_size), config.weight_decay
    if config.name == "adamw":
        return AdamW(groups, lr=lr, weight_decay=decay)
    if config.name == "sgd":
        return SGD(groups, lr=lr, momentum=config.momentum, weight_decay=decay)
    return LARS(groups, lr, config.momentum, decay, config.trust)


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Returns the share of the peak learning rate at ``step``: a linear warm-up, then a cosine.

    The share is 1 after ``warmup`` steps, and would be 0 at ``steps``, after the last step.

    >>> [round(warmup_cosine(step, steps=6, warmup=2), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warmup:
        return (step + 1) / warmup
    return (1 + cos(pi * (step - warmup) / (steps - warmup))) / 2
