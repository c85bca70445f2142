"""Rows divided by their Euclidean norms, and the gradient through the division."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ntxent.engines.contract import accumulation_dtype

__all__ = [
    "any_arguments",
    "in_range",
    "normalized",
    "row_norms",
    "through_norm",
    "unit_rows",
    "with_norms",
]


def any_arguments(forward: Callable[..., Any]) -> None:
    """Let ``autograd.Function.apply`` bind its arguments to ``*arguments`` and not to the signature
    of ``forward``, which costs 40 us a call where inspect works it out; all must be given.
    """
    every = inspect.Parameter("arguments", inspect.Parameter.VAR_POSITIONAL)
    forward.__signature__ = inspect.Signature([every])  # type: ignore[attr-defined]


# Norms between these have squares, and sums of squares, that are normal numbers. Rows outside are
# multiplied by a power of two, which rounds nothing, and come inside, from the smallest subnormal
# number (2^-149 * 2^88 = 2^-61) to the largest (2^128 * 2^-88 = 2^40).
_USUAL = {torch.float32: (2.0**-40, 2.0**40), torch.float64: (2.0**-400, 2.0**400)}
_POWER = {torch.float32: 2.0**88, torch.float64: 2.0**600}


def row_norms(z: Tensor) -> Tensor:
    """``[M, 1]`` in the accumulation dtype, without gradient."""
    wide = accumulation_dtype(z.dtype)
    norms: Tensor = torch.linalg.vector_norm(z.detach(), dim=1, keepdim=True, dtype=wide)
    return norms


def with_norms(z: Tensor) -> tuple[Tensor, Tensor]:
    """``z`` and the norms of its rows, which are exact to rounding: rows whose squares over- or
    underflow are multiplied by a power of two. Rows that are zero or not finite stay so.
    """
    norm = row_norms(z)
    if _may_look(z) and _usual(norm):
        return z, norm
    z = _scaled(z, norm)
    return z, row_norms(z)


def in_range(z: Tensor) -> Tensor:
    """The rows of :func:`with_norms`, in the accumulation dtype."""
    return with_norms(z)[0].to(accumulation_dtype(z.dtype))


def normalized(z: Tensor) -> Tensor:
    """``torch.nn.functional.normalize``, and the same of rows that its ``eps`` shortens or whose
    squares overflow; rows of zeros stay zero.
    """
    wide = in_range(z)
    return normalize(wide, dim=1, eps=torch.finfo(wide.dtype).tiny)


def _scaled(z: Tensor, norm: Tensor) -> Tensor:
    low, high = _USUAL[norm.dtype]
    power = _POWER[norm.dtype]
    short = torch.where(norm < low, power, torch.ones_like(norm))
    return z.to(norm.dtype) * torch.where(norm > high, 1 / power, short)


def _usual(norm: Tensor) -> bool:
    if not norm.numel():  # a rank may be left without samples
        return True
    low, high = _USUAL[norm.dtype]
    shortest, longest = (end.item() for end in torch.aminmax(norm))  # NaN if any norm is
    return bool(low <= shortest and longest <= high)


def _may_look(z: Tensor) -> bool:
    """Whether its values can be read: an accelerator would have to be waited for."""
    plain = type(z) in (Tensor, torch.nn.Parameter) and z.device.type == "cpu"
    return plain and not torch.compiler.is_compiling()


def unit_rows(z: Tensor, norm: Tensor, dtype: torch.dtype) -> Tensor:
    """z / norm in the accumulation dtype, rounded to ``dtype``.

    Half precision costs more than all that follows: only an engine that gains by it asks for it,
    and what else is computed of the unit rows must see the same values.
    """
    unit: Tensor = _UnitRows.apply(z, norm, dtype)
    return unit


def through_norm(grad: Tensor, unit: Tensor, norm: Tensor) -> Tensor:
    """The gradient in z of u = z / |z|: the part of ``grad`` across u, over |z|."""
    if unit.dtype == grad.dtype:
        along = (unit * grad).sum(1, keepdim=True)
    else:  # rounded to half precision, <u, u> is off 1 by more than the rounding of the rest
        unit = unit.to(grad.dtype)
        along = (unit * grad).sum(1, keepdim=True) / unit.square().sum(1, keepdim=True)
    return torch.addcmul(grad, unit, along, value=-1).div_(norm)


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
