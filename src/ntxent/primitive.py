"""The one primitive of the contrastive family as a PyTorch operator.

It is registered with ``torch.library``, so that autograd, ``torch.compile`` and fake tensors know
it; which engine computes it is an argument. The laws are in :mod:`ntxent.engines`.
"""

from typing import Any

import torch
from torch import Tensor

from ntxent import engines

__all__ = ["contrast"]


@torch.library.custom_op("ntxent::contrast", mutates_args=())
def _contrast(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
    engine: str,
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.autocast(x.device.type, enabled=False):
        return engines.select(engine, x.device.type).forward(x, y, scale, x_ids, y_ids, target)


@_contrast.register_fake
def _(
    x: Tensor,
    y: Tensor | None,
    scale: Tensor,
    x_ids: Tensor,
    y_ids: Tensor | None,
    target: Tensor,
    engine: str,
) -> tuple[Tensor, Tensor, Tensor]:
    row = x.new_empty(target.shape[0], dtype=engines.accumulation_dtype(x.dtype))
    kept = engines.select(engine, x.device.type).kept_shape(x, y)
    return row, torch.empty_like(row), row.new_empty(kept)


@torch.library.custom_op("ntxent::contrast_backward", mutates_args=())
def _contrast_backward(
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
) -> tuple[Tensor, Tensor]:
    with torch.autocast(x.device.type, enabled=False):
        return engines.select(engine, x.device.type).backward(
            grad_nll, grad_logit, x, y, scale, x_ids, y_ids, target, nll, logit, kept
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
) -> tuple[Tensor, Tensor]:
    dtype = engines.accumulation_dtype(x.dtype)
    dx = torch.empty_like(x, dtype=dtype)
    return dx, dx.new_empty(0) if y is None else torch.empty_like(y, dtype=dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.engine = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(*tensors, *output)


def _gradient(
    ctx: Any, grad_nll: Tensor, grad_logit: Tensor, grad_kept: Tensor
) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors  # once: activation checkpointing recomputes them at each access
    x, y, scale, *_ = saved
    dx, dy = _call(
        _contrast_backward,
        _TransformableBackward,
        *(grad_nll, grad_logit, *saved, ctx.engine),
    )
    d_scale = None
    if ctx.needs_input_grad[2]:
        # Every logit is scale * <x, y>, so scale * dL/dscale = sum <x, dL/dx> over one side of the
        # product; for self-similarity dx holds both sides.
        with torch.autocast(x.device.type, enabled=False):
            total = torch.linalg.vecdot(x.to(dx.dtype), dx).sum()
        d_scale = total / (scale * (2 if y is None else 1))
    d_y = None if y is None else dy.to(y.dtype)
    return dx.to(x.dtype), d_y, d_scale, None, None, None, None


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

    Returns:
        ``nll`` and ``logit``, both shaped as ``target``, in nats; differentiable in x, y and scale.
    """
    inputs = x, y, scale, x_ids, y_ids, target, engine
    nll, logit, _ = _call(_contrast, _TransformableContrast, *inputs)
    return nll, logit


def _call(operator: Any, transformable: Any, *arguments: Any) -> tuple[Tensor, ...]:
    """The operator; under a torch.func transform, which an operator's own autograd does not serve,
    the same as an autograd.Function.
    """
    # As in torch.autograd.Function.apply; there is no public way to ask.
    if torch._C._are_functorch_transforms_active():
        operator = transformable.apply
    results: tuple[Tensor, ...] = operator(*arguments)
    return results


class _TransformableContrast(torch.autograd.Function):
    forward = staticmethod(_contrast)
    setup_context = staticmethod(_setup_context)
    backward = staticmethod(_gradient)


class _TransformableBackward(torch.autograd.Function):
    forward = staticmethod(_contrast_backward)
    setup_context = staticmethod(lambda ctx, inputs, output: None)
    backward = staticmethod(_no_second_gradient)
