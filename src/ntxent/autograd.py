"""Calling autograd functions for less, and saying what works where a transform does not."""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

__all__ = ["eager", "refuse_vmap"]

_REMEDY = (
    "and only first derivatives in reverse mode of one batch are computed; use "
    "ntxent.reference.dense_nt_xent_loss, which torch.func transforms as any other function"
)


def eager(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """``function.apply``, with ``forward`` and ``setup_context`` in one where that is allowed.

    Apart, they are what function transforms (``torch.func``) ask for; then every call binds its
    arguments to the signature of ``forward``, worked out anew, and takes three times as long.
    Transforms that the function does not have are refused by a sentence that says what works.
    """

    # The base cases of ``torch.func``; a compiler traces neither ``jvp`` nor ``vmap``.
    class Apart(function):  # type: ignore[misc, valid-type]
        jvp = staticmethod(_no_forward_mode)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            if not function.generate_vmap_rule:
                refuse_vmap(*grads)
            return function.backward(ctx, *grads)

    if not function.generate_vmap_rule:
        Apart.vmap = staticmethod(_no_vmap)

    class Whole(Apart):
        setup_context = staticmethod(torch.autograd.Function.setup_context)

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = function.forward(*inputs)
            function.setup_context(ctx, inputs, output)
            return output

    def apply(*inputs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function.apply(*inputs)
        return (Apart if torch._C._are_functorch_transforms_active() else Whole).apply(*inputs)

    return apply


def refuse_vmap(*values: Any) -> None:
    """Raise where one of the values is mapped over by ``torch.vmap``, as it is in ``jacrev``."""
    if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
        return
    for value in values:
        while isinstance(value, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(value):
            if torch._C._functorch.is_batchedtensor(value):
                _no_vmap()
            value = torch._C._functorch.get_unwrapped(value)


def _no_vmap(*_: Any) -> NoReturn:
    raise RuntimeError(f"ntxent: vmap, or jacrev, was asked for, {_REMEDY}")


def _no_forward_mode(*_: Any) -> NoReturn:
    raise RuntimeError(
        f"ntxent: a derivative in forward mode (jvp, jacfwd, hessian) was asked for, {_REMEDY}"
    )
