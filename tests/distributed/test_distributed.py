"""Several processes against one: value, gradient, messages, and what happens when one fails.

The oracle is the dense float64 definition of each member on the whole batch, in one process.
"""

import os
import subprocess
import sys
import time

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from family import MEMBERS, alone, naive_nt_xent
from inputs import classes, leaves, mean, random, tau
from ntxent import NTXentLoss, gradcache, nt_xent_loss
from ntxent.distributed import global_batch, ring
from ntxent.distributed.group import Group
from ranks import Ranks

N, D, TAU = 11, 5, 0.1
# Samples of each rank, a permutation of who has which part: even, ragged, and with an empty rank.
SPLITS = {
    1: {"whole": ([11], [0])},
    2: {"ragged": ([7, 4], [0, 1]), "permuted": ([4, 7], [1, 0]), "empty": ([11, 0], [0, 1])},
    3: {"ragged": ([5, 4, 2], [0, 1, 2]), "permuted": ([4, 5, 2], [2, 0, 1])},
    4: {
        "ragged": ([3, 1, 5, 2], [0, 1, 2, 3]),
        "permuted": ([2, 4, 4, 1], [3, 1, 0, 2]),
        "empty": ([4, 0, 7, 0], [2, 0, 3, 1]),
    },
}
CASES = [(size, name) for size, splits in SPLITS.items() for name in splits]


# --- value and gradient ---------------------------------------------------------------------------


def global_problem(name, dtype=torch.float64):
    member = MEMBERS[name]
    labels = classes(N)
    return member, random(member, N, D, dtype), alone(labels) if "skip" in name else labels


def own_part(tensor, counts, order):
    """The rows of this rank: part ``order[rank]`` of a batch split into ``counts``."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    return tensor.split(counts)[order[rank]].clone()


def split_of(rows, counts):
    """``counts`` stretched to another number of rows; the last part takes what is left over."""
    scaled = [rows * count // sum(counts) for count in counts]
    scaled[-1] += rows - sum(scaled)
    return scaled


def step(name, mode, counts, order, dtype):
    """This rank's loss and the gradients of its blocks and of the temperature."""
    member, blocks, labels = global_problem(name, dtype)
    own = [own_part(block, counts, order) for block in blocks[: member.views]]
    for block in blocks[member.views :]:
        whole = member.queue
        own.append(block if whole else own_part(block, split_of(len(block), counts), order))
    inputs, t = leaves(member, own), tau(TAU, dtype)
    loss = member.loss(distributed=mode)(own, own_part(labels, counts, order), temperature=t)
    gradients = torch.autograd.grad(loss, [*inputs, t])
    return loss.detach(), *gradients


def every_step(mode, counts, order, dtype, names=tuple(MEMBERS)):
    return {name: step(name, mode, counts, order, dtype) for name in names}


def expected_step(name):
    member, blocks, labels = global_problem(name)
    inputs, t = leaves(member, blocks), tau(TAU)
    loss = mean(member.naive(blocks, labels, t))
    return loss.detach(), *torch.autograd.grad(loss, [*inputs, t])


def check(name, by_rank, order, rtol):
    """DDP's average over the ranks is the gradient on the whole batch."""
    loss, *gradients, d_temperature = expected_step(name)
    size = len(by_rank)
    ranks = [order.index(part) for part in range(size)]  # who has the first part, the second, ...
    for own in by_rank:
        torch.testing.assert_close(own[0].double(), loss, rtol=rtol, atol=rtol)
        torch.testing.assert_close(own[-1].double(), d_temperature, rtol=rtol, atol=rtol)
    for place, exact in enumerate(gradients, 1):
        parts = [by_rank[rank][place].double() / size for rank in ranks]
        torch.testing.assert_close(torch.cat(parts), exact, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("mode", ["gather", "ring"])
@pytest.mark.parametrize(("size", "split"), CASES)
def test_value_and_gradient_are_those_of_one_process(worlds, size, split, mode):
    counts, order = SPLITS[size][split]
    by_rank = worlds(size)(every_step, mode, counts, order, torch.float64)
    for name in MEMBERS:
        check(name, [results[name] for results in by_rank], order, 1e-10)


@pytest.mark.parametrize("mode", ["gather", "ring", "auto"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_float32(worlds, size, mode):
    counts, order = SPLITS[size]["ragged"]
    by_rank = worlds(size)(every_step, mode, counts, order, torch.float32)
    for name in MEMBERS:
        check(name, [results[name] for results in by_rank], order, 1e-5)


def test_the_loss_does_not_depend_on_the_number_of_processes(worlds):
    values = []
    for size in (1, 2, 4):
        counts = [64 // size] * size
        for mode in ("gather", "ring"):
            values += worlds(size)(loss_of_a_batch, mode, counts)
    assert max(values) - min(values) < 1e-6


def loss_of_a_batch(mode, counts):
    rng = torch.Generator().manual_seed(0)
    views = [torch.randn(64, 16, generator=rng) for _ in range(2)]
    own = [view.split(counts)[dist.get_rank()] for view in views]
    return nt_xent_loss(*own, temperature=TAU, distributed=mode).item()


# --- parameters: DDP, FSDP, the gradient cache ----------------------------------------------------


class Model(nn.Module):
    """An encoder with dropout off, and a loss whose temperature is one of its parameters."""

    def __init__(self, mode):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))
        self.encoder.eval()
        self.criterion = NTXentLoss(TAU, learnable=True, distributed=mode)
        self.double()

    def forward(self, x1, x2):
        return self.criterion(self.encoder(x1), self.encoder(x2))


def views_of(n=N):
    rng = torch.Generator().manual_seed(1)
    return [torch.randn(n, D, generator=rng, dtype=torch.float64) for _ in range(2)]


def parameter_gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def whole_batch_gradients():
    model = Model("local")
    z1, z2 = map(model.encoder, views_of())
    labels = torch.arange(N)
    naive_nt_xent([z1, z2], labels, 1 / model.criterion.scale).mean().backward()
    return parameter_gradients(model)


def ddp_step(mode, counts, chunk_size):
    model = Model(mode)
    own = [own_part(view, counts, range(len(counts))) for view in views_of()]
    if chunk_size:
        encoder = DistributedDataParallel(model.encoder)
        # The criterion is no part of the DDP module: its gradient is right on every rank by itself.
        gradcache(encoder, own, model.criterion, chunk_size=chunk_size)
    else:
        replica = DistributedDataParallel(model)
        replica(*own).backward()
    return parameter_gradients(model)


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("mode", ["gather", "ring"])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_ddp_gives_the_gradient_of_one_process(worlds, size, mode, chunk_size):
    counts = SPLITS[size]["whole" if size == 1 else "ragged"][0]
    expected = whole_batch_gradients()
    for gradients in worlds(size)(ddp_step, mode, counts, chunk_size):
        torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-10)


def fsdp_step(mode, counts):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = Model(mode)
    fully_shard(model.encoder, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    own = [own_part(view, counts, range(len(counts))) for view in views_of()]
    model.criterion(*map(model.encoder, own)).backward()
    return {
        name: p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad
        for name, p in model.named_parameters()
    }


def test_fsdp_gives_the_gradient_of_one_process(worlds):
    for gradients in worlds(2)(fsdp_step, "ring", [7, 4]):
        torch.testing.assert_close(gradients, whole_batch_gradients(), rtol=1e-10, atol=1e-10)


# --- a wrong factor or a forgotten part is found --------------------------------------------------

MUTATIONS = {
    "the W of the sum": lambda: setattr(
        global_batch._Total, "backward", staticmethod(lambda c, g: (g, None))
    ),
    "the average of the temperature's gradient": lambda: setattr(
        global_batch._Replicated,
        "backward",
        staticmethod(lambda ctx, g: (ctx.group.all_reduce(g), None)),
    ),
    "the temperature's gradient of other ranks": lambda: setattr(
        global_batch._Replicated, "backward", staticmethod(lambda ctx, g: (g, None))
    ),
    "what other ranks' anchors send back, gathered": lambda: setattr(
        Group,
        "reduce_scatter_rows",
        lambda group, rows, counts: rows.split(counts)[group.rank].clone(),
    ),
    "what other ranks' anchors send back, in a ring": lambda: setattr(
        ring._Schedule, "send_home", lambda schedule, tensors: Nothing(schedule, tensors)
    ),
    "half of the last hop": lambda: setattr(
        ring._Schedule, "parts", lambda schedule, hop: (slice(None), slice(None))
    ),
    "ids that are unique over all ranks": lambda: setattr(
        global_batch.GlobalBatch, "first", property(lambda self: 0, lambda self, value: None)
    ),
}


class Nothing:
    """A home-coming that brings no gradient; sums of the forward pass do come home."""

    def __init__(self, schedule, tensors):
        forward = tensors[0].ndim == 1
        rows = schedule.counts[schedule.group.rank]
        zeros = [t.new_zeros(rows, *t.shape[1:]) for t in tensors]
        self._exchange = ring._Schedule._exchange(
            schedule,
            tensors,
            schedule.owner(schedule.hops),
            schedule.owner(-schedule.hops),
            rows,
        )
        self._forward, self._zeros = forward, zeros

    def wait(self):
        got = self._exchange.wait()
        return got if self._forward else self._zeros


def mutated_step(mutation, mode, counts, order):
    kept = [
        (holder, name, holder.__dict__[name])
        for holder, name in (
            (global_batch._Total, "backward"),
            (global_batch._Replicated, "backward"),
            (Group, "reduce_scatter_rows"),
            (ring._Schedule, "send_home"),
            (ring._Schedule, "parts"),
        )
    ]
    try:
        if mutation is not None:
            MUTATIONS[mutation]()
        return step("nt_xent", mode, counts, order, torch.float64)
    finally:
        for holder, name, value in kept:
            setattr(holder, name, value)
        if "first" in global_batch.GlobalBatch.__dict__:
            del global_batch.GlobalBatch.first


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_tests_notice(worlds, mutation):
    counts, order = SPLITS[2]["ragged"]
    noticed = 0
    for mode in ("gather", "ring"):
        by_rank = worlds(2)(mutated_step, mutation, mode, counts, order)
        try:
            check("nt_xent", by_rank, order, 1e-10)
        except AssertionError:
            noticed += 1
        check("nt_xent", worlds(2)(mutated_step, None, mode, counts, order), order, 1e-10)
    assert noticed >= 1


# --- groups, statistics, reductions ---------------------------------------------------------------


def half_losses(mode):
    halves = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    mine = halves[dist.get_rank() // 2]
    views = [view.split([3, 2, 4, 2])[dist.get_rank()] for view in views_of()]
    loss = nt_xent_loss(*views, temperature=TAU, distributed=mode, process_group=mine)
    with pytest.raises(ValueError, match=r"process_group: received one that rank . is not"):
        nt_xent_loss(*views, process_group=halves[1 - dist.get_rank() // 2])
    return loss.item()


@pytest.mark.parametrize("mode", ["gather", "ring"])
def test_a_process_group_is_a_batch_of_its_own(worlds, mode):
    losses = worlds(4)(half_losses, mode)
    for half, rows in ((losses[:2], slice(0, 5)), (losses[2:], slice(5, 11))):
        views = [view[rows] for view in views_of()]
        expected = naive_nt_xent(views, torch.arange(len(views[0])), TAU).mean().item()
        assert half == pytest.approx([expected] * 2, rel=1e-12)


def options_step(counts, **options):
    own = [own_part(view, counts, range(len(counts))) for view in views_of()]
    weights = torch.linspace(0.5, 2, 2 * N, dtype=torch.float64).view(2, N)
    mine = torch.cat([own_part(part, counts, range(len(counts))) for part in weights])
    loss, stats = nt_xent_loss(*own, temperature=TAU, return_stats=True, weights=mine, **options)
    return loss, stats


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_weights_reductions_and_statistics(worlds, reduction):
    counts = [5, 4, 2]
    whole, expected = options_step([N], distributed="local", reduction=reduction)
    by_rank = worlds(3)(reduced_in_a_ring, counts, reduction)
    for loss, _, positive, negative in by_rank:
        torch.testing.assert_close(positive, expected.positive_similarity)
        torch.testing.assert_close(negative, expected.negative_similarity)
        if reduction != "none":
            torch.testing.assert_close(loss, whole)
    first = torch.cat([result[1].view(2, -1) for result in by_rank], dim=1).flatten()
    torch.testing.assert_close(first, expected.per_anchor)


def reduced_in_a_ring(counts, reduction):
    loss, stats = options_step(counts, distributed="ring", reduction=reduction)
    return loss, *stats


def compiled_step(mode):
    torch._dynamo.reset()
    own = [own_part(view, [7, 4], range(2)).requires_grad_() for view in views_of()]
    results = []
    for function in (nt_xent_loss, torch.compile(nt_xent_loss, backend="eager")):
        loss = function(*own, temperature=TAU, distributed=mode)
        results.append((loss.detach(), *torch.autograd.grad(loss, own)))
    return results


@pytest.mark.parametrize("mode", ["gather", "ring"])
def test_compiled_around_the_messages(worlds, mode):
    for eager, compiled in worlds(2)(compiled_step, mode):
        torch.testing.assert_close(compiled, eager)


# --- messages -------------------------------------------------------------------------------------


def count_messages(mode, n):
    counted = {}

    def counting(name, function):
        def call(*arguments, **named):
            counted[name] = counted.get(name, 0) + 1
            return function(*arguments, **named)

        return call

    names = ("all_gather", "all_reduce", "reduce_scatter", "batch_isend_irecv")
    kept = {name: getattr(dist, name) for name in names}
    try:
        for name, function in kept.items():
            setattr(dist, name, counting(name, function))
        rng = torch.Generator().manual_seed(dist.get_rank())
        z1, z2 = (torch.randn(n, D, generator=rng).requires_grad_() for _ in range(2))
        nt_xent_loss(z1, z2, temperature=TAU, distributed=mode).backward()
    finally:
        for name, function in kept.items():
            setattr(dist, name, function)
    return counted


@pytest.mark.parametrize("n", [3, 700])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_number_of_messages_is_fixed(worlds, size, n):
    """As docs/library/distributed.md says: per step, forward and backward, whatever the batch."""
    hops = size // 2
    for counted in worlds(size)(count_messages, "ring", n):
        # A hop brings a block and, but for the first, what was made for it; then it goes home.
        assert counted == {"all_gather": 1, "all_reduce": 2, "batch_isend_irecv": 4 * hops}
    for counted in worlds(size)(count_messages, "gather", n):
        assert counted == {"all_gather": 3, "all_reduce": 2, "reduce_scatter": 1}


# --- failure --------------------------------------------------------------------------------------


KILLED = """
import os, signal, sys, time
from datetime import timedelta
import torch, torch.distributed as dist
from ntxent import NTXentLoss
dist.init_process_group("gloo", timeout=timedelta(seconds=30))
z1, z2 = (torch.randn(8, 4, requires_grad=True) for _ in range(2))
criterion = NTXentLoss(0.1, distributed=sys.argv[1])
for step in range(10_000):
    loss = criterion(z1, z2)
    if step == 3 and dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    loss.backward()
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["gather", "ring"])
def test_a_killed_rank_ends_the_job_and_is_named(tmp_path, mode):
    script = tmp_path / "train.py"
    script.write_text(KILLED)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "3"]
    launch += ["--standalone", str(script), mode]
    start = time.monotonic()
    ended = subprocess.run(launch, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert "rank 1 has ended" in ended.stderr or "rank      : 1 (local_rank: 1)" in ended.stderr
    assert time.monotonic() - start < 60


def exchange_with_the_dead():
    views = [view.split([7, 4])[dist.get_rank()] for view in views_of()]
    nt_xent_loss(*views)
    if dist.get_rank() == 1:
        os._exit(1)
    return nt_xent_loss(*views).item()


def test_the_error_of_the_survivor_names_the_rank_that_ended():
    ranks = Ranks(2)
    ranks._pipes[0].send((exchange_with_the_dead, ()))
    ranks._pipes[1].send((exchange_with_the_dead, ()))
    well, message = ranks._pipes[0].recv()
    assert not well
    assert "all_gather failed on rank 0: rank 1 has ended" in message
    ranks._processes[0].kill()
