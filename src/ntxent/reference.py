"""The definition, slow and obvious: the oracle that everything else is tested against."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

__all__ = ["dense_nt_xent_loss", "nt_xent_loss"]


def nt_xent_loss(z1: ArrayLike, z2: ArrayLike, temperature: float) -> float:
    """SimCLR's Equation 1 and Algorithm 1, loop by loop, in float64.

    Chen et al. 2020 (arXiv 2002.05709): with s(i, k) the cosine similarity,

        l(i, j) = -log( exp(s(i, j) / temperature) / sum over k != i of exp(s(i, k) / temperature) )
        L = (1 / 2N) * sum over k of [ l(2k-1, 2k) + l(2k, 2k-1) ]

    Costs O(N^2 d) interpreted operations: for tests, not for training.

    >>> round(nt_xent_loss([[1, 0], [0, 1]], [[1, 0], [0, 1]], 0.5), 6)  # ln(1 + 2 exp(-2))
    0.239545
    """
    views = [np.asarray(view, dtype=np.float64) for view in (z1, z2)]
    z = [row for pair in zip(*views, strict=True) for row in pair]
    loss = 0.0
    for k in range(0, len(z), 2):
        loss += _pair_loss(z, k, k + 1, temperature) + _pair_loss(z, k + 1, k, temperature)
    return loss / len(z)


def _pair_loss(z: Sequence[NDArray[np.float64]], i: int, j: int, temperature: float) -> float:
    positive = _cosine(z[i], z[j]) / temperature
    # Both sides of the fraction divided by exp(positive): nothing overflows.
    others = [
        _cosine(z[i], z[k]) / temperature - positive for k in range(len(z)) if k not in (i, j)
    ]
    peak = max([0.0, *others])
    rest = [math.exp(logit - peak) for logit in others]
    if peak == 0.0:
        return math.log1p(math.fsum(rest))
    return peak + math.log(math.fsum([math.exp(-peak), *rest]))


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    products = (a * b).tolist()
    return math.fsum(products) / math.sqrt(_square(a) * _square(b))


def _square(a: NDArray[np.float64]) -> float:
    return math.fsum((a * a).tolist())


def dense_nt_xent_loss(z1: Tensor, z2: Tensor, temperature: float | Tensor) -> Tensor:
    """The same definition on the whole 2N x 2N matrix in float64, differentiable: O(N^2) memory.

    >>> z = torch.eye(2)
    >>> round(dense_nt_xent_loss(z, z, 0.5).item(), 6)
    0.239545
    """
    n = len(z1)
    z = torch.cat([z1, z2]).double()
    z = z / z.square().sum(1, keepdim=True).sqrt()
    similarity = z @ z.T / temperature
    positive = torch.arange(2 * n, device=z.device).roll(n)
    gap = similarity - similarity.gather(1, positive[:, None])
    # exp(gap) of the positive itself is the 1 in log(1 + sum over negatives).
    negatives = gap.fill_diagonal_(-torch.inf).scatter(1, positive[:, None], -torch.inf)
    log_odds = torch.logsumexp(negatives, 1)
    return torch.logaddexp(log_odds, torch.zeros_like(log_odds)).mean()
