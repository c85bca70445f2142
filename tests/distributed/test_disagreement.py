"""Ranks that are called differently all raise the same sentence, and can go on together.

In each case rank 1 deviates from what the others do. ``WITHIN`` only keeps ranks that hang from
holding up the tests: nothing takes longer than milliseconds.
"""

import math
import re
from contextlib import nullcontext
from unittest import mock

import pytest
import torch
import torch.distributed as dist

from ntxent import MoCoLoss, info_nce_loss, measures, nt_xent_loss, sup_con_loss
from ntxent.analysis import exact_loss
from ntxent.distributed import join
from ntxent.losses import call

WITHIN = 5.0
N, D = 6, 4


def rows(count=2, n=N, d=D, **kind):
    rng = torch.Generator().manual_seed(dist.get_rank())
    return [torch.randn(n, d, generator=rng).to(**kind) for _ in range(count)]


MODE = {"distributed": "auto"}


def deviates():
    return dist.get_rank() == 1


def nt_xent(views=None, **options):
    return nt_xent_loss(*(rows() if views is None else views), **MODE | options)


def sup_con(z=None, labels=None, **options):
    labels = torch.arange(N) % 2 if labels is None else labels
    return sup_con_loss(rows(1)[0] if z is None else z, labels, **MODE | options)


def info_nce(pair=None, **options):
    return info_nce_loss(*(rows() if pair is None else pair), **MODE | options)


def moco(pair=None, size=32, dim=D, prepare=lambda criterion: None, **options):
    torch.manual_seed(dist.get_rank())
    criterion = MoCoLoss(size, dim, **options)
    prepare(criterion)
    return criterion(*(rows() if pair is None else pair))


def uniformity(z=None, **options):
    everyone = torch.eye(N) if z is None else z
    return measures.uniformity(everyone, ranks=join("auto", None), **options)


def accuracy(z=None):
    everyone = torch.eye(N) if z is None else z
    return measures.contrastive_accuracy(everyone, everyone, ranks=join("auto", None))


def streamed(z=None, temperature=0.5):
    everyone = torch.eye(N) if z is None else z
    return exact_loss(everyone, everyone, temperature, ranks=join("auto", None))


def with_row(value):
    z1, z2 = rows()
    z1[2] = value
    return [z1, z2]


def out_of_memory():
    with mock.patch.object(call, "with_norms", side_effect=torch.OutOfMemoryError("no memory")):
        return nt_xent()


def without_graph(**settings):
    with torch.no_grad():
        return nt_xent([z.requires_grad_() for z in rows()], **settings)


def tau():
    return torch.tensor(0.1, requires_grad=True)


def weights(n=2 * N, **kind):
    return torch.linspace(0.5, 2, n).to(**kind)


# --- a rank that refuses its input ----------------------------------------------------------------

# What every rank does, what rank 1 does instead, and what all of them say.
REFUSED = {
    "an engine that does not exist": (
        nt_xent, lambda: nt_xent(engine="fast"), "ValueError: rank 1 of 2: engine: received 'fast'"
    ),
    "an engine of another device": (
        nt_xent, lambda: nt_xent(engine="cuda"), r"\w+Error: rank 1 of 2: engine:? '?\"?.*cuda"
    ),
    "a mode that does not exist": (
        nt_xent,
        lambda: nt_xent(distributed="all"),
        "ValueError: rank 1 of 2: distributed: received 'all'",
    ),
    "what is no process group": (
        nt_xent,
        lambda: nt_xent(process_group="world"),
        "TypeError: rank 1 of 2: process_group: received str",
    ),
    "check_values of another type": (
        nt_xent,
        lambda: nt_xent(check_values="yes"),
        "TypeError: rank 1 of 2: check_values: received 'yes'",
    ),
    "a reduction that does not exist": (
        nt_xent,
        lambda: nt_xent(reduction="median"),
        "ValueError: rank 1 of 2: reduction: received 'median'",
    ),
    "a row of zeros": (
        nt_xent, lambda: nt_xent(with_row(0.0)), "ValueError: rank 1 of 2: z1: row 2 has zero norm"
    ),
    "a row of NaN": (
        nt_xent,
        lambda: nt_xent(with_row(math.nan)),
        "ValueError: rank 1 of 2: z1: row 2 has a non-finite value",
    ),
    "a negative temperature": (
        nt_xent,
        lambda: nt_xent(temperature=-1),
        "ValueError: rank 1 of 2: temperature: received -1",
    ),
    "a temperature that is text": (
        nt_xent, lambda: nt_xent(temperature="0.1"), "TypeError: rank 1 of 2: temperature: received"
    ),
    "views of two shapes": (
        nt_xent,
        lambda: nt_xent([rows()[0], rows()[0][:3]]),
        "ValueError: rank 1 of 2: z1 and z2: received shapes",
    ),
    "a view of one dimension": (
        nt_xent,
        lambda: nt_xent([rows()[0][0]] * 2),
        "ValueError: rank 1 of 2: z1: received shape",
    ),
    "what is no tensor": (
        nt_xent, lambda: nt_xent([[1.0], [2.0]]), "TypeError: rank 1 of 2: z1: received list"
    ),
    "integers": (
        nt_xent,
        lambda: nt_xent(rows(dtype=torch.int64)),
        "TypeError: rank 1 of 2: z1: received dtype torch.int64",
    ),
    "a layout that does not exist": (
        nt_xent,
        lambda: nt_xent([torch.cat(rows())], layout="thirds"),
        "ValueError: rank 1 of 2: layout: received 'thirds'",
    ),
    "ids that are no integers": (
        nt_xent, lambda: nt_xent(ids=torch.ones(N)), "TypeError: rank 1 of 2: ids: received"
    ),
    "too few ids": (
        nt_xent,
        lambda: nt_xent(ids=torch.arange(N - 1)),
        "ValueError: rank 1 of 2: ids: received shape",
    ),
    "too few weights": (
        lambda: nt_xent(weights=weights()),
        lambda: nt_xent(weights=weights(N)),
        "ValueError: rank 1 of 2: weights: received",
    ),
    "complex weights": (
        lambda: nt_xent(weights=weights()),
        lambda: nt_xent(weights=weights(dtype=torch.complex64)),
        "TypeError: rank 1 of 2: weights: received dtype torch.complex64",
    ),
    "memory that runs out before": (
        nt_xent, out_of_memory, "RuntimeError: rank 1 of 2: OutOfMemoryError: no memory"
    ),
    "labels that are no integers": (
        sup_con,
        lambda: sup_con(labels=torch.ones(N)),
        "TypeError: rank 1 of 2: labels: received torch.float32",
    ),
    "too few labels": (
        sup_con,
        lambda: sup_con(labels=torch.arange(2)),
        "ValueError: rank 1 of 2: labels: received shape",
    ),
    "a treatment of missing positives that does not exist": (
        sup_con, lambda: sup_con(missing="drop"), "ValueError: rank 1 of 2: missing: received"
    ),
    "negatives of another width": (
        lambda: info_nce(negatives=rows(1)[0]),
        lambda: info_nce(negatives=rows(1, d=D + 1)[0]),
        "ValueError: rank 1 of 2: x and negatives: received shapes",
    ),
    "two ways without a batch": (
        info_nce, lambda: info_nce(in_batch=False), "ValueError: rank 1 of 2: symmetric: received"
    ),
    "keys of another width": (
        moco, lambda: moco(rows(d=D + 1)), "ValueError: rank 1 of 2: keys: received 5 coordinates"
    ),
    "keys that are no tensor": (
        moco, lambda: moco([rows()[0], None]), "TypeError: rank 1 of 2: keys: received NoneType"
    ),
    "queries that are no tensor": (
        moco, lambda: moco([None, rows()[0]]), "TypeError: rank 1 of 2: queries: received NoneType"
    ),
    "a queue smaller than the batch": (
        lambda: moco(size=8), lambda: moco(size=8), "ValueError: keys: received 12 rows for a queue"
    ),
    "the t of a measure": (
        uniformity, lambda: uniformity(t=-1), "ValueError: rank 1 of 2: t: received -1"
    ),
    "rows of zeros to measure": (
        accuracy,
        lambda: accuracy(torch.zeros(N, N)),
        "ValueError: rank 1 of 2: z1: row 0 has zero norm",
    ),
}  # fmt: skip


# --- ranks that want different things -------------------------------------------------------------

DIFFERENT = {
    "temperature": (
        nt_xent,
        lambda: nt_xent(temperature=0.25),
        r"scale (1 / temperature): received 2.0 on rank 0 and 4.0 on rank 1, expected the same on "
        "all 2 ranks",
    ),
    "dtype": (
        nt_xent,
        lambda: nt_xent(rows(dtype=torch.float64)),
        "dtype: received torch.float32 on rank 0 and torch.float64 on rank 1, expected the same on "
        "all 2 ranks",
    ),
    "width": (
        nt_xent,
        lambda: nt_xent(rows(d=3)),
        "width of the rows: received 4 on rank 0 and 3 on rank 1",
    ),
    "mode": (
        nt_xent,
        lambda: nt_xent(distributed="ring"),
        "distributed: received auto on rank 0 and ring on rank 1",
    ),
    "reduction": (
        nt_xent,
        lambda: nt_xent(reduction="none"),
        "reduction: received mean on rank 0 and none on rank 1",
    ),
    "views": (nt_xent, lambda: nt_xent(rows(3)), "views: received 2 on rank 0 and 3 on rank 1"),
    "loss": (
        nt_xent,
        sup_con,
        "what is computed: received nt_xent on rank 0 and sup_con on rank 1",
    ),
    "ids": (
        nt_xent,
        lambda: nt_xent(ids=torch.arange(N)),
        "ids given: received False on rank 0 and True on rank 1",
    ),
    "decoupled": (
        nt_xent,
        lambda: nt_xent(decoupled=True),
        "decoupled: received False on rank 0 and True on rank 1",
    ),
    "statistics": (
        nt_xent,
        lambda: nt_xent(return_stats=True),
        "return_stats: received False on rank 0 and True on rank 1",
    ),
    "weights": (
        nt_xent,
        lambda: nt_xent(weights=weights()),
        "weights given: received False on rank 0 and True on rank 1",
    ),
    "normalize": (
        nt_xent,
        lambda: nt_xent(normalize=False),
        "normalize: received True on rank 0 and False on rank 1",
    ),
    "gradient of the rows": (
        nt_xent,
        lambda: nt_xent([z.requires_grad_() for z in rows()]),
        "requires_grad of the rows: received False on rank 0 and True on rank 1",
    ),
    "gradient of the rows under no_grad": (
        lambda: nt_xent([z.requires_grad_() for z in rows()], normalize=False),
        lambda: without_graph(normalize=False),
        "requires_grad of the rows: received True on rank 0 and False on rank 1",
    ),
    "gradient of the second rows": (
        info_nce,
        lambda: info_nce([rows()[0], rows()[1].requires_grad_()]),
        "requires_grad of the rows: received False on rank 0 and True on rank 1",
    ),
    "gradient of the temperature": (
        lambda: nt_xent(temperature=0.1),
        lambda: nt_xent(temperature=tau()),
        "requires_grad of the temperature: received False on rank 0 and True on rank 1",
    ),
    "gradient of the weights": (
        lambda: nt_xent(weights=weights()),
        lambda: nt_xent(weights=weights().requires_grad_()),
        "requires_grad of the weights: received False on rank 0 and True on rank 1",
    ),
    "missing positives": (
        sup_con,
        lambda: sup_con(missing="skip"),
        "missing: received error on rank 0 and skip on rank 1",
    ),
    "one way": (
        info_nce,
        lambda: info_nce(symmetric=False),
        "symmetric: received True on rank 0 and False on rank 1",
    ),
    "in the batch": (
        lambda: info_nce(symmetric=False, negatives=rows(1)[0]),
        lambda: info_nce(symmetric=False, negatives=rows(1)[0], in_batch=False),
        "in_batch: received True on rank 0 and False on rank 1",
    ),
    "shared negatives": (
        lambda: info_nce(negatives=rows(1)[0]),
        lambda: info_nce(negatives=rows(1)[0], shared_negatives=True),
        "shared_negatives: received False on rank 0 and True on rank 1",
    ),
    "rows of the shared negatives": (
        lambda: info_nce(negatives=rows(1)[0], shared_negatives=True),
        lambda: info_nce(negatives=rows(1, n=N + 1)[0], shared_negatives=True),
        "rows of the shared negatives: received 6 on rank 0 and 7 on rank 1",
    ),
    "size of the queue": (
        moco, lambda: moco(size=64), "queue_size: received 32 on rank 0 and 64 on rank 1"
    ),
    "width of the queue": (
        moco, lambda: moco(rows(d=5), dim=5), "dim: received 4 on rank 0 and 5 on rank 1"
    ),
    "dtype of the queue": (
        moco,
        lambda: moco(prepare=lambda criterion: criterion.double()),
        "dtype of the queue: received torch.float32 on rank 0 and torch.float64 on rank 1",
    ),
    "a loss and a queue": (
        nt_xent, moco, "what is computed: received nt_xent on rank 0 and moco on rank 1"
    ),
    "a loss and a measure": (
        nt_xent, uniformity, "what is computed: received nt_xent on rank 0 and uniformity on rank 1"
    ),
    "rows to measure": (
        uniformity, lambda: uniformity(torch.eye(8)), "rows: received 6 on rank 0 and 8 on rank 1"
    ),
    "rows to rank": (
        accuracy, lambda: accuracy(torch.eye(8)), "rows: received 12 on rank 0 and 16 on rank 1"
    ),
    "t of a measure": (
        uniformity, lambda: uniformity(t=3.0), "t: received 2.0 on rank 0 and 3.0 on rank 1"
    ),
    "temperature of a streamed loss": (
        streamed,
        lambda: streamed(temperature=0.1),
        "temperature: received 0.5 on rank 0 and 0.1 on rank 1",
    ),
}  # fmt: skip
CASES = REFUSED | {
    what: (a, b, f"ValueError: {re.escape(s)}") for what, (a, b, s) in DIFFERENT.items()
}


def deviating(what):
    usual, deviation, _ = CASES[what]
    return (deviation if deviates() else usual)()


def one_step(mode):
    z1, z2 = (z.requires_grad_() for z in rows())
    loss = nt_xent_loss(z1, z2, distributed=mode)
    loss.backward()
    return loss.item()


def used_before(worlds, size):
    """Ranks that have started and exchanged messages: what comes takes milliseconds."""
    ranks = worlds(size)
    ranks(one_step, "gather")
    return ranks


@pytest.fixture
def ranks(worlds):
    return used_before(worlds, 2)


@pytest.mark.parametrize("what", CASES)
def test_every_rank_raises_the_same_sentence_and_can_go_on(ranks, what):
    outcomes = ranks.outcomes(deviating, what, within=WITHIN)
    first, second = (f"{'returned: ' * well}{said}" for well, said in outcomes)
    assert re.match(CASES[what][2], first), first
    assert second == first
    losses = ranks(one_step, "ring")
    assert losses[0] == losses[1]


def refusing(reasons):
    """Each rank refuses for the reason given for it, or, where that is None, does not."""
    reason = reasons[dist.get_rank()]
    return nt_xent(**({} if reason is None else {reason: "unheard of"}))


@pytest.mark.parametrize(
    ("reasons", "sentence"),
    [
        (
            (None, "engine", "engine"),
            "ValueError: ranks 1 and 2 of 3: engine: received 'unheard of'",
        ),
        (
            (None, "reduction", "engine"),
            "ValueError: rank 1 of 3: reduction: received 'unheard of'",
        ),
        (("engine", "engine", "engine"), "ValueError: engine: received 'unheard of'"),
    ],
    ids=["two of three for one reason", "two of three for two reasons", "all for one reason"],
)
def test_one_refusal_is_raised_for_several(worlds, reasons, sentence):
    outcomes = used_before(worlds, 3).outcomes(refusing, reasons, within=WITHIN)
    assert not any(well for well, _ in outcomes)
    (said,) = {said for _, said in outcomes}
    assert said.startswith(sentence)


def of_four(mode):
    return nt_xent(temperature=0.1 if dist.get_rank() in (0, 2) else 0.2)


def test_the_ranks_that_have_each_value_are_named(worlds):
    ranks = used_before(worlds, 4)
    (said,) = {said for _, said in ranks.outcomes(of_four, "auto", within=WITHIN)}
    assert "received 10.0 on ranks 0 and 2 and 5.0 on ranks 1 and 3, expected" in said


def refused_with_its_cause():
    with pytest.raises(ValueError, match="rank 1 of 2: z1: row 2") as raised:
        nt_xent(with_row(0.0) if deviates() else None)
    return type(raised.value.__cause__).__name__


def test_the_rank_that_refused_keeps_its_own_error_as_the_cause(ranks):
    assert ranks(refused_with_its_cause) == ["NoneType", "ValueError"]


# --- what may differ ------------------------------------------------------------------------------


def compiled(**options):
    torch._dynamo.reset()
    return torch.compile(nt_xent_loss, backend="eager")(*rows(), **MODE | options)


def with_extra(count, dtype=torch.float32, **options):
    return info_nce(rows(dtype=dtype), negatives=rows(1, n=count, dtype=dtype)[0], **options)


# What every rank does, and what rank 1 does instead, to the same effect.
SAME = {
    "weights of double precision": (
        lambda: nt_xent(weights=weights()),
        lambda: nt_xent(weights=weights(dtype=torch.float64)),
    ),
    "weights that are whole numbers": (
        lambda: nt_xent(weights=torch.arange(1.0, 2 * N + 1)),
        lambda: nt_xent(weights=torch.arange(1, 2 * N + 1)),
    ),
    "rows of another dtype that are multiplied in the same": (
        nt_xent, lambda: nt_xent(rows(dtype=torch.bfloat16))
    ),
    "another layout": (nt_xent, lambda: nt_xent([torch.cat(rows())], layout="halves")),
    "compiled": (nt_xent, compiled),
    "checked": (
        lambda: nt_xent(check_values=False), lambda: nt_xent(check_values=True)
    ),
    "the engine by name": (nt_xent, lambda: nt_xent(engine="tiled")),
    "no samples": (nt_xent, lambda: nt_xent(rows(n=0))),
    "more negatives": (lambda: with_extra(3), lambda: with_extra(5)),
    "negatives on one rank": (info_nce, lambda: with_extra(5)),
    "shared negatives of another dtype": (
        lambda: with_extra(4, shared_negatives=True),
        lambda: with_extra(4, torch.bfloat16, shared_negatives=True),
    ),
}  # fmt: skip


def alike(what, mode):
    usual, deviation = SAME[what]
    with mock.patch.dict(MODE, distributed=mode):
        return (deviation if deviates() else usual)().item()


@pytest.mark.parametrize("what", SAME)
def test_what_changes_no_message_may_differ(ranks, what):
    for mode in ("gather", "ring"):
        first, second = ranks(alike, what, mode)
        assert first == second
        assert math.isfinite(first)


def lonely_label():
    labels = torch.tensor([0, 0, 1, 1, 2 + dist.get_rank(), 2])
    return sup_con(labels=labels, check_values=deviates())


def test_values_that_only_all_ranks_have_are_checked_where_one_of_them_asks(ranks):
    outcomes = ranks.outcomes(lonely_label, within=WITHIN)
    assert not any(well for well, _ in outcomes)
    (said,) = {said for _, said in outcomes}
    assert said.startswith("ValueError: labels: row 10 is the only one of its label")


def queue_of_a_new_rank():
    """Rank 1 builds its criterion anew after a step, as after a restart."""
    torch.manual_seed(dist.get_rank())
    criterion = MoCoLoss(32, D)
    criterion(*rows())
    if deviates():
        criterion = MoCoLoss(32, D)
    criterion(*rows())
    return criterion.queue


def test_a_rank_with_a_new_queue_takes_over_that_of_the_first(ranks):
    first, second = ranks(queue_of_a_new_rank)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


# --- a rank that fails in the middle --------------------------------------------------------------


def out_of_memory_in(part, failing, mode):
    """The product of a block fails on some ranks, in the forward or in the backward pass."""
    error = torch.OutOfMemoryError("no memory")
    fails = mock.patch.object(torch, "mm", side_effect=error)
    here = dist.get_rank() in failing
    views = [z.requires_grad_() for z in rows(n=512, d=256)]
    with fails if here and part == "forward" else nullcontext():
        loss = nt_xent(views, distributed=mode)
    with fails if here and part == "backward" else nullcontext():
        loss.backward()


@pytest.mark.parametrize("mode", ["gather", "ring"])
@pytest.mark.parametrize("part", ["forward", "backward"])
@pytest.mark.parametrize("size", [2, 3])
def test_a_rank_that_fails_in_the_middle_ends_all_of_them(worlds, size, part, mode):
    ranks = used_before(worlds, size)
    outcomes = ranks.outcomes(out_of_memory_in, part, [1], mode, within=WITHIN)
    ranks.failed = True
    assert not any(well for well, _ in outcomes)
    (said,) = {said for _, said in outcomes}
    assert said.startswith(
        f"RankError: rank 1 of {size} failed in the middle of a loss: OutOfMemoryError: no memory."
    )


def before_and_after(part, mode):
    """The loss before and after a step in which every rank runs out of memory at the same place,
    with messages of a megabyte under way.
    """
    z1, z2 = (z.requires_grad_() for z in rows(n=512, d=256))
    first = nt_xent_loss(z1, z2, distributed=mode).item()
    with pytest.raises(torch.OutOfMemoryError, match="no memory"):
        out_of_memory_in(part, [0, 1], mode)
    z1, z2 = (z.requires_grad_() for z in rows(n=512, d=256))
    return first, nt_xent_loss(z1, z2, distributed=mode).item()


@pytest.mark.parametrize("mode", ["gather", "ring"])
@pytest.mark.parametrize("part", ["forward", "backward"])
def test_ranks_that_all_fail_at_the_same_place_can_go_on(ranks, part, mode):
    for before, after in ranks(before_and_after, part, mode):
        assert after == before
