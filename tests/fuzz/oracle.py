"""The definition of every loss on dense float64 matrices, and how far from it a result may be.

It shares no code with the package. With logits l_ik = scale <x_i, y_k>, candidates C(i) and the
positives' shares w_ik (rows that sum to 1),

    loss_i = log sum over C(i) of exp(l_ik) - sum_k w_ik l_ik .

A logit of size L computed with relative precision eps is off by about eps L. That moves a loss by
as much, and a probability p_ik relatively by as much. So with upstream gradients u_i an entry of
the gradient's matrix is off by eps L |u_i| (p_ik + w_ik), and the gradient of a row by the sum of
those over its partners: SLACK * eps * (L + 1) times what the arithmetic is made of.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cases import EXTREME_IDS, WIDE, Call, Problem

# Products of d terms and sums over thousands of candidates; the largest error of correct code
# that an hour of cases showed was 0.4 of this.
SLACK = 12.0

# Norms and temperatures that must be right; beyond, a refusal will do.
NORMS = (1e-22, 1e19)
TAUS = (2e-3, 1e3)


@dataclass
class Expected:
    """What a call should give, each with what it may differ by; or why it should be refused."""

    must_refuse: list[str] = field(default_factory=list)
    may_refuse: list[str] = field(default_factory=list)
    dtype: torch.dtype = torch.float32
    loss: Tensor | None = None
    losses: Tensor | None = None
    """Of each anchor, without weights."""
    gradients: dict[str, Tensor] = field(default_factory=dict)
    """By name: ``view 0``, ..., ``negatives``, ``scale``, ``weights``."""
    statistics: tuple[Tensor, Tensor] | None = None
    """The mean similarity of positive pairs, and that of rows of different samples."""
    largest: float = 1.0
    """Of |x| |y|."""
    tolerances: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Side:
    """Anchors, their candidates, and who is whose positive."""

    x: Tensor
    y: Tensor
    candidate: Tensor
    share: Tensor
    of_x: list[str]
    """The tensors whose rows, one below another, are ``x``."""
    of_y: list[str]


def unit(rows: Tensor) -> Tensor:
    largest = rows.detach().abs().amax(1, keepdim=True)
    scaled = rows / largest
    return scaled / scaled.square().sum(1, keepdim=True).sqrt()


def same(ids: Tensor) -> Tensor:
    return ids[:, None] == ids


def sides(call: Call, views: list[Tensor], negatives: Tensor | None, ids: Tensor) -> list[Side]:
    """One side, or two for a symmetric InfoNCE."""
    if call.loss in ("nt_xent", "sup_con"):
        z = torch.cat(views)
        v = len(views)
        other = ~torch.eye(len(z), dtype=torch.bool)
        if call.loss == "sup_con":
            positive = same(ids.repeat(v)) & other
            candidate = other
        else:
            positive = same(torch.arange(call.n).repeat(v)) & other
            candidate = positive | ~same(ids.repeat(v))
            candidate = candidate & ~positive if call.decoupled else candidate
        share = positive.to(WIDE) / positive.sum(1, keepdim=True).clamp(min=1)
        names = [f"view {i}" for i in range(v)]
        return [Side(z, z, candidate, share, names, names)]
    x, y = views
    own = torch.eye(call.n, dtype=torch.bool)
    candidate = ~same(ids) if call.in_batch else own & False
    candidate = candidate if call.decoupled else candidate | own
    share = own.to(WIDE)
    back = Side(y, x, candidate, share, ["view 1"], ["view 0"])
    names = ["view 1"]
    if negatives is not None:
        y = torch.cat([y, negatives])
        extra = (0, len(negatives))
        candidate = torch.nn.functional.pad(candidate, extra, value=True)
        share = torch.nn.functional.pad(share, extra)
        names = ["view 1", "negatives"]
    forth = Side(x, y, candidate, share, ["view 0"], names)
    return [forth, back] if call.symmetric else [forth]


def refusals(call: Call, problem: Problem, scale: float) -> tuple[list[str], list[str]]:
    """Why a call must be refused, and why it may be."""
    must, may = [], []
    rows = [*problem.views, *([] if problem.negatives is None else [problem.negatives])]
    values = torch.cat(rows).double()
    norms = values.norm(dim=1)
    if call.bad != "nothing":
        must.append(call.bad)
    if not values.isfinite().all():
        must.append("a row that is not finite")
    elif call.normalize and len(norms) and not norms.all():
        must.append("a row of norm 0")
    elif len(norms) and call.normalize and call.dtype != "float64":
        if norms.min() < NORMS[0] or norms.max() > NORMS[1]:
            may.append("a norm at the end of float32's range")
    elif len(norms) and not call.normalize:
        digits = 52 if call.dtype == "float64" else 23
        if scale * norms.max() ** 2 > 0.99 * 2.0**digits:
            may.append("logits of which rounding leaves nothing")
    if not (scale > 0 and math.isfinite(scale)):
        must.append("the temperature")
    elif not TAUS[0] <= 1 / scale <= TAUS[1]:
        may.append("an extreme temperature")
    if call.ids in EXTREME_IDS or (call.ids == "dtype's ends" and call.ids_dtype == "int64"):
        may.append("ids at the end of int64's range")
    if call.loss == "nt_xent" and call.n < 2:
        must.append("a single sample")
    if call.loss in ("info_nce", "moco"):
        if call.negatives + (call.n - 1 if call.in_batch else 0) < 1 or not call.n:
            must.append("no negative")
        if call.symmetric and not call.in_batch:
            must.append("symmetric without negatives in the batch")
    if problem.weights is not None:
        weights = problem.weights.double()
        if (weights < 0).any() or weights.sum() <= 0 or not weights.isfinite().all():
            may.append("weights that are negative or sum to 0")
        if not problem.weights.is_floating_point():
            may.append("integer weights")
    if call.loss == "sup_con":
        m = call.n * call.views
        ids = problem.ids
        if m < 2 or ids is None or len(ids.unique()) < 2:
            must.append("one class")
        elif call.views == 1 and (ids.unique(return_counts=True)[1] == 1).any():
            if call.missing == "error":
                must.append("an anchor without positives")
            elif (ids.unique(return_counts=True)[1] == 1).all():
                may.append("no anchor with positives")
    return must, may


def define(call: Call, problem: Problem, scale: float, upstream: Tensor | None = None) -> Expected:
    """``scale`` is 1 / temperature; ``upstream`` weighs the anchors of ``reduction="none"``."""
    must, may = refusals(call, problem, scale)
    expected = Expected(must, may, torch.float64 if call.dtype == "float64" else torch.float32)
    if must:
        return expected
    leaves = [view.detach().double().requires_grad_() for view in problem.views]
    extra = problem.negatives
    extra = None if extra is None else extra.detach().double().requires_grad_()
    beta = torch.tensor(scale, dtype=WIDE, requires_grad=True)
    ids = torch.arange(call.n) if problem.ids is None else problem.ids.long()
    prepared = [unit(view) if call.normalize else view for view in leaves]
    more = extra if extra is None or not call.normalize else unit(extra)
    parts = sides(call, prepared, more, ids)

    terms = []
    for side in parts:
        logits = beta * (side.x @ side.y.T)
        lse = logits.masked_fill(~side.candidate, -math.inf).logsumexp(1)
        terms.append((lse - (side.share * logits).sum(1), logits))
    losses = sum(loss for loss, _ in terms) / len(parts)
    counted = parts[0].share.sum(1) > 0
    if not all(side.candidate.any(1).all() for side in parts):
        expected.must_refuse.append("an anchor without candidates")
        return expected
    if not all((side.candidate & (side.share == 0)).any(1).all() for side in parts):
        may.append("an anchor without negatives")
    losses = torch.where(counted, losses, 0.0)

    weights = None if problem.weights is None else problem.weights.detach().double()
    if weights is not None:
        weights.requires_grad_()
    weighted = losses if weights is None else losses * weights
    total = counted.sum() if weights is None else (weights * counted).sum()
    if call.reduction == "mean":
        reduced = weighted.sum() / total if total != 0 else weighted.sum() * 0
    else:
        reduced = weighted.sum() if call.reduction == "sum" else weighted
    if reduced.ndim and upstream is None:  # what was refused before any anchor was counted
        upstream = torch.ones_like(reduced)
    scalar = reduced if reduced.ndim == 0 else (reduced * upstream).sum()

    named = {f"view {i}": leaf for i, leaf in enumerate(leaves)} | {"scale": beta}
    named |= {} if extra is None else {"negatives": extra}
    named |= {} if weights is None else {"weights": weights}
    gradients = torch.autograd.grad(
        scalar, [*named.values(), losses], retain_graph=True, allow_unused=True
    )
    expected.loss, expected.losses = reduced.detach(), losses.detach()
    expected.gradients = {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(named.items(), gradients, strict=False)
    }
    _tolerate(call, expected, parts, terms, named, gradients[-1], weights, counted)
    if call.stats:
        expected.statistics = _statistics(call, parts[0])
    return expected


def _tolerate(call, expected, parts, terms, named, upstream, weights, counted) -> None:
    """How far a result of correct arithmetic in the accumulation dtype may be off."""
    eps = torch.finfo(expected.dtype).eps
    beta = float(named["scale"].detach())
    expected.largest = max(
        float(side.x.detach().norm(dim=1).amax() * side.y.detach().norm(dim=1).amax())
        for side in parts
    )
    relative = (SLACK + call.d / 4) * eps * (beta * expected.largest + 1)
    size = expected.losses.abs()
    one = relative + SLACK * eps * size
    weight = torch.ones_like(one) if weights is None else weights.detach().abs()
    total = float((weight * counted).sum().clamp(min=1e-300))
    # A sum of terms of both signs is off by what its terms are.
    whole = (weight * one).sum()
    sums = {"none": weight * one, "sum": whole, "mean": whole / total}
    tolerances = expected.tolerances
    tolerances |= {"losses": one, "loss": sums[call.reduction]}

    upstream = torch.zeros_like(one) if upstream is None else upstream.abs() / len(parts)
    bounds = {name: torch.zeros(len(leaf), dtype=WIDE) for name, leaf in named.items() if leaf.ndim}
    for_scale = torch.zeros((), dtype=WIDE)
    for side, (_, logits) in zip(parts, terms, strict=True):
        chance = logits.detach().masked_fill(~side.candidate, -math.inf).softmax(1)
        flow = upstream[:, None] * (chance + side.share)
        x, y = side.x.detach().norm(dim=1), side.y.detach().norm(dim=1)
        for_scale += x @ flow @ y
        for names, bound in ((side.of_x, flow @ y), (side.of_y, x @ flow)):
            lengths = [len(bounds[name]) for name in names]
            for name, part in zip(names, bound.split(lengths), strict=True):
                bounds[name] += beta * part
    # Each row's gradient is a product over its partners, added up in the accumulation dtype: equal
    # terms are rounded the same way each time.
    relative += eps * max(max(side.candidate.shape) for side in parts) / 32
    # Below the normal numbers of the accumulation dtype there is no relative precision.
    least = torch.finfo(torch.float64 if call.dtype == "float64" else torch.float32).tiny
    least *= (1 + beta) * max(max(side.candidate.shape) for side in parts)
    for name, bound in bounds.items():
        if name != "weights":
            length = named[name].detach().norm(dim=1) if call.normalize else 1.0
            tolerances[name] = ((relative * bound + least) / length)[:, None]
    tolerances["scale"] = relative * for_scale + least
    if weights is not None:
        own = one + SLACK * eps * size.mean()
        if call.reduction == "mean":
            own = (own + whole / total) / total
        tolerances["weights"] = 2 * own


def _statistics(call: Call, side: Side) -> tuple[Tensor, Tensor]:
    similarity = (side.x @ side.y.T).detach()
    sample = torch.arange(call.n).repeat(call.views)
    own = same(sample)
    positive = side.share > 0
    return similarity[positive].mean(), similarity[~own].mean()
