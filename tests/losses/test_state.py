"""What is kept between calls: made for any call, and by none that failed."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ntxent import MoCoLoss, info_nce_loss, nt_xent_loss, sup_con_loss
from ntxent.losses.views import _kept

N = 300  # 600 rows take more than one tile
Z1, Z2 = torch.randn(2, N, 8, generator=torch.Generator().manual_seed(0))


def afresh(function):
    """In a thread of its own, with no anchors kept."""
    _kept.cache_clear()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def losses():
    z = Z1.clone().requires_grad_()
    labels, big = torch.arange(N, device="cpu") // 2, torch.cat([Z1] * 4)
    values = [
        nt_xent_loss(z, Z2),
        sup_con_loss(z, labels),
        info_nce_loss(big, big, ids=labels.repeat(4)),
    ]
    values += [nt_xent_loss(z, Z2, weights=torch.ones(2 * N, device="cpu"), ids=labels)]
    values += [nt_xent_loss(torch.stack([z, Z2, Z1], 1))]
    gradients = torch.autograd.grad(sum(values), z)
    return [*(value.detach() for value in values), *gradients]


@pytest.mark.parametrize("where", ["context", "default"])
def test_a_default_device_does_not_reach_into_a_call_or_the_next(where):
    expected = afresh(losses)

    def both():
        if where == "context":
            with torch.device("meta"):
                inside = losses()
        else:
            torch.set_default_device("meta")
            try:
                inside = losses()
            finally:
                torch.set_default_device(None)
        return inside, losses()

    for found in afresh(both):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_default_dtype_does_not_reach_into_a_call_or_the_next(dtype):
    expected = afresh(losses)

    def both():
        torch.set_default_dtype(dtype)
        try:
            inside = losses()
        finally:
            torch.set_default_dtype(torch.float32)
        return inside, losses()

    for found in afresh(both):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_real_tensors_in_a_mode_of_fake_ones_leave_nothing_to_the_next_call():
    expected = afresh(losses)

    def both():
        # The value of a fake tensor may be asked for.
        with FakeTensorMode(allow_non_fake_inputs=True), suppress(Exception):
            nt_xent_loss(Z1, Z2, check_values=False)
        return losses()

    torch.testing.assert_close(afresh(both), expected, rtol=0, atol=0)


# --- the queue of MoCo ----------------------------------------------------------------------------


def moco(**options):
    torch.manual_seed(0)
    return MoCoLoss(queue_size=32, dim=8, **options)


def state(criterion):
    return {name: value.clone() for name, value in criterion.state_dict().items()}


@pytest.mark.parametrize(
    ("queries", "options"),
    [
        (torch.zeros(6, 8), {}),  # found by the loss, after the keys were
        (Z1[:6, :5], {}),
        (Z1[:5], {}),
        (Z1[:6], {"weights": torch.ones(5)}),
    ],
)
def test_a_call_that_fails_leaves_the_queue_as_it_was(queries, options):
    criterion = moco(**options)
    before = state(criterion)
    with pytest.raises((TypeError, ValueError)):
        criterion(queries, Z2[:6])
    torch.testing.assert_close(state(criterion), before, rtol=0, atol=0)


def test_in_eval_the_queue_stays_as_it_is_and_the_loss_is_the_same():
    criterion = moco()
    criterion(Z1[:6], Z2[:6])
    before = state(criterion)
    criterion.eval()
    with torch.no_grad():
        values = [criterion(Z1[10:16], Z2[10:16]) for _ in range(2)]
        criterion(Z1[:40], Z2[:40])  # more rows than the queue holds, none of which is to go in
    assert values[0] == values[1]
    torch.testing.assert_close(state(criterion), before, rtol=0, atol=0)
    trained = criterion.train()(Z1[10:16], Z2[10:16])
    assert trained == values[0]
    assert int(criterion.oldest) == 12


def test_no_nan_comes_into_the_queue_unchecked():
    """A row of it would make every later loss NaN until it left."""
    criterion, keys = moco(check_values=False), Z2[:6].clone()
    keys[1], keys[2, 3] = 0, torch.inf
    before = state(criterion)["queue"]
    assert criterion(Z1[:6], keys).isnan()
    torch.testing.assert_close(criterion.queue[1:3], before[1:3], rtol=0, atol=0)
    assert not torch.equal(criterion.queue[0], before[0])
    assert criterion(Z1[:6], Z2[:6]).isfinite()
