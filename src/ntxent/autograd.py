"""Calling autograd functions for less."""

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["eager"]


def eager(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """``function.apply``, with ``forward`` and ``setup_context`` in one where that is allowed.

    Apart, they are what function transforms (``torch.func``) ask for; then every call binds its
    arguments to the signature of ``forward``, worked out anew, and takes three times as long.
    """

    class Whole(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = function.forward(*inputs)
            function.setup_context(ctx, inputs, output)
            return output

        backward = staticmethod(function.backward)

    def apply(*inputs: Any) -> Any:
        apart = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
        return (function if apart else Whole).apply(*inputs)

    return apply
