"""What the losses compute of rows besides the primitive."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ntxent import engines
from ntxent.autograd import eager


class _UnitRows(torch.autograd.Function):
    """u = z / |z| by rows, in the accumulation dtype, rounded to ``dtype``. Half precision costs
    more than all that follows: only an engine that gains by it asks for it, and what else is
    computed of u must see the same values. The gradient is the part of g across u, over |z|: it
    keeps u alone, and dividing by <u, u>, which rounding takes off 1, leaves none of the part
    along u.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        wide = engines.accumulation_dtype(z.dtype)
        norm = torch.linalg.vector_norm(z, dim=1, keepdim=True, dtype=wide)
        return (z / norm).to(dtype).to(wide), norm

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, torch.dtype], output: tuple[Tensor, Tensor]
    ) -> None:
        unit, norm = output
        ctx.mark_non_differentiable(norm)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(unit, norm)
        ctx.dtype = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: None) -> tuple[Tensor, None]:
        unit, norm = ctx.saved_tensors
        along = (unit * grad).sum(1, keepdim=True)
        along /= torch.linalg.vector_norm(unit, dim=1, keepdim=True).square()
        across: Tensor = torch.addcmul(grad, unit, along, value=-1).div_(norm)
        return across.to(ctx.dtype), None


unit_rows = eager(_UnitRows)


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
