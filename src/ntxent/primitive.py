"""The one primitive of the contrastive family, for autograd and for compilers.

Run eagerly it is an ``autograd.Function`` around an engine. For what traces it (``torch.compile``,
``torch.export``, fake tensors) it is an operator registered with ``torch.library``: the same
functions behind PyTorch's dispatcher, which would otherwise cost 0.2 ms a step. Which engine
computes it is an argument. The laws are in :mod:`ntxent.engines.contract`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import torch
from torch import Tensor

from ntxent import engines
from ntxent.engines import Block, Sums
from ntxent.unit_rows import any_arguments, through_norm

__all__ = ["NO_VMAP", "contrast", "run_backward", "run_forward"]

_REMEDY = (
    "and only first derivatives in reverse mode of one batch are computed; use "
    "ntxent.reference.dense_nt_xent_loss, which torch.func transforms as any other function"
)
NO_VMAP = f"ntxent: vmap, or jacrev, was asked for, {_REMEDY}"


def run_forward(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor | None,
    both_ways: bool,
    unit: bool,
    engine: str,
    row_dtype: torch.dtype | None,
    x_norm: Tensor | None = None,
    y_norm: Tensor | None = None,
    saves: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """:class:`Sums` of a block, from the engine: whatever calls an engine calls it through here and
    :func:`run_backward`, with rows divided by their norms, rounded, and outside autocast.
    """
    with _without_autocast(x):
        x, y = _rows(x, x_norm, row_dtype), None if y is None else _rows(y, y_norm, row_dtype)
        block = Block(x, y, scale, x_ids, y_ids, target, both_ways, unit)
        if x.shape[0] and (y is None or y.shape[0]):
            nll, logit, saved = engines.select(engine, x.device.type).forward(block)
            return Sums(nll, logit, saved if saves else nll.new_empty(0))
        anchors = _anchors(x, y, both_ways)  # a rank may be left without rows
        nll = x.new_full((anchors,), -torch.inf, dtype=engines.accumulation_dtype(x.dtype))
        return Sums(nll, torch.zeros_like(nll), nll.new_empty(0))


def run_backward(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor | None,
    both_ways: bool,
    unit: bool,
    nll: Tensor,
    logit: Tensor,
    saved: Tensor,
    grad_nll: Tensor,
    grad_logit: Tensor | None,
    engine: str,
    row_dtype: torch.dtype | None,
    wants_dy: bool,
    wants_d_scale: bool,
    x_norm: Tensor | None = None,
    y_norm: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(dx, dy, d_scale) of a block, in the accumulation dtype; empty where not wanted."""
    with _without_autocast(x):
        x, y = _rows(x, x_norm, row_dtype), None if y is None else _rows(y, y_norm, row_dtype)
        block = Block(x, y, scale, x_ids, y_ids, target, both_ways, unit)
        sums = Sums(nll, logit, saved)
        if x.shape[0] and (y is None or y.shape[0]):
            run = engines.select(engine, x.device.type).backward
            dx, dy = run(block, sums, grad_nll, grad_logit, wants_dy)
        else:
            dx = torch.zeros_like(x, dtype=nll.dtype)
            dy = dx.new_zeros(0 if y is None or not wants_dy else y.shape)
        d_scale = dx.new_empty(0)
        if wants_d_scale:  # (6)
            along = torch.linalg.vecdot(x.to(dx.dtype), dx).sum()
            d_scale = along / (scale * (2 if y is None else 1))
        if x_norm is not None:
            dx = through_norm(dx, x, x_norm)
        if y is not None and y_norm is not None and wants_dy:
            dy = through_norm(dy, y, y_norm)
        return dx, dy, d_scale


def _rows(x: Tensor, norm: Tensor | None, row_dtype: torch.dtype | None) -> Tensor:
    """The rows as an engine gets them."""
    if norm is not None:
        x = x / norm
    return x if row_dtype is None else x.to(row_dtype)


def _anchors(x: Tensor, y: Tensor | None, both_ways: bool) -> int:
    return x.shape[0] + y.shape[0] if both_ways and y is not None else x.shape[0]


def _without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Switching off what is off takes 4 us."""
    device = x.device.type
    on = torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()


_contrast = torch.library.custom_op("ntxent::contrast", run_forward, mutates_args=())
_contrast_backward = torch.library.custom_op(
    "ntxent::contrast_backward", run_backward, mutates_args=()
)


@_contrast.register_fake
def _(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    x, y = inputs[:2]
    anchors = _anchors(x, y, both_ways=inputs[6])
    nll = x.new_empty(anchors, dtype=engines.accumulation_dtype(x.dtype))
    return nll, torch.empty_like(nll), nll.new_empty(0)


@_contrast_backward.register_fake
def _(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    x, y = inputs[:2]
    wants_dy, wants_d_scale = inputs[15:17]
    dtype = engines.accumulation_dtype(x.dtype)
    dx = torch.empty_like(x, dtype=dtype)
    dy = torch.empty_like(y, dtype=dtype) if wants_dy and y is not None else dx.new_empty(0)
    return dx, dy, dx.new_empty(() if wants_d_scale else 0)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.both_ways, ctx.unit, ctx.engine, ctx.row_dtype, x_norm, y_norm, _ = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)  # zeros for what is saved would be a tile
    ctx.save_for_backward(*tensors, *output, x_norm, y_norm)


def _gradient(
    ctx: Any, grad_nll: Tensor | None, grad_logit: Tensor | None, grad_saved: None
) -> tuple[Tensor | None, ...]:
    # once: activation checkpointing recomputes them at each access
    *tensors, nll, logit, saved, x_norm, y_norm = ctx.saved_tensors
    x, y = tensors[:2]
    grad_nll = torch.zeros_like(nll) if grad_nll is None else grad_nll
    _, wants_dy, wants_d_scale, *others = ctx.needs_input_grad
    # Only where gradients of gradients are recorded is there one to refuse.
    recorded = _EagerBackward.apply if torch.is_grad_enabled() else run_backward
    run: Callable[..., Any] = _contrast_backward if _traced(x) else recorded
    block = *tensors, ctx.both_ways, ctx.unit
    sums = nll, logit, saved
    how = ctx.engine, ctx.row_dtype, wants_dy, wants_d_scale
    dx, dy, d_scale = run(*block, *sums, grad_nll, grad_logit, *how, x_norm, y_norm)
    gradients = dx.to(x.dtype), dy.to(y.dtype) if wants_dy else None
    return *gradients, d_scale if wants_d_scale else None, *(None for _ in others)


_contrast.register_autograd(_gradient, setup_context=_setup_context)


def _no_second_gradient(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError(
        "ntxent: a second derivative of the loss was asked for, and only first ones are computed; "
        "use ntxent.reference.dense_nt_xent_loss, which autograd differentiates twice"
    )


def _no_vmap(*arguments: Any) -> NoReturn:
    raise RuntimeError(NO_VMAP)


def _no_forward_mode(ctx: Any, *grads: Any) -> NoReturn:
    raise RuntimeError(
        f"ntxent: a derivative in forward mode (jvp, jacfwd, hessian) was asked for, {_REMEDY}"
    )


_contrast_backward.register_autograd(_no_second_gradient)


def contrast(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    *,
    x_ids: Tensor,
    y_ids: Tensor | None = None,
    target: Tensor | None = None,
    both_ways: bool = False,
    unit: bool = False,
    x_norm: Tensor | None = None,
    y_norm: Tensor | None = None,
    engine: str = "auto",
    row_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Negative log-likelihood of each row's target among its candidates, in O(M d) memory.

    Naively::

        x, y = x / x_norm, x / x_norm if y is None else y / y_norm
        l = scale * x @ y.T
        logit = l[range(M), target]
        nll = l.masked_fill(x_ids[:, None] == y_ids, -inf).logsumexp(1) - logit

    Args:
        x, y, scale, x_ids, y_ids, target, both_ways, unit: As in
            :class:`ntxent.engines.Block`; M and K may be 0.
        x_norm: ``[M, 1]``, the norms by which the rows are divided; None: they are used as they
            are. The gradient is that in the rows before the division.
        y_norm: ``[K, 1]``, likewise.
        engine: ``"auto"`` or the name of an engine.
        row_dtype: What the engine gets the rows in; their gradient keeps the dtype of ``x``. None:
            they go in as they are.

    Returns:
        ``nll`` and ``logit``, one an anchor, in nats; differentiable in x, y and scale.
    """
    # How much an engine saves depends on the size of the block, which would tie a graph to it.
    traced = _traced(x)
    run = _contrast if traced else _EagerContrast.apply
    block = x, y, scale, x_ids, y_ids, target, both_ways, unit
    nll, logit, _ = run(*block, engine, row_dtype, x_norm, y_norm, not traced)
    return nll, logit


def _traced(x: Tensor) -> bool:
    """Whether a compiler looks on, or a tensor subclass (a fake tensor) stands for the rows."""
    return torch.compiler.is_compiling() or type(x) not in (Tensor, torch.nn.Parameter)


class _EagerContrast(torch.autograd.Function):
    vmap = staticmethod(_no_vmap)
    jvp = staticmethod(_no_forward_mode)
    forward = staticmethod(run_forward)
    setup_context = staticmethod(_setup_context)
    backward = staticmethod(_gradient)


class _EagerBackward(torch.autograd.Function):
    vmap = staticmethod(_no_vmap)
    jvp = staticmethod(_no_forward_mode)
    forward = staticmethod(run_backward)
    setup_context = staticmethod(lambda ctx, inputs, output: None)
    backward = staticmethod(_no_second_gradient)


any_arguments(run_forward)
any_arguments(run_backward)
