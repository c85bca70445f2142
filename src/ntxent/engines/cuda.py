"""Triton kernels for NVIDIA GPUs, without atomics: the same input gives the same bits.

See docs/library/cuda.md for the design and its arithmetic; ``cuda_atomic`` is its faster,
unordered twin.
"""

from typing import Any

from torch import Tensor

from ntxent.engines import Engine
from ntxent.engines._triton import DEVICES, obstacle, priority


def _forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    from ntxent.engines._triton.forward import forward

    return forward(*arguments)


def _backward(*arguments: Any, wants_dy: bool = True) -> tuple[Tensor, Tensor]:
    from ntxent.engines._triton.backward import backward

    dx, dy = backward(*arguments)
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
