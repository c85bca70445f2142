"""Value and gradient of every engine against the float64 oracle, where float32 is hardest.

The oracle sees the same float32 inputs. An error is measured as its root mean square over seeds: a
single draw of rounding noise says nothing of the method. It may be at most the relative tolerance,
or twice what the usual dense float32 computation errs, or the unit of float32 logits: a logit of
size 1/tau is known to eps/tau, so the loss is; each of the gradient's two terms is a sum over 2N
such rows and known to (sqrt(2N) + 1/tau) eps of Theorem 10's bound on it. (That matters only where
the exact gradient is zero and both computations are pure noise.)
"""

import math

import pytest
import torch
from torch import Tensor

from embeddings import KINDS, views
from ntxent import engines, nt_xent_loss
from ntxent.reference import dense_nt_xent_loss

TEMPERATURES = (0.005, 0.01, 0.05, 0.1, 0.5, 2.0, 10.0)
ENGINES = [e.name for e in engines.status() if e.available and ({"*", "cpu"} & {*e.devices})]


def dense(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """The usual implementation, in the inputs' own dtype."""
    n = len(z1)
    z = torch.nn.functional.normalize(torch.cat([z1, z2]))
    logits = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.arange(2 * n).roll(n))


def value_and_gradient(loss, z1, z2, temperature, dtype):
    z1, z2 = (z.detach().to(dtype).requires_grad_() for z in (z1, z2))
    value = loss(z1, z2, temperature)
    gradient = torch.cat(torch.autograd.grad(value, (z1, z2)))
    return value.detach().double(), gradient.double()


def root_mean_square(errors: list[Tensor]) -> float:
    return math.sqrt(sum(float(e.square().sum()) for e in errors) / len(errors))


def units(loss: Tensor, z1: Tensor, z2: Tensor, temperature: float) -> tuple[float, float]:
    """What float32 logits of size 1/tau leave uncertain of the loss and of its gradient."""
    eps = torch.finfo(torch.float32).eps
    rows = torch.cat([z1, z2]).double().norm(dim=1)
    theorem_10 = 4 / temperature * -math.expm1(-float(loss)) / rows.min() / math.sqrt(len(rows))
    return eps / temperature, float(2 * eps * (math.sqrt(len(rows)) + 1 / temperature) * theorem_10)


def assert_accurate(kind, n, d, temperature, dtype, engine, seeds, relative):
    def ours(z1, z2, temperature):
        return nt_xent_loss(z1, z2, temperature=temperature, engine=engine)

    draws = []
    for seed in range(seeds):
        z1, z2 = (z.to(dtype) for z in views(kind, n, d, seed))
        oracle = value_and_gradient(dense_nt_xent_loss, z1, z2, temperature, torch.float64)
        draws.append(
            (
                oracle,
                value_and_gradient(ours, z1, z2, temperature, dtype),
                value_and_gradient(dense, z1, z2, temperature, dtype),
                units(oracle[0], z1, z2, temperature),
            )
        )
    for part, name in enumerate(("value", "gradient")):
        size = root_mean_square([oracle[part] for oracle, *_ in draws])
        error = root_mean_square([ours[part] - oracle[part] for oracle, ours, *_ in draws])
        usual = root_mean_square([usual[part] - oracle[part] for oracle, _, usual, _ in draws])
        unit = max(units[part] for *_, units in draws)
        smallest = torch.finfo(dtype).tiny
        assert error <= max(relative[part] * size, 2 * usual, unit, smallest), (
            f"{name} at tau={temperature}: error {error:.3g} for {size:.3g}; "
            f"dense {usual:.3g}, unit {unit:.3g}"
        )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 3, 64, 127, 512])
@pytest.mark.parametrize("n", [2, 3, 17, 256, 1000])
def test_float32_is_as_good_as_float32_can_be(n, d, kind, engine):
    seeds = 4 if n < 256 else 1
    for temperature in TEMPERATURES:
        assert_accurate(kind, n, d, temperature, torch.float32, engine, seeds, (1e-6, 1e-5))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "kind", ["random", "collapsed", "antipodal", "aligned_simplex", "clustered"]
)
@pytest.mark.parametrize(("n", "d"), [(3, 2), (17, 127), (256, 64)])
def test_half_precision_errs_at_most_twice_the_dense_computation(n, d, kind, dtype, engine):
    for temperature in (0.01, 0.1, 0.5, 2.0):
        relative = (1e-6, torch.finfo(dtype).eps)
        assert_accurate(kind, n, d, temperature, dtype, engine, 4, relative)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", [2, 17, 300])
def test_collapsed_rows_give_chance_to_the_last_bit(n, engine):
    for temperature in TEMPERATURES:
        z1, z2 = views("collapsed", n, 64)
        loss = nt_xent_loss(z1, z2, temperature=temperature, engine=engine)
        torch.testing.assert_close(loss.item(), math.log(2 * n - 1), rtol=5e-7, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradient_survives_where_the_dense_one_rounds_to_zero(engine):
    """At the floor of tau = 0.05 the loss is 4e-13; 1 - P is below float32's resolution of 1."""
    rng = torch.Generator().manual_seed(0)
    z1, z2 = (z + 1e-3 * torch.randn(3, 8, generator=rng) for z in views("aligned_simplex", 3, 8))
    oracle, usual = (
        value_and_gradient(loss, z1, z2, 0.05, dtype)
        for loss, dtype in ((dense_nt_xent_loss, torch.float64), (dense, torch.float32))
    )
    ours = value_and_gradient(
        lambda a, b, t: nt_xent_loss(a, b, temperature=t, engine=engine),
        z1,
        z2,
        0.05,
        torch.float32,
    )
    assert 0 < float(oracle[0]) < 1e-12
    assert float(usual[0]) == 0
    torch.testing.assert_close(ours[0], oracle[0], rtol=1e-5, atol=0)
    assert (ours[1] - oracle[1]).norm() <= 1e-4 * oracle[1].norm()
