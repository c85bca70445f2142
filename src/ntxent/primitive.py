"""The one primitive of the contrastive family, for autograd and for compilers.

Run eagerly it is an ``autograd.Function`` around an engine. For what traces it (``torch.compile``,
``torch.export``, fake tensors) it is an operator registered with ``torch.library``: the same
functions behind PyTorch's dispatcher, which would otherwise cost 0.2 ms a step. Which engine
computes it is an argument. The laws are in :mod:`ntxent.engines`.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ntxent import engines
from ntxent.autograd import eager

__all__ = ["contrast", "rounded"]


def rounded(
    x: Tensor, y: Tensor | None, row_dtype: torch.dtype | None
) -> tuple[Tensor, Tensor | None]:
    """The rows as an engine gets them."""
    if row_dtype is None:
        return x, y
    return x.to(row_dtype), None if y is None else y.to(row_dtype)


def _unrounded(x: Tensor) -> AbstractContextManager[object]:
    """Without autocast, where it is on: switching off what is off takes 4 us."""
    device = x.device.type
    on = torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()


def _forward(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
    engine: str,
    row_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    x, y = rounded(x, y, row_dtype)
    if not len(x):  # a rank may be left without anchors
        nothing = x.new_empty(0, dtype=engines.accumulation_dtype(x.dtype))
        return nothing, nothing.clone(), nothing.clone()
    with _unrounded(x):
        return engines.select(engine, x.device.type).forward(x, y, scale, x_ids, y_ids, target)


_contrast = torch.library.custom_op("ntxent::contrast", _forward, mutates_args=())


@_contrast.register_fake
def _(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
    engine: str,
    row_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    row = x.new_empty(target.shape[0], dtype=engines.accumulation_dtype(x.dtype))
    kept = engines.select(engine, x.device.type).kept_shape(x, y)
    return row, torch.empty_like(row), row.new_empty(kept)


def _backward(
    grad_nll: Tensor,
    grad_logit: Tensor,
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
    nll: Tensor,
    logit: Tensor,
    kept: Tensor,
    engine: str,
    wants_dy: bool,
    row_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    x, y = rounded(x, y, row_dtype)
    if not len(x):
        dtype = engines.accumulation_dtype(x.dtype)
        dx = x.to(dtype, copy=True)
        return dx, dx.new_zeros(0 if y is None or not wants_dy else y.shape)
    inputs = (grad_nll, grad_logit, x, y, scale, x_ids, y_ids, target, nll, logit, kept)
    with _unrounded(x):
        return engines.select(engine, x.device.type).backward(*inputs, wants_dy=wants_dy)


_contrast_backward = torch.library.custom_op(
    "ntxent::contrast_backward", _backward, mutates_args=()
)


@_contrast_backward.register_fake
def _(
    grad_nll: Tensor,
    grad_logit: Tensor,
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
    nll: Tensor,
    logit: Tensor,
    kept: Tensor,
    engine: str,
    wants_dy: bool,
    row_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    dtype = engines.accumulation_dtype(x.dtype)
    dx = torch.empty_like(x, dtype=dtype)
    return dx, torch.empty_like(y, dtype=dtype) if wants_dy and y is not None else dx.new_empty(0)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.engine, ctx.row_dtype = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)  # zeros for what is kept would be a tile
    ctx.save_for_backward(*tensors, *output)


def _gradient(
    ctx: Any, grad_nll: Tensor | None, grad_logit: Tensor | None, grad_kept: None
) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors  # once: activation checkpointing recomputes them at each access
    x, y, scale, *_, nll, logit, _ = saved
    grad_nll = torch.zeros_like(nll) if grad_nll is None else grad_nll
    grad_logit = torch.zeros_like(logit) if grad_logit is None else grad_logit
    inputs = (grad_nll, grad_logit, *saved, ctx.engine, ctx.needs_input_grad[1], ctx.row_dtype)
    # Only where gradients of gradients are recorded is there one to refuse.
    recorded = _EagerBackward.apply if torch.is_grad_enabled() else _backward
    dx, dy = (_contrast_backward if _traced(x) else recorded)(*inputs)
    d_scale = None
    if ctx.needs_input_grad[2]:
        # Every logit is scale * <x, y>, so scale * dL/dscale = sum <x, dL/dx> over one side of the
        # product; for self-similarity dx holds both sides.
        with _unrounded(x):
            total = torch.linalg.vecdot(x.to(dx.dtype), dx).sum()
        d_scale = total / (scale * (2 if y is None else 1))
    d_y = dy.to(y.dtype) if ctx.needs_input_grad[1] else None
    return dx.to(x.dtype), d_y, d_scale, *(None,) * 5


_contrast.register_autograd(_gradient, setup_context=_setup_context)


def _no_second_gradient(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError(
        "ntxent: a second derivative of the loss was asked for, and only first ones are computed; "
        "use ntxent.reference.dense_nt_xent_loss, which autograd differentiates twice"
    )


_contrast_backward.register_autograd(_no_second_gradient)


def contrast(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    *,
    x_ids: Tensor,
    y_ids: Tensor | None = None,
    target: Tensor,
    engine: str,
    row_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Negative log-likelihood of each row's target among its candidates, in O(M d) memory.

    Naively::

        l = scale * x @ (x if y is None else y).T
        logit = l[range(M), target]
        nll = l.masked_fill(x_ids[:, None] == y_ids, -inf).logsumexp(1) - logit

    Args:
        x: Anchors ``[M, d]``.
        y: Candidates ``[K, d]``, or None where the anchors are their own candidates.
        scale: 0-d, the inverse temperature.
        x_ids: int64 ``[M]``; a candidate with an anchor's id is not its candidate.
        y_ids: int64 ``[K]``, or None with ``y``.
        target: int64 ``[M]``, the index of each anchor's target, or -1 for none (its logit is 0);
            or ``[M + K]``, and then the candidates are anchors too, the rows of ``x`` theirs.
        engine: ``"auto"`` or the name of an engine.
        row_dtype: What the engine gets the rows in; their gradient keeps the dtype of ``x``. By
            default they go in as they are.

    Returns:
        ``nll`` and ``logit``, both shaped as ``target``, in nats; differentiable in x, y and scale.
    """
    inputs = x, y, scale, x_ids, y_ids, target, engine, row_dtype
    nll, logit, _ = (_contrast if _traced(x) else _eager_contrast)(*inputs)
    return nll, logit


def _traced(x: Tensor) -> bool:
    """Whether a compiler looks on, or a tensor subclass (a fake tensor) stands for the rows."""
    return torch.compiler.is_compiling() or type(x) not in (Tensor, torch.nn.Parameter)


class _EagerContrast(torch.autograd.Function):
    forward = staticmethod(_forward)
    setup_context = staticmethod(_setup_context)
    backward = staticmethod(_gradient)


class _EagerBackward(torch.autograd.Function):
    forward = staticmethod(_backward)
    setup_context = staticmethod(lambda ctx, inputs, output: None)
    backward = staticmethod(_no_second_gradient)


_eager_contrast = eager(_EagerContrast)
