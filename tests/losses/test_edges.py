"""The ends of what is accepted: temperatures, ids, lengths of rows, transforms."""

import math

import pytest
import torch
from torch import nn

from family import MEMBERS
from inputs import classes, leaves, mean, random, tau
from ntxent import InfoNCELoss, MoCoLoss, NTXentLoss, info_nce_loss, nt_xent_loss
from ntxent.compat import lightly, pytorch_metric_learning
from ntxent.measures import unit_rows
from ntxent.reference import dense_nt_xent_loss

Z1, Z2, Z3 = torch.randn(3, 9, 5, generator=torch.Generator().manual_seed(0))
SCALES = {torch.float32: (2.0**-63, 2.0**23), torch.float64: (2.0**-511, 2.0**52)}


# --- temperatures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "end"), [(t, end) for t, ends in SCALES.items() for end in ends])
@pytest.mark.parametrize("name", ["temperature", "scale"])
def test_value_and_gradients_are_finite_at_the_ends_of_the_range(name, end, dtype):
    z1, z2 = (z.to(dtype, copy=True).requires_grad_() for z in (Z1, Z2))
    given = end if name == "scale" else 1 / end
    value = torch.tensor(given, dtype=dtype, requires_grad=True)
    loss = nt_xent_loss(z1, z2, **{name: value})
    gradients = torch.autograd.grad(loss, [z1, z2, value])
    assert all(found.isfinite().all() for found in (loss, *gradients))
    wide = value.detach().double() if name == "temperature" else 1 / value.detach().double()
    wide.requires_grad_()
    exact = dense_nt_xent_loss(Z1, Z2, wide)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    (slope,) = torch.autograd.grad(exact, wide)
    if name == "scale":
        slope *= -(wide.detach() ** 2)
    assert gradients[2].item() == pytest.approx(slope.item(), rel=1e-2)


BEYOND = [1e-38, 1e-39, 1e-20, 1e19]


@pytest.mark.parametrize("value", [*BEYOND, 10**400, *(torch.tensor(x).double() for x in BEYOND)])
@pytest.mark.parametrize(
    ("name", "span"),
    [("temperature", r"1\.2e-07 to 9\.2e\+18"), ("scale", r"1\.1e-19 to 8\.4e\+06")],
)
def test_beyond_the_range_a_temperature_is_refused_with_the_range(name, span, value):
    message = rf"{name}: received .*, expected a number from {span}, which float32 logits carry"
    with pytest.raises(ValueError, match=message):
        nt_xent_loss(Z1, Z2, **{name: value})


def test_float64_rows_carry_a_temperature_that_float32_rows_do_not():
    loss = nt_xent_loss(Z1.double(), Z2.double(), temperature=1e-9)
    exact = dense_nt_xent_loss(Z1, Z2, 1e-9)
    torch.testing.assert_close(loss, exact)


def test_a_learnt_temperature_that_left_the_range_is_refused():
    criterion = NTXentLoss(0.1, learnable=True)
    with torch.no_grad():
        criterion.log_scale.fill_(20.0)
    with pytest.raises(ValueError, match=r"scale: received 4851.*, expected a number from"):
        criterion(Z1, Z2)


@pytest.mark.parametrize("loss", [NTXentLoss, InfoNCELoss, lambda t: MoCoLoss(8, 5, t)])
@pytest.mark.parametrize("temperature", [nn.Parameter(torch.tensor(0.1)), torch.tensor(0.1)])
def test_a_module_says_how_a_tensor_becomes_its_temperature(loss, temperature):
    with pytest.raises(TypeError, match=r"temperature: received a .*learnable=True trains it"):
        loss(temperature)


def test_a_largest_scale_that_is_none_is_refused():
    with pytest.raises(ValueError, match="max_scale: received -1, expected a number > 0"):
        NTXentLoss(0.1, learnable=True, max_scale=-1)


def test_a_half_precision_module_takes_its_temperature_from_its_parameter_without_more_rounding():
    criterion = NTXentLoss(0.07, learnable=True).to(torch.bfloat16)
    exact = criterion.log_scale.detach().double().exp()
    torch.testing.assert_close(criterion.scale.detach().double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("temperature", [nn.Parameter(torch.tensor(0.1)), torch.tensor(0.1)])
@pytest.mark.parametrize("loss", [lightly.NTXentLoss, pytorch_metric_learning.NTXentLoss])
def test_a_parameter_as_another_librarys_temperature_trains_step_after_step(loss, temperature):
    criterion, trained = loss(temperature), isinstance(temperature, nn.Parameter)
    arguments = (Z1, Z2) if loss is lightly.NTXentLoss else (Z1, classes(9))
    for _ in range(2):
        z = arguments[0].clone().requires_grad_()
        criterion(z, arguments[1]).backward()
        assert z.grad.any()
    assert [p is temperature for p in criterion.parameters()] == [True] * trained


@pytest.mark.parametrize("temperature", [1e-10, torch.tensor(1e-10)])
def test_another_librarys_temperature_is_refused_in_float32_alike(temperature):
    criterion = pytorch_metric_learning.NTXentLoss(temperature)
    with pytest.raises(ValueError, match=r"temperature: received .* from 1\.2e-07"):
        criterion(Z1, classes(9))


# --- ids ------------------------------------------------------------------------------------------

LOW, HIGH = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
EXTREME = {
    "both ends": [LOW, HIGH, 0, 1, LOW, HIGH, -1, 2, 3],
    "all lowest": [LOW] * 8 + [0],
    "all highest": [HIGH] * 8 + [HIGH - 1],
    "small": [0, 1, 2, 3, 4, 5, 6, 7, 8],
}


@pytest.mark.parametrize("ids", EXTREME.values(), ids=EXTREME)
@pytest.mark.parametrize("name", ["info_nce ids", "nt_xent ids", "nt_xent ids 3 views"])
def test_ids_at_the_ends_of_int64_are_ids_as_any_other(name, ids):
    member, ids = MEMBERS[name], torch.tensor(ids)
    blocks = random(member, 9, 5)
    losses = member.loss(reduction="none")(blocks, ids, temperature=tau(0.1))
    torch.testing.assert_close(losses, member.naive(blocks, ids, 0.1))


@pytest.mark.parametrize("ids", EXTREME.values(), ids=EXTREME)
@pytest.mark.parametrize("symmetric", [False, True])
def test_further_negatives_share_no_id_with_a_sample(ids, symmetric):
    """Equal rows: the loss counts the candidates."""
    ids = torch.tensor(ids)
    rows = torch.ones(9, 5)
    options = {"ids": ids, "symmetric": symmetric, "reduction": "none"}
    losses = info_nce_loss(rows, rows, negatives=torch.ones(4, 5), **options)
    others = (ids[:, None] != ids).sum(1).double()
    expected = (others + 5).log()
    if symmetric:
        expected = (expected + (others + 1).log()) / 2
    torch.testing.assert_close(losses.double(), expected, rtol=1e-6, atol=1e-6)


# --- lengths of rows ------------------------------------------------------------------------------

LENGTHS = {
    torch.float32: [1e-44, 1e-40, 1e-30, 1e-22, 1e-19, 1e19, 1e25, 1e37],
    torch.bfloat16: [1e-38, 1e-22, 1e19, 1e37],
    torch.float64: [1e-320, 1e-300, 1e-162, 1e154, 1e300],
}
CASES = [(dtype, length) for dtype, lengths in LENGTHS.items() for length in lengths]
NAMES = ["nt_xent", "nt_xent 3 views", "sup_con", "info_nce negatives", "info_nce queue only"]


def lengthened(member, dtype, length):
    """Every other row of that length, the others of length 1."""
    blocks = random(member, 9, 5)
    for block in blocks:
        block[::2] *= length
    return [block.to(dtype) for block in blocks]


@pytest.mark.parametrize(("dtype", "length"), CASES)
@pytest.mark.parametrize("name", NAMES)
def test_rows_of_any_length_have_the_value_and_gradient_of_the_definition(name, dtype, length):
    member = MEMBERS[name]
    # The same directions at length 1, from what the dtype holds of them; a gradient goes by 1/|z|.
    blocks = lengthened(member, dtype, length)
    peaks = [b.double().abs().amax(1, keepdim=True) for b in blocks]
    exact = [b.double() / peak for b, peak in zip(blocks, peaks, strict=True)]
    inputs = leaves(member, exact)
    expected = mean(member.naive(exact, classes(9), 0.1))
    oracle = torch.autograd.grad(expected, inputs)
    inputs = leaves(member, blocks)
    loss = member.loss()(
        blocks, classes(9), temperature=tau(0.1, torch.promote_types(dtype, torch.float32))
    )
    gradients = torch.autograd.grad(loss, inputs)
    close = 1e-12 if dtype == torch.float64 else 2e-6
    assert loss.item() == pytest.approx(expected.item(), rel=close)
    for ours, theirs, peak in zip(gradients, oracle, peaks, strict=False):
        size = float(theirs.norm())
        theirs = theirs / peak
        info = torch.finfo(dtype)
        # Where the exact one is an ordinary number of the dtype.
        ordinary = (theirs.abs() < info.max) & (theirs.norm(dim=1, keepdim=True) > 1e3 * info.tiny)
        error = ((ours.double() - theirs) * peak)[ordinary]
        assert ordinary.any()
        assert error.norm() <= max(info.eps, 10 * close) * size


@pytest.mark.parametrize("length", [1e-30, 1e19])
def test_under_a_compiler_too(length):
    torch._dynamo.reset()
    member = MEMBERS["nt_xent"]
    blocks = lengthened(member, torch.float32, length)
    expected = nt_xent_loss(*blocks, temperature=0.1)
    compiled = torch.compile(nt_xent_loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*blocks, temperature=0.1), expected)


def test_usual_rows_are_not_multiplied():
    """A power of two rounds nothing: the bits are those of the plain formula."""
    for length in (2.0**-40, 1.0, 2.0**35):
        z = Z1 * length
        plain = z / torch.linalg.vector_norm(z, dim=1, keepdim=True)
        again = nt_xent_loss(plain, Z2, normalize=False, check_values=False)
        assert again.isfinite()
        scaled = nt_xent_loss(z, Z2)
        assert torch.equal(scaled, nt_xent_loss(Z1, Z2))


@pytest.mark.parametrize("value", [0.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("length", [1e-30, 1.0, 1e25])
def test_zero_and_non_finite_rows_are_refused_beside_rows_of_any_length(value, length):
    z = Z1 * length
    z[3] = value
    with pytest.raises(ValueError, match=r"z1: row 3 has .*\(1 such rows in all\)"):
        nt_xent_loss(z, Z2)
    assert nt_xent_loss(z, Z2, check_values=False).isnan()


@pytest.mark.parametrize(("dtype", "length"), CASES)
def test_measures_take_rows_of_any_length(dtype, length):
    z = (Z1.double() * length).to(dtype)
    exact = z.double() / z.double().abs().amax(1, keepdim=True)
    exact = exact / exact.norm(dim=1, keepdim=True)
    close = 1e-14 if dtype == torch.float64 else 1e-7
    torch.testing.assert_close(unit_rows(z).double(), exact, rtol=0, atol=close)


@pytest.mark.parametrize("length", [1e-44, 1e-30, 1e-14, 1e19, 1e37])
def test_other_libraries_losses_take_rows_of_any_length(length):
    pairs = pytorch_metric_learning.NTXentLoss(0.1)
    z, labels = (Z1.double() * length).float(), classes(9)
    exact = z.double() / z.double().abs().amax(1, keepdim=True)
    assert pairs(z, labels).item() == pytest.approx(pairs(exact, labels).item(), rel=1e-5)
    values = []
    for rows in (z, exact.float()):
        torch.manual_seed(0)
        values.append(lightly.NTXentLoss(0.1, (8, 5))(rows, rows).item())
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_keys_of_any_length_come_into_the_queue_as_unit_rows():
    criterion = MoCoLoss(queue_size=18, dim=5)
    criterion(Z1, Z2 * 1e-30)
    criterion(Z1, Z2 * 1e25)
    unit = nn.functional.normalize(Z2)
    torch.testing.assert_close(criterion.queue, torch.cat([unit, unit]))


# --- transforms -----------------------------------------------------------------------------------


def loss(z1, z2, temperature=0.5, **options):
    return nt_xent_loss(z1, z2, temperature=temperature, **options)


TRANSFORMS = {
    "vmap": lambda f: torch.vmap(f)(torch.stack([Z1, Z3]), torch.stack([Z2, Z1])),
    "vmap over the temperature": lambda f: torch.vmap(lambda t: f(Z1, Z2, t))(torch.rand(3)),
    "vmap of a gradient": lambda f: torch.vmap(torch.func.grad(f), (0, None))(
        torch.stack([Z1, Z3]), Z2
    ),
    "jacrev": lambda f: torch.func.jacrev(f)(Z1, Z2),
    "jacfwd": lambda f: torch.func.jacfwd(f)(Z1, Z2),
    "jvp": lambda f: torch.func.jvp(f, (Z1, Z2), (Z2, Z1)),
    "hessian": lambda f: torch.func.hessian(f)(Z1, Z2),
    "hessian of autograd": lambda f: torch.autograd.functional.hessian(f, (Z1, Z2)),
    "gradient of a gradient": lambda f: torch.func.grad(
        lambda z: torch.func.grad(f)(z, Z2).square().sum()
    )(Z1),
}


@pytest.mark.parametrize("check_values", [None, False])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_that_the_loss_lacks_says_what_has_it(name, check_values):
    def ours(*arguments):
        return loss(*arguments, check_values=check_values)

    with pytest.raises(RuntimeError, match=r"ntxent: .*use ntxent\.reference\.dense_nt_xent_loss"):
        TRANSFORMS[name](ours)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_dense_reference_has_every_transform_that_the_loss_lacks(name):
    def dense(z1, z2, temperature=0.5):
        return dense_nt_xent_loss(z1, z2, temperature)

    assert TRANSFORMS[name](dense) is not None
