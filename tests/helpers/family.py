"""Every member of the family, one line each, with its definition on dense float64 matrices.

A member is called with blocks of rows and one label a sample. The blocks are V views ``[N, d]`` of
the same N samples and, where a member takes extra negatives, one of those. The definitions share no
code with the package. As masks, they say which candidates k stand in the denominator C(i) of anchor
i, and which are its positives P(i):

    l_i = log sum over k in C(i) of exp(s_ik / tau) - mean over p in P(i) of s_ip / tau.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call

from ntxent import InfoNCELoss, MoCoLoss, NTXentLoss, SupConLoss
from ntxent import info_nce_loss as info_nce
from ntxent import nt_xent_loss as nt_xent
from ntxent import sup_con_loss as sup_con


@dataclass(frozen=True)
class Member:
    loss: Callable[..., Callable[..., Tensor]]
    """``loss(**options)(blocks, labels, temperature=... or scale=...)``."""
    naive: Callable[..., Tensor]
    """``naive(blocks, labels, tau)``: each anchor's loss in the order of ``reduction="none"``, NaN
    for an anchor without positives."""
    views: int = 2
    negatives: bool = False
    """Whether there is a further block."""
    queue: bool = False
    """Among several processes, whether all have the whole of that block."""
    trained: int | None = None
    """How many of the blocks, from the first, get a gradient; None for all."""
    variant: str | None = None
    """The key of ``bounds.VARIANTS`` whose chance is the loss of a collapsed batch."""


# --- definitions ----------------------------------------------------------------------------------


def unit(rows: Tensor) -> Tensor:
    return rows / rows.square().sum(1, keepdim=True).sqrt()


def equal(values: Tensor) -> Tensor:
    return values[:, None] == values


def dense(x, y, positive, candidate, tau):
    logits = unit(x) @ unit(y).T / tau
    lse = logits.masked_fill(~candidate, -torch.inf).logsumexp(1)
    count = positive.sum(1)
    loss = lse - (logits * positive).sum(1) / count.clamp(min=1)
    return loss.masked_fill(count == 0, torch.nan)


def naive_nt_xent(views, labels, tau, decoupled=False, ids=False):
    z, v = torch.cat(views), len(views)
    candidate = ~torch.eye(len(z), dtype=torch.bool)
    positive = equal(torch.arange(len(labels)).repeat(v)) & candidate
    if ids:
        candidate = ~equal(labels.repeat(v)) | positive
    if decoupled:
        candidate = candidate & ~positive
    return dense(z, z, positive, candidate, tau)


def naive_sup_con(views, labels, tau):
    z = torch.cat(views)
    candidate = ~torch.eye(len(z), dtype=torch.bool)
    return dense(z, z, equal(labels.repeat(len(views))) & candidate, candidate, tau)


def naive_info_nce(blocks, labels, tau, symmetric=True, in_batch=True, decoupled=False, ids=False):
    x, y, *more = blocks
    positive = torch.eye(len(x), dtype=torch.bool)
    candidate = ~equal(labels) if ids else ~positive
    candidate = candidate & in_batch if decoupled else candidate & in_batch | positive

    def one_way(x, y, *more):
        wide = torch.nn.functional.pad
        rows = sum(map(len, more))
        candidates = wide(candidate, (0, rows), value=True)
        return dense(x, torch.cat([y, *more]), wide(positive, (0, rows)), candidates, tau)

    forth = one_way(x, y, *more)
    return (forth + one_way(y, x)) / 2 if symmetric else forth


def alone(labels: Tensor) -> Tensor:
    """Every sample of label 0 becomes the only one of its label."""
    return torch.where(labels == 0, -1 - torch.arange(len(labels)), labels)


# --- calls: how a member takes its blocks, and its labels if any ----------------------------------


def separate(blocks):
    return blocks, {}


def stacked(blocks):
    return [torch.stack(blocks, 1)], {}


def halves(blocks):
    return [torch.cat(blocks)], {"layout": "halves"}


def interleaved(blocks):
    return [torch.stack(blocks, 1).flatten(0, 1)], {"layout": "interleaved"}


def extended(blocks):
    return blocks[:2], {"negatives": blocks[2]}


def pair(blocks):
    return blocks[:2], {}


def unlabelled(labels):
    return {}


def as_ids(labels):
    return {"ids": labels}


def as_labels(labels):
    return {"labels": labels}


def as_lonely_labels(labels):
    return {"labels": alone(labels)}


def function(of, form=separate, names=unlabelled, **settings):
    def loss(**options):
        def call(blocks, labels, **temperature):
            rows, named = form(blocks)
            return of(*rows, **named, **names(labels), **settings, **options, **temperature)

        return call

    return loss


def no_state(blocks):
    return {}


def queue(blocks):
    rows = blocks[2].detach()
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    return {"queue": unit(rows), "oldest": torch.tensor(0)}


def module(of, form=separate, names=unlabelled, state=no_state, sizes=(), **settings):
    """A module as a function of the temperature that it learns and of its buffers."""

    def loss(**options):
        built = of(*sizes, learnable=True, **settings, **options)

        def call(blocks, labels, temperature=None, scale=None):
            log_scale = -temperature.log() if scale is None else scale.log()
            rows, named = form(blocks)
            return functional_call(
                built, {"log_scale": log_scale, **state(blocks)}, tuple(rows), named | names(labels)
            )

        return call

    return loss


# --- the table ------------------------------------------------------------------------------------

one_way = partial(naive_info_nce, symmetric=False)
queue_only = partial(naive_info_nce, symmetric=False, in_batch=False)


def naive_lonely(blocks, labels, tau):
    return naive_sup_con(blocks, alone(labels), tau)


MEMBERS = {
    "nt_xent": Member(function(nt_xent), naive_nt_xent, variant="nt_xent"),
    "nt_xent 3 views": Member(function(nt_xent), naive_nt_xent, views=3),
    "nt_xent stacked": Member(function(nt_xent, stacked), naive_nt_xent, views=4),
    "nt_xent halves": Member(function(nt_xent, halves), naive_nt_xent),
    "nt_xent interleaved": Member(function(nt_xent, interleaved), naive_nt_xent),
    "nt_xent decoupled": Member(
        function(nt_xent, decoupled=True), partial(naive_nt_xent, decoupled=True)
    ),
    "nt_xent decoupled 3 views": Member(
        function(nt_xent, decoupled=True), partial(naive_nt_xent, decoupled=True), views=3
    ),
    "nt_xent ids": Member(function(nt_xent, names=as_ids), partial(naive_nt_xent, ids=True)),
    "nt_xent ids 3 views": Member(
        function(nt_xent, names=as_ids), partial(naive_nt_xent, ids=True), views=3
    ),
    "sup_con": Member(function(sup_con, names=as_labels), naive_sup_con, views=1),
    "sup_con stacked": Member(function(sup_con, stacked, as_labels), naive_sup_con),
    "sup_con skip": Member(
        function(sup_con, names=as_lonely_labels, missing="skip"), naive_lonely, views=1
    ),
    "info_nce": Member(function(info_nce), naive_info_nce, variant="clip"),
    "info_nce one way": Member(function(info_nce, symmetric=False), one_way, variant="info_nce"),
    "info_nce negatives": Member(function(info_nce, extended), naive_info_nce, negatives=True),
    "info_nce queue only": Member(
        function(info_nce, extended, in_batch=False, symmetric=False),
        queue_only,
        negatives=True,
        variant="moco",
    ),
    "info_nce ids": Member(function(info_nce, names=as_ids), partial(naive_info_nce, ids=True)),
    "info_nce decoupled": Member(
        function(info_nce, decoupled=True), partial(naive_info_nce, decoupled=True)
    ),
    "NTXentLoss": Member(module(NTXentLoss), naive_nt_xent, variant="nt_xent"),
    "SupConLoss": Member(module(SupConLoss, stacked, as_labels), naive_sup_con),
    "InfoNCELoss": Member(module(InfoNCELoss), naive_info_nce, variant="clip"),
    "MoCoLoss": Member(
        module(MoCoLoss, pair, state=queue, sizes=(1, 1)),
        queue_only,
        negatives=True,
        queue=True,
        trained=1,
        variant="moco",
    ),
}
