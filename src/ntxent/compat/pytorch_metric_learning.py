"""pytorch-metric-learning's ``NTXentLoss`` and the ``SelfSupervisedLoss`` around it.

Write ``from ntxent.compat import pytorch_metric_learning as losses``, or import the two names.
Its NT-Xent is one loss for each positive pair (a, p), whose denominator holds that positive and the
rows of other labels, but no other positive,

    l_ap = log(1 + exp(lse_a - s_ap / tau)),   lse_a = log sum over n of exp(s_an / tau),

and the mean over the pairs. One call of the primitive gives every lse_a; the pairs cost O(pairs d).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ntxent.losses.checks import check_embeddings, check_labels, check_together, checked_scale
from ntxent.primitive import contrast
from ntxent.unit_rows import normalized

__all__ = ["NTXentLoss", "SelfSupervisedLoss"]


class NTXentLoss(nn.Module):
    """Mean over all positive pairs; 0 for a batch without positives or without negatives.

    Args:
        temperature: tau > 0.
        **unsupported: distance, reducer, regularizers: refused.

    Shape: embeddings ``[M, d]`` with integer labels ``[M]``; references ``[K, d]`` with theirs.

    >>> import torch
    >>> z, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
    >>> round(NTXentLoss(temperature=0.5)(z, labels).item(), 6)  # all logits 0: ln 3
    1.098612
    """

    def __init__(self, temperature: float = 0.07, **unsupported: Any) -> None:
        super().__init__()
        checked_scale(temperature, None, torch.float64, torch.device("cpu"), check_value=True)
        if unsupported:
            raise NotImplementedError(
                f"{', '.join(unsupported)}: received with NTXentLoss, expected temperature alone; "
                "only cosine similarity and the mean over the pairs are supported"
            )
        self.temperature = temperature

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: tuple[Tensor, ...] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        if indices_tuple is not None:
            raise NotImplementedError(
                "indices_tuple: received one, expected None: pairs chosen by a miner are not "
                "supported; all pairs that the labels make are used"
            )
        if labels is None or (ref_emb is None) != (ref_labels is None):
            raise ValueError(
                "labels: received none for the embeddings or for ref_emb, expected labels for "
                "each; for two views of the same samples SelfSupervisedLoss makes them"
            )
        check_embeddings("embeddings", embeddings)
        labels = torch.as_tensor(labels, device=embeddings.device)
        check_labels("labels", labels, len(embeddings), embeddings.device)
        if ref_emb is None or ref_labels is None:
            others = labels
        else:
            check_embeddings("ref_emb", ref_emb)
            check_together("embeddings and ref_emb", [embeddings, ref_emb], same_shape=False)
            others = torch.as_tensor(ref_labels, device=ref_emb.device)
            check_labels("ref_labels", others, len(ref_emb), ref_emb.device)

        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        a, p = _equal_pairs(labels, others)
        negatives = len(labels) * len(others) - len(a)
        if others is labels:  # the original's test of whether row i is its own candidate
            a, p = a[a != p], p[a != p]
        # The original also takes a batch of one positive and one negative pair for an empty one.
        if min(len(a), negatives) == 0 or max(len(a), negatives) == 1:
            return (embeddings.to(dtype) * 0).sum()

        check_value = embeddings.device.type == "cpu" and not torch.compiler.is_compiling()
        scale = checked_scale(self.temperature, None, dtype, embeddings.device, check_value)
        x = normalized(embeddings)
        y = None if ref_emb is None else normalized(ref_emb)
        # Each anchor's last positive; one without is not read, and any row stands for it.
        target = torch.zeros_like(labels, dtype=p.dtype).scatter_reduce(0, a, p, "amax")
        x_ids, y_ids = labels.long(), None if y is None else others.long()
        log_odds, _ = contrast(x, y, scale, x_ids=x_ids, y_ids=y_ids, target=target)
        # From the target to positive p, the log-odds change by <x, target - p> / tau: exactly 0
        # where p is the target.
        positives = x if y is None else y
        change = scale * (x[a] * (positives[target[a]] - positives[p])).sum(1)
        return softplus(log_odds[a] + change, threshold=40.0).mean()


def _equal_pairs(labels: Tensor, candidate_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of all pairs of equal labels, without the M x K matrix: each label's candidates are
    one run of the sorted ones.
    """
    ordered, order = candidate_labels.sort(stable=True)
    first = torch.searchsorted(ordered, labels)
    size = torch.searchsorted(ordered, labels, right=True) - first
    a = torch.arange(len(labels), device=labels.device).repeat_interleave(size)
    step = torch.arange(len(a), device=labels.device) - (size.cumsum(0) - size)[a]
    return a, order[first[a] + step]


class SelfSupervisedLoss(nn.Module):
    """An ``NTXentLoss`` whose labels say that row i of every view shows sample i.

    Args:
        loss: An :class:`NTXentLoss` of this module.
        symmetric: Rows of all views are anchors, else those of ``embeddings`` only.

    Shape: two or more views ``[N, d]`` to a 0-d loss.

    >>> import torch
    >>> z = torch.eye(2)
    >>> round(SelfSupervisedLoss(NTXentLoss(temperature=0.5))(z, z).item(), 6)
    0.239545
    """

    def __init__(self, loss: NTXentLoss, symmetric: bool = True) -> None:
        super().__init__()
        if not isinstance(loss, NTXentLoss):
            raise TypeError(
                f"loss: received {type(loss).__name__}, expected the NTXentLoss of "
                "ntxent.compat.pytorch_metric_learning; import both from there"
            )
        self.loss = loss
        self.symmetric = symmetric

    def forward(self, embeddings: Tensor, ref_emb: Tensor, *other_views: Tensor) -> Tensor:
        views = [embeddings, ref_emb, *other_views]
        for view, name in zip(views, ("embeddings", "ref_emb"), strict=False):
            check_embeddings(name, view)
        check_together("embeddings and ref_emb", views)
        sample = torch.arange(len(embeddings), device=embeddings.device)
        if self.symmetric:
            loss: Tensor = self.loss(torch.cat(views), sample.repeat(len(views)))
        else:
            references = torch.cat(views[1:])
            loss = self.loss(
                embeddings, sample, ref_emb=references, ref_labels=sample.repeat(len(views) - 1)
            )
        return loss
