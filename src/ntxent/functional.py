"""Losses as functions: validate, set up the positives, call the primitive, reduce."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ntxent import engines
from ntxent.primitive import contrast

__all__ = ["ContrastiveStats", "nt_xent_loss"]

Reduction = Literal["none", "mean", "sum"]
Distributed = Literal["auto", "local"]


class ContrastiveStats(NamedTuple):
    """What one step of a contrastive loss says of its batch; detached, all O(N d)."""

    per_anchor: Tensor
    """``[2N]``, nats: the anchors of ``z1``, then those of ``z2``."""
    positive_similarity: Tensor
    """0-d: mean cosine (dot product where ``normalize=False``) of the N positive pairs."""
    negative_similarity: Tensor
    """0-d: the mean over the 2N(2N - 2) ordered negative pairs."""


@overload
def nt_xent_loss(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float | Tensor = ...,
    reduction: Reduction = ...,
    normalize: bool = ...,
    engine: str = ...,
    return_stats: Literal[False] = ...,
    distributed: Distributed = ...,
    check_values: bool | None = ...,
) -> Tensor: ...


@overload
def nt_xent_loss(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float | Tensor = ...,
    reduction: Reduction = ...,
    normalize: bool = ...,
    engine: str = ...,
    return_stats: bool,
    distributed: Distributed = ...,
    check_values: bool | None = ...,
) -> Tensor | tuple[Tensor, ContrastiveStats]: ...


def nt_xent_loss(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float | Tensor = 0.5,
    reduction: Reduction = "mean",
    normalize: bool = True,
    engine: str = "auto",
    return_stats: bool = False,
    distributed: Distributed = "auto",
    check_values: bool | None = None,
) -> Tensor | tuple[Tensor, ContrastiveStats]:
    r"""NT-Xent, the loss of SimCLR, exact, in O(N d) memory forward and backward.

    Naively::

        z = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
        logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
        loss = cross_entropy(logits, torch.arange(2 * N).roll(N), reduction=reduction)

    With s the cosine similarity and p(i) the other view of anchor i,

    .. math:: \ell_i = -\log \frac{\exp(s_{i,p(i)} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)},
              \qquad L = \frac{1}{2N} \sum_i \ell_i .

    It is computed as ``softplus(log-sum-exp of the negatives - positive)``, which keeps its
    relative precision near zero, where the naive form rounds loss and gradient to 0.

    Args:
        z1: First views ``[N, d]``, N >= 2; float16, bfloat16, float32 or float64.
        z2: Second views ``[N, d]``; row i is the positive of row i of ``z1``.
        temperature: tau > 0, a number or a one-element tensor; its gradient is exact.
        reduction: ``"mean"`` over the 2N anchors, ``"sum"``, or ``"none"`` for all 2N: those of
            ``z1``, then those of ``z2``.
        normalize: Divide each row by its Euclidean norm. With False, rows are used as they are,
            and the bounds of :mod:`ntxent.bounds` hold only if they have unit norm.
        engine: ``"auto"`` or a name that :func:`ntxent.engines.status` lists.
        return_stats: Return ``(loss, ContrastiveStats)``.
        distributed: ``"auto"`` refuses to run where several processes train together, because
            negatives of one process alone are a different loss; ``"local"`` asks for just that.
        check_values: Look for zero and non-finite rows and temperatures. None does so on the CPU
            only: elsewhere it makes the host wait for the device at every step. Unchecked, such
            rows give a NaN loss.

    Returns:
        The loss in nats, float64 for float64 views, else float32; 0-d, or ``[2N]`` for ``"none"``.

    Raises:
        TypeError: a view is not a floating-point tensor, or dtypes differ.
        ValueError: shapes, devices, rows, temperature, reduction or engine are not as above.

    Example:
        >>> import torch, ntxent
        >>> z = torch.eye(2)  # two aligned, orthogonal pairs: ln(1 + 2 exp(-2))
        >>> round(ntxent.nt_xent_loss(z, z, temperature=0.5).item(), 6)
        0.239545

    References:
        Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020,
        Equation 1 (arXiv 2002.05709). What values it can take: :mod:`ntxent.bounds`.
    """
    _check_views(z1, z2)
    _check_choice("reduction", reduction, ("none", "mean", "sum"))
    _check_process_group(distributed)
    if check_values is None:
        check_values = z1.device.type == "cpu"
    chosen = engines.select(engine, z1.device)
    scale = _inverse_temperature(temperature, z1, check_values)

    # Pairs side by side, so that an anchor finds its positive in the tile it finds itself in.
    z = torch.stack((z1, z2), dim=1).flatten(0, 1)
    z = _prepare_rows(z, normalize, check_values)
    anchor = torch.arange(len(z), device=z.device)
    pair, positive = anchor // 2, anchor ^ 1
    nll, logit = contrast(z, None, scale, x_ids=pair, target=positive, engine=chosen.name)

    # Self and positive are left out of nll, so exp(nll) is the odds against the positive.
    loss = _log1pexp(nll).view(-1, 2).T.flatten()
    reduced = _reduce(loss, reduction)
    if not return_stats:
        return reduced
    with torch.no_grad():
        return reduced, _stats(z, loss, logit / scale)


def _log1pexp(x: Tensor) -> Tensor:
    """log(1 + exp(x)) with full relative precision; beyond 40 it is x to the last bit."""
    return softplus(x, threshold=40.0)


def _reduce(loss: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def _stats(z: Tensor, loss: Tensor, positive: Tensor) -> ContrastiveStats:
    """|sum z|^2 is the sum of all M^2 similarities: own norms, positives and negatives."""
    m = len(z)
    total = z.sum(0, dtype=torch.float64).square().sum()
    own = z.square().sum(dtype=torch.float64)
    mean_positive = positive.mean(dtype=torch.float64)
    mean_negative = (total - own - m * mean_positive) / (m * (m - 2))
    return ContrastiveStats(
        loss.detach(), *(s.to(loss.dtype) for s in (mean_positive, mean_negative))
    )


class _UnitRows(torch.autograd.Function):
    """u = z / |z| by rows, in the accumulation dtype: rounding u to half precision would cost more
    than all that follows. The gradient is the part of g across u, over |z|: it keeps u alone, and
    dividing by <u, u>, which rounding takes off 1, leaves none of the part along u.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor) -> tuple[Tensor, Tensor]:
        dtype = engines.accumulation_dtype(z.dtype)
        norm = torch.linalg.vector_norm(z, dim=1, keepdim=True, dtype=dtype)
        return z / norm, norm

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        unit, norm = output
        ctx.mark_non_differentiable(norm)
        ctx.save_for_backward(unit, norm)
        ctx.dtype = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> Tensor:
        unit, norm = ctx.saved_tensors
        along = torch.linalg.vecdot(unit, grad) / torch.linalg.vecdot(unit, unit)
        across = torch.addcmul(grad, unit, along.unsqueeze(1), value=-1)
        return across.div_(norm).to(ctx.dtype)


def _prepare_rows(z: Tensor, normalize: bool, check_values: bool) -> Tensor:
    if normalize:
        z, norm = _UnitRows.apply(z)
    elif check_values:
        norm = torch.linalg.vector_norm(z, dim=1, keepdim=True, dtype=torch.float64)
    if check_values:
        _check_rows(norm[:, 0], normalize)
    return z


def _check_rows(norm: Tensor, normalize: bool) -> None:
    shortest, longest = (float(end) for end in torch.aminmax(norm))  # NaN if any norm is
    if longest < math.inf and (shortest > 0 or not normalize):
        return
    bad = ~norm.isfinite() | (norm == 0 if normalize else False)
    row = int(bad.nonzero()[0, 0])
    what = "zero norm" if norm[row] == 0 else "a non-finite value or norm"
    raise ValueError(
        f"z{row % 2 + 1}: row {row // 2} has {what} ({int(bad.sum())} such rows in all views); "
        "cosine similarity needs finite rows other than zero. Look at what the encoder returns: "
        "dead ReLUs before the last layer, an overflow in half precision, a diverged step"
    )


def _check_views(z1: Tensor, z2: Tensor) -> None:
    for name, view in (("z1", z1), ("z2", z2)):
        if not isinstance(view, Tensor):
            raise TypeError(f"{name}: received {type(view).__name__}, expected a torch.Tensor")
        if not view.is_floating_point():
            raise TypeError(
                f"{name}: received dtype {view.dtype}, expected float16, bfloat16, float32 or "
                f"float64; convert it with {name}.float()"
            )
        if view.ndim != 2:
            raise ValueError(
                f"{name}: received shape {list(view.shape)}, expected [N, d], a row an embedding"
            )
    if z1.shape != z2.shape:
        raise ValueError(
            f"z1 and z2: received shapes {list(z1.shape)} and {list(z2.shape)}, expected equal "
            "ones: row i of z2 is the other view of row i of z1"
        )
    if z1.dtype != z2.dtype:
        raise TypeError(
            f"z1 and z2: received dtypes {z1.dtype} and {z2.dtype}, expected equal ones; "
            "convert one view to the other's dtype"
        )
    if z1.device != z2.device:
        raise ValueError(
            f"z1 and z2: received devices {z1.device} and {z2.device}, expected one; move one view"
        )
    if len(z1) < 2 or z1.shape[1] == 0:
        raise ValueError(
            f"z1 and z2: received shape {list(z1.shape)}, expected N >= 2 pairs of d >= 1 numbers; "
            "a single pair has no negatives, and its loss is 0 whatever the embeddings"
        )


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(
            f"{name}: received {value!r}, expected one of {', '.join(map(repr, known))}"
        )


def _check_process_group(distributed: Distributed) -> None:
    _check_choice("distributed", distributed, ("auto", "local"))
    group = torch.distributed
    if distributed == "local" or not (group.is_available() and group.is_initialized()):
        return
    if group.get_world_size() > 1:
        raise NotImplementedError(
            f"distributed: received 'auto' among {group.get_world_size()} processes, and this "
            "version sees one process's rows only, which is another loss with fewer negatives. "
            'Pass distributed="local" to accept that, or gather the embeddings with '
            "torch.distributed.nn.functional.all_gather first"
        )


def _inverse_temperature(temperature: float | Tensor, z: Tensor, check_value: bool) -> Tensor:
    dtype = engines.accumulation_dtype(z.dtype)
    if isinstance(temperature, Tensor):
        if temperature.numel() != 1 or not temperature.is_floating_point():
            raise ValueError(
                f"temperature: received a {temperature.dtype} tensor of shape "
                f"{list(temperature.shape)}, expected a floating-point one of one element"
            )
        if temperature.device != z.device and temperature.device.type != "cpu":
            raise ValueError(
                f"temperature: received a tensor on {temperature.device} for embeddings on "
                f"{z.device}; move it with temperature.to({str(z.device)!r})"
            )
        if check_value:
            _check_temperature(temperature.item())
        return temperature.reshape(()).to(z.device, dtype).reciprocal()
    if isinstance(temperature, bool) or not isinstance(temperature, Real):
        raise TypeError(
            f"temperature: received {type(temperature).__name__}, expected a positive number or a "
            "one-element tensor"
        )
    _check_temperature(float(temperature))
    return torch.full((), 1 / float(temperature), dtype=dtype, device=z.device)


def _check_temperature(value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(
            f"temperature: received {value}, expected a finite number > 0; 0.05 to 1 is usual"
        )
