"""Triton kernels for NVIDIA GPUs: the loss at the rate of the tensor cores, the same bits every time.

See docs/cuda.md for the design and its arithmetic; ``cuda_atomic`` is its faster, unordered twin.
"""

from torch import Tensor

from ntxent.engines import Engine
from ntxent.engines._triton import devices, priority


def _forward(*inputs: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    from ntxent.engines._triton.launch import forward

    return forward(*inputs)  # type: ignore[arg-type]


def _backward(*inputs: Tensor | None) -> tuple[Tensor, Tensor]:
    from ntxent.engines._triton.launch import backward

    return backward(*inputs)  # type: ignore[arg-type]


ENGINE = Engine(
    name="cuda",
    devices=devices(),
    priority=priority(20),
    forward=_forward,
    backward=_backward,
)
