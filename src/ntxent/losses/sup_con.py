"""The supervised contrastive loss."""

from typing import Literal

import torch
from torch import Tensor

from ntxent.distributed import Mode, join
from ntxent.losses.base import ContrastiveLoss
from ntxent.losses.call import TEMPERATURE, Call, Reduction
from ntxent.losses.checks import check_choice, check_embeddings, check_labels

__all__ = ["SupConLoss", "sup_con_loss"]


def sup_con_loss(
    z: Tensor,
    labels: Tensor,
    *,
    missing: Literal["error", "skip"] = "error",
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
        temperature, scale, reduction, weights, normalize, engine, distributed, process_group,
            check_values: As in :class:`LossOptions`.

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
    with join(distributed, process_group) as batch:
        check_choice("missing", missing, ("error", "skip"))
        check_embeddings("z", z, (2, 3))
        views = z.shape[1] if z.ndim == 3 else 1
        check_labels("labels", labels, z.shape[0], z.device)
        rows = z.flatten(0, 1) if z.ndim == 3 else z
        how = temperature, scale, reduction, weights, normalize, engine, check_values
        call = Call(batch, rows, *how)
        # In the dtype of the loss, in which the gradients of its two parts are added.
        rows = call.unit_rows(*call.norms(["z"], rows)).to(call.scale.dtype)
        call.handshake("sup_con", [rows], z.shape[0], views=views, missing=missing)
        m, first = rows.shape[0], batch.first * views
        if call.anchors < 2 or rows.shape[1] == 0:
            received = [call.anchors, rows.shape[1]]
            raise ValueError(f"z: received {received} in all, expected at least 2 rows and d >= 1")

        everyone = batch.all_gather(labels.long().repeat_interleave(views))
        members = _members(everyone)
        # With as many classes as rows no size depends on the labels, and a graph serves all of
        # them; a message between ranks has those that there are.
        classes = everyone.shape[0] if batch.size == 1 else int(members.amax()) + 1
        size = torch.zeros(classes, dtype=torch.int64, device=z.device)
        positives = size.index_add(0, members, torch.ones_like(members))[members] - 1
        if batch.optional:
            _check_classes(positives, missing, int(members.amax()) + 1)
        member, positives = members[first : first + m], positives[first : first + m]

        anchor = torch.arange(m, device=z.device)
        lse, _ = batch.contrast(rows, None, call.scale, x_ids=first + anchor, **call.how)
        # The sum of a class of equal rows would be rounded the same way at each of them.
        wide = rows if z.device.type == "mps" else rows.double()  # which has no float64
        sums = wide.new_zeros(classes, wide.shape[1]).index_add(0, member, wide)
        others = batch.total(sums)[member] - wide
        with torch.autocast(z.device.type, enabled=False):
            mean_positive = torch.linalg.vecdot(wide, others) / positives.clamp(min=1)
        mean_positive = mean_positive.to(lse.dtype)
        counted = positives > 0
        without = 0.0 if missing == "skip" else torch.nan  # unchecked, it is not to pass unseen
        loss = torch.where(counted, lse - call.scale * mean_positive, without)
        if views > 1:
            loss, counted = (t.view(-1, views).T.flatten() for t in (loss, counted))
        return call.reduce(loss, counted if missing == "skip" else None)


class SupConLoss(ContrastiveLoss):
    """:func:`ntxent.sup_con_loss` as a module.

    Shape: ``[M, d]`` with labels ``[M]``, or ``[N, V, d]`` with labels ``[N]``, to a 0-d loss.
    """

    function = staticmethod(sup_con_loss)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return sup_con_loss(z, labels, scale=self.scale, **self.options)


def _members(labels: Tensor) -> Tensor:
    """``[M]``: of each label its place among those that there are, in ascending order.

    As ``torch.unique(labels, return_inverse=True)[1]``, without a size that depends on the values.
    """
    ascending, order = labels.sort()
    fresh = (
        ascending != ascending.roll(1)
    ).long()  # but for the first, whose neighbour is the last
    return torch.empty_like(labels).scatter(0, order, fresh.cumsum(0) - fresh[:1])


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
