"""In which precision the tensor cores multiply, as PyTorch's own settings say."""

import torch
from torch import Tensor


def products(x: Tensor) -> tuple[torch.dtype, str]:
    """The dtype of the rows that are multiplied, and Triton's ``input_precision`` for float32.

    Half precision and float64 are multiplied as they are. float32 follows
    ``torch.set_float32_matmul_precision`` or ``torch.backends.cuda.matmul.fp32_precision``:
    "medium" rounds the rows to bfloat16, "high" and "tf32" to TF32. Otherwise each number is split
    into three TF32 products, ten times faster than "ieee" and as accurate within two bits; only
    ``fp32_precision = "ieee"`` set by hand asks for single precision on the ordinary cores.
    """
    if x.dtype != torch.float32:
        return x.dtype, "ieee"
    matmul = torch.backends.cuda.matmul
    asked = getattr(matmul, "fp32_precision", None)  # PyTorch 2.9 or later
    try:
        overall = torch.get_float32_matmul_precision()
    except RuntimeError:  # where both ways of setting it have been used
        overall = "high" if asked == "tf32" else "highest"
    if overall == "medium":
        return torch.bfloat16, "ieee"
    if asked == "tf32" or overall == "high":
        return x.dtype, "tf32"
    return x.dtype, "ieee" if asked == "ieee" else "tf32x3"
