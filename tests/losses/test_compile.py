"""Compiled and exported, a loss serves every batch size and every temperature with few graphs."""

import pytest
import torch
from torch.export import Dim, export

from ntxent import InfoNCELoss, NTXentLoss, info_nce_loss, nt_xent_loss, sup_con_loss

# One tile, and several.
SIZES = [8, 9, 16, 33, 100, 300, 301, 700, 64]
D = 8


def nt_xent(z1, z2, temperature):
    return nt_xent_loss(z1, z2, temperature=temperature)


def three_views(z1, z2, temperature):
    return nt_xent_loss(z1, z2, z1 + z2, temperature=temperature)


def info_nce(z1, z2, temperature):
    return info_nce_loss(z1, z2, temperature=temperature)


def with_negatives(z1, z2, temperature):
    return info_nce_loss(z1, z2, negatives=z1 - z2, temperature=temperature)


def with_ids(z1, z2, temperature):
    ids = torch.arange(z1.shape[0]) // 2
    return nt_xent_loss(z1, z2, ids=ids, temperature=temperature)


def sup_con(z1, z2, temperature):
    labels = torch.arange(z1.shape[0]) % 4
    return sup_con_loss(torch.stack([z1, z2], 1), labels, temperature=temperature)


def views(n, seed=0):
    z = torch.randn(2, n, D, generator=torch.Generator().manual_seed(seed))
    return [rows.requires_grad_() for rows in z]


def compiled(loss, dynamic=True):
    """The compiled loss, and the graphs it has been given so far.

    They go through AOT autograd, as those of every real backend do: it is where a number that
    cannot stay symbolic becomes a constant.
    """
    graphs = []
    lower = torch._dynamo.lookup_backend("aot_eager")

    def backend(module, inputs):
        graphs.append(module)
        return lower(module, inputs)

    torch._dynamo.reset()
    return torch.compile(loss, backend=backend, dynamic=dynamic, fullgraph=True), graphs


LOSSES = [nt_xent, three_views, info_nce, with_negatives, with_ids, sup_con]


@pytest.mark.parametrize("dynamic", [True, None])
@pytest.mark.parametrize("loss", LOSSES)
def test_three_graphs_serve_every_batch_size_and_temperature(loss, dynamic):
    run, graphs = compiled(loss, dynamic)
    for step, n in enumerate(SIZES):
        z, temperature = views(n), 0.1 + 0.07 * step
        value = run(*z, temperature)
        expected = loss(*z, temperature)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(
            torch.autograd.grad(value, z), torch.autograd.grad(expected, z), rtol=1e-4, atol=1e-6
        )
    assert len(graphs) <= 3


def test_three_graphs_serve_a_module():
    criterion = NTXentLoss(0.1, learnable=True)
    run, graphs = compiled(criterion)
    for n in SIZES:
        z = views(n)
        torch.testing.assert_close(run(*z), criterion(*z))
    assert len(graphs) <= 3


@pytest.mark.parametrize("criterion", [NTXentLoss(0.1), InfoNCELoss(0.1)])
def test_an_export_with_a_symbolic_batch_size_runs_at_other_sizes(criterion):
    n = Dim("n", min=2, max=100_000)
    example = tuple(rows.detach() for rows in views(24))
    shapes = ({0: n}, {0: n}) if isinstance(criterion, InfoNCELoss) else (({0: n}, {0: n}),)
    program = export(criterion, example, dynamic_shapes=shapes, strict=False).module()
    for size in (5, 24, 400):
        z = [rows.detach() for rows in views(size, seed=size)]
        torch.testing.assert_close(program(*z), criterion(*z))
