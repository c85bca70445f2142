"""Value and gradient beside the other libraries and the papers' formulas, in float64, to 1e-10."""

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from ntxent import bounds, info_nce_loss, nt_xent_loss, sup_con_loss
from ntxent.compat import lightly as our_lightly
from ntxent.compat import open_clip, sup_contrast
from ntxent.compat import pytorch_metric_learning as our_pml

SIZES = [(2, 3), (5, 2), (17, 9), (64, 32)]
TEMPERATURES = [0.05, 0.2, 1.0]


def rows(*sizes, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(*size, generator=rng, dtype=torch.float64) for size in sizes]


def value_and_gradient(loss, inputs):
    inputs = [z.detach().clone().requires_grad_() for z in inputs]
    value = loss(*inputs)
    return value.detach(), *torch.autograd.grad(value, inputs, materialize_grads=True)


def assert_same(ours, theirs, inputs):
    torch.testing.assert_close(
        value_and_gradient(ours, inputs), value_and_gradient(theirs, inputs), rtol=1e-10, atol=1e-10
    )


every_size = pytest.mark.parametrize(("n", "d"), SIZES)
every_temperature = pytest.mark.parametrize("temperature", TEMPERATURES)


# --- lightly --------------------------------------------------------------------------------------


@pytest.fixture
def lightly():
    return pytest.importorskip("lightly.loss").NTXentLoss


@every_size
@every_temperature
def test_lightly(lightly, n, d, temperature):
    inputs = rows((n, d), (n, d))
    assert_same(our_lightly.NTXentLoss(temperature), lightly(temperature), inputs)


@pytest.mark.parametrize("size", [3, 8, 20])
def test_lightly_with_a_memory_bank(lightly, size):
    """Batches that divide the bank, that do not, and that exceed it; one without gradient."""
    pair = []
    for kind in (our_lightly.NTXentLoss, lightly):
        torch.manual_seed(0)
        pair.append(kind(temperature=0.1, memory_bank_size=(size, 5)).double())
    for step, n in enumerate((4, 4, 3, 7, 1, 4, 4)):
        inputs = rows((n, 5), (n, 5), seed=step)
        assert_same(*pair, inputs)
        held_out = rows((n, 5), (n, 5), seed=100 + step)
        torch.testing.assert_close(*(criterion(*held_out) for criterion in pair))


# --- pytorch-metric-learning ----------------------------------------------------------------------


@pytest.fixture
def losses():
    return pytest.importorskip("pytorch_metric_learning.losses")


@every_size
@every_temperature
@pytest.mark.parametrize("symmetric", [True, False])
def test_pytorch_metric_learning_self_supervised(losses, n, d, temperature, symmetric):
    ours, theirs = (
        of.SelfSupervisedLoss(of.NTXentLoss(temperature), symmetric=symmetric)
        for of in (our_pml, losses)
    )
    assert_same(ours, theirs, rows((n, d), (n, d)))


LABELS = {
    "pairs": [0, 0, 1, 1, 2, 2, 3, 3],
    "unequal classes": [5, 5, 5, 5, 1, 7, 7, 7],
    "some alone": [0, 1, 2, 3, 4, 4, 5, 6],
    "one class": [3] * 8,
    "all alone": list(range(8)),
    "unsorted": [2, 0, 1, 0, 2, 2, 1, -4],
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@every_temperature
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_pytorch_metric_learning_labels(losses, labels, temperature, dtype):
    labels = torch.tensor(labels, dtype=dtype)
    ours, theirs = (of.NTXentLoss(temperature) for of in (our_pml, losses))
    assert_same(lambda z: ours(z, labels), lambda z: theirs(z, labels), rows((8, 5)))


@pytest.mark.parametrize(
    ("labels", "ref_labels"),
    [([0, 1, 2], [2, 2, 0, 7, 1]), ([0, 0], [1, 1]), ([0], [0, 1]), ([0], [0, 1, 1]), ([0], [0])],
)
@every_temperature
def test_pytorch_metric_learning_references(losses, labels, ref_labels, temperature):
    labels, ref_labels = torch.tensor(labels), torch.tensor(ref_labels)
    ours, theirs = (of.NTXentLoss(temperature) for of in (our_pml, losses))
    assert_same(
        lambda z, ref: ours(z, labels, ref_emb=ref, ref_labels=ref_labels),
        lambda z, ref: theirs(z, labels, ref_emb=ref, ref_labels=ref_labels),
        rows((len(labels), 5), (len(ref_labels), 5)),
    )


def test_pytorch_metric_learning_drops_row_i_where_both_labels_are_one_tensor(losses):
    labels = torch.tensor([0, 0, 1, 1])
    ours, theirs = (of.NTXentLoss(0.1) for of in (our_pml, losses))
    assert_same(
        lambda z, ref: ours(z, labels, ref_emb=ref, ref_labels=labels),
        lambda z, ref: theirs(z, labels, ref_emb=ref, ref_labels=labels),
        rows((4, 5), (4, 5)),
    )


# --- optax ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [LABELS["pairs"], LABELS["unequal classes"]])
@every_temperature
def test_optax(labels, temperature):
    optax = pytest.importorskip("optax")
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    (z,) = rows((8, 5))
    theirs = jax.value_and_grad(optax.ntxent)(
        jax.numpy.asarray(z.numpy()), jax.numpy.asarray(labels), temperature
    )
    criterion = our_pml.NTXentLoss(temperature)
    ours = value_and_gradient(lambda z: criterion(z, torch.tensor(labels)), [z])
    for part, expected in zip(ours, theirs, strict=True):
        expected = torch.tensor(expected.tolist(), dtype=torch.float64)
        torch.testing.assert_close(part, expected, rtol=1e-10, atol=1e-10)


# --- formulas of the papers, with the scale that bounds.VARIANTS gives ----------------------------


def scale(variant, temperature):
    return bounds.limits(variant, 8, temperature).scale


@every_size
@every_temperature
def test_simclr_of_google_research(n, d, temperature):
    """Each view's anchors against both views, masked by a large number; both directions summed."""

    def theirs(a, b):
        a, b = normalize(a), normalize(b)
        mask = 1e9 * torch.eye(n, dtype=torch.float64)

        def direction(x, y):
            logits = torch.cat([x @ y.T / temperature, x @ x.T / temperature - mask], 1)
            return cross_entropy(logits, torch.arange(n))

        return direction(a, b) + direction(b, a)

    factor = scale("simclr_tf", temperature)
    assert_same(
        lambda a, b: factor * nt_xent_loss(a, b, temperature=temperature),
        theirs,
        rows(*[(n, d)] * 2),
    )


def khosla(features, labels, temperature, base, anchors):
    """L_out, loop by loop, over the anchors of the first ``anchors`` views; 0 without positives."""
    n, views, _ = features.shape
    z = [features[i, v] for v in range(views) for i in range(n)]
    total = features.new_zeros(())
    for i in range(anchors * n):
        others = [k for k in range(len(z)) if k != i]
        lse = torch.stack([z[i] @ z[k] / temperature for k in others]).logsumexp(0)
        positives = [k for k in others if labels[k % n] == labels[i % n]]
        for p in positives:
            total = total - (z[i] @ z[p] / temperature - lse) / len(positives)
    return temperature / base * total / (anchors * n)


SUPERVISED = [(6, 2, [0, 1, 0, 2, 2, 2]), (5, 3, None), (7, 1, [0, 1, 1, 2, 3, 3, 3])]


@pytest.mark.parametrize(("n", "views", "labels"), SUPERVISED)
@pytest.mark.parametrize("mode", ["all", "one"])
@every_temperature
def test_sup_contrast(n, views, labels, mode, temperature):
    given = None if labels is None else torch.tensor(labels)
    of = list(range(n)) if labels is None else labels
    ours = sup_contrast.SupConLoss(temperature, contrast_mode=mode)
    anchors = views if mode == "all" else 1
    (features,) = rows((n, views, 4))
    assert_same(
        lambda z: ours(normalize(z, dim=2), given),
        lambda z: khosla(normalize(z, dim=2), of, temperature, 0.07, anchors),
        [features],
    )
    if labels is not None:
        mask = (given[:, None] == given).float()
        torch.testing.assert_close(ours(features, mask=mask), ours(features, given))


@every_temperature
def test_sup_contrast_scale(temperature):
    factor = scale("supcon_ref", temperature)
    labels = torch.tensor([0, 1, 0, 2, 2, 1])
    assert_same(
        lambda z: factor * sup_con_loss(z, labels, temperature=temperature),
        lambda z: khosla(normalize(z, dim=2), labels.tolist(), temperature, 0.07, 2),
        rows((6, 2, 4)),
    )


@every_size
@every_temperature
def test_moco_v3(n, d, temperature):
    """Queries of each view against the momentum keys of the other, each times 2 tau."""

    def contrastive(q, k):
        logits = normalize(q) @ normalize(k).T / temperature
        return 2 * temperature * cross_entropy(logits, torch.arange(n))

    def ours(q1, q2, k1, k2):
        both = [
            info_nce_loss(q, k, symmetric=False, temperature=temperature)
            for q, k in ((q1, k2), (q2, k1))
        ]
        return scale("moco_v3", temperature) * sum(both) / 2

    assert_same(
        ours,
        lambda q1, q2, k1, k2: contrastive(q1, k2) + contrastive(q2, k1),
        rows(*[(n, d)] * 4),
    )


@every_size
@every_temperature
def test_open_clip(n, d, temperature):
    def theirs(image, text, logit_scale):
        image, text = normalize(image), normalize(text)
        per_image, per_text = logit_scale * image @ text.T, logit_scale * text @ image.T
        labels = torch.arange(n)
        return (cross_entropy(per_image, labels) + cross_entropy(per_text, labels)) / 2

    inputs = [*rows((n, d), (n, d)), torch.tensor(1 / temperature, dtype=torch.float64)]
    factor = scale("clip", temperature)
    criterion = open_clip.ClipLoss()
    for ours in (
        lambda image, text, logit_scale: factor * info_nce_loss(image, text, scale=logit_scale),
        lambda image, text, logit_scale: criterion(normalize(image), normalize(text), logit_scale),
    ):
        assert_same(ours, theirs, inputs)
