"""NT-Xent, the loss of SimCLR, for two or more views."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ntxent.distributed import Batch, Mode, join
from ntxent.losses.base import ContrastiveLoss
from ntxent.losses.call import TEMPERATURE, Call, Reduction
from ntxent.losses.checks import check_labels
from ntxent.losses.numerics import gram, log1pexp
from ntxent.losses.views import Layout, anchors, stack_views, too_small

__all__ = ["ContrastiveStats", "NTXentLoss", "nt_xent_loss"]


class ContrastiveStats(NamedTuple):
    """What one step of a contrastive loss says of its batch; detached, all O(N d)."""

    per_anchor: Tensor
    """``[2N]``, nats: the anchors of the first view, then those of the second; of this process."""
    positive_similarity: Tensor
    """0-d: mean cosine (dot product where ``normalize=False``) of the positive pairs."""
    negative_similarity: Tensor
    """0-d: the mean over all ordered negative pairs."""


def nt_xent_loss(
    *views: Tensor,
    layout: Layout | None = None,
    ids: Tensor | None = None,
    decoupled: bool = False,
    return_stats: bool = False,
    temperature: float | Tensor = TEMPERATURE,
    scale: float | Tensor | None = None,
    reduction: Reduction = "mean",
    weights: Tensor | None = None,
    normalize: bool = True,
    engine: str = "auto",
    distributed: Mode = "auto",
    process_group: "torch.distributed.ProcessGroup | None" = None,
    check_values: bool | None = None,
) -> Any:
    r"""NT-Xent, the loss of SimCLR, exact, in O(N d) memory forward and backward.

    Naively, for two views::

        z = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
        logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
        loss = cross_entropy(logits, torch.arange(2 * N).roll(N), reduction=reduction)

    With s the cosine similarity and p(i) the other view of anchor i,

    .. math:: \ell_i = -\log \frac{\exp(s_{i,p(i)} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)},
              \qquad L = \frac{1}{2N} \sum_i \ell_i .

    With V > 2 views, an anchor has V - 1 positives: the loss is the mean over all ordered positive
    pairs, and all other VN - 1 rows, the other positives among them, stand in each denominator.

    Args:
        *views: Two or more tensors ``[N, d]``, N >= 2, row i of each a view of sample i; or one
            ``[N, V, d]``; or one ``[2N, d]`` with its ``layout``. float16, bfloat16, float32 or
            float64; half precision is multiplied as ``engine`` in :class:`LossOptions` says.
        layout: Of a single ``[2N, d]``: ``"halves"`` (all first views, then all second) or
            ``"interleaved"`` (the two views of a sample side by side). Never guessed.
        ids: int64 ``[N]``: samples of equal id are no negatives of each other (known false
            negatives). By default every sample has its own.
        decoupled: Leave the positives out of the denominator (decoupled contrastive learning,
            Yeh et al. 2022). The loss can then be negative.
        return_stats: Return ``(loss, ContrastiveStats)``.
        temperature, scale, reduction, weights, normalize, engine, distributed, process_group,
            check_values: As in :class:`LossOptions`.

    Returns:
        The loss in nats, float64 for float64 views, else float32; 0-d, or ``[VN]`` for
        ``reduction="none"``: the anchors of the first view, then those of the second, ...

    Raises:
        TypeError: a view is not a floating-point tensor, or dtypes differ.
        ValueError: shapes, devices, rows or options are not as above.

    Example:
        >>> import torch, ntxent
        >>> z = torch.eye(2)  # two aligned, orthogonal pairs: ln(1 + 2 exp(-2))
        >>> round(ntxent.nt_xent_loss(z, z, temperature=0.5).item(), 6)
        0.239545

    References:
        Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020,
        Equation 1 (arXiv 2002.05709). What values it can take: :mod:`ntxent.bounds`.
    """
    with join(distributed, process_group) as batch:
        # The views of a sample side by side: an anchor finds its positives in the tile it is in.
        names, stacked = stack_views(views, layout)
        n, v, d = stacked.shape
        how = temperature, scale, reduction, weights, normalize, engine, check_values
        call = Call(batch, stacked, *how)
        z = stacked.flatten(0, 1)
        z, norm = call.norms(names, z)
        if v > 2:  # the other positives are computed of the unit rows as well
            z, norm = call.unit_rows(z, norm).to(call.scale.dtype), None
        if ids is not None:
            check_labels("ids", ids, n, z.device)
        facts = {"decoupled": decoupled, "ids given": ids is not None, "return_stats": return_stats}
        call.handshake("nt_xent", [z], n, views=v, **facts)
        if batch.samples < 2:
            raise ValueError(too_small(names, v, batch.samples, d))

        sample, target = anchors(n, v, batch.first, z)
        group = sample if ids is None else ids.long().repeat_interleave(v)
        nll, logit = batch.contrast(
            z, None, call.scale, x_ids=group, target=target, x_norm=norm, **call.how
        )

        if decoupled and ids is not None:
            call.check_negatives(nll)
        if v == 2:
            loss = nll if decoupled else log1pexp(nll)
            positive = logit
        else:
            # gap[n, a, b] = logit of positive b of anchor a, less that of its target
            logits = call.scale * gram(z.view(n, v, d).to(call.scale.dtype))
            # Behind its first entry, a v x v matrix by rows is v - 1 rows of v + 1, each with one
            # of the diagonal at its end. Unlike a mask, that leaves n symbolic in a graph.
            rest = logits.flatten(1)[:, 1:].reshape(n, v - 1, v + 1)
            logits = rest[:, :, :-1].reshape(n * v, v - 1)
            gap = logits - logit[:, None]
            loss = nll if decoupled else torch.logsumexp(torch.cat([nll[:, None], gap], 1), 1)
            loss = loss - gap.mean(1)
            positive = logits.mean(1)

        if call.by_anchor or return_stats:
            loss = loss.view(n, v).T.flatten()
        reduced = call.reduce(loss)
        if not return_stats:
            return reduced
        with torch.no_grad():
            return reduced, _stats(batch, call.unit_rows(z, norm), loss, positive / call.scale, v)


class NTXentLoss(ContrastiveLoss):
    """:func:`ntxent.nt_xent_loss` as a module.

    Shape: two or more views ``[N, d]``, or one ``[N, V, d]``, to a 0-d loss, or ``[VN]`` with
    ``reduction="none"``; ``(loss, ContrastiveStats)`` with ``return_stats=True``.

    >>> import torch, ntxent
    >>> criterion = ntxent.NTXentLoss(temperature=0.1, learnable=True)
    >>> z1, z2 = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
    >>> criterion(z1, z2).backward()
    >>> criterion.log_scale.grad is not None
    True
    """

    function = staticmethod(nt_xent_loss)

    def forward(self, *views: Tensor, ids: Tensor | None = None) -> Any:
        return nt_xent_loss(*views, ids=ids, scale=self.scale, **self.options)


def _stats(batch: Batch, z: Tensor, loss: Tensor, positive: Tensor, views: int) -> ContrastiveStats:
    """|sum z|^2 is the sum of all M^2 similarities: own norms, positives and negatives."""
    wide = torch.float64
    squares = torch.linalg.vector_norm(z, dtype=wide).square()  # z's own dtype may be float16
    own = torch.stack([squares, positive.sum(dtype=wide)])
    sums = batch.total(torch.cat([own, z.sum(0, dtype=wide)]))
    m = batch.samples * views
    mean_positive = sums[1] / m
    total = sums[2:].square().sum()
    mean_negative = (total - sums[0] - m * (views - 1) * mean_positive) / (m * (m - views))
    return ContrastiveStats(
        loss.detach(), mean_positive.to(loss.dtype), mean_negative.to(loss.dtype)
    )
