"""A step in chunks against the same step at once."""

import pytest
import torch
from torch import nn

from family import MEMBERS
from inputs import classes, random, tau
from ntxent import NTXentLoss, gradcache

N, D = 22, 6


def network(*layers, dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 16), *layers, nn.ReLU(), nn.Linear(16, 4)).to(dtype)


def images(views=2, n=N, dtype=torch.float64):
    rng = torch.Generator().manual_seed(1)
    return [torch.randn(n, D, generator=rng, dtype=dtype) for _ in range(views)]


def gradients(*modules):
    """The gradients of all parameters, which are then cleared."""
    parameters = [p for module in modules for p in module.parameters()]
    taken = [p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    assert all(g is not None for g in taken)
    return taken


@pytest.mark.parametrize("chunk_size", [1, 5, 22, 100])
def test_the_gradient_is_that_of_the_whole_batch(chunk_size):
    encoder, views = network(), images()
    criterion = NTXentLoss(0.1, learnable=True).double()
    plain = criterion(*map(encoder, views))
    plain.backward()
    expected = gradients(encoder, criterion)
    value = gradcache(encoder, views, criterion, chunk_size=chunk_size)
    assert not value.requires_grad
    torch.testing.assert_close(value, plain.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(encoder, criterion), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["nt_xent 3 views", "sup_con stacked", "info_nce", "MoCoLoss"])
def test_members_of_the_family(name):
    member, encoder = MEMBERS[name], network()
    call, labels, t = member.loss(), classes(N), tau(0.1)
    extra = random(member, N, 4)[member.views :]

    def criterion(*rows):
        return call([*rows, *extra], labels, temperature=t)

    criterion(*map(encoder, images(member.views))).backward()
    expected = gradients(encoder)
    gradcache(encoder, images(member.views), criterion, chunk_size=5)
    torch.testing.assert_close(gradients(encoder), expected, rtol=1e-10, atol=1e-12)


def test_adding_the_gradients_of_chunks_is_another_loss():
    encoder, views, criterion = network(), images(), NTXentLoss(0.1)
    criterion(*map(encoder, views)).backward()
    expected = torch.cat([g.flatten() for g in gradients(encoder)])
    for part in zip(*(view.chunk(2) for view in views), strict=True):
        (criterion(*map(encoder, part)) / 2).backward()
    accumulated = torch.cat([g.flatten() for g in gradients(encoder)])
    assert (accumulated - expected).norm() > 0.05 * expected.norm()


def test_dropout_draws_the_same_in_both_passes():
    encoder, views, criterion = network(nn.Dropout(0.5)), images(), NTXentLoss(0.1)

    def in_chunks(*views):  # one graph over the chunks, in the order in which they are embedded
        return [torch.cat([encoder(part) for part in view.split(5)]) for view in views]

    torch.manual_seed(7)
    plain = criterion(*in_chunks(*views))
    after = torch.get_rng_state()
    plain.backward()
    expected = gradients(encoder)
    torch.manual_seed(7)
    value = gradcache(encoder, views, criterion, chunk_size=5)
    torch.testing.assert_close(value, plain.detach())
    torch.testing.assert_close(gradients(encoder), expected)
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm(training):
    encoder, views, criterion = network(nn.BatchNorm1d(16)), images(), NTXentLoss(0.1)
    encoder.train(training)
    reference = network(nn.BatchNorm1d(16)).train(training)
    rows = [torch.cat([reference(part) for part in view.split(11)]) for view in views]
    criterion(*rows).backward()
    gradcache(encoder, views, criterion, chunk_size=11)
    torch.testing.assert_close(gradients(encoder), gradients(reference))
    # Statistics count every row once.
    torch.testing.assert_close(dict(encoder.named_buffers()), dict(reference.named_buffers()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_a_gradient_scaler(dtype):
    encoder, views = network(dtype=torch.float32), images(dtype=torch.float32)
    criterion, scaler = NTXentLoss(0.1), torch.amp.GradScaler("cpu", init_scale=2.0**8)
    with torch.autocast("cpu", dtype):
        plain = criterion(*(torch.cat([*map(encoder, view.split(5))]) for view in views))
    scaler.scale(plain).backward()
    expected = gradients(encoder)
    with torch.autocast("cpu", dtype):
        value = gradcache(encoder, views, criterion, chunk_size=5, scaler=scaler)
    torch.testing.assert_close(value, plain.detach())
    # Chunks of a gradient are rounded on their own where the whole graph rounds their sum.
    for ours, theirs in zip(gradients(encoder), expected, strict=True):
        assert (ours - theirs).norm() <= 4 * torch.finfo(dtype).eps * theirs.norm()


def test_an_encoder_for_each_view_structured_views_and_stats():
    image, text = network(), network()
    views = [{"pixels": images()[0]}, (images()[1], torch.ones(N, 1, dtype=torch.float64))]
    criterion = NTXentLoss(0.1, return_stats=True)
    encoders = [lambda view: image(view["pixels"]), lambda view: text(view[0]) * view[1]]
    plain, _ = criterion(*(e(view) for e, view in zip(encoders, views, strict=True)))
    plain.backward()
    expected = gradients(image, text)
    value, stats = gradcache(encoders, views, criterion, chunk_size=4)
    torch.testing.assert_close(value, plain.detach())
    assert stats.per_anchor.shape == (2 * N,)
    torch.testing.assert_close(gradients(image, text), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: gradcache(network(), images(), NTXentLoss(), chunk_size=0),
            "chunk_size: received 0, expected an integer >= 1",
        ),
        (lambda: gradcache(network(), [], NTXentLoss(), chunk_size=4), "views: received none"),
        (
            lambda: gradcache([network()], images(), NTXentLoss(), chunk_size=4),
            "encoder: received 1 for 2 views, expected one for all of them or one each",
        ),
        (
            lambda: gradcache(lambda x: x.sum(), images(), NTXentLoss(), chunk_size=4),
            r"encoder: returned \[\] for 4 rows, expected a tensor with a row for each",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- towers and views, trained or not -------------------------------------------------------------


def test_a_frozen_tower_gets_no_gradient_and_the_other_its_own():
    image, text = network(), network().requires_grad_(False)
    views, criterion = images(), NTXentLoss(0.1, learnable=True).double()
    criterion(image(views[0]), text(views[1])).backward()
    expected = gradients(image, criterion)
    gradcache([image, text], views, criterion, chunk_size=5)
    torch.testing.assert_close(gradients(image, criterion), expected)
    assert all(p.grad is None for p in text.parameters())


def test_with_all_towers_frozen_the_loss_alone_is_trained():
    frozen, views = network().requires_grad_(False), images()
    criterion = NTXentLoss(0.1, learnable=True).double()
    criterion(*map(frozen, views)).backward()
    expected = gradients(criterion)
    gradcache(frozen, views, criterion, chunk_size=5)
    torch.testing.assert_close(gradients(criterion), expected)


def test_nothing_to_train_is_an_error_as_in_backward():
    frozen = network().requires_grad_(False)
    with pytest.raises(RuntimeError, match="encoder: received none that requires a gradient"):
        gradcache(frozen, images(), NTXentLoss(0.1), chunk_size=5)


@pytest.mark.parametrize("shared", [False, True])
def test_views_that_carry_a_graph_send_their_gradient_through_it_once(shared):
    before, encoder, criterion = nn.Linear(D, D).double(), network(), NTXentLoss(0.1)
    leaf = images()[1].requires_grad_()

    def views():
        first = before(images()[0])
        return [first, first * 2 + leaf] if shared else [first, leaf]

    criterion(*map(encoder, views())).backward()
    expected = [*gradients(before, encoder), leaf.grad]
    leaf.grad = None
    gradcache(encoder, views(), criterion, chunk_size=5)
    torch.testing.assert_close([*gradients(before, encoder), leaf.grad], expected)


def test_a_frozen_encoder_passes_the_gradient_of_its_view_on():
    before, frozen, criterion = nn.Linear(D, D).double(), network(), NTXentLoss(0.1)
    frozen.requires_grad_(False)
    first, second = images()
    criterion(frozen(before(first)), frozen(second)).backward()
    expected = gradients(before)
    gradcache(frozen, [before(first), second], criterion, chunk_size=5)
    torch.testing.assert_close(gradients(before), expected)


# --- a call that fails ----------------------------------------------------------------------------


class Failing(nn.Module):
    """Raises at its call of that number; puts a new tensor into its buffer at every call."""

    def __init__(self, at):
        super().__init__()
        self.at, self.calls = at, 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.seen = self.seen + len(x)
        if self.calls == self.at:
            raise FloatingPointError("this one")
        return x


def buffers(module):
    return {name: value.clone() for name, value in module.named_buffers()}


@pytest.mark.parametrize("call", [2, 9, 11, 20])  # 10 chunks: two calls in each of two passes
@pytest.mark.parametrize("method", [False, True], ids=["module", "method"])
def test_an_error_in_either_pass_leaves_buffers_as_they_were(call, method):
    encoder = network(nn.BatchNorm1d(16), Failing(call))
    before = buffers(encoder)
    embed = encoder.forward if method else encoder
    with pytest.raises(FloatingPointError):
        gradcache(embed, images(), NTXentLoss(0.1), chunk_size=5)
    torch.testing.assert_close(buffers(encoder), before, rtol=0, atol=0)


@pytest.mark.parametrize("method", [False, True], ids=["module", "method"])
def test_the_second_pass_counts_no_row_again(method):
    encoder = network(nn.BatchNorm1d(16), Failing(0))
    embed = encoder.forward if method else encoder
    gradcache(embed, images(), NTXentLoss(0.1), chunk_size=5)
    assert encoder[2].seen == 2 * N
    assert encoder[1].num_batches_tracked == 10


def test_an_error_in_the_loss_leaves_buffers_as_they_were():
    encoder = network(nn.BatchNorm1d(16))
    before = buffers(encoder)

    def failing(*rows):
        raise FloatingPointError("this one")

    with pytest.raises(FloatingPointError):
        gradcache(encoder, images(), failing, chunk_size=5)
    torch.testing.assert_close(buffers(encoder), before, rtol=0, atol=0)
