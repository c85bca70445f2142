"""Rows, labels and temperatures that the members of the family are tested on."""

import torch


def classes(n):
    """At least two classes, each of at least two samples."""
    return torch.arange(n) % max(2, n // 3)


def random(member, n, d, dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    rows = [n] * member.views + [n + 3] * member.negatives
    return [torch.randn(m, d, generator=rng, dtype=torch.float64).to(dtype) for m in rows]


def leaves(member, blocks):
    """The blocks that get a gradient."""
    return [block.requires_grad_() for block in blocks[: member.trained]]


def tau(value, dtype=torch.float64):
    return torch.tensor(value, dtype=dtype, requires_grad=True)


def mean(losses):
    """Over the anchors that have positives."""
    return losses.nanmean()


def collapsed(n, d, view, rng):
    return torch.ones(n, d) + 1e-2 * torch.randn(n, d, generator=rng)


def antipodal(n, d, view, rng):
    return (-1) ** view * collapsed(n, d, view, rng)


def trained_like(n, d, view, rng):
    """Ten clusters, whose members differ by as much as the views of each."""
    centres = torch.randn(10, d, generator=torch.Generator().manual_seed(7))
    return centres[torch.arange(n) % 10] + 0.1 * torch.randn(n, d, generator=rng)


HARD = [collapsed, antipodal, trained_like]


def hard(kind, member, n, d):
    rng = torch.Generator().manual_seed(0)
    return [kind(len(b), d, view, rng) for view, b in enumerate(random(member, n, d))]
