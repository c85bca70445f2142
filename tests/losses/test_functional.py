"""nt_xent_loss and its module: reductions, temperature, statistics, laws, and bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from embeddings import views
from ntxent import NTXentLoss, bounds, nt_xent_loss
from ntxent.reference import dense_nt_xent_loss

Z1, Z2 = views("random", 17, 5)


def double(*tensors):
    return [t.detach().double().requires_grad_() for t in tensors]


def test_the_hand_checked_value():
    z = torch.eye(2)
    assert nt_xent_loss(z, z, temperature=0.5).item() == pytest.approx(0.239545, abs=1e-6)


def test_reductions_agree():
    each = nt_xent_loss(Z1, Z2, reduction="none")
    assert each.shape == (34,)
    torch.testing.assert_close(nt_xent_loss(Z1, Z2, reduction="sum"), each.sum())
    torch.testing.assert_close(nt_xent_loss(Z1, Z2), each.mean())


def test_no_reduction_lists_the_anchors_of_z1_first():
    each = nt_xent_loss(Z1, Z2, reduction="none")
    swapped = nt_xent_loss(Z2, Z1, reduction="none")
    torch.testing.assert_close(each, swapped.roll(17), rtol=1e-6, atol=1e-6)
    z = torch.nn.functional.normalize(torch.cat([Z1, Z2]))
    logits = (z @ z.T / 0.5).fill_diagonal_(-torch.inf)
    target = torch.arange(34).roll(17)
    expected = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(each, expected)


@pytest.mark.parametrize("temperature", [0.005, 0.07, 1.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck_in_embeddings_and_temperature(reduction, temperature):
    inputs = double(Z1[:4], Z2[:4], torch.tensor(temperature))

    def f(a, b, t):
        return nt_xent_loss(a, b, temperature=t, reduction=reduction)

    assert torch.autograd.gradcheck(f, inputs)


@pytest.mark.parametrize("temperature", [0.005, 0.05, 0.5, 5.0])
def test_float32_gradient_in_the_temperature(temperature):
    z1, z2 = views("clustered", 50, 16)
    tau = torch.tensor(temperature, requires_grad=True)
    (ours,) = torch.autograd.grad(nt_xent_loss(z1, z2, temperature=tau), tau)
    (tau64,) = double(tau)
    (oracle,) = torch.autograd.grad(dense_nt_xent_loss(z1, z2, tau64), tau64)
    torch.testing.assert_close(ours.double(), oracle, rtol=1e-4, atol=1e-6 / temperature**2)


@pytest.mark.parametrize("temperature", [0.2, torch.tensor(0.2), torch.tensor([0.2]).double()])
def test_a_temperature_is_a_number_or_a_tensor(temperature):
    expected = nt_xent_loss(Z1, Z2, temperature=0.2)
    torch.testing.assert_close(nt_xent_loss(Z1, Z2, temperature=temperature), expected)


def test_without_normalisation_rows_are_used_as_they_are():
    unit = [torch.nn.functional.normalize(z) for z in (Z1, Z2)]
    torch.testing.assert_close(nt_xent_loss(*unit, normalize=False), nt_xent_loss(Z1, Z2))
    zero = torch.zeros(3, 2)
    assert nt_xent_loss(zero, zero, normalize=False).item() == pytest.approx(math.log(5))


def test_half_precision_gives_a_float32_loss_and_half_gradients():
    for dtype in (torch.float16, torch.bfloat16):
        z1, z2 = (z.to(dtype).requires_grad_() for z in (Z1, Z2))
        loss = nt_xent_loss(z1, z2)
        assert loss.dtype == torch.float32
        loss.backward()
        assert z1.grad.dtype == dtype


def test_autocast_leaves_the_loss_alone():
    expected = nt_xent_loss(Z1, Z2, temperature=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(nt_xent_loss(Z1, Z2, temperature=0.05), expected)


def test_a_fake_call_leaves_nothing_to_the_next():
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.ones(13, 5))
        assert nt_xent_loss(fake, fake, check_values=False).shape == ()
    z = torch.ones(13, 5)
    assert nt_xent_loss(z, z).item() == pytest.approx(math.log(25))


def test_statistics_match_the_matrix():
    loss, stats = nt_xent_loss(Z1, Z2, temperature=0.3, return_stats=True)
    z = torch.nn.functional.normalize(torch.cat([Z1, Z2]).double())
    s = z @ z.T
    positive = s.diagonal(17)
    mean_negative = (s.sum() - s.trace() - 2 * positive.sum()) / (34 * 32)
    torch.testing.assert_close(stats.per_anchor.mean(), loss)
    similarities = torch.stack(stats[1:]).double()
    expected = torch.stack([positive.mean(), mean_negative])
    torch.testing.assert_close(similarities, expected, rtol=0, atol=1e-7)
    assert not any(t.requires_grad for t in stats)


def test_statistics_do_not_change_the_gradient():
    (z1,) = double(Z1)
    plain = nt_xent_loss(z1, Z2.double())
    with_stats, _ = nt_xent_loss(z1, Z2.double(), return_stats=True)
    torch.testing.assert_close(*(torch.autograd.grad(loss, z1) for loss in (plain, with_stats)))


def test_module_and_function_agree():
    module = NTXentLoss(0.2, reduction="sum")
    torch.testing.assert_close(
        module(Z1, Z2), nt_xent_loss(Z1, Z2, temperature=0.2, reduction="sum")
    )
    assert repr(module) == "NTXentLoss(temperature=0.2, reduction='sum')"
    assert not list(module.parameters())


def test_a_learnable_temperature_is_trained_and_saved():
    module = NTXentLoss(0.2, learnable=True)
    torch.testing.assert_close(module(Z1, Z2), nt_xent_loss(Z1, Z2, temperature=0.2))
    module(Z1, Z2).backward()
    (log_scale,) = double(module.log_scale)
    oracle = dense_nt_xent_loss(Z1, Z2, log_scale.neg().exp())
    (expected,) = torch.autograd.grad(oracle, log_scale)
    torch.testing.assert_close(module.log_scale.grad.double(), expected, rtol=1e-5, atol=1e-6)
    other = NTXentLoss(0.9, learnable=True)
    other.load_state_dict(module.state_dict())
    assert other.temperature.item() == pytest.approx(0.2)


@settings(max_examples=60)
@given(
    n=st.integers(2, 40),
    d=st.integers(1, 20),
    temperature=st.floats(0.02, 10),
    seed=st.integers(0, 2**20),
)
def test_laws(n, d, temperature, seed):
    rng = torch.Generator().manual_seed(seed)
    z1, z2 = (torch.randn(n, d, generator=rng, dtype=torch.float64) for _ in range(2))
    loss = nt_xent_loss(z1, z2, temperature=temperature)
    close = {"rtol": 1e-10, "atol": 1e-12}

    order = torch.randperm(n, generator=rng)
    permuted = nt_xent_loss(z1[order], z2[order], temperature=temperature)
    torch.testing.assert_close(permuted, loss, **close)
    turn, _ = torch.linalg.qr(torch.randn(d, d, generator=rng, dtype=torch.float64))
    torch.testing.assert_close(
        nt_xent_loss(z1 @ turn, z2 @ turn, temperature=temperature), loss, **close
    )
    lengths = torch.rand(n, 1, generator=rng, dtype=torch.float64) + 0.1
    scaled = nt_xent_loss(z1 * lengths, z2 / lengths, temperature=temperature)
    torch.testing.assert_close(scaled, loss, **close)
    assert bounds.floor(n, temperature) * (1 - 1e-12) <= loss.item()
    assert loss.item() <= bounds.ceiling(n, temperature) * (1 + 1e-12)


# --- bad input: what came, what was expected, what to do ------------------------------------------


def with_row(value, row=3):
    z = Z1.clone()
    z[row] = value
    return z


BAD = [
    ((Z1.numpy(), Z2), {}, TypeError, "z1: received ndarray, expected a torch.Tensor"),
    ((Z1.long(), Z2.long()), {}, TypeError, r"z1: received dtype torch.int64.*z1\.float\(\)"),
    ((Z1, Z2[:5]), {}, ValueError, r"received shapes \[17, 5\] and \[5, 5\], expected equal"),
    ((Z1, Z2[:, :3]), {}, ValueError, r"received shapes \[17, 5\] and \[17, 3\]"),
    ((Z1[0], Z2[0]), {}, ValueError, r"z1: received shape \[5\], expected \[N, d\]"),
    ((Z1[:0], Z2[:0]), {}, ValueError, r"views of shape \[0, 5\].* N >= 2"),
    ((Z1[:1], Z2[:1]), {}, ValueError, r"views of shape \[1, 5\].*no negatives"),
    ((Z1[:, :0], Z2[:, :0]), {}, ValueError, r"views of shape \[17, 0\]"),
    ((Z1, Z2.double()), {}, TypeError, "received dtypes torch.float32 and torch.float64"),
    ((Z1, Z2.to("meta")), {}, ValueError, "received devices cpu and meta"),
    ((with_row(0.0), Z2), {}, ValueError, r"z1: row 3 has zero norm \(1 such"),
    ((Z1, with_row(math.nan)), {}, ValueError, "z2: row 3 has a non-finite value"),
    ((with_row(math.inf, 0), Z2), {}, ValueError, "z1: row 0 has a non-finite value"),
    ((with_row(math.inf), Z2), {"normalize": False}, ValueError, "z1: row 3 has a non-finite"),
    ((Z1, Z2), {"temperature": 0.0}, ValueError, r"temperature: received 0\.0, expected a finite"),
    ((Z1, Z2), {"temperature": -1}, ValueError, "temperature: received -1"),
    ((Z1, Z2), {"temperature": math.nan}, ValueError, "temperature: received nan"),
    ((Z1, Z2), {"temperature": math.inf}, ValueError, "temperature: received inf"),
    ((Z1, Z2), {"temperature": torch.tensor(-0.1)}, ValueError, r"temperature: received -0\.1"),
    (
        (Z1, Z2),
        {"temperature": torch.ones(2)},
        ValueError,
        r"temperature: received a .* shape \[2\]",
    ),
    ((Z1, Z2), {"temperature": torch.tensor(1)}, ValueError, "temperature: received a torch.int64"),
    ((Z1, Z2), {"temperature": "0.5"}, TypeError, "temperature: received str"),
    ((Z1, Z2), {"temperature": True}, TypeError, "temperature: received bool"),
    ((Z1, Z2), {"temprature": 0.1}, TypeError, "unexpected keyword argument 'temprature'"),
    (
        (Z1, Z2),
        {"reduction": "avg"},
        ValueError,
        "reduction: received 'avg', expected one of 'none'",
    ),
    ((Z1, Z2), {"engine": "fast"}, ValueError, "engine: received 'fast', expected one of 'auto'"),
    (
        (Z1, Z2),
        {"distributed": "star"},
        ValueError,
        "distributed: received 'star', expected one of 'auto', 'gather', 'ring', 'local'",
    ),
]


@pytest.mark.parametrize(("views", "options", "error", "message"), BAD)
def test_bad_input_is_refused_with_what_came_and_what_to_do(views, options, error, message):
    with pytest.raises(error, match=message):
        nt_xent_loss(*views, **options)


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan])
def test_a_module_refuses_a_bad_temperature_at_once(temperature):
    with pytest.raises(ValueError, match="temperature: received"):
        NTXentLoss(temperature)


def test_value_checks_can_be_switched_off_and_then_show_as_nan():
    assert nt_xent_loss(with_row(0.0), Z2, check_values=False).isnan()
