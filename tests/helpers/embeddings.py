"""Pairs of views that losses find hard, by name: each a function of N, d and a generator."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

Views = tuple[Tensor, Tensor]


def random(n: int, d: int, rng: Generator) -> Views:
    return torch.randn(n, d, generator=rng), torch.randn(n, d, generator=rng)


def collapsed(n: int, d: int, rng: Generator) -> Views:
    row = torch.randn(1, d, generator=rng).expand(n, d).clone()
    return row, row.clone()


def antipodal(n: int, d: int, rng: Generator) -> Views:
    row, _ = collapsed(n, d, rng)
    return row, -row


def aligned_simplex(n: int, d: int, rng: Generator) -> Views:
    """Aligned pairs on a turned regular simplex; if d < N - 1, on the d + 1 points that fit."""
    points = min(n, d + 1)
    gram = torch.eye(points, dtype=torch.float64) - 1 / points
    values, vectors = torch.linalg.eigh(gram)
    simplex = (vectors * values.clamp(min=0).sqrt())[:, max(0, points - d) :]
    if simplex.shape[1] < d:
        simplex = torch.cat([simplex, simplex.new_zeros(points, d - simplex.shape[1])], 1)
    turn, _ = torch.linalg.qr(torch.randn(d, d, generator=rng, dtype=torch.float64))
    z = (simplex @ turn)[torch.arange(n) % points].float()
    return z, z.clone()


def clustered(n: int, d: int, rng: Generator) -> Views:
    centres = torch.randn(max(2, math.isqrt(n)), d, generator=rng)
    z = centres[torch.randint(len(centres), (n,), generator=rng)]
    return (
        z + 1e-3 * torch.randn(n, d, generator=rng),
        z + 1e-3 * torch.randn(n, d, generator=rng),
    )


def rescaled(n: int, d: int, rng: Generator) -> Views:
    """Rows whose lengths differ by eight orders of magnitude."""
    z1, z2 = random(n, d, rng)
    powers = torch.tensor([1e-4, 1.0, 1e4])
    return tuple(z * powers[torch.randint(3, (n, 1), generator=rng)] for z in (z1, z2))  # type: ignore[return-value]


KINDS: dict[str, Callable[[int, int, Generator], Views]] = {
    f.__name__: f for f in (random, collapsed, antipodal, aligned_simplex, clustered, rescaled)
}


def views(kind: str, n: int, d: int, seed: int = 0) -> Views:
    return KINDS[kind](n, d, torch.Generator().manual_seed(seed))
