r"""The contract of an engine: what it computes, as types and as laws.

A *block* has M anchors, the rows of ``x``, and K candidates, the rows of ``y``. With the logits
:math:`\ell_{ik} = \beta \langle x_i, y_k \rangle`, the candidates of an anchor
:math:`C_i = \{k : \text{y\_ids}_k \ne \text{x\_ids}_i\}` and its target :math:`t_i`, an engine
computes for every anchor

.. math::
    \lambda_i &= \ell_{i t_i} \quad (0 \text{ without a target}), \tag{1} \\
    \nu_i &= \log \sum_{k \in C_i} e^{\ell_{ik}} - \lambda_i
             \quad (-\infty \text{ where } C_i \text{ is empty}). \tag{2}

The target need not be a candidate: excluded, it gives the decoupled form.

The gradient. With the probability of a candidate

.. math:: P_{ik} = e^{\ell_{ik} - \lambda_i - \nu_i}, \quad k \in C_i, \tag{3}

and the upstream gradients :math:`a_i` of :math:`\nu_i` and :math:`b_i` of :math:`\lambda_i`,

.. math::
    G_{ik} &= \frac{\partial L}{\partial \ell_{ik}}
              = a_i P_{ik} + (b_i - a_i) [k = t_i], \tag{4} \\
    dx &= \beta\, G\, y, \qquad dy = \beta\, G^\top x. \tag{5}

:math:`\nu` may be that of more candidates than the block has: that is how a batch in parts is
differentiated, and (3) holds in any case. Where ``both_ways``, the rows of ``y`` are anchors too,
with the rows of ``x`` as candidates and targets; where ``y`` is None, ``y`` is ``x``. In both cases
G is the sum of (4) and of the transpose of (4) for the other side; for ``y=None`` (5) is then
:math:`dx = \beta (G + G^\top) x`, the whole gradient.

Every logit is :math:`\beta` times a product, so the gradient in :math:`\beta` is

.. math:: \beta \frac{\partial L}{\partial \beta} = \sum_i \langle x_i, dx_i \rangle \tag{6}

over one side of the block; for ``y=None``, where dx has both sides, half of it.

Where every :math:`|\ell_{ik}|` is small enough, an engine may leave out the maximum that keeps the
exponential in range. The block is then *unshifted*, and one exponential serves both sides:

.. math:: w_i = a_i e^{-\lambda_i - \nu_i}, \qquad
          G_{ik} = w_i e^{\ell_{ik}} + (b_i - a_i) [k = t_i]. \tag{7}
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Block", "Engine", "Sums", "accumulation_dtype"]


class Block(NamedTuple):
    """The arguments of the primitive: anchors, candidates, and which of them meet."""

    x: Tensor
    """Anchors ``[M, d]``, M >= 1."""
    y: Tensor | None
    """Candidates ``[K, d]``, K >= 1; None: the anchors are their own candidates."""
    scale: Tensor
    """0-d, the inverse temperature."""
    x_ids: Tensor
    """int64 ``[M]``; equal ids exclude each other."""
    y_ids: Tensor | None
    """int64 ``[K]``; None with ``y``."""
    target: Tensor | None
    """int64 ``[M]``, the column of each anchor's target; ``[M + K]`` where ``both_ways``. None: no
    anchor has a target."""
    both_ways: bool = False
    """Whether the rows of ``y`` are anchors too; their results follow those of ``x``."""
    unit: bool = False
    """Whether all rows are known to have unit norm, up to rounding in the dtype of the rows."""


class Sums(NamedTuple):
    """What the forward pass computes of a block, in the accumulation dtype."""

    nll: Tensor
    """nu of (2), ``[M]``, or ``[M + K]`` where the block goes both ways."""
    logit: Tensor
    """lambda of (1), shaped alike."""
    saved: Tensor
    """Whatever spares the backward pass work, of bounded size. The backward pass has to do without
    where it is empty: in a compiled graph, and where ``nll`` is that of more candidates."""


@dataclass(frozen=True)
class Engine:
    """One way to compute (1) to (5).

    Both functions are pure, and their results have the accumulation dtype: float64 for float64
    rows, else float32. ``nll`` must be as accurate as a shifted softmax, however large the logits
    (no plain difference of two large numbers), and memory beyond inputs and outputs must not grow
    with M * K.
    """

    name: str
    devices: tuple[str, ...]
    """Device types it runs on; ``"*"`` is every one."""
    priority: int
    """Of the engines that support a device, ``"auto"`` takes the highest."""
    forward: Callable[[Block], Sums]
    backward: Callable[[Block, Sums, Tensor, Tensor | None, bool], tuple[Tensor, Tensor]]
    """``backward(block, sums, grad_nll, grad_logit, wants_dy) -> (dx, dy)``; ``grad_logit`` is None
    where b is 0, and ``dy`` is empty for ``y=None``, and where it is not wanted (a queue of
    negatives needs no gradient)."""
    half_products: bool = False
    """Whether it multiplies half-precision rows faster than float32 ones, by enough to round the
    unit rows of half-precision embeddings for it."""
    obstacle: str = ""
    """Why it cannot be used on this machine; empty where it can."""

    def supports(self, device: str) -> bool:
        return not self.obstacle and ("*" in self.devices or device in self.devices)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, float32 for everything narrower."""
    return torch.float64 if dtype == torch.float64 else torch.float32
