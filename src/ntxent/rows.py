"""What the losses compute of rows besides the primitive."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

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


_unit_rows = eager(_UnitRows)

# Norms between these have squares, and sums of squares, that are normal numbers. Rows outside are
# multiplied by a power of two, which rounds nothing, and come inside, from the smallest subnormal
# number (2^-149 * 2^88 = 2^-61) to the largest (2^128 * 2^-88 = 2^40).
_USUAL = {torch.float32: (2.0**-40, 2.0**40), torch.float64: (2.0**-400, 2.0**400)}
_POWER = {torch.float32: 2.0**88, torch.float64: 2.0**600}


def unit_rows(z: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """``z / |z|`` by rows, in the accumulation dtype, rounded to ``dtype``; and the norms, of rows
    as :func:`in_range` gives them, or None where all of them are known to be usual.
    """
    unit: Tensor
    norm: Tensor
    if not _may_look(z):
        unit, norm = _unit_rows(in_range(z), dtype)
        return unit, norm
    unit, norm = _unit_rows(z, dtype)
    if _usual(norm):
        return unit, None
    unit, norm = _unit_rows(_scaled(z, norm), dtype)
    return unit, norm


def in_range(z: Tensor) -> Tensor:
    """``z`` in the accumulation dtype, rows whose squares over- or underflow times a power of two,
    whose norm then is exact to rounding. Rows that are zero or not finite stay so.
    """
    wide = engines.accumulation_dtype(z.dtype)
    norm = torch.linalg.vector_norm(z.detach(), dim=1, keepdim=True, dtype=wide)
    return z.to(wide) if _may_look(z) and _usual(norm) else _scaled(z, norm)


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
    shortest, longest = (float(end) for end in torch.aminmax(norm.detach()))  # NaN if any norm is
    return low <= shortest and longest <= high


def _may_look(z: Tensor) -> bool:
    """Whether its values can be read: an accelerator would have to be waited for."""
    plain = type(z) in (Tensor, torch.nn.Parameter) and z.device.type == "cpu"
    return plain and not torch.compiler.is_compiling()


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
