"""Rows divided by their Euclidean norms, and the gradient through the division."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ntxent.engines.contract import accumulation_dtype

__all__ = ["any_arguments", "row_norms", "through_norm", "unit_rows"]


def any_arguments(forward: Callable[..., Any]) -> None:
    """Let ``autograd.Function.apply`` bind its arguments to ``*arguments`` in place of the signature
    of ``forward``, which costs 40 us a call where inspect works it out; all must be given.
    """
    every = inspect.Parameter("arguments", inspect.Parameter.VAR_POSITIONAL)
    forward.__signature__ = inspect.Signature([every])  # type: ignore[attr-defined]


def row_norms(z: Tensor) -> Tensor:
    """``[M, 1]`` in the accumulation dtype, without gradient."""
    wide = accumulation_dtype(z.dtype)
    return torch.linalg.vector_norm(z.detach(), dim=1, keepdim=True, dtype=wide)


def unit_rows(z: Tensor, norm: Tensor, dtype: torch.dtype) -> Tensor:
    """z / norm in the accumulation dtype, rounded to ``dtype``.

    Half precision costs more than all that follows: only an engine that gains by it asks for it,
    and what else is computed of the unit rows must see the same values.
    """
    unit: Tensor = _UnitRows.apply(z, norm, dtype)
    return unit


def through_norm(grad: Tensor, unit: Tensor, norm: Tensor) -> Tensor:
    """The gradient in z of u = z / |z|: the part of ``grad`` across u, over |z|.

    Dividing by <u, u>, which rounding takes off 1, leaves none of the part along u.
    """
    unit = unit.to(grad.dtype)
    along = torch.linalg.vecdot(unit, grad) / torch.linalg.vecdot(unit, unit)
    return torch.addcmul(grad, unit, along.unsqueeze(1), value=-1).div_(norm)


class _UnitRows(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, norm: Tensor, dtype: torch.dtype) -> Tensor:
        return (z / norm).to(dtype).to(norm.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, torch.dtype], output: Tensor) -> None:
        z, norm, _ = inputs
        ctx.dtype = z.dtype
        ctx.save_for_backward(output, norm)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        unit, norm = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            return through_norm(grad, unit, norm).to(ctx.dtype), None, None


any_arguments(_UnitRows.forward)
