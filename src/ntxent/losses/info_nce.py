"""InfoNCE between paired rows: CLIP, and MoCo with its queue."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ntxent.distributed import Batch, LocalBatch, Mode, join
from ntxent.losses.base import ContrastiveLoss
from ntxent.losses.call import TEMPERATURE, Call, Reduction
from ntxent.losses.checks import check_embeddings, check_labels, check_together
from ntxent.losses.numerics import log1pexp
from ntxent.unit_rows import with_norms

__all__ = ["InfoNCELoss", "MoCoLoss", "info_nce_loss"]


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
    temperature: float | Tensor = TEMPERATURE,
    scale: float | Tensor | None = None,
    reduction: Reduction = "mean",
    weights: Tensor | None = None,
    normalize: bool = True,
    engine: str = "auto",
    distributed: Mode = "auto",
    process_group: "torch.distributed.ProcessGroup | None" = None,
    check_values: bool | None = None,
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
        temperature, scale, reduction, weights, normalize, engine, distributed, process_group,
            check_values: As in :class:`LossOptions`.

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
    with join(distributed, process_group) as batch:
        for name, rows in (("x", x), ("y", y)):
            check_embeddings(name, rows)
        check_together("x and y", [x, y])
        n = x.shape[0]
        shared = 0
        if negatives is not None:
            check_embeddings("negatives", negatives)
            check_together("x and negatives", [x, negatives], same_shape=False)
            shared = negatives.shape[0] if shared_negatives else 0
            if shared_negatives and in_batch:  # each rank brings in a part of them
                negatives = negatives[batch.rank :: batch.size]
        if not in_batch and symmetric:
            raise ValueError(
                "symmetric: received True with in_batch=False, expected False: the further "
                "negatives are candidates of x only"
            )
        how = temperature, scale, reduction, weights, normalize, engine, check_values
        call = Call(batch, x, *how)
        x, x_norm = call.norms(["x"], x)
        y, y_norm = call.norms(["y"], y)
        candidates, extra = y, 0
        if negatives is not None:
            negatives, norm = call.norms(["negatives"], negatives)
            candidates, extra = torch.cat([y, negatives]), negatives.shape[0]
            y_norm = None if norm is None or y_norm is None else torch.cat([y_norm, norm])
        if ids is not None:
            check_labels("ids", ids, n, x.device)
            ids = ids.long()
        facts: dict[str, bool | int] = {
            "symmetric": symmetric,
            "in_batch": in_batch,
            "decoupled": decoupled,
        }
        facts |= {"ids given": ids is not None, "shared_negatives": shared_negatives}
        facts |= {"rows of the shared negatives": shared}
        call.handshake("info_nce", [x, candidates], n, n_negatives=extra, **facts)
        if x.shape[1] == 0 or n == 0 == batch.samples or _fewest(batch, in_batch) < 1:
            raise ValueError(
                f"x and y: received shape {[batch.samples, x.shape[1]]} with {batch.n_negatives} "
                "further negatives, expected at least one negative for each anchor; a larger "
                "batch, or negatives=..."
            )

        anchor = torch.arange(n, device=x.device)
        if not in_batch:
            # One id for the whole batch leaves all of it out; a target need not be a candidate.
            own, apart = torch.zeros_like(anchor), anchor.new_full((), -1)
        elif ids is None:
            own, apart = batch.first + anchor, anchor.new_full((), -1)
        else:
            own = ids
            apart = _unused(batch.all_gather(ids)) if batch.n_negatives else anchor.new_full((), -1)
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
        elif ids is not None:
            call.check_negatives(log_odds[: 2 * n] if symmetric else log_odds)
        loss = (log_odds[:n] + log_odds[n : 2 * n]) / 2 if symmetric else log_odds
        return call.reduce(loss)


def _fewest(batch: Batch, in_batch: bool) -> int:
    """Number of negatives of an anchor."""
    return batch.n_negatives + (batch.samples - 1 if in_batch else 0)


def _unused(ids: Tensor) -> Tensor:
    """One of 0 ... M that none of the M ids is, however large these are."""
    m = ids.shape[0]
    taken = torch.zeros(m + 2, dtype=torch.int64, device=ids.device)
    inside = torch.where((ids >= 0) & (ids <= m), ids, m + 1)
    return taken.index_fill(0, inside, 1)[: m + 1].argmin()


class InfoNCELoss(ContrastiveLoss):
    """:func:`ntxent.info_nce_loss` as a module; CLIP's with ``learnable=True, max_scale=100``.

    Shape: ``[N, d]`` and ``[N, d]`` to a 0-d loss.
    """

    function = staticmethod(info_nce_loss)

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        *,
        negatives: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> Tensor:
        return info_nce_loss(x, y, negatives=negatives, ids=ids, scale=self.scale, **self.options)


class MoCoLoss(ContrastiveLoss):
    """InfoNCE of queries against their keys and a queue of the latest earlier keys (MoCo).

    The queue is first in, first out, holds unit rows without gradient, starts with random ones as
    in the paper's code, is saved in the ``state_dict``, and takes the keys of a batch after its
    loss; a batch need not divide its size. In ``eval()`` it stays as it is. Among several processes
    all keep the same queue: at first that of the first rank, then with the keys of all ranks in it.

    Args:
        queue_size: Keys held, K; at least the batch.
        dim: Coordinates of a key.
        temperature: tau > 0.
        **options: As in :class:`ContrastiveLoss`.

    Shape: queries ``[N, d]`` and keys ``[N, d]`` to a 0-d loss.

    >>> import torch
    >>> criterion = MoCoLoss(queue_size=6, dim=4, temperature=0.2)
    >>> loss = criterion(torch.randn(4, 4), torch.randn(4, 4))
    >>> int(criterion.oldest)
    4

    References:
        He et al. 2020 (arXiv 1911.05722).
    """

    function = staticmethod(info_nce_loss)
    fixed = {"shared_negatives": True, "in_batch": False, "symmetric": False}  # noqa: RUF012
    queue: Tensor
    oldest: Tensor

    def __init__(self, queue_size: int, dim: int, temperature: float = 0.2, **options: Any) -> None:
        super().__init__(temperature, **options)
        for name, value in (("queue_size", queue_size), ("dim", dim)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: received {value!r}, expected an integer >= 1")
        self.register_buffer("queue", normalize(torch.randn(queue_size, dim), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))
        self._one_for_all = False

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        # Copies: what autograd saves must not change when keys come in, nor the queue by a call
        # that fails.
        queue, oldest = self.queue.clone(), self.oldest.clone()
        taken = self._keys_of_all_ranks(queries, keys, queue, oldest)
        # Rounding the queue to half precision would cost more than all that follows.
        dtype = torch.promote_types(queries.dtype, self.queue.dtype)
        loss = info_nce_loss(
            queries.to(dtype),
            keys.detach().to(dtype),
            negatives=queue.to(dtype),
            scale=self.scale,
            **self.fixed,
            **self.options,
        )
        if taken is not None:
            every_key, together = taken
            self._take(every_key, queue, oldest, together)
        return loss

    @torch.no_grad()
    def _take(self, keys: Tensor, queue: Tensor, oldest: Tensor, together: bool) -> None:
        """Put the keys of all ranks into the queue. One that is not finite, or was zero, would make
        every loss NaN until it left: what stands in its place stays.
        """
        size, count = len(queue), len(keys)
        rows = (oldest + torch.arange(count, device=keys.device)) % size
        finite = keys.isfinite().all(1, keepdim=True)
        if together and not self._one_for_all:
            self.queue.copy_(queue)
            self._one_for_all = True
        self.queue[rows] = torch.where(finite, keys, queue[rows])
        self.oldest.copy_((oldest + count) % size)

    def _keys_of_all_ranks(
        self, queries: Tensor, keys: Tensor, queue: Tensor, oldest: Tensor
    ) -> tuple[Tensor, bool] | None:
        """Unit rows, and whether there are several ranks; None in evaluation. Where a rank has not
        yet taken over the queue of the first one, ``queue`` becomes that on every rank.
        """
        size, dim = queue.shape
        distributed = self.options.get("distributed", "auto")
        with join(distributed, self.options.get("process_group")) as batch:
            for name, rows in (("queries", queries), ("keys", keys)):
                check_embeddings(name, rows)
            if keys.shape[1] != dim:
                raise ValueError(
                    f"keys: received {keys.shape[1]} coordinates, expected the {dim} of the queue; "
                    "build MoCoLoss with their number as dim"
                )
            facts: dict[str, str | bool | int] = {
                "what is computed": "moco",
                "queue_size": size,
                "dim": dim,
                "dtype of the queue": str(queue.dtype),
                "device": keys.device.type,
                "training": self.training,
            }
            alone = batch.size > 1 and not self._one_for_all
            batch.handshake(len(keys), facts, optional=alone)
            if self.training and batch.samples > size:
                raise ValueError(
                    f"keys: received {batch.samples} rows for a queue of {size}, expected at most "
                    f"{size}; a larger queue_size, or a smaller batch"
                )
            if batch.optional:
                batch.broadcast(queue, oldest)
            if not self.training:
                return None
            keys, norms = with_norms(keys.detach())
            return batch.all_gather((keys / norms).to(queue.dtype)), batch.size > 1
