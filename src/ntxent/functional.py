"""Losses as functions: validate, say who is whose positive, call the primitive, reduce.

Every member of the family is one call of :func:`ntxent.primitive.contrast` and O(N d) arithmetic.
Candidates that are positives are left out of it by their ids, so that it returns the log-odds of
the negatives against the positive, and ``log(1 + exp(log-odds))`` keeps the relative precision of
loss and gradient near zero, where a log-softmax rounds both to 0.
"""

from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor
from typing_extensions import Unpack

from ntxent.checks import (
    check_choice,
    check_embeddings,
    check_labels,
    check_together,
)
from ntxent.distributed import LocalBatch, join
from ntxent.options import Call, LossOptions
from ntxent.rows import gram, log1pexp
from ntxent.views import Layout, anchors, stack_views, too_small

__all__ = ["ContrastiveStats", "LossOptions", "info_nce_loss", "nt_xent_loss", "sup_con_loss"]


class ContrastiveStats(NamedTuple):
    """What one step of a contrastive loss says of its batch; detached, all O(N d)."""

    per_anchor: Tensor
    """``[2N]``, nats: the anchors of the first view, then those of the second; of this process."""
    positive_similarity: Tensor
    """0-d: mean cosine (dot product where ``normalize=False``) of the positive pairs."""
    negative_similarity: Tensor
    """0-d: the mean over all ordered negative pairs."""


@overload
def nt_xent_loss(
    *views: Tensor,
    layout: Layout | None = ...,
    ids: Tensor | None = ...,
    decoupled: bool = ...,
    return_stats: Literal[False] = ...,
    **options: Unpack[LossOptions],
) -> Tensor: ...


@overload
def nt_xent_loss(
    *views: Tensor,
    layout: Layout | None = ...,
    ids: Tensor | None = ...,
    decoupled: bool = ...,
    return_stats: bool,
    **options: Unpack[LossOptions],
) -> Any: ...


def nt_xent_loss(
    *views: Tensor,
    layout: Layout | None = None,
    ids: Tensor | None = None,
    decoupled: bool = False,
    return_stats: bool = False,
    **options: Unpack[LossOptions],
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
        **options: :class:`LossOptions`.

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
    with _join(options) as batch:
        # The views of a sample side by side: an anchor finds its positives in the tile it is in.
        names, stacked = stack_views(views, layout)
        n, v, d = stacked.shape
        call = Call(batch, stacked, **options)
        z = stacked.flatten(0, 1)
        z, norm = call.norms(names, z)
        if v > 2:  # the other positives are computed of the unit rows as well
            z, norm = call.unit_rows(z, norm), None
        if ids is not None:
            check_labels("ids", ids, n, z.device)
        facts = {"decoupled": decoupled, "ids given": ids is not None, "return_stats": return_stats}
        call.handshake("nt_xent", z, n, views=v, **facts)
        if batch.samples < 2:
            raise ValueError(too_small(names, v, batch.samples, d))

        sample, target = anchors(n, v, batch.first, z)
        group = sample if ids is None else ids.long().repeat_interleave(v)
        nll, logit = batch.contrast(
            z, None, call.scale, x_ids=group, target=target, x_norm=norm, **call.how
        )

        if v == 2:
            loss = nll if decoupled else log1pexp(nll)
            positive = logit
        else:
            # gap[n, a, b] = logit of positive b of anchor a, less that of its target
            logits = call.scale * gram(z.view(n, v, d).to(call.scale.dtype))
            off_diagonal = ~torch.eye(v, dtype=torch.bool, device=z.device)
            logits = logits.masked_select(off_diagonal).view(n * v, v - 1)
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


def sup_con_loss(
    z: Tensor,
    labels: Tensor,
    *,
    missing: Literal["error", "skip"] = "error",
    **options: Unpack[LossOptions],
) -> Tensor:
    r"""Supervised contrastive loss, L_out of Khosla et al. 2020, exact, in O(M d) memory.

    Naively, with ``z`` of unit rows ``[M, d]``::

        log_p = (z @ z.T / temperature).fill_diagonal_(-torch.inf).log_softmax(1)
        positive = (labels[:, None] == labels).fill_diagonal_(False)
        loss = -(log_p.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()

    With P(i) the other rows of anchor i's label,

    .. math:: \ell_i = \log \sum_{k \ne i} \exp(s_{ik} / \tau)
              - \frac{1}{|P(i)|} \sum_{p \in P(i)} s_{ip} / \tau .

    The positives need one sum per class, so they cost O(M d) as well. The SupContrast code returns
    this times temperature / 0.07; see ``bounds.VARIANTS``.

    Args:
        z: ``[M, d]``, or ``[N, V, d]`` for V views of each of N samples.
        labels: Integers, ``[M]`` or ``[N]``.
        missing: Anchors whose label no other row has: ``"error"``, or ``"skip"`` them (their loss
            is 0 and the mean is over the others).
        **options: :class:`LossOptions`.

    Returns:
        The loss in nats; 0-d, or for ``reduction="none"`` ``[M]``, or ``[NV]`` with the anchors of
        the first view first.

    Raises:
        TypeError: dtypes are not as above.
        ValueError: shapes, devices, rows or options are not; all labels are equal (nothing is a
            negative); an anchor has no positive and ``missing="error"``.

    Example:
        >>> import torch, ntxent
        >>> z, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
        >>> round(ntxent.sup_con_loss(z, labels, temperature=0.5).item(), 6)  # all logits 0: ln 3
        1.098612
    """
    with _join(options) as batch:
        check_choice("missing", missing, ("error", "skip"))
        check_embeddings("z", z, (2, 3))
        views = z.shape[1] if z.ndim == 3 else 1
        check_labels("labels", labels, len(z), z.device)
        rows = z.flatten(0, 1) if z.ndim == 3 else z
        call = Call(batch, rows, **options)
        rows = call.unit_rows(*call.norms(["z"], rows))
        call.handshake("sup_con", rows, len(z), views=views, missing=missing)
        m, first = len(rows), batch.first * views
        if call.anchors < 2 or rows.shape[1] == 0:
            received = [call.anchors, rows.shape[1]]
            raise ValueError(f"z: received {received} in all, expected at least 2 rows and d >= 1")

        everyone = batch.all_gather(labels.long().repeat_interleave(views))
        classes, members = torch.unique(everyone, return_inverse=True)
        size = torch.zeros(len(classes), dtype=torch.int64, device=z.device)
        positives = size.index_add(0, members, torch.ones_like(members))[members] - 1
        if call.check_values:
            _check_classes(positives, missing, len(classes))
        member, positives = members[first : first + m], positives[first : first + m]

        anchor = torch.arange(m, device=z.device)
        lse, _ = batch.contrast(rows, None, call.scale, x_ids=first + anchor, **call.how)
        wide = rows.to(call.scale.dtype)
        sums = wide.new_zeros(len(classes), wide.shape[1]).index_add(0, member, wide)
        others = batch.total(sums)[member] - wide
        with torch.autocast(z.device.type, enabled=False):
            mean_positive = torch.linalg.vecdot(wide, others) / positives.clamp(min=1)
        counted = positives > 0
        loss = torch.where(counted, lse - call.scale * mean_positive, 0.0)
        if views > 1:
            loss, counted = (t.view(-1, views).T.flatten() for t in (loss, counted))
        return call.reduce(loss, counted if missing == "skip" else None)


def info_nce_loss(
    x: Tensor,
    y: Tensor,
    *,
    negatives: Tensor | None = None,
    shared_negatives: bool = False,
    in_batch: bool = True,
    symmetric: bool = True,
    ids: Tensor | None = None,
    decoupled: bool = False,
    **options: Unpack[LossOptions],
) -> Tensor:
    r"""InfoNCE between paired rows, one way or, as in CLIP, the mean of both ways; O(N d) memory.

    Naively, with unit rows::

        logits = x @ torch.cat([y, negatives]).T / temperature
        loss = cross_entropy(logits, torch.arange(N))
        if symmetric:
            loss = (loss + cross_entropy(y @ x.T / temperature, torch.arange(N))) / 2

    Args:
        x: Anchors ``[N, d]``.
        y: ``[N, d]``, row i the positive of row i of ``x``.
        negatives: Further candidates ``[K, d]`` of the anchors in ``x``, no one's positive.
        shared_negatives: Among several processes: every one gives the same ``negatives`` (a queue
            that all keep alike) and not a part of them.
        in_batch: Whether the other rows of ``y`` are negatives. With False only ``negatives`` are,
            as in MoCo; that is one way by nature and needs ``symmetric=False``.
        symmetric: Average over x to y and y to x.
        ids: int64 ``[N]``: samples of equal id are no negatives of each other.
        decoupled: Leave the positive out of the denominator.
        **options: :class:`LossOptions`.

    Returns:
        The loss in nats; 0-d, or ``[N]`` for ``reduction="none"``.

    Raises:
        TypeError: dtypes are not as above.
        ValueError: shapes, devices, rows or options are not; there is no negative.

    Example:
        >>> import torch, ntxent
        >>> x = torch.eye(3)
        >>> round(ntxent.info_nce_loss(x, x, temperature=0.5).item(), 6)  # ln(1 + 2 exp(-2))
        0.239545

    References:
        van den Oord et al. 2018 (arXiv 1807.03748); Radford et al. 2021 (arXiv 2103.00020);
        He et al. 2020 (arXiv 1911.05722).
    """
    with _join(options) as batch:
        for name, rows in (("x", x), ("y", y)):
            check_embeddings(name, rows)
        check_together("x and y", [x, y])
        n = len(x)
        if negatives is not None:
            check_embeddings("negatives", negatives)
            check_together("x and negatives", [x, negatives], same_shape=False)
            if shared_negatives and in_batch:  # each rank brings in a part of them
                negatives = negatives[batch.rank :: batch.size]
        if not in_batch and symmetric:
            raise ValueError(
                "symmetric: received True with in_batch=False, expected False: the further "
                "negatives are candidates of x only"
            )
        call = Call(batch, x, **options)
        x, x_norm = call.norms(["x"], x)
        y, y_norm = call.norms(["y"], y)
        candidates, extra = y, 0
        if negatives is not None:
            negatives, norm = call.norms(["negatives"], negatives)
            candidates, extra = torch.cat([y, negatives]), len(negatives)
            y_norm = None if norm is None or y_norm is None else torch.cat([y_norm, norm])
        if ids is not None:
            check_labels("ids", ids, n, x.device)
            ids = ids.long()
        facts = {"symmetric": symmetric, "in_batch": in_batch, "decoupled": decoupled}
        facts |= {"ids given": ids is not None, "shared_negatives": shared_negatives}
        call.handshake("info_nce", x, n, extra=extra, **facts)
        if x.shape[1] == 0 or n == 0 == batch.samples or _fewest(batch, in_batch) < 1:
            raise ValueError(
                f"x and y: received shape {[batch.samples, x.shape[1]]} with {batch.extra} further "
                "negatives, expected at least one negative for each anchor; a larger batch, or "
                "negatives=..."
            )

        anchor = torch.arange(n, device=x.device)
        if not in_batch:
            # One id for the whole batch leaves all of it out; a target need not be a candidate.
            own, apart = torch.zeros_like(anchor), anchor.new_full((), -1)
        elif ids is None:
            own, apart = batch.first + anchor, anchor.new_full((), -1)
        else:
            own = ids
            apart = _unused(batch.all_gather(ids)) if batch.extra else anchor.new_full((), -1)
        y_ids = torch.cat([own, apart.expand(extra)])
        target = anchor
        if symmetric:  # one pass over the block serves both ways; the negatives are no anchors
            target = torch.cat([anchor, anchor, anchor.new_zeros(extra)])
        # Shared negatives are all here, and nobody else's rows are wanted.
        where = LocalBatch() if shared_negatives and not in_batch else batch
        log_odds, _ = where.contrast(
            x,
            candidates,
            call.scale,
            x_ids=own,
            y_ids=y_ids,
            target=target,
            both_ways=symmetric,
            x_norm=x_norm,
            y_norm=y_norm,
            **call.how,
        )
        if not decoupled:
            log_odds = log1pexp(log_odds)
        loss = (log_odds[:n] + log_odds[n : 2 * n]) / 2 if symmetric else log_odds
        return call.reduce(loss)


def _fewest(batch: LocalBatch, in_batch: bool) -> int:
    """Number of negatives of an anchor."""
    return batch.extra + (batch.samples - 1 if in_batch else 0)


def _unused(ids: Tensor) -> Tensor:
    """One of 0 ... M that none of the M ids is, however large these are."""
    m = ids.shape[0]
    taken = torch.zeros(m + 2, dtype=torch.int64, device=ids.device)
    inside = torch.where((ids >= 0) & (ids <= m), ids, m + 1)
    return taken.index_fill(0, inside, 1)[: m + 1].argmin()


def _join(options: LossOptions) -> LocalBatch:
    return join(options.get("distributed", "auto"), options.get("process_group"))


def _stats(
    batch: LocalBatch, z: Tensor, loss: Tensor, positive: Tensor, views: int
) -> ContrastiveStats:
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


def _check_classes(positives: Tensor, missing: str, classes: int) -> None:
    if classes == 1:
        raise ValueError(
            "labels: received one class only, expected two or more: no row is a negative"
        )
    alone = positives == 0
    if missing == "error" and bool(alone.any()):
        raise ValueError(
            f"labels: row {int(alone.nonzero()[0, 0])} is the only one of its label "
            f"({int(alone.sum())} such rows), expected a positive for every anchor; sample two or "
            'more of each class, pass two views, or missing="skip"'
        )
