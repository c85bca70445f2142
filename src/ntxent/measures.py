"""How embeddings lie on the sphere: the measures that a contrastive loss is read beside.

Views are ``[N, d]`` floating-point tensors, row i of ``z2`` the other view of row i of ``z1``; M is
2N. All but :func:`effective_rank` look at directions only: they divide each row by its Euclidean
norm first. Results are Python numbers, without gradient. Memory is O(M d), never M x M. Those that
look at all pairs can share that work among the ``ranks`` of a process group, each of which has all
rows and gets the result.

Raises, wherever such views are given:
    TypeError: a view is not a floating-point tensor.
    ValueError: shapes differ or are not ``[N, d]``; a row is zero or not finite.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ntxent.distributed import Batch, LocalBatch
from ntxent.engines import accumulation_dtype
from ntxent.primitive import contrast
from ntxent.unit_rows import in_range

__all__ = [
    "MeanSimilarities",
    "SimilarityHistogram",
    "alignment",
    "contrastive_accuracy",
    "effective_rank",
    "mean_similarities",
    "similarity_histogram",
    "uniformity",
    "unit_pairs",
    "unit_rows",
]

Progress = Callable[[float], object]
LOCAL = LocalBatch()

# Numbers in a float64 temporary: 16 MiB.
_CHUNK = 2**21
# Even, so that a pair never straddles two panels; 2 MiB of float32 stay in a CPU's cache.
_TILE = {"cpu": (256, 2048)}
_TILE_ELSEWHERE = (4096, 4096)


def _chunks(z: Tensor) -> Iterator[slice]:
    rows = max(1, _CHUNK // z.shape[1])
    return (slice(start, start + rows) for start in range(0, len(z), rows))


def _check_matrix(z: Tensor, name: str) -> None:
    if not isinstance(z, Tensor):
        raise TypeError(f"{name}: received {type(z).__name__}, expected a torch.Tensor")
    if not z.is_floating_point():
        raise TypeError(f"{name}: received dtype {z.dtype}, expected floating point; use .float()")
    if z.ndim != 2 or z.shape[0] < 2 or z.shape[1] < 1:
        raise ValueError(
            f"{name}: received shape {list(z.shape)}, expected [N, d], a row an embedding, with "
            "N >= 2, as a single one has nothing to be compared with, and d >= 1"
        )


@torch.no_grad()
def unit_rows(z: Tensor, name: str = "z") -> Tensor:
    """``z / |z|`` by rows, float64 for float64 rows, else float32; norms are taken in float64.

    ``name`` is what an error calls the rows.

    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 1.0000]])
    """
    _check_matrix(z, name)
    unit = torch.empty(z.shape, dtype=accumulation_dtype(z.dtype), device=z.device)
    norm = torch.empty(len(z), dtype=torch.float64, device=z.device)
    for rows in _chunks(z):
        wide = in_range(z[rows].double())
        norm[rows] = torch.linalg.vector_norm(wide, dim=1)
        unit[rows] = wide.div_(norm[rows, None])
    bad = ~norm.isfinite() | (norm == 0)
    if bad.any():
        row = int(bad.nonzero()[0, 0])
        what = "zero norm" if norm[row] == 0 else "a value that is not finite"
        raise ValueError(
            f"{name}: row {row} has {what} ({int(bad.sum())} such rows); a direction needs finite "
            "rows other than zero: look at what the encoder returned for them, or leave them out"
        )
    return unit


def unit_pairs(z1: Tensor, z2: Tensor, names: tuple[str, str] = ("z1", "z2")) -> Tensor:
    """``[2N, d]``: the views of pair i as :func:`unit_rows` in rows 2i and 2i + 1."""
    views = tuple(unit_rows(view, name) for view, name in zip((z1, z2), names, strict=True))
    if z1.shape != z2.shape:
        raise ValueError(
            f"{names[0]} and {names[1]}: received shapes {list(z1.shape)} and {list(z2.shape)}, "
            "expected equal ones: row i of one is the other view of row i of the other"
        )
    return torch.stack(views, dim=1).flatten(0, 1)


def handshake(ranks: Batch, what: str, z: Tensor, **facts: float) -> None:
    """Check that all ranks are about to measure the same, of as many rows."""
    rows: dict[str, str | int] = {"what is computed": what, "rows": len(z)}
    kind: dict[str, str | int] = {"width of the rows": z.shape[1]}
    kind |= {"dtype": str(z.dtype), "device": z.device.type}
    ranks.handshake(len(z), {**rows, **kind, **facts})


@torch.no_grad()
def alignment(z1: Tensor, z2: Tensor) -> float:
    r"""Mean squared distance of the positive pairs: 0 where views agree, 4 where they oppose.

    Naively::

        (normalize(z1) - normalize(z2)).norm(dim=1).pow(2).mean()

    .. math:: \frac1N \sum_i \lVert z_{1i} - z_{2i} \rVert^2 = 2 - 2 \bar s

    Source: Wang & Isola 2020 (arXiv 2005.10242), alpha = 2.

    >>> alignment(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    1.0
    """
    pairs = unit_pairs(z1, z2).view(len(z1), 2, -1)
    steps = ((pairs[rows, 0].double() - pairs[rows, 1]).square().sum() for rows in _chunks(z1))
    return float(sum(steps, pairs.new_zeros((), dtype=torch.float64))) / len(pairs)


@torch.no_grad()
def uniformity(z: Tensor, t: float = 2.0, *, ranks: Batch = LOCAL) -> float:
    r"""Log of the mean Gaussian potential of all pairs of rows, in nats; lower is more uniform.

    Naively::

        torch.pdist(normalize(z)).pow(2).mul(-t).exp().mean().log()

    .. math:: \log \frac{1}{M(M-1)} \sum_{i \ne k} e^{-t \lVert z_i - z_k \rVert^2}
              = \log \frac{1}{M(M-1)} \sum_{i \ne k} e^{2t \langle z_i, z_k \rangle} - 2t

    for the M rows of ``z``: with unit rows a log-sum-exp at scale 2t, which an engine computes. It
    is 0 for equal rows and at least -4t. The paper averages it over the two views.

    Raises:
        ValueError: t is not a finite number > 0.

    Source: Wang & Isola 2020 (arXiv 2005.10242).

    >>> uniformity(torch.tensor([[1.0], [-1.0]]))
    -8.0
    """
    with ranks:
        if not 0 < t < math.inf:
            raise ValueError(f"t: received {t}, expected a finite number > 0; the paper takes 2")
        unit = unit_rows(z)
        handshake(ranks, "uniformity", unit, t=float(t))
    m = len(unit)
    row = torch.arange(m, device=unit.device)
    scale = unit.new_tensor(2 * t)
    if ranks.size == 1:
        potential, _ = contrast(unit, None, scale, x_ids=row)
    else:
        own = row[ranks.rank :: ranks.size]
        lse, _ = contrast(unit[own], unit, scale, x_ids=own, y_ids=row)
        potential = ranks.total(unit.new_zeros(m).index_copy(0, own, lse))
    return float(potential.double().logsumexp(0)) - math.log(m * (m - 1)) - 2 * t


@torch.no_grad()
def effective_rank(z: Tensor) -> float:
    r"""Exponential of the entropy of the normalised singular values: 1 to min(M, d).

    Naively::

        p = torch.linalg.svdvals(z) / torch.linalg.svdvals(z).sum()
        torch.exp(-(p * p.log()).sum())

    .. math:: \exp\Bigl(-\sum_k p_k \log p_k\Bigr), \qquad p_k = \sigma_k / \sum_j \sigma_j

    Rows are used as they are, neither normalised nor centred. The singular values come from the
    smaller Gram matrix in float64, which keeps those above 1e-8 of the largest; smaller ones
    change the entropy by less than 2e-7 each.

    Raises:
        ValueError: ``z`` is all zeros or not finite.

    Source: RankMe, Garrido et al. 2023 (arXiv 2210.02885), without its 1e-7 beside p.

    >>> round(effective_rank(torch.eye(3)), 6)
    3.0
    """
    _check_matrix(z, "z")
    tall = z if len(z) >= z.shape[1] else z.T
    gram = torch.zeros(tall.shape[1], tall.shape[1], dtype=torch.float64, device=z.device)
    for rows in _chunks(tall):
        wide = tall[rows].double()
        gram.addmm_(wide.T, wide)
    trace = float(gram.trace())
    if not 0 < trace < math.inf:
        raise ValueError(f"z: its squares sum to {trace}, expected a finite number > 0")
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    return float(torch.special.entr(values / values.sum()).sum().exp())


class MeanSimilarities(NamedTuple):
    positive: float
    """Mean cosine of the N positive pairs."""
    negative: float
    """Mean cosine of the 2N(2N - 2) ordered negative pairs."""


@torch.no_grad()
def mean_similarities(z1: Tensor, z2: Tensor) -> MeanSimilarities:
    r"""Mean cosine similarity of the positives and of the negatives, in O(M d) time.

    Naively::

        s = normalize(torch.cat([z1, z2])) @ normalize(torch.cat([z1, z2])).T
        s.diagonal(N).mean(), s[~(self | positive)].mean()

    The sum of all similarities is a squared length, so in float64

    .. math:: 2N + 2N \bar s + 2N(2N-2) \bar n = \Bigl\lVert \sum_i z_i \Bigr\rVert^2 .

    >>> mean_similarities(torch.eye(2), torch.eye(2))
    MeanSimilarities(positive=1.0, negative=0.0)
    """
    z = unit_pairs(z1, z2)
    m = len(z)
    total = z.new_zeros(z.shape[1], dtype=torch.float64)
    own = positives = 0.0
    for rows in _chunks(z1):
        first, second = z[2 * rows.start : 2 * rows.stop].double().view(-1, 2, z.shape[1]).unbind(1)
        total += first.sum(0) + second.sum(0)
        own += float(first.square().sum() + second.square().sum())
        positives += float((first * second).sum())
    negatives = float(total.square().sum()) - own - 2 * positives
    return MeanSimilarities(2 * positives / m, negatives / (m * (m - 2)))


@torch.no_grad()
def contrastive_accuracy(
    z1: Tensor, z2: Tensor, *, ranks: Batch = LOCAL, on_progress: Progress | None = None
) -> float:
    """Share of the 2N anchors whose positive is strictly the most similar of 2N - 1 candidates.

    Naively::

        s = normalize(torch.cat([z1, z2])) @ normalize(torch.cat([z1, z2])).T
        positive = torch.arange(2 * N).roll(N)
        s.fill_diagonal_(-2)
        (s[range(2 * N), positive] > s.scatter(1, positive[:, None], -2).amax(1)).mean()

    Every candidate is looked at, in tiles on and right of the diagonal of s, each for its rows and
    its columns. A lead of at most 4 eps, 5e-7 in float32, is a tie: it is the rounding of a dot
    product of unit rows. Guessing gives 1/(2N - 1); the loss alone proves a share,
    :func:`ntxent.bounds.top1_share`.

    Args:
        z1: First views ``[N, d]``.
        z2: Second views ``[N, d]``.
        ranks: Who shares the work.
        on_progress: Called now and then with the share of the work that is done.

    >>> contrastive_accuracy(torch.eye(3), torch.eye(3)), contrastive_accuracy(*torch.ones(2, 3, 1))
    (1.0, 0.0)
    """
    with ranks:
        z = unit_pairs(z1, z2)
        handshake(ranks, "contrastive_accuracy", z)
    m = len(z)
    height, width = _TILE.get(z.device.type, _TILE_ELSEWHERE)
    positive, rival = (z.new_full((m,), -math.inf) for _ in range(2))
    for top in range(height * ranks.rank, m, height * ranks.size):
        rows = slice(top, min(top + height, m))
        for left in range(top, m, width):
            columns = slice(left, min(left + width, m))
            tile = z[rows] @ z[columns].T
            if left == top:
                # The pairs of these rows are the 2 x 2 blocks on the diagonal.
                own = torch.arange(rows.stop - top, device=z.device)
                positive[rows] = tile[own, own ^ 1]
                tile[own, own ^ 1] = tile[own, own] = -math.inf
            # What this tile has on both sides of the diagonal enters twice, which a maximum allows.
            rival[rows] = torch.maximum(rival[rows], tile.amax(1))
            rival[columns] = torch.maximum(rival[columns], tile.amax(0))
        if on_progress is not None:
            on_progress(1 - (1 - rows.stop / m) ** 2)
    positive, rival = ranks.largest(torch.stack([positive, rival]))
    tie = 4 * torch.finfo(z.dtype).eps
    return int((positive > rival + tie).sum()) / m


class SimilarityHistogram(NamedTuple):
    edges: list[float]
    """``bins + 1`` of them, equally spaced from -1 to 1."""
    positive: list[int]
    """All N positive pairs."""
    negative: list[int]
    """All 2N(2N - 2) ordered negative pairs, or a sample of them."""
    sampled: bool
    """Whether ``negative`` counts a sample."""


@torch.no_grad()
def similarity_histogram(
    z1: Tensor, z2: Tensor, *, bins: int = 100, pairs: int = 2**20, seed: int = 0
) -> SimilarityHistogram:
    """How the cosines of the positive and of the negative pairs are distributed.

    The positives are counted exactly, and so are the negatives if there are at most ``pairs`` of
    them, as for N <= 512. Otherwise that many are drawn, independently and uniformly: the share of
    a bin then has a standard error below 0.0005. Counting all of them at N = 100,000 would take
    longer than the loss.

    Args:
        z1: First views ``[N, d]``.
        z2: Second views ``[N, d]``.
        bins: Number of bins in [-1, 1].
        pairs: The most negative pairs to look at.
        seed: Of the draw.

    >>> similarity_histogram(torch.eye(2), torch.eye(2), bins=4)[1:]
    ([0, 0, 0, 2], [0, 0, 8, 0], False)
    """
    for name, value in (("bins", bins), ("pairs", pairs)):
        if value < 1:
            raise ValueError(f"{name}: received {value}, expected an integer >= 1")
    z = unit_pairs(z1, z2)
    m = len(z)
    first = torch.arange(0, m, 2)
    positive = _count(z, first, first + 1, bins)
    total = m * (m - 2)
    if sampled := total > pairs:
        drawn = torch.randint(total, (pairs,), generator=torch.Generator().manual_seed(seed))
    else:
        drawn = torch.arange(total)
    anchor, candidate = drawn // (m - 2), drawn % (m - 2)
    candidate += 2 * (candidate >= anchor // 2 * 2)  # step over the anchor's own pair
    negative = _count(z, anchor, candidate, bins)
    edges = torch.linspace(-1, 1, bins + 1, dtype=torch.float64)
    return SimilarityHistogram(edges.tolist(), positive, negative, sampled)


def _count(z: Tensor, i: Tensor, k: Tensor, bins: int) -> list[int]:
    """Histogram of <z_i, z_k> over the listed pairs."""
    counts = torch.zeros(bins, dtype=torch.int64)
    size = max(1, _CHUNK // z.shape[1])
    for left, right in zip(torch.split(i, size), torch.split(k, size), strict=True):
        cosine = torch.linalg.vecdot(z[left.to(z.device)], z[right.to(z.device)])
        # Rounding may leave [-1, 1], and a bin of float32 counts no further than 2^24.
        counts += torch.histc(cosine.clamp_(-1, 1), bins, -1, 1).cpu().long()
    listed: list[int] = counts.tolist()
    return listed
