"""The oracle against closed forms, and its two forms against each other."""

import math

import pytest
import torch

from embeddings import KINDS, views
from ntxent import reference


@pytest.mark.parametrize("temperature", [0.005, 0.1, 0.5, 10.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d"), [(2, 1), (3, 2), (5, 7), (12, 4)])
def test_loops_and_matrix_agree(n, d, kind, temperature):
    z1, z2 = views(kind, n, d)
    loops = reference.nt_xent_loss(z1.numpy(), z2.numpy(), temperature)
    matrix = reference.dense_nt_xent_loss(z1, z2, temperature).item()
    # Similarities are known to 1e-16, logits to 1e-16 / temperature.
    assert matrix == pytest.approx(loops, rel=1e-12, abs=1e-14 / temperature * min(1, loops))


@pytest.mark.parametrize("n", [2, 3, 10])
def test_closed_forms(n):
    row = [[0.6, 0.8]] * n
    assert reference.nt_xent_loss(row, row, 0.1) == pytest.approx(math.log(2 * n - 1), rel=1e-13)
    opposite = [[-0.6, -0.8]] * n
    ceiling = math.log(n + (n - 1) * math.exp(2 / 0.1))
    assert reference.nt_xent_loss(row, opposite, 0.1) == pytest.approx(ceiling, rel=1e-13)
    eye = torch.eye(n).tolist()
    orthogonal = math.log1p((2 * n - 2) * math.exp(-1 / 0.1))
    assert reference.nt_xent_loss(eye, eye, 0.1) == pytest.approx(orthogonal, rel=1e-13)
