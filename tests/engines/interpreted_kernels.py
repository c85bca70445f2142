"""What the shared harness cannot ask of the cuda engines, with the kernels interpreted.

Run by test_cuda.py in a process of its own, where ``TRITON_INTERPRET=1`` stands before Triton is
imported. Sums of the kernels are compared with the definition on dense float64 matrices.
"""

import pytest
import torch

from family import MEMBERS
from ntxent import engines, nt_xent_loss
from ntxent.engines import _triton
from ntxent.engines._triton import backward, blocks, forward, precision, tuning
from ntxent.engines._triton.tiling import candidates
from ntxent.engines.contract import Block
from problems import naive, problem

assert _triton.INTERPRETED

ENGINES = ("cuda", "cuda_atomic")
WAYS = {
    "bfloat16": (torch.bfloat16, "ieee"),
    "float16": (torch.float16, "ieee"),
    "tf32": (torch.float32, "tf32"),
    "tf32x3": (torch.float32, "tf32x3"),
    "float32": (torch.float32, "ieee"),
    "float64": (torch.float64, "ieee"),
}
# Rounding of half-precision weights, or of float32 sums; in units of the largest entry.
TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 2e-5, torch.float32: 2e-5, torch.float64: 1e-12}


def solved(engine, arguments):
    """nll, logit and the gradients for upstream 1, -1, ..., which targets tell apart from nll."""
    run = engines.get(engine)
    x, *_, target = arguments
    block = Block(*arguments, both_ways=len(target) > len(x))
    sums = run.forward(block)
    grads = torch.linspace(-1, 2, 2 * len(sums.nll), dtype=sums.nll.dtype).view(2, -1)
    return sums.nll, sums.logit, *run.backward(block, sums, *grads, True)


def exact(x, y, scale, *labels):
    """The same of the definition, in float64."""
    x, scale = x.double().requires_grad_(), scale.double()
    y = None if y is None else y.double().requires_grad_()
    nll, logit = naive(x, y, scale, *labels, both_ways=len(labels[-1]) > len(x))
    grads = torch.linspace(-1, 2, 2 * len(nll), dtype=torch.float64).view(2, -1)
    leaves = [x] if y is None else [x, y]
    some = nll.isfinite()
    total = (grads[0] * nll)[some].sum() + grads[1] @ logit
    dx, *dy = torch.autograd.grad(total, leaves)
    return nll.detach(), logit.detach(), dx, dy[0] if dy else dx.new_empty(0)


def assert_solved(ours, expected, tolerance):
    for mine, theirs in zip(ours, expected, strict=True):
        finite = theirs[theirs.isfinite()]
        size = float(finite.abs().max()) if finite.numel() else 1.0
        torch.testing.assert_close(
            mine.double(), theirs, rtol=0, atol=tolerance * max(1.0, size), equal_nan=True
        )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("width", [7, 144])
@pytest.mark.parametrize("way", WAYS)
def test_every_tiling_of_every_precision(way, width, engine, monkeypatch):
    dtype, asked = WAYS[way]
    monkeypatch.setattr(blocks, "products", lambda x: (dtype, asked))
    for tiling in candidates(dtype, asked, width, atomic=engine == "cuda_atomic"):
        monkeypatch.setattr(tuning, "interpreted", lambda width, tiling=tiling: tiling)
        for k in (None, tiling.block // 2):  # two blocks of rows, the second ragged
            m = tiling.block + 9
            arguments = problem(m, k, width, dtype, classes=9, both_ways=k is not None)
            x, y, *labels = arguments
            arguments = (x, y if y is None else y / 10, torch.tensor(5.0, dtype=x.dtype), *labels)
            assert_solved(solved(engine, arguments), exact(*arguments), TOLERANCE[dtype])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("k", "both_ways"), [(None, False), (300, False), (300, True)])
def test_panels_and_shares_change_nothing(k, both_ways, engine, monkeypatch):
    """A workspace of a single row block, and one or very many programs."""
    x, y, *labels = problem(400, k, 5, classes=50, both_ways=both_ways)
    arguments = x, y, torch.tensor(20.0, dtype=torch.float64), *labels
    expected = exact(*arguments)
    monkeypatch.setattr(forward, "_WORKSPACE", 1)
    for programs in (1, 10**6):
        monkeypatch.setattr(blocks, "_PROGRAMS", programs)
        assert_solved(solved(engine, arguments), expected, 1e-12)


@pytest.mark.parametrize(("way", "k"), [("bfloat16", None), ("float16", 200), ("float64", 200)])
def test_wide_rows_by_panels(way, k, monkeypatch):
    """A program holds some of a row's columns, and a panel two of three tiles of ragged rows."""
    dtype, asked = WAYS[way]
    itemsize = 2 if way == "bfloat16" else 4 if way == "float16" else 8  # of a weight
    monkeypatch.setattr(blocks, "products", lambda x: (dtype, asked))
    monkeypatch.setattr(blocks, "_PROGRAMS", 1)
    monkeypatch.setattr(backward, "_WORKSPACE", 2 * itemsize * 128**2)
    x, y, *labels = problem(260, k, 70, dtype, classes=50, both_ways=k is not None)
    arguments = x, y if y is None else y / 10, torch.tensor(5.0, dtype=x.dtype), *labels
    panels = []
    launch = backward._launch
    monkeypatch.setattr(
        backward, "_launch", lambda *a, **named: panels.extend(named) or launch(*a, **named)
    )
    ours = solved("cuda", arguments)
    assert_solved(ours, exact(*arguments), TOLERANCE[dtype])
    assert panels == ["panel"] * (6 if k is None else 3 + 4)
    if k is None:
        assert all(map(torch.equal, solved("cuda", arguments), ours))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("k", [None, 260])
def test_rows_of_every_length_beside_each_other(k, engine):
    """Blocks whose logits need a shift beside blocks that need none, and log-sum-exps too far apart
    for one exponential to serve both sides of a tile.
    """
    x, y, *labels = problem(390, k, 5, both_ways=k is not None)
    lengths = torch.tensor([1e-3, 1.0, 40.0], dtype=torch.float64)
    x = x * lengths.repeat_interleave(130)[:, None]
    if y is not None:
        y = y * lengths.repeat_interleave(130)[:260, None]
    arguments = x, y, torch.tensor(9.0, dtype=torch.float64), *labels
    assert_solved(solved(engine, arguments), exact(*arguments), 1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_small_probabilities_survive_in_half_precision(engine):
    """Weights of 1e-3 / 600 are below float16's smallest normal number, 6e-5."""
    x, _, ids, _, target = problem(600, None, 8, torch.float16)
    scale = torch.tensor(2.0)
    run = engines.get(engine)
    block = Block(x, None, scale, ids, None, target)
    grads = torch.full((2, 600), 1e-3)
    grads[1] = 0.0
    dx, _ = run.backward(block, run.forward(block), *grads, True)
    leaf = x.double().requires_grad_()
    expected, _ = naive(leaf, None, scale.double(), ids, None, target)
    (gradient,) = torch.autograd.grad(1e-3 * expected.sum(), leaf)
    torch.testing.assert_close(
        dx.double(), gradient, rtol=0, atol=1e-5 * float(gradient.abs().max())
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_strided_rows_and_expanded_labels(engine):
    x, y, _, y_ids, target = problem(20, 30, 6)
    strided = x.T.contiguous().T
    ids = torch.zeros(1, dtype=torch.int64).expand(20)
    scale = torch.tensor(3.0, dtype=torch.float64)
    ours = solved(engine, (strided, y, scale, ids, y_ids, target))
    assert_solved(ours, exact(x, y, scale, ids, y_ids, target), 1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_row_that_is_not_a_number_shows(engine):
    x, _, ids, _, target = problem(10, None, 4)
    x[3] = torch.nan
    block = Block(x, None, x.new_tensor(2.0), ids, None, target)
    nll = engines.get(engine).forward(block).nll
    assert nll.isnan().all()


def test_deterministic_algorithms_leave_no_atomics(monkeypatch):
    monkeypatch.setattr(blocks, "_PROGRAMS", 1)  # a program a row block, whose order shows
    x, _, ids, _, target = problem(300, None, 16, torch.float32)
    arguments = x, None, torch.tensor(10.0), ids, None, target
    ordered = solved("cuda", arguments)[2]
    assert not torch.equal(solved("cuda_atomic", arguments)[2], ordered)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(solved("cuda_atomic", arguments)[2], ordered)
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_interpreter_is_never_chosen():
    assert engines.select("auto", "cpu").name == "tiled"


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_of_the_family(member):
    member = MEMBERS[member]
    rng = torch.Generator().manual_seed(0)
    sizes = [9] * member.views + [12] * member.negatives
    rows = [torch.randn(n, 5, generator=rng, dtype=torch.float64) for n in sizes]
    leaves = [block.requires_grad_() for block in rows[: member.trained]]
    tau = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(9) % 3
    loss = member.loss(engine="cuda")(rows, labels, temperature=tau)
    expected = member.naive(rows, labels, tau).nanmean()
    torch.testing.assert_close(loss, expected, rtol=1e-11, atol=0)
    gradients = (torch.autograd.grad(value, [*leaves, tau]) for value in (loss, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_compiled():
    """Under torch.compile the operator stays whole, forward and backward, and rows are rounded."""
    z1, z2 = (torch.randn(6, 4, dtype=torch.bfloat16, requires_grad=True) for _ in range(2))

    def loss(a, b):
        return nt_xent_loss(a, b, engine="cuda")

    expected, ours = loss(z1, z2), torch.compile(loss, fullgraph=True)(z1, z2)
    torch.testing.assert_close(ours, expected)
    gradients = [torch.cat(torch.autograd.grad(value, (z1, z2))) for value in (ours, expected)]
    # The compiler keeps in float32 what eager rounds on the way to the tangent of the sphere, which
    # moves an entry by 2^-8 of its row's gradient before both round it to bfloat16.
    largest = gradients[1].abs().max().item()
    torch.testing.assert_close(*gradients, rtol=2**-8, atol=2**-7 * largest)


def test_half_precision_of_the_setting_rounds_the_rows(monkeypatch):
    """``set_float32_matmul_precision("medium")``: the loss of the rows rounded to bfloat16."""
    z1, z2 = (torch.nn.functional.normalize(torch.randn(20, 16)) for _ in range(2))
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert precision.products(z1)[0] == torch.bfloat16
    ours = nt_xent_loss(z1, z2, engine="cuda", normalize=False)
    monkeypatch.undo()
    rounded = (z.bfloat16().double() for z in (z1, z2))
    expected = nt_xent_loss(*rounded, engine="tiled", normalize=False)
    torch.testing.assert_close(ours.double(), expected, rtol=1e-6, atol=0)
