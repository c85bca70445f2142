"""What the losses compute of rows besides the primitive."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus


class _Gram(torch.autograd.Function):
    """z @ z.mT for ``[N, V, d]``, with a backward pass that autocast does not round."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            return z @ z.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        with torch.autocast(z.device.type, enabled=False):
            gradient: Tensor = (grad + grad.mT) @ z
        return gradient


def gram(z: Tensor) -> Tensor:
    gram: Tensor = _Gram.apply(z)
    return gram


def log1pexp(x: Tensor) -> Tensor:
    """log(1 + exp(x)) with full relative precision; beyond 40 it is x to the last bit."""
    result: Tensor = softplus(x, threshold=40.0)
    return result
