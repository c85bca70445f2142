"""What the losses have in common as modules: a temperature, and options checked at construction."""

import inspect
import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ntxent import engines
from ntxent.distributed import MODES
from ntxent.losses.checks import check_choice, checked_number

__all__ = ["ContrastiveLoss"]

_CHOICES = {
    "reduction": ("none", "mean", "sum"),
    "layout": (None, "halves", "interleaved"),
    "missing": ("error", "skip"),
    "distributed": MODES,
    "engine": ("auto", *engines.ENGINES),
    "normalize": (True, False),
    "check_values": (None, True, False),
    "decoupled": (True, False),
    "return_stats": (True, False),
    "symmetric": (True, False),
    "in_batch": (True, False),
    "shared_negatives": (True, False),
}


class ContrastiveLoss(nn.Module):
    """A loss function with its settings; holds parameters and no mathematics.

    Args:
        temperature: tau > 0, a number; the start value where ``learnable``.
        learnable: Train ``log_scale = -log(temperature)``, which keeps the temperature positive.
        max_scale: Where ``learnable``, the largest 1 / tau that is used (CLIP: 100).
        **options: The keyword arguments of the loss function, but ``scale`` and those that belong
            to a batch; their names and values are checked here.

    Raises:
        TypeError, ValueError: an option is not one of the function's, or its value cannot be used.
    """

    function: ClassVar[Callable[..., Any]]
    """The loss function that :meth:`forward` calls."""
    of_batch: ClassVar[tuple[str, ...]] = ("ids", "negatives")
    """Its keyword arguments that belong to a batch and not to the module."""
    fixed: ClassVar[dict[str, Any]] = {}
    """Those that the module decides."""

    def __init_subclass__(cls) -> None:
        """Show the options of the function, with their defaults, as those of the constructor."""
        super().__init_subclass__()
        own = inspect.signature(cls.__init__).parameters.values()
        named = [p for p in own if p.name != "self" and p.kind is not p.VAR_KEYWORD]
        if "function" in cls.__dict__:
            if not any(p.name == "learnable" for p in named):
                base = inspect.signature(ContrastiveLoss.__init__).parameters
                named += [base["learnable"], base["max_scale"]]
            cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
                [*named, *cls.known().values()]
            )

    @classmethod
    def known(cls) -> dict[str, inspect.Parameter]:
        """The options that the constructor takes, beside its own arguments."""
        left_out = {"temperature", "scale", *cls.of_batch, *cls.fixed}
        parameters = inspect.signature(cls.function).parameters
        keyword = inspect.Parameter.KEYWORD_ONLY
        return {n: p for n, p in parameters.items() if p.kind is keyword and n not in left_out}

    def __init__(
        self,
        temperature: float = 0.5,
        *,
        learnable: bool = False,
        max_scale: float = math.inf,
        **options: Any,
    ) -> None:
        super().__init__()
        if isinstance(temperature, Tensor):
            raise TypeError(
                f"temperature: received a {type(temperature).__name__}, expected a number; "
                "temperature.item() is that of a tensor, learnable=True trains it, and the "
                "function of this loss takes a tensor at each call"
            )
        temperature = checked_number("temperature", temperature)
        if not max_scale > 0:
            raise ValueError(f"max_scale: received {max_scale}, expected a number > 0; CLIP's: 100")
        self._check_options(options)
        self._fixed_scale = 1 / temperature
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature))) if learnable else None
        self.max_scale = max_scale
        self.options = options

    def _check_options(self, options: dict[str, Any]) -> None:
        name = type(self).__name__
        known = [*self.known(), "temperature", "learnable", "max_scale"]
        for option, value in options.items():
            if option == "scale":
                raise TypeError(
                    f"scale: received {value!r}, expected temperature = 1 / scale; {name} takes "
                    "the temperature, and the function of this loss either"
                )
            if option in self.of_batch:
                raise TypeError(
                    f"{option}: received it when {name} is built, expected it with each batch"
                )
            if option not in known:
                close = get_close_matches(option, known, 1)
                meant = f" (did you mean {close[0]}?)" if close else ""
                raise TypeError(
                    f"{option}: received an option that {name} does not have{meant}, expected "
                    f"some of {', '.join(known)}"
                )
            if option in _CHOICES:
                check_choice(option, value, _CHOICES[option])

    @property
    def scale(self) -> float | Tensor:
        """1 / tau: a number, or a differentiable 0-d tensor where it is learnable."""
        if self.log_scale is None:
            return self._fixed_scale
        log_scale = self.log_scale  # exp() of half precision has an error of 0.4 %
        wide = torch.promote_types(log_scale.dtype, torch.float32)
        return log_scale.to(wide).exp().clamp(max=self.max_scale)

    @property
    def temperature(self) -> float | Tensor:
        """tau: a number, or a differentiable 0-d tensor where it is learnable."""
        return 1 / self.scale

    def extra_repr(self) -> str:
        temperature = float(torch.as_tensor(self.temperature).detach())
        shown = {"learnable": True} if self.log_scale is not None else {}
        settings = [f"{name}={value!r}" for name, value in (shown | self.options).items()]
        return ", ".join([f"temperature={temperature:g}", *settings])
