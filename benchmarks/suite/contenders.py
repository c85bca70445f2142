"""Who is measured: by name, a function from two arrays of embeddings to the work on them.

``nt_xent`` contenders compute the loss of N pairs, 2N anchors; ``info_nce`` ones the one-way loss
of N anchors among N candidates. Rows are normalised by everyone; temperature 0.5.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

TEMPERATURE = 0.5


class Work(NamedTuple):
    """Both return something that converts to the loss as a float, when the work is done."""

    forward: Callable[[], Any]
    both: Callable[[], Any]


Contender = Callable[[Tensor, Tensor], Work]


def torch_work(loss: Callable[[Tensor, Tensor], Tensor]) -> Contender:
    def work(z1: Tensor, z2: Tensor) -> Work:
        def forward() -> Tensor:
            with torch.no_grad():
                return loss(z1, z2)

        def both() -> Tensor:
            value = loss(z1, z2)
            value.backward()
            return value.detach()

        return Work(forward, both)

    return work


def ours() -> Contender:
    from ntxent import NTXentLoss

    return torch_work(NTXentLoss(TEMPERATURE))


def _dense(z1: Tensor, z2: Tensor) -> Tensor:
    n = len(z1)
    z = normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / TEMPERATURE
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    return cross_entropy(logits, torch.arange(2 * n).roll(n))


def dense() -> Contender:
    return torch_work(_dense)


def compiled_dense() -> Contender:
    return torch_work(torch.compile(_dense, dynamic=False))


def lightly() -> Contender:
    from lightly.loss import NTXentLoss

    return torch_work(NTXentLoss(TEMPERATURE))


def pytorch_metric_learning() -> Contender:
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    return torch_work(SelfSupervisedLoss(NTXentLoss(TEMPERATURE)))


def optax() -> Contender:
    import jax
    import jax.numpy as jnp
    import optax

    def work(z1: Tensor, z2: Tensor) -> Work:
        n = len(z1)
        z = jnp.asarray(torch.cat([z1, z2]).detach().numpy())
        labels = jnp.tile(jnp.arange(n), 2)

        def loss(z: Any) -> Any:
            return optax.losses.ntxent(z, labels, TEMPERATURE)

        forward, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
        return Work(
            lambda: forward(z).block_until_ready(),
            lambda: jax.block_until_ready(both(z))[0],
        )

    return work


def pykeops() -> Contender:
    from pykeops.torch import LazyTensor

    def loss(z1: Tensor, z2: Tensor) -> Tensor:
        z = normalize(torch.stack([z1, z2], 1).flatten(0, 1), dim=1)
        x, y = LazyTensor(z[:, None]), LazyTensor(z[None])
        row = torch.arange(len(z), dtype=z.dtype)[:, None]
        apart = (LazyTensor(row[:, None]) - LazyTensor(row[None])).abs()
        itself = (0.5 - apart).step() * 1e4  # taken off the logit, it leaves exp(-1e4) = 0
        logits = (x | y) / TEMPERATURE - itself
        positive = (z * z.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)).sum(1) / TEMPERATURE
        return (logits.logsumexp(1)[:, 0] - positive).mean()

    return torch_work(loss)


def matrix_products() -> Contender:
    """The floor: a quarter (forward) or all of the 2 M^2 d multiply-adds, and nothing else."""

    def work(z1: Tensor, z2: Tensor) -> Work:
        z = torch.cat([z1, z2]).detach()
        panel = z.new_empty(min(512, len(z)), len(z))

        def products(share: float) -> float:
            for rows in z[: math.ceil(share * len(z))].split(512):
                torch.mm(rows, z.T, out=panel[: len(rows)])
            return math.nan

        def both() -> float:
            products(1.0)
            return products(1.0)

        return Work(lambda: products(0.5), both)

    return work


def our_info_nce() -> Contender:
    from ntxent import InfoNCELoss

    return torch_work(InfoNCELoss(TEMPERATURE, symmetric=False))


def dense_info_nce() -> Contender:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        logits = normalize(x, dim=1) @ normalize(y, dim=1).T / TEMPERATURE
        return cross_entropy(logits, torch.arange(len(x)))

    return torch_work(loss)


def linear_cross_entropy() -> Contender:
    from torch.nn.functional import linear_cross_entropy

    def loss(x: Tensor, y: Tensor) -> Tensor:
        x, y = normalize(x, dim=1), normalize(y, dim=1)
        return linear_cross_entropy(x / TEMPERATURE, y, torch.arange(len(x)))

    return torch_work(loss)


NT_XENT: dict[str, Callable[[], Contender]] = {
    "ntxent": ours,
    "dense eager": dense,
    "dense compiled": compiled_dense,
    "lightly": lightly,
    "pytorch-metric-learning": pytorch_metric_learning,
    "optax, jit": optax,
    "pykeops": pykeops,
    "matrix products alone": matrix_products,
}
INFO_NCE: dict[str, Callable[[], Contender]] = {
    "ntxent": our_info_nce,
    "dense eager": dense_info_nce,
    "linear_cross_entropy": linear_cross_entropy,
}
FAMILIES = {"nt_xent": NT_XENT, "info_nce": INFO_NCE}
