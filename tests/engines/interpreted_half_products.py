"""Half-precision embeddings in the kernels: what rounding their unit rows costs, as a bound.

Run by test_cuda.py as cuda_kernels.py is. With eps the unit roundoff, a rounded unit row is off by
at most eps, a cosine by 2 eps + eps^2, a logit by that over tau: delta. Each anchor's log-odds then
move by at most 2 delta; so does its loss, and so does the logarithm of its loss, because the slope
of log(softplus) is at most 1. Its gradient in the unit rows is sum_k G_ik u_k / (M tau), in which
each weight changes by a factor of at most e^(2 delta).
"""

import math

import pytest
import torch
from benchmarks.gpu.contenders import OURS, PRECISIONS, TEMPERATURE, contenders
from torch.nn.functional import normalize, softplus

from embeddings import views
from ntxent import nt_xent_loss
from ntxent.engines import _triton
from ntxent.engines._triton import blocks

assert _triton.INTERPRETED

N, D = 40, 24  # 80 rows in tiles of 128; cuda_kernels.py has the tilings
KINDS = ("random", "collapsed", "antipodal", "aligned_simplex", "clustered", "trained_like")
TEMPERATURES = (0.01, 0.05, 0.5)
LEAST = 1e-35  # float32 has fewer digits of what is smaller
SCALER = 2.0**12  # without one, float16 holds no gradient of a small loss
UNIT = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def embeddings(kind, dtype):
    if kind == "trained_like":
        rng = torch.Generator().manual_seed(1)
        centres = torch.randn(10, D, generator=rng)[torch.arange(N) % 10]
        pair = [centres + 0.1 * torch.randn(N, D, generator=rng) for _ in range(2)]
    else:
        pair = views(kind, N, D)
    return [z.to(dtype) for z in pair]


def exact(pair, temperature):
    """Each anchor's loss, the gradient of their mean, and sum_k |G_ik| / (M tau |z_i|)."""
    z = torch.cat(pair).double().requires_grad_()
    rows, partner = torch.arange(2 * N), torch.arange(2 * N).roll(N)
    logits = normalize(z) @ normalize(z).T / temperature
    negative = rows[:, None] % N != rows % N
    odds = logits - logits[rows, partner][:, None]
    loss = softplus(odds.masked_fill(~negative, -math.inf).logsumexp(1), threshold=1e3)
    (gradient,) = torch.autograd.grad(loss.mean(), z)
    wrong = -torch.expm1(-loss.detach())
    share = (logits.masked_fill(~negative, -math.inf).detach()).softmax(1) * wrong[:, None]
    weight = (share + share.T).sum(1) + wrong + wrong[partner]
    return loss.detach(), gradient, weight / (2 * N * temperature * z.detach().norm(dim=1))


def solved(pair, temperature, engine):
    pair = [z.clone().requires_grad_() for z in pair]
    loss = nt_xent_loss(*pair, temperature=temperature, engine=engine, reduction="none")
    gradient = torch.cat(torch.autograd.grad(SCALER * loss.mean(), pair))
    return loss.detach().double(), gradient.double() / SCALER


@pytest.mark.parametrize(
    ("dtype", "engine"),
    [(torch.bfloat16, "cuda"), (torch.float16, "cuda"), (torch.bfloat16, "cuda_atomic")],
)
@pytest.mark.parametrize("kind", KINDS)
def test_rounding_costs_no_more_than_the_bound(kind, dtype, engine, monkeypatch):
    multiplied = []
    way = blocks.products
    monkeypatch.setattr(blocks, "products", lambda x: multiplied.append(x.dtype) or way(x))
    pair, eps = embeddings(kind, dtype), UNIT[dtype]
    for temperature in TEMPERATURES:
        expected, oracle, weight = exact(pair, temperature)
        loss, gradient = solved(pair, temperature, engine)
        delta = (2 * eps + eps**2 + math.sqrt(D) * 2.0**-24) / temperature
        assert (loss >= 0).all()
        assert ((loss - expected).abs() <= 2 * delta + 1e-6).all()
        seen = expected > LEAST
        assert seen.any()
        assert ((loss / expected)[seen].log().abs() <= 2 * delta + 1e-5).all()
        # Rounded: the rows, the direction that the norm takes out, weights, gradient handed over.
        allowed = (math.expm1(2 * delta) + 6 * eps) * weight
        error = (gradient - oracle).norm(dim=1)
        limits = torch.finfo(dtype)
        least = math.sqrt(D) * limits.tiny * limits.eps / SCALER + LEAST
        assert (error <= allowed + least).all()
        length = oracle.norm(dim=1)
        assert (gradient.norm(dim=1)[(length > 1e-10 * weight) & (length > 2 * least)] > 0).all()
    assert set(multiplied) == {dtype}


@pytest.mark.parametrize("dtype", UNIT)
def test_collapsed_rows_still_give_chance(dtype):
    """All logits are 1 / tau; an anchor's target and its candidates may be rounded apart."""
    temperature = 0.01
    loss, gradient = solved(embeddings("collapsed", dtype), temperature, "cuda")
    chance = torch.full_like(loss, math.log(2 * N - 1))
    torch.testing.assert_close(loss, chance, rtol=5e-7, atol=2 * 2.0**-24 / temperature)
    assert gradient.abs().max() <= 1e-5


def test_components_that_float16_lacks_and_rows_near_its_end():
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(N, D, generator=rng)
    rows[:, 0] *= 1e9  # beside it, the others are below 2^-24, the least number of float16
    long = 6e4 * rows / rows.abs().amax(1, keepdim=True)
    z = torch.where(torch.arange(N)[:, None] % 2 == 0, long, torch.randn(N, D, generator=rng))
    loss, gradient = solved([z.half(), z.half()], 0.05, "cuda")
    assert loss.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient.norm() > 0


@pytest.mark.parametrize("family", ["nt_xent", "info_nce"])
def test_the_benchmark_measures_products_of_that_precision(family, monkeypatch):
    """On bfloat16 views ours multiply bfloat16 rows, and what is compared is the same loss."""
    multiplied = []
    way = blocks.products
    monkeypatch.setattr(blocks, "products", lambda x: multiplied.append(x.dtype) or way(x))
    dtype, _ = PRECISIONS["bf16"]
    makers = contenders(family, None)
    losses = {}
    for name in (*OURS, "dense eager"):
        pair = [z.requires_grad_() for z in embeddings("random", dtype)]
        loss = makers[name]()(*pair)
        loss.backward()
        assert all(z.grad.dtype == dtype and z.grad.isfinite().all() for z in pair)
        losses[name] = float(loss)
    assert set(multiplied) == {torch.bfloat16}
    # The bound above, and the dense one's logits and mean in bfloat16.
    within = 2 * 2 * UNIT[dtype] / TEMPERATURE + UNIT[dtype] * losses["ntxent, tiled"]
    assert losses == pytest.approx(dict.fromkeys(losses, losses["ntxent, tiled"]), abs=within)
