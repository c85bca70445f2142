"""Ids, weights and a queue that the ranks of a group have parts of, against one process."""

import pytest
import torch
import torch.distributed as dist

from ntxent import MoCoLoss, info_nce_loss
from ranks import Ranks

COUNTS = [6, 3]
X, Y = torch.randn(2, sum(COUNTS), 5, generator=torch.Generator().manual_seed(0))
LOW, HIGH = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max


@pytest.fixture(scope="module")
def ranks():
    made = Ranks(len(COUNTS))
    yield made
    made.close()


def own(tensor):
    return tensor.split(COUNTS)[dist.get_rank()] if dist.is_initialized() else tensor


def with_ids(ids, mode):
    rows = own(torch.ones(sum(COUNTS), 5))
    options = {"ids": own(torch.tensor(ids)), "symmetric": False, "reduction": "none"}
    return info_nce_loss(rows, rows, negatives=rows, distributed=mode, **options)


@pytest.mark.parametrize("mode", ["gather", "ring"])
@pytest.mark.parametrize(
    "ids", [[LOW, HIGH, 0, 1, LOW, HIGH, -1, 2, LOW], [LOW] * 6 + [HIGH] * 3, [*range(9)]]
)
def test_further_negatives_share_no_id_with_a_sample_of_any_rank(ranks, ids, mode):
    """Equal rows: the loss counts the candidates."""
    given = torch.tensor(ids)
    expected = ((given[:, None] != given).sum(1) + 1.0 + len(ids)).log()
    torch.testing.assert_close(torch.cat(ranks(with_ids, ids, mode)), expected)


def with_weights(mode, dtype):
    weights = torch.linspace(300, 500, sum(COUNTS)).to(dtype)
    return info_nce_loss(own(X), own(Y), weights=own(weights) * 100, distributed=mode)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_of_any_dtype_are_summed_in_that_of_the_loss(ranks, dtype):
    """9 weights of 30,000 to 50,000: float16 holds each of them, and no sum of two."""
    expected = with_weights("local", torch.float32)
    for loss in ranks(with_weights, "gather", dtype):
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected, rtol=1e-3, atol=0)


def queued_steps(first_fails):
    """The losses and the queue of: a pass in eval(), a call that fails or none, a step, eval()."""
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 0)
    criterion = MoCoLoss(queue_size=20, dim=5)
    start = criterion.queue.clone()
    losses = [criterion.eval()(own(X), own(Y)).item()]
    criterion.train()
    if first_fails:
        with pytest.raises(ValueError, match="x: row 0 has zero norm"):
            criterion(own(X) * 0, own(Y))
    kept = torch.equal(criterion.queue, start)
    losses += [criterion(own(X), own(Y)).item()]
    losses += [criterion.eval()(own(X), own(Y)).item() for _ in range(2)]
    return losses, kept, criterion.queue


@pytest.mark.parametrize("first_fails", [False, True])
def test_the_queue_of_all_ranks_changes_by_steps_alone(ranks, first_fails):
    losses, kept, queue = queued_steps(first_fails)
    assert losses[0] == losses[1] != losses[2] == losses[3]
    for theirs, theirs_kept, their_queue in ranks(queued_steps, first_fails):
        assert theirs == pytest.approx(losses, rel=1e-6)
        assert theirs_kept == kept is True
        torch.testing.assert_close(their_queue, queue)
