"""Shuffled batches: shared by processes, and continued in the middle of an epoch."""

import pytest
import torch

from ntxent.simclr.data.loader import ResumableLoader, ShuffledBatches, local_batch_size


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_the_batches_of_one(world):
    def epoch(rank, world):
        torch.manual_seed(5)
        return list(ShuffledBatches(37, 8, rank, world))

    parts = [epoch(rank, world) for rank in range(world)]
    together = [[row for share in shares for row in share] for shares in zip(*parts, strict=True)]
    assert together == epoch(0, 1)


@pytest.mark.parametrize(
    ("size", "world", "near"), [(10, 4, "8 or 12"), (3, 4, "such as 4"), (9, 2, "8 or 10")]
)
def test_a_batch_that_cannot_be_shared_is_refused(size, world, near):
    with pytest.raises(
        ValueError, match=f"batch_size: received {size}, .*{world} processes.*{near}"
    ):
        local_batch_size(size, world)


def test_other_data_is_refused():
    dataset = torch.arange(10)
    order = ShuffledBatches(10, 2)
    state = ResumableLoader(dataset, order, batch_sampler=order).state_dict()
    order = ShuffledBatches(9, 2)
    with pytest.raises(ValueError, match="data: received 9 images, expected the 10 that the run"):
        ResumableLoader(dataset[:9], order, batch_sampler=order).load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 1, 4, 5])
def test_the_order_continues_in_the_middle_of_an_epoch(workers, taken):
    def loader():
        order = ShuffledBatches(11, 2)
        return ResumableLoader(range(11), order, batch_sampler=order, num_workers=workers)

    torch.manual_seed(3)
    whole = loader()
    batches = [batch.tolist() for batch in whole]
    assert len({image for batch in batches for image in batch}) == 10

    torch.manual_seed(3)
    first = loader()
    iterator = iter(first)
    head = [next(iterator).tolist() for _ in range(taken)]
    state = first.state_dict()
    assert state["taken"] == taken
    second = loader()
    second.load_state_dict(state)
    if taken in (0, 5):  # not begun, or at its end: the next one is new
        assert len(list(second)) == 5
        return
    torch.manual_seed(99)
    assert head + [batch.tolist() for batch in second] == batches
    assert len(list(second)) == 5
