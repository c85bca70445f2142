"""Triton kernels for NVIDIA GPUs; docs/library/cuda.md has their design and its arithmetic.

``cuda`` uses no atomics: the same input gives the same bits. ``cuda_atomic`` computes each tile of
the backward pass once and adds atomically, a fifth less arithmetic, and its sums come in an order
that changes from run to run; under ``torch.use_deterministic_algorithms`` it is the same as
``cuda``.
"""

from torch import Tensor

from ntxent.engines._triton import DEVICES, obstacle, priority
from ntxent.engines.contract import Block, Engine, Sums


def _forward(block: Block) -> Sums:
    from ntxent.engines._triton.forward import forward

    return forward(block)


def _backward(
    block: Block, sums: Sums, grad_nll: Tensor, grad_logit: Tensor | None, wants_dy: bool
) -> tuple[Tensor, Tensor]:
    from ntxent.engines._triton.backward import backward

    dx, dy = backward(block, sums, grad_nll, grad_logit)
    return dx, dy if wants_dy else dx.new_empty(0)


def _backward_atomic(
    block: Block, sums: Sums, grad_nll: Tensor, grad_logit: Tensor | None, wants_dy: bool
) -> tuple[Tensor, Tensor]:
    from ntxent.engines._triton.backward import backward_atomic

    dx, dy = backward_atomic(block, sums, grad_nll, grad_logit)
    return dx, dy if wants_dy else dx.new_empty(0)


ENGINE = Engine(
    name="cuda",
    devices=DEVICES,
    priority=priority(20),
    forward=_forward,
    backward=_backward,
    half_products=True,
    obstacle=obstacle(),
)
ATOMIC_ENGINE = Engine(
    name="cuda_atomic",
    devices=DEVICES,
    priority=priority(10),
    forward=_forward,
    backward=_backward_atomic,
    half_products=True,
    obstacle=obstacle(),
)
