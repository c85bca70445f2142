"""Arguments of the primitive, and its definition in float64."""

import math

import torch


def naive(x, y, scale, x_ids, y_ids, target, both_ways=False):
    def one_way(x, y, x_ids, y_ids, target):
        logits = scale * x @ y.T
        logit = logits.new_zeros(len(x)) if target is None else logits[range(len(x)), target]
        same = x_ids[:, None] == y_ids
        return logits.masked_fill(same, -math.inf).logsumexp(1) - logit, logit

    y, y_ids = (x, x_ids) if y is None else (y, y_ids)
    rows = one_way(x, y, x_ids, y_ids, None if target is None else target[: len(x)])
    if not both_ways:
        return rows
    columns = one_way(y, x, y_ids, x_ids, None if target is None else target[len(x) :])
    return tuple(map(torch.cat, zip(rows, columns, strict=True)))


def problem(m, k, d, dtype=torch.float64, classes=None, seed=0, both_ways=False):
    """Arguments of the primitive; ``k=None`` is self-similarity; few classes exclude many pairs."""
    rng = torch.Generator().manual_seed(seed)

    def ids(rows):
        high = 2**40 if classes is None else classes
        return torch.randint(high, (rows,), generator=rng)

    x = torch.nn.functional.normalize(torch.randn(m, d, generator=rng, dtype=torch.float64))
    y = None if k is None else torch.randn(k, d, generator=rng, dtype=torch.float64)
    target = torch.randint(k or m, (m,), generator=rng)
    if both_ways:
        target = torch.cat([target, torch.randint(m, (k,), generator=rng)])
    y_ids = None if k is None else ids(k)
    return x.to(dtype), None if y is None else y.to(dtype), ids(m), y_ids, target
