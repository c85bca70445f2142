"""Two logarithms that keep their precision at both ends."""

import numpy as np

from .calling import Number, Result


def softplus(x: Number) -> Result:
    """log(1 + e^x) without overflow."""
    return np.logaddexp(0.0, x)


def log_expm1(x: Number) -> Result:
    """log(e^x − 1) = x + log(1 − e^−x), which neither overflows nor cancels; −∞ at 0."""
    with np.errstate(divide="ignore"):
        return x + np.log(-np.expm1(-x))
