"""One harness for every member of the family; a new member is one line in family.MEMBERS."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from family import MEMBERS
from inputs import HARD, classes, hard, leaves, mean, random, tau, trained_like
from ntxent import MoCoLoss, bounds, info_nce_loss, nt_xent_loss, sup_con_loss

SIZES = [(4, 1), (5, 3), (17, 5), (150, 16)]
TEMPERATURES = (0.005, 0.05, 0.5, 10.0)
DOUBLE = {"dtype": torch.float64}


@pytest.fixture(params=MEMBERS)
def member(request):
    return MEMBERS[request.param]


def value_and_gradient(call, blocks, labels, trained, t):
    loss = call(blocks, labels, temperature=t)
    return loss, *torch.autograd.grad(loss, [*trained, t])


# --- value and gradient ---------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_value_and_gradient_are_those_of_the_definition(member, n, d, temperature):
    blocks, labels, t = random(member, n, d), classes(n), tau(temperature)
    inputs = [*leaves(member, blocks), t]
    expected = member.naive(blocks, labels, t)
    ours = member.loss(reduction="none")(blocks, labels, temperature=t)
    torch.testing.assert_close(ours, expected.nan_to_num(), rtol=1e-11, atol=1e-11 / temperature)

    reduced = member.loss()(blocks, labels, temperature=t)
    torch.testing.assert_close(reduced, mean(expected), rtol=1e-11, atol=1e-11 / temperature)
    gradients, expected = (torch.autograd.grad(loss, inputs) for loss in (reduced, mean(expected)))
    for gradient, exact in zip(gradients, expected, strict=True):
        size = float(exact.abs().max())
        torch.testing.assert_close(gradient, exact, rtol=1e-9, atol=1e-9 * size + 1e-9)


@pytest.mark.parametrize("inverse", [False, True], ids=["temperature", "scale"])
def test_gradcheck(member, inverse):
    blocks, labels = random(member, 4, 3), classes(4)
    parameter = tau(5.0 if inverse else 0.2)
    trained = leaves(member, blocks)
    rest = blocks[len(trained) :]
    call = member.loss()

    def f(parameter, *trained):
        named = {"scale" if inverse else "temperature": parameter}
        return call([*trained, *rest], labels, **named)

    assert torch.autograd.gradcheck(f, (parameter, *trained))


def test_scale_is_the_inverse_temperature(member):
    blocks, labels = random(member, 5, 3), classes(5)
    call = member.loss()
    torch.testing.assert_close(
        call(blocks, labels, scale=tau(5.0)), call(blocks, labels, temperature=tau(0.2))
    )


# --- laws -----------------------------------------------------------------------------------------


def each(member, blocks, labels, temperature=0.1):
    """Losses ``[V, N]``; one row where only one view's rows are anchors."""
    losses = member.loss(reduction="none")(blocks, labels, temperature=tau(temperature))
    return losses.detach().view(-1, len(labels))


def test_permuting_the_samples_permutes_the_losses(member):
    blocks, labels = random(member, 17, 5), classes(17)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(1))
    samples, negatives = blocks[: member.views], blocks[member.views :]
    permuted = [block[order] for block in samples] + [block.flip(0) for block in negatives]
    torch.testing.assert_close(
        each(member, permuted, labels[order]), each(member, blocks, labels)[:, order]
    )


def test_rotation_and_length_of_rows_do_not_matter(member):
    blocks, labels = random(member, 17, 5), classes(17)
    rng = torch.Generator().manual_seed(1)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, generator=rng, **DOUBLE))
    turned = [
        block @ turn * (torch.rand(len(block), 1, generator=rng, **DOUBLE) + 0.1)
        for block in blocks
    ]
    torch.testing.assert_close(each(member, turned, labels), each(member, blocks, labels))


CHANCE = [name for name, member in MEMBERS.items() if member.variant]


@pytest.mark.parametrize("name", CHANCE)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_collapsed_rows_give_chance(name, temperature):
    member, n = MEMBERS[name], 17
    blocks = [torch.ones(len(b), 5) for b in random(member, n, 5)]
    loss = member.loss()(blocks, classes(n), temperature=torch.tensor(temperature))
    queue = n + 3 if bounds.VARIANTS[member.variant].queued else None
    chance = bounds.limits(member.variant, n, temperature, queue=queue).chance
    # A row that is normalised twice, as a queue's, has a cosine of 1 to within eps.
    eps = torch.finfo(torch.float32).eps
    torch.testing.assert_close(loss.item(), chance, rtol=5e-7, atol=eps / temperature)


# --- reduction and weights ------------------------------------------------------------------------


def test_reductions_and_weights(member):
    blocks, labels, t = random(member, 17, 5), classes(17), tau(0.1)

    def reduced(**options):
        return member.loss(**options)(blocks, labels, temperature=t)

    losses = reduced(reduction="none")
    counted = ~member.naive(blocks, labels, 0.1).isnan()
    torch.testing.assert_close(reduced(reduction="sum"), losses.sum())
    torch.testing.assert_close(reduced(), losses[counted].mean())

    weights = torch.rand(len(losses), generator=torch.Generator().manual_seed(1), **DOUBLE)
    weighted = losses * weights
    torch.testing.assert_close(reduced(reduction="none", weights=weights), weighted)
    torch.testing.assert_close(reduced(reduction="sum", weights=weights), weighted.sum())
    torch.testing.assert_close(reduced(weights=weights), weighted.sum() / weights[counted].sum())
    torch.testing.assert_close(reduced(weights=torch.full_like(weights, 3.0)), reduced())


# --- precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", HARD)
def test_half_precision_keeps_value_and_gradient(member, kind, dtype):
    """At tau = 0.01 the probability of an antipodal positive is exp(-200): 0 in float32."""
    blocks = [block.to(dtype) for block in hard(kind, member, 40, 16)]
    labels = classes(40)
    exact = [block.double() for block in blocks]
    inputs = leaves(member, exact)
    expected = mean(member.naive(exact, labels, 0.01))
    oracle = torch.cat(torch.autograd.grad(expected, inputs))

    inputs = leaves(member, blocks)
    loss = member.loss()(blocks, labels, temperature=tau(0.01))
    gradient = torch.cat(torch.autograd.grad(loss, inputs)).double()
    assert loss.dtype == torch.float32
    # Float32 logits of size 1 / tau are known to eps / tau, the gradient to its rounding to half.
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    assert float(oracle.norm()) > 0
    assert (gradient - oracle).norm() <= torch.finfo(dtype).eps * oracle.norm()


@pytest.mark.parametrize("backward_inside", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing_after_the_encoder(member, dtype, backward_inside):
    blocks, labels = hard(trained_like, member, 40, 16), classes(40)
    inputs, t = leaves(member, blocks), tau(0.05, torch.float32)
    expected = value_and_gradient(member.loss(), blocks, labels, inputs, t)
    with torch.autocast("cpu", dtype):
        loss = member.loss()(blocks, labels, temperature=t)
    with torch.autocast("cpu", dtype, enabled=backward_inside):
        gradient = torch.autograd.grad(loss, [*inputs, t])
    torch.testing.assert_close((loss, *gradient), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", HARD)
def test_a_training_step_under_autocast_with_a_scaler(member, kind, dtype):
    torch.manual_seed(0)
    encoder = torch.nn.Linear(16, 8)
    before = encoder.weight.detach().clone()
    blocks, labels = hard(kind, member, 40, 16), classes(40)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    with torch.autocast("cpu", dtype):
        rows = [encoder(block) for block in blocks]
        loss = member.loss()(rows, labels, temperature=torch.tensor(0.01))
    assert rows[0].dtype == dtype
    assert loss.isfinite()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert encoder.weight.isfinite().all()
    assert not torch.equal(encoder.weight, before)


# --- composition ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_compiles_to_one_graph(member):
    torch._dynamo.reset()
    blocks, labels, t = random(member, 9, 5, torch.float32), classes(9), tau(0.2, torch.float32)
    trained = leaves(member, blocks)
    call = member.loss()
    expected = value_and_gradient(call, blocks, labels, trained, t)
    compiled = torch.compile(call, fullgraph=True)
    torch.testing.assert_close(value_and_gradient(compiled, blocks, labels, trained, t), expected)


def test_function_transforms(member):
    blocks, labels, t = random(member, 9, 5), classes(9), tau(0.2)
    call = member.loss()
    trained = leaves(member, blocks)
    rest = blocks[len(trained) :]
    expected = value_and_gradient(call, blocks, labels, trained, t)

    def f(trained, t):
        return call([*trained, *rest], labels, temperature=t)

    gradient, value = torch.func.grad_and_value(f, argnums=(0, 1))(trained, t)
    torch.testing.assert_close((value, *gradient[0], gradient[1]), expected)


def test_activation_checkpointing(member):
    blocks, labels, t = random(member, 9, 5), classes(9), tau(0.2)
    call, trained = member.loss(), leaves(member, blocks)
    expected = value_and_gradient(call, blocks, labels, trained, t)

    def recomputed(blocks, labels, temperature):
        return checkpoint(call, blocks, labels, temperature=temperature, use_reentrant=False)

    torch.testing.assert_close(value_and_gradient(recomputed, blocks, labels, trained, t), expected)


def test_a_double_backward_is_refused(member):
    blocks, labels = random(member, 9, 5), classes(9)
    trained = leaves(member, blocks)
    loss = member.loss()(blocks, labels, temperature=tau(0.2))
    (gradient, *_) = torch.autograd.grad(loss, trained, create_graph=True)
    with pytest.raises(RuntimeError, match=r"second derivative.*dense_nt_xent_loss"):
        gradient.sum().backward()


# --- memory ---------------------------------------------------------------------------------------

MEASURE = """
import json, sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
from family import MEMBERS
from inputs import HARD, classes, hard, leaves, mean, random, tau, trained_like

def peak(member, n):  # bytes above what stood before the step
    blocks = random(member, n, 16, torch.float32)
    trained, labels, t = leaves(member, blocks), classes(n), tau(0.1, torch.float32)
    Path("/proc/self/clear_refs").write_text("5")
    status = lambda: dict(l.split(":") for l in Path("/proc/self/status").read_text().splitlines())
    before = int(status()["VmHWM"].split()[0])
    torch.autograd.grad(member.loss()(blocks, labels, temperature=t), trained)
    return 1024 * (int(status()["VmHWM"].split()[0]) - before)

torch.set_num_threads(1)
peaks = {{}}
for name, member in MEMBERS.items():
    peak(member, 16)
    peaks[name] = [peak(member, n) for n in (1000, 4000)]
print(json.dumps(peaks))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from /proc")
def test_memory_grows_with_the_rows_and_not_with_their_square():
    """A similarity matrix of the 8,000 rows of two views alone takes 256 MB."""
    script = MEASURE.format(tests=str(Path(__file__).parents[1] / "helpers"))
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    peaks = json.loads(out.stdout.splitlines()[-1])
    assert max(large for _, large in peaks.values()) < 32e6, peaks


# --- bad input: what came, what was expected, what to do ------------------------------------------

Z = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
X, Y, _ = Z
PAIRS = torch.arange(6) // 2
BAD = {
    "labels too short": (
        lambda: sup_con_loss(X, PAIRS[:5]),
        r"labels: received shape \[5\], expected \[6\], one a sample",
    ),
    "labels of rows for samples": (
        lambda: sup_con_loss(Z, PAIRS),
        r"labels: received shape \[6\], expected \[3\], one a sample",
    ),
    "labels not integers": (
        lambda: sup_con_loss(X, PAIRS.float()),
        r"labels: received torch.float32, expected an integer tensor; convert with \.long\(\)",
    ),
    "labels not a tensor": (
        lambda: sup_con_loss(X, [0, 0, 1, 1, 2, 2]),
        r"labels: received list, expected an integer tensor",
    ),
    "one class": (
        lambda: sup_con_loss(X, PAIRS * 0),
        r"labels: received one class only, expected two or more: no row is a negative",
    ),
    "an anchor without positives": (
        lambda: sup_con_loss(X, torch.tensor([0, 0, 1, 1, 2, 3])),
        r'labels: row 4 is the only one .*\(2 such rows\), expected a positive.*missing="skip"',
    ),
    "missing unknown": (
        lambda: sup_con_loss(X, PAIRS, missing="ignore"),
        r"missing: received 'ignore', expected one of 'error', 'skip'",
    ),
    "ids too long": (
        lambda: nt_xent_loss(X, Y, ids=torch.arange(12)),
        r"ids: received shape \[12\], expected \[6\], one a sample",
    ),
    "ids not integers": (
        lambda: info_nce_loss(X, Y, ids=torch.rand(6)),
        r"ids: received torch.float32, expected an integer tensor",
    ),
    "weights too short": (
        lambda: nt_xent_loss(X, Y, weights=torch.ones(6)),
        r"weights: received \[6\], expected a tensor of shape \[12\], one an anchor",
    ),
    "temperature and scale": (
        lambda: nt_xent_loss(X, Y, temperature=0.1, scale=10.0),
        r"temperature and scale: received both, expected one of them; scale is 1 / temperature",
    ),
    "scale of 0": (
        lambda: info_nce_loss(X, Y, scale=0.0),
        r"scale: received 0\.0, expected a finite number > 0; 1 to 100 is usual",
    ),
    "odd number of rows": (
        lambda: nt_xent_loss(X[:5], layout="halves"),
        r"z: received one tensor of shape \[5, 4\].*expected an even number of rows",
    ),
    "layout guessed": (
        lambda: nt_xent_loss(X),
        r'z: received .* layout=None, expected .*layout="halves".*"interleaved"',
    ),
    "layout unknown": (
        lambda: nt_xent_loss(X, layout="rows"),
        r"layout: received 'rows', expected one of 'halves', 'interleaved'",
    ),
    "layout of two tensors": (
        lambda: nt_xent_loss(X, Y, layout="halves"),
        r"layout: received 'halves' with 2 tensors, expected None",
    ),
    "one view": (
        lambda: nt_xent_loss(X[:, None]),
        r"z\[:, 0\]: received 1 views .*expected V >= 2 views",
    ),
    "no view": (
        lambda: nt_xent_loss(),
        r"received no tensor, expected two or more views",
    ),
    "negatives of other width": (
        lambda: info_nce_loss(X, Y, negatives=torch.ones(5, 3)),
        r"x and negatives: received shapes \[6, 4\] and \[5, 3\], expected equal widths",
    ),
    "a zero negative": (
        lambda: info_nce_loss(X, Y, negatives=torch.eye(5, 4)),
        r"negatives: row 4 has zero norm",
    ),
    "no negative": (
        lambda: info_nce_loss(X[:1], Y[:1]),
        r"x and y: received shape \[1, 4\] with 0 further negatives, expected at least one",
    ),
    "no negative outside the batch": (
        lambda: info_nce_loss(X, Y, in_batch=False, symmetric=False),
        r"x and y: received .* with 0 further negatives, expected at least one negative",
    ),
    "symmetric with a queue only": (
        lambda: info_nce_loss(X, Y, negatives=Z[2], in_batch=False),
        r"symmetric: received True with in_batch=False, expected False",
    ),
    "a batch larger than the queue": (
        lambda: MoCoLoss(queue_size=5, dim=4)(X, Y),
        r"keys: received 6 rows for a queue of 5, expected at most 5; a larger queue_size",
    ),
    "an empty queue": (
        lambda: MoCoLoss(queue_size=0, dim=4),
        r"queue_size: received 0, expected an integer >= 1",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_what_came_and_what_to_do(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_narrow_ids_and_labels_do_not_wrap_around(dtype):
    low = torch.iinfo(dtype).min
    ids = (torch.arange(6) + (torch.iinfo(dtype).max - 5)).to(dtype)
    ids[0] = low
    expected = info_nce_loss(X, Y, negatives=Z[2], symmetric=False)
    torch.testing.assert_close(
        info_nce_loss(X, Y, negatives=Z[2], symmetric=False, ids=ids), expected
    )
    torch.testing.assert_close(nt_xent_loss(X, Y, ids=ids), nt_xent_loss(X, Y))
