"""Who is measured on a GPU: by name, a function from two views to a loss, at a precision.

All get the same views: bfloat16 where the precision is "bf16", as under autocast, else float32.
What each multiplies then is its own affair. Ours rounds the unit rows back to bfloat16; the dense
losses and lightly's also divide by the norm and keep logits in bfloat16; Inf-CL's code makes its
rows float32 and multiplies in TF32.
"""

import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

TEMPERATURE = 0.5

Loss = Callable[[Tensor, Tensor], Tensor]

# precision: (dtype of the views, PyTorch's setting for float32 products)
PRECISIONS = {
    "float32": (torch.float32, "highest"),
    "tf32": (torch.float32, "high"),
    "bf16": (torch.bfloat16, "highest"),
}
OURS = ("ntxent", "ntxent, atomic", "ntxent, tiled")


def _ours(family: str, engine: str) -> Loss:
    from ntxent import InfoNCELoss, NTXentLoss

    if family == "nt_xent":
        return NTXentLoss(TEMPERATURE, engine=engine)
    return InfoNCELoss(TEMPERATURE, engine=engine, symmetric=False)


def _dense(z1: Tensor, z2: Tensor) -> Tensor:
    n = len(z1)
    z = normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / TEMPERATURE
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    logits = logits.masked_fill(itself, -torch.inf)
    return cross_entropy(logits, torch.arange(2 * n, device=z.device).roll(n))


def _dense_info_nce(x: Tensor, y: Tensor) -> Tensor:
    logits = normalize(x, dim=1) @ normalize(y, dim=1).T / TEMPERATURE
    return cross_entropy(logits, torch.arange(len(x), device=x.device))


def _linear_cross_entropy() -> Loss:
    from torch.nn.functional import linear_cross_entropy  # absent from older PyTorch

    def loss(x: Tensor, y: Tensor) -> Tensor:
        x, y = normalize(x, dim=1), normalize(y, dim=1)
        return linear_cross_entropy(x / TEMPERATURE, y, torch.arange(len(x), device=x.device))

    return loss


def _lightly() -> Loss:
    from lightly.loss import NTXentLoss

    loss: Loss = NTXentLoss(TEMPERATURE)
    return loss


def _inf_cl(family: str, checkout: Path | None) -> Loss:
    """Its kernels know no exclusion: on NT-Xent's rows an anchor is its own candidate too. That is
    another loss, of the same work.
    """
    if checkout is None:
        raise ImportError("pass --inf-cl, a checkout of github.com/DAMO-NLP-SG/Inf-CLIP")
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    flash: Any = importlib.import_module("inf_cl").cal_flash_loss

    def loss(z1: Tensor, z2: Tensor) -> Tensor:
        n, d = z1.shape
        x, y = normalize(z1, dim=1), normalize(z2, dim=1)
        positive = torch.arange(n, device=z1.device)
        if family == "nt_xent":
            x = y = torch.cat([x, y])
            positive = torch.arange(2 * n, device=z1.device).roll(n)
        value: Tensor = flash(x, y, positive, 1 / TEMPERATURE, head_dim=min(256, d)).mean()
        return value

    return loss


def contenders(family: str, inf_cl: Path | None) -> dict[str, Callable[[], Loss]]:
    engines = dict(zip(OURS, ("cuda", "cuda_atomic", "tiled"), strict=True))
    found: dict[str, Callable[[], Loss]] = {
        name: partial(_ours, family, engine) for name, engine in engines.items()
    }
    dense = _dense if family == "nt_xent" else _dense_info_nce
    found["dense eager"] = lambda: dense
    found["dense compiled"] = lambda: torch.compile(dense, dynamic=False)
    found["inf-cl"] = partial(_inf_cl, family, inf_cl)
    if family == "nt_xent":
        found["lightly"] = _lightly
    else:
        found["linear_cross_entropy"] = _linear_cross_entropy
    return found
