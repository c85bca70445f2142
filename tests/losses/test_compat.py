"""The drop-in classes: the usage that the originals document, and what is refused."""

import pytest
import torch
from torch import nn

from ntxent.compat import lightly, open_clip, sup_contrast
from ntxent.compat import pytorch_metric_learning as losses

X, Y = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))


# --- documented usage, unchanged but for the import -----------------------------------------------


def test_lightly_usage():
    from ntxent.compat.lightly import NTXentLoss

    images = torch.rand(8, 3, 4, 4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 16))

    def transforms(images):
        return images + 0.1 * torch.rand_like(images)

    # initialize loss function without memory bank
    loss_fn = NTXentLoss(memory_bank_size=0)

    # generate two random transforms of images
    t0 = transforms(images)
    t1 = transforms(images)

    # feed through SimCLR or MoCo model
    out0, out1 = model(t0), model(t1)

    # calculate loss
    loss = loss_fn(out0, out1)

    loss.backward()
    assert model[1].weight.grad.norm() > 0


def test_lightly_usage_with_a_memory_bank():
    from ntxent.compat.lightly import NTXentLoss

    criterion = NTXentLoss(temperature=0.1, memory_bank_size=(16, 4))
    query = X.clone().requires_grad_()
    criterion(query, Y).backward()
    assert query.grad.norm() > 0
    torch.testing.assert_close(criterion.bank[:6], nn.functional.normalize(Y))
    assert not criterion.state_dict()


def test_pytorch_metric_learning_usage():
    from ntxent.compat import pytorch_metric_learning as losses

    dataloader = [(torch.rand(6, 8), torch.tensor([0, 0, 1, 1, 2, 2]))]
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_func = losses.NTXentLoss(temperature=0.07)

    # your training loop
    for i, (data, labels) in enumerate(dataloader):  # noqa: B007
        optimizer.zero_grad()
        embeddings = model(data)
        loss = loss_func(embeddings, labels)
        loss.backward()
        optimizer.step()

    assert model.weight.grad.norm() > 0


def test_pytorch_metric_learning_self_supervised_usage():
    from ntxent.compat.pytorch_metric_learning import NTXentLoss, SelfSupervisedLoss

    embeddings, ref_emb = X.clone().requires_grad_(), Y
    loss_func = SelfSupervisedLoss(NTXentLoss(temperature=0.07))
    loss = loss_func(embeddings, ref_emb)
    loss.backward()
    assert embeddings.grad.norm() > 0


def test_sup_contrast_usage():
    from ntxent.compat.sup_contrast import SupConLoss

    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    # define loss with a temperature `temp`
    temp = 0.1
    criterion = SupConLoss(temperature=temp)

    # features: [bsz, n_views, f_dim]
    # `n_views` is the number of crops from each image
    # better be L2 normalized in f_dim dimension
    features = nn.functional.normalize(torch.stack([X, Y], dim=1), dim=2)

    # SupContrast
    loss = criterion(features, labels)
    # or SimCLR
    simclr = criterion(features)

    assert loss.isfinite()
    assert simclr.isfinite()


def test_open_clip_usage():
    from ntxent.compat.open_clip import ClipLoss

    loss = ClipLoss(
        local_loss=False,
        gather_with_grad=False,
        cache_labels=True,
        rank=0,
        world_size=1,
        use_horovod=False,
    )
    model_out = {"image_features": X, "text_features": Y, "logit_scale": torch.tensor(14.3)}
    losses = loss(**model_out, output_dict=True)
    torch.testing.assert_close(losses["contrastive_loss"], loss(X, Y, torch.tensor(14.3)))


# --- what the originals leave to rounding ---------------------------------------------------------


def test_pytorch_metric_learning_gradient_where_the_probability_underflows():
    """exp(-200) at s = -1 and tau = 0.01: an epsilon inside the logarithm gives gradient 0."""
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    z, labels = torch.cat([z, -z]).requires_grad_(), torch.arange(4).repeat(2)
    loss = losses.NTXentLoss(0.01)(z, labels)
    loss.backward()
    assert loss > 90
    assert z.grad.norm() > 1


def test_pytorch_metric_learning_views_beyond_two():
    """As many rows of each sample's label, whichever way the views are listed."""
    criterion = losses.NTXentLoss(0.1)
    labels = torch.arange(6).repeat(3)
    torch.testing.assert_close(
        losses.SelfSupervisedLoss(criterion)(X, Y, X + Y),
        criterion(torch.cat([X, Y, X + Y]), labels),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_float32(dtype):
    x, y, labels = X.to(dtype), Y.to(dtype), torch.arange(6) // 2
    for loss in (
        lightly.NTXentLoss(memory_bank_size=(8, 4))(x, y),
        losses.NTXentLoss()(x, labels),
        sup_contrast.SupConLoss()(torch.stack([x, y], 1), labels),
        open_clip.ClipLoss()(x, y, 10.0),
    ):
        assert loss.dtype == torch.float32
        assert loss.isfinite()


# --- what is refused, each by name ----------------------------------------------------------------

PAIR = torch.stack([X, Y], 1)
LABELS = torch.arange(6) // 2


def asymmetric():
    mask = torch.eye(6)
    mask[0, 1] = 1
    return mask


def intransitive():
    mask = torch.eye(6)
    mask[0, 1] = mask[1, 0] = mask[1, 2] = mask[2, 1] = 1
    return mask


REFUSED = {
    "lightly temperature": (
        lambda: lightly.NTXentLoss(temperature=0),
        r"temperature: received 0, expected a finite number > 0",
    ),
    "lightly bank without dim": (
        lambda: lightly.NTXentLoss(memory_bank_size=64),
        r"memory_bank_size: received 64, expected \(rows, dim\), or 0 for no memory bank",
    ),
    "lightly negative bank": (
        lambda: lightly.NTXentLoss(memory_bank_size=(64, -1)),
        r"memory_bank_size: received \(64, -1\), expected \(rows, dim\)",
    ),
    "metric learning reducer": (
        lambda: losses.NTXentLoss(0.1, reducer=None),
        r"reducer: received with NTXentLoss, expected temperature alone",
    ),
    "metric learning miner": (
        lambda: losses.NTXentLoss()(X, LABELS, (LABELS, LABELS, LABELS)),
        r"indices_tuple: received one, expected None",
    ),
    "metric learning without labels": (
        lambda: losses.NTXentLoss()(X),
        r"labels: received none .* expected labels for each",
    ),
    "metric learning references without labels": (
        lambda: losses.NTXentLoss()(X, LABELS, ref_emb=Y),
        r"labels: received none .* expected labels for each",
    ),
    "metric learning labels of wrong length": (
        lambda: losses.NTXentLoss()(X, LABELS[:4]),
        r"labels: received shape \[4\], expected \[6\]",
    ),
    "metric learning other loss": (
        lambda: losses.SelfSupervisedLoss(nn.CrossEntropyLoss()),
        r"loss: received CrossEntropyLoss, expected the NTXentLoss of ntxent\.compat",
    ),
    "metric learning unequal views": (
        lambda: losses.SelfSupervisedLoss(losses.NTXentLoss())(X, Y[:4]),
        r"embeddings and ref_emb: received shapes \[6, 4\] and \[4, 4\]",
    ),
    "sup_contrast two dimensions": (
        lambda: sup_contrast.SupConLoss()(X, LABELS),
        r"features: received shape \[6, 4\], expected \[N, V, \.\.\.\]",
    ),
    "sup_contrast mode": (
        lambda: sup_contrast.SupConLoss(contrast_mode="two"),
        r"contrast_mode: received 'two', expected one of 'all', 'one'",
    ),
    "sup_contrast base": (
        lambda: sup_contrast.SupConLoss(base_temperature=0),
        r"base_temperature: received 0, expected a finite number > 0",
    ),
    "sup_contrast labels and mask": (
        lambda: sup_contrast.SupConLoss()(PAIR, LABELS, torch.eye(6)),
        r"labels and mask: received both, expected at most one",
    ),
    "sup_contrast mask of other shape": (
        lambda: sup_contrast.SupConLoss()(PAIR, mask=torch.eye(5)),
        r"mask: received shape \[5, 5\], expected \[6, 6\]",
    ),
    "sup_contrast asymmetric mask": (
        lambda: sup_contrast.SupConLoss()(PAIR, mask=asymmetric()),
        r"mask: received one that no labels have, expected mask\[i, j\] = 1",
    ),
    "sup_contrast intransitive mask": (
        lambda: sup_contrast.SupConLoss()(PAIR, mask=intransitive()),
        r"mask: received one that no labels have",
    ),
    "sup_contrast weighted mask": (
        lambda: sup_contrast.SupConLoss()(PAIR, mask=0.5 * torch.eye(6)),
        r"mask: received one that no labels have",
    ),
    "sup_contrast mask without diagonal": (
        lambda: sup_contrast.SupConLoss()(PAIR, mask=1 - torch.eye(6)),
        r"mask: received one that no labels have",
    ),
    "open_clip world": (
        lambda: open_clip.ClipLoss(world_size=8)(X, Y, 10.0),
        r"world_size: received 8 among 1 processes, expected their number; call .*init_process",
    ),
    "open_clip positional": (
        lambda: open_clip.ClipLoss()(X, Y, 10.0, True),
        r"takes 4 positional arguments but 5 were given",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_supported_is_refused(call, message):
    with pytest.raises((TypeError, ValueError, NotImplementedError), match=message):
        call()


def test_a_bank_of_several_processes_is_refused(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    with pytest.raises(NotImplementedError, match=r"gather_distributed: received True among 4"):
        lightly.NTXentLoss(memory_bank_size=(8, 4), gather_distributed=True)(X, Y)
    assert lightly.NTXentLoss()(X, Y).isfinite()
