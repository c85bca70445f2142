"""The Engine contract, held by every engine that runs here, and the rules of choosing one.

A new file in engines/ is found and tested with no edit. Its accuracy is held in test_accuracy.py.
"""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from ntxent import engines
from ntxent.engines import Block, Sums
from ntxent.primitive import contrast
from problems import naive, problem

ENGINES = [e.name for e in engines.status() if e.available and ({"*", "cpu"} & {*e.devices})]


def named(x_ids, y_ids, target):
    return {"x_ids": x_ids, "y_ids": y_ids, "target": target}


# m anchors, k candidates (None: the anchors), whether the candidates are anchors too
ONE_WAY = [(1, 1), (2, None), (7, 5), (5, 7), (257, None), (300, None), (40, 2100), (600, 260)]
SHAPES = [(m, k, False) for m, k in ONE_WAY] + [(m, k, True) for m, k in ONE_WAY if k]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scale", [0.1, 2.0, 60.0, 200.0, 2000.0])
@pytest.mark.parametrize("classes", [None, 2, 50])
@pytest.mark.parametrize(("m", "k", "both_ways"), SHAPES)
def test_forward_and_backward_obey_the_contract(m, k, both_ways, classes, scale, engine):
    targets = classes != 50  # no anchor has one
    x, y, x_ids, y_ids, target = problem(m, k, 5, classes=classes, both_ways=both_ways)
    scale = torch.tensor(scale, dtype=torch.float64)
    leaves = [t.requires_grad_() for t in (x, y, scale) if t is not None]
    labels = x_ids, y_ids, target if targets else None
    ours = contrast(x, y, scale, **named(*labels), both_ways=both_ways, engine=engine)
    expected = naive(x, y, scale, *labels, both_ways)
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-10)

    some = expected[0].isfinite()  # an anchor without candidates has no gradient
    weights = torch.linspace(-1, 2, 2 * len(target), dtype=torch.float64).view(2, -1)
    gradients = (
        torch.autograd.grad(((weights[0] * nll)[some]).sum() + weights[1] @ logit, leaves)
        for nll, logit in (ours, expected)
    )
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9 * float(scale.detach()))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("scale", [2.0, 200.0])
def test_a_block_of_a_larger_batch(scale, both_ways, engine):
    """The parts of a batch, each with the nll of the whole, share out the whole gradient."""
    x, y, x_ids, y_ids, target = problem(40, 70, 5, classes=20, both_ways=both_ways)
    scale = torch.tensor(scale, dtype=torch.float64)
    run = engines.get(engine)
    # All targets are in the first part; in the other an anchor has none.
    target = torch.cat([target[:40] % 33, target[40:]])
    if both_ways:
        target[40 + 33 :] = 0
    block = Block(x, y, scale, x_ids, y_ids, target, both_ways)
    nll, logit, saved = sums = run.forward(block)
    upstream = torch.linspace(-1, 2, 2 * len(target), dtype=torch.float64).view(2, -1)
    if both_ways:
        upstream[1, 40 + 33 :] = upstream[0, 40 + 33 :]  # what comes back to the target is 0
    whole = run.backward(block, sums, *upstream, True)
    dx, dy = torch.zeros_like(x), torch.zeros_like(y)
    for part in (slice(0, 33), slice(33, 70)):
        anchors = torch.arange(40)
        if both_ways:
            anchors = torch.cat([anchors, 40 + torch.arange(70)[part]])
        own = target[anchors] if part.start == 0 else None
        block = Block(x, y[part], scale, x_ids, y_ids[part], own, both_ways)
        sums = Sums(nll[anchors], logit[anchors], saved.new_empty(0))
        part_dx, dy[part] = run.backward(block, sums, *upstream[:, anchors], True)
        dx += part_dx
    torch.testing.assert_close((dx, dy), whole, rtol=1e-11, atol=1e-11 * float(scale))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("k", "both_ways"), [(None, False), (6, False), (6, True)])
def test_gradcheck(k, both_ways, engine):
    x, y, x_ids, y_ids, target = problem(9, k, 3, classes=7, seed=3, both_ways=both_ways)
    if k is None:
        x_ids = torch.arange(9) // 2
    scale = torch.tensor(3.0, dtype=torch.float64)
    leaves = [t.requires_grad_() for t in (x, y, scale) if t is not None]

    def f(*leaves):
        inputs = leaves if k is not None else (leaves[0], None, leaves[1])
        labels = named(x_ids, y_ids, target)
        return contrast(*inputs, **labels, both_ways=both_ways, engine=engine)

    assert torch.autograd.gradcheck(f, leaves)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("k", "both_ways"), [(None, False), (6, False), (6, True)])
def test_opcheck(k, both_ways, engine):
    x, y, x_ids, y_ids, target = problem(8, k, 3, torch.float32, both_ways=both_ways)
    scale = torch.tensor(2.0)
    for tensor in (x, y, scale):
        if tensor is not None:
            tensor.requires_grad_()
    x_norm, y_norm = (None if t is None else t.detach().norm(dim=1, keepdim=True) for t in (x, y))
    how = engine, None
    block = x, y, scale, x_ids, y_ids, target, both_ways, True
    arguments = (*block, *how, x_norm, y_norm, False)
    torch.library.opcheck(torch.ops.ntxent.contrast.default, arguments)
    sums = [t.detach() for t in torch.ops.ntxent.contrast(*arguments)]
    block = [a.detach() if isinstance(a, torch.Tensor) else a for a in block]
    upstream = torch.ones_like(sums[0]), torch.ones_like(sums[0])
    for wanted in ((True, False), (False, True)):
        arguments = (*block, *sums, *upstream, *how, *wanted, x_norm, y_norm)
        torch.library.opcheck(torch.ops.ntxent.contrast_backward.default, arguments)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("k", [40, 2100])
def test_a_gradient_of_the_candidates_that_nobody_wants(k, engine):
    x, y, *labels = problem(600, k, 5)
    block = Block(x, y, torch.tensor(2.0, dtype=torch.float64), *labels)
    run = engines.get(engine)
    sums = run.forward(block)
    upstream = torch.linspace(-1, 2, 1200, dtype=torch.float64).view(2, -1)
    whole, _ = run.backward(block, sums, *upstream, True)
    dx, dy = run.backward(block, sums, *upstream, False)
    assert torch.equal(dx, whole)
    assert dy.shape == (0,)


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_without_candidates(engine):
    x = torch.eye(4, requires_grad=True)
    scale = torch.tensor(2.0)
    target = torch.tensor([1, 0, 0, 0])
    ids = torch.tensor([7, 7, 7, 7])
    nll, logit = contrast(x, None, scale, x_ids=ids, target=target, engine=engine)
    assert torch.equal(nll, torch.full((4,), -math.inf))
    (gradient,) = torch.autograd.grad(logit[:2].sum(), x)
    expected = torch.zeros(4, 4)
    expected[0, 1] = expected[1, 0] = 4.0  # scale, once as anchor and once as target
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rows", [100, 300, 1000])
@pytest.mark.parametrize("order", ["ascending", "descending", "cyclic"])
def test_ids_in_order_exclude_the_same_pairs(order, rows, engine):
    """An engine may pass over parts of a block whose ranges of ids are apart."""
    x, _, _, _, target = problem(rows, None, 5)
    ids = torch.arange(rows) // 3
    ids = {"ascending": ids, "descending": ids.flip(0), "cyclic": torch.arange(rows) % 7}[order]
    scale = torch.tensor(2.0, dtype=torch.float64)
    ours = contrast(x, None, scale, x_ids=ids, target=target, engine=engine)
    torch.testing.assert_close(ours, naive(x, None, scale, ids, None, target))


@pytest.mark.parametrize("engine", ENGINES)
def test_same_input_same_bits(engine):
    x, y, x_ids, y_ids, target = problem(300, None, 16, torch.float32)
    scale = torch.tensor(10.0)
    results = [
        contrast(x, y, scale, x_ids=x_ids, y_ids=y_ids, target=target, engine=engine)
        for _ in range(2)
    ]
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_inference_first_and_training_after(engine):
    """In a process of its own: what an engine keeps between calls must be fit for both."""
    code = (
        "import torch, ntxent; z = torch.eye(3)\n"
        f"with torch.inference_mode(): ntxent.nt_xent_loss(z, z, engine={engine!r})\n"
        f"ntxent.nt_xent_loss(z.requires_grad_(), z, engine={engine!r}).backward()\n"
        "assert z.grad.isfinite().all()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_status_lists_the_tiled_engine_everywhere():
    tiled = next(e for e in engines.status() if e.name == "tiled")
    assert tiled.available
    assert tiled.devices == ("*",)


def test_an_engine_asked_for_by_name_is_never_replaced(monkeypatch):
    quantum = replace(engines.get("tiled"), name="quantum", priority=9, obstacle="no qubits")
    monkeypatch.setitem(engines.ENGINES, "quantum", quantum)
    broken = engines.status()[-1]
    assert (broken.name, broken.available, broken.reason) == ("quantum", False, "no qubits")
    with pytest.raises(RuntimeError, match="'quantum' cannot be used here: no qubits"):
        engines.select("quantum", "cpu")
    assert engines.select("auto", "cpu").name == "tiled"


def test_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="engine: received 'fast', expected one of 'auto', "):
        engines.select("fast", "cpu")


def test_an_engine_refuses_a_device_it_does_not_support(monkeypatch):
    picky = engines.Engine("picky", ("cuda",), 9, *(2 * [lambda: None]))
    monkeypatch.setitem(engines.ENGINES, "picky", picky)
    with pytest.raises(ValueError, match="'picky' runs on cuda, and the embeddings are on 'cpu'"):
        engines.select("picky", "cpu")
