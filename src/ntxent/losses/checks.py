"""What a loss accepts; a refusal names the argument, what came, what was expected, what to do."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "check_choice",
    "check_embeddings",
    "check_finite_rows",
    "check_labels",
    "check_logits",
    "check_together",
    "checked_number",
    "checked_scale",
    "checked_weights",
]


def check_choice(name: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise ValueError(
            f"{name}: received {value!r}, expected one of {', '.join(map(repr, known))}"
        )


def check_embeddings(name: str, z: Tensor, shapes: Sequence[int] = (2,)) -> None:
    """A floating-point tensor whose number of dimensions is one of ``shapes``."""
    if not isinstance(z, Tensor):
        raise TypeError(f"{name}: received {type(z).__name__}, expected a torch.Tensor")
    if not z.is_floating_point():
        raise TypeError(
            f"{name}: received dtype {z.dtype}, expected float16, bfloat16, float32 or float64; "
            f"convert it with {name}.float()"
        )
    if z.ndim not in shapes:
        forms = {2: "[N, d], a row an embedding", 3: "[N, V, d], N samples in V views"}
        expected = " or ".join(forms[ndim] for ndim in shapes)
        raise ValueError(f"{name}: received shape {list(z.shape)}, expected {expected}")


def check_together(names: str, tensors: Sequence[Tensor], same_shape: bool = True) -> None:
    """Equal shapes (else equal widths), dtypes and devices."""
    first = tensors[0]
    for other in tensors[1:]:
        if other.shape != first.shape if same_shape else other.shape[1] != first.shape[1]:
            expected = "equal ones, row i of each from sample i" if same_shape else "equal widths"
            raise ValueError(
                f"{names}: received shapes {list(first.shape)} and {list(other.shape)}, "
                f"expected {expected}"
            )
        if other.dtype != first.dtype:
            raise TypeError(
                f"{names}: received dtypes {first.dtype} and {other.dtype}, expected equal ones; "
                "convert one to the other's dtype"
            )
        if other.device != first.device:
            raise ValueError(
                f"{names}: received devices {first.device} and {other.device}, expected one; "
                "move one of them"
            )


def check_finite_rows(names: Sequence[str], norm: Tensor, normalize: bool) -> None:
    """Norms ``[M, 1]`` of rows interleaved from the tensors ``names``: finite, and not 0 where
    divided by.
    """
    if not norm.shape[0]:  # a rank may be left without samples
        return
    shortest, longest = (float(end) for end in torch.aminmax(norm.detach()))  # NaN if any norm is
    if longest < math.inf and (shortest > 0 or not normalize):
        return
    norm = norm.flatten()
    bad = ~norm.isfinite() | (norm == 0 if normalize else False)
    first = int(bad.nonzero()[0, 0])
    what = "zero norm" if norm[first] == 0 else "a non-finite value or norm"
    row, which = divmod(first, len(names))
    raise ValueError(
        f"{names[which]}: row {row} has {what} ({int(bad.sum())} such rows in all); "
        "cosine similarity needs finite rows other than zero. Look at what the encoder returns: "
        "dead ReLUs before the last layer, an overflow in half precision, a diverged step"
    )


def check_logits(names: Sequence[str], norm: Tensor, scale: Tensor) -> None:
    """Norms of rows that are used as they are: of a product of two, scaled, enough digits are left
    for a probability (see ``_SCALES``).
    """
    if not norm.shape[0]:
        return
    longest = float(norm.amax())
    _, largest = _SCALES[scale.dtype]
    if not longest * longest * float(scale.detach()) <= largest:
        raise ValueError(
            f"{' and '.join(dict.fromkeys(names))}: received rows of norm up to {longest:.3g}, "
            f"expected logits up to {largest:.2g}, beyond which "
            f"{str(scale.dtype).removeprefix('torch.')} rounds by more than a nat; divide the rows "
            "by a constant, or pass normalize=True"
        )


def check_labels(name: str, labels: Tensor, length: int, device: torch.device) -> None:
    """Integers, one a row."""
    if not isinstance(labels, Tensor) or labels.dtype.is_floating_point or labels.is_complex():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(
            f"{name}: received {kind}, expected an integer tensor; convert with .long()"
        )
    if labels.shape != (length,):
        raise ValueError(
            f"{name}: received shape {list(labels.shape)}, expected [{length}], one a sample"
        )
    if labels.device != device:
        raise ValueError(
            f"{name}: received device {labels.device} for embeddings on {device}; "
            f"move it with {name}.to({str(device)!r})"
        )


def checked_weights(
    weights: Tensor,
    anchors: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    mean: bool,
    check_value: bool,
) -> Tensor:
    """``weights`` in ``dtype``, whatever their own: one an anchor, and fit to divide a mean by."""
    if not isinstance(weights, Tensor) or weights.shape != (anchors,):
        received = list(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise ValueError(
            f"weights: received {received}, expected a tensor of shape [{anchors}], one an anchor "
            'in the order of reduction="none"'
        )
    if weights.is_complex():
        raise TypeError(f"weights: received dtype {weights.dtype}, expected real numbers")
    if weights.device != device:
        raise ValueError(
            f"weights: received device {weights.device} for embeddings on {device}; "
            f"move them with weights.to({str(device)!r})"
        )
    weights = weights.to(dtype)
    if check_value and anchors:
        _check_weight_values(weights.detach(), mean)
    return weights


def _check_weight_values(weights: Tensor, mean: bool) -> None:
    lowest, total = float(weights.amin()), float(weights.sum())
    if not mean:
        if not bool(weights.isfinite().all()):
            raise ValueError("weights: received a value that is not finite, expected finite ones")
    elif not lowest >= 0:
        raise ValueError(
            f"weights: received {lowest:g} among them, expected numbers >= 0: a mean divides by "
            'their sum; with reduction="sum" or "none" they may be negative'
        )
    elif not (total == 0 or torch.finfo(weights.dtype).tiny <= total < math.inf):
        raise ValueError(
            f"weights: their sum is {total:g} in {weights.dtype}, expected 0 or a normal number; "
            "divide them by their largest, which leaves the mean as it is"
        )


def checked_scale(
    temperature: float | Tensor | None,
    scale: float | Tensor | None,
    dtype: torch.dtype,
    device: torch.device,
    check_value: bool,
) -> Tensor:
    """1 / temperature, or ``scale`` itself, as a 0-d tensor; 1 / 0.5 where neither is given.

    A tensor keeps its gradient. Its value is looked at only with ``check_value``, because reading
    it makes the host wait for an accelerator.
    """
    if temperature is not None and scale is not None:
        raise ValueError(
            "temperature and scale: received both, expected one of them; scale is 1 / temperature"
        )
    name, value = ("scale", scale) if scale is not None else ("temperature", temperature)
    if value is None:
        value = 0.5
    if isinstance(value, Tensor):
        if value.numel() != 1 or not value.is_floating_point():
            raise ValueError(
                f"{name}: received a {value.dtype} tensor of shape {list(value.shape)}, "
                "expected a floating-point one of one element"
            )
        if value.device != device and value.device.type != "cpu":
            raise ValueError(
                f"{name}: received a tensor on {value.device} for embeddings on {device}; "
                f"move it with {name}.to({str(device)!r})"
            )
        if check_value:
            checked_number(name, float(value.detach()), dtype)
        value = value.reshape(()).to(device, dtype)
        return value if name == "scale" else value.reciprocal()
    number = checked_number(name, value, dtype)
    if torch.compiler.is_compiling():
        # A product and a quotient keep a symbolic number symbolic; torch.full makes a constant of
        # it, and a graph of every temperature.
        one = torch.ones((), dtype=dtype, device=device)
        return one * number if name == "scale" else one / number
    return torch.full((), number if name == "scale" else 1 / number, dtype=dtype, device=device)


# A logit of size scale is rounded to eps * scale nats: beyond 1 / eps by more than one, and neither
# a probability nor a gradient is left of it. The gradient in the temperature has the factor
# scale^2, which is to be a normal number: 2^-126 is the smallest of float32, 2^-1022 of float64.
_SCALES = {torch.float32: (2.0**-63, 2.0**23), torch.float64: (2.0**-511, 2.0**52)}


def checked_number(name: str, value: Any, dtype: torch.dtype = torch.float64) -> float:
    """A temperature or a scale in the range that logits in ``dtype`` carry."""
    if isinstance(value, (Tensor, bool)) or not isinstance(value, Real):
        raise TypeError(
            f"{name}: received {type(value).__name__}, expected a positive number or a "
            "one-element tensor"
        )
    number: Any = value  # an int may be larger than any float
    usual = "0.05 to 1" if name == "temperature" else "1 to 100"
    if not 0 < number < math.inf:
        raise ValueError(
            f"{name}: received {value}, expected a finite number > 0; {usual} is usual"
        )
    low, high = _SCALES[dtype]
    if name == "temperature":
        low, high = 1 / high, 1 / low
    if not low <= number <= high:
        raise ValueError(
            f"{name}: received {value}, expected a number from {low:.2g} to {high:.2g}, which "
            f"{str(dtype).removeprefix('torch.')} logits carry; {usual} is usual"
        )
    return float(value)
