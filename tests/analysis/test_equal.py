"""Negatives that are equal to their anchors: counted, named, and said what to do."""

import pytest
import torch

from ntxent.analysis import analyze
from ntxent.analysis import equal as module
from ntxent.analysis.equal import equal_negatives
from ntxent.commands.analyze import _embeddings


def by_pairs(z1, z2):
    """Pairs, anchors and first samples by a loop over all pairs of rows."""
    z = torch.stack((z1, z2), 1).reshape(-1, z1.shape[1]).double()
    z = z / z.norm(dim=1, keepdim=True)
    count = len(z)
    pairs = [
        (i, k)
        for i in range(count)
        for k in range(i + 1, count)
        if i // 2 != k // 2 and float(z[i] @ z[k]) >= 0.999
    ]
    return pairs, {row for pair in pairs for row in pair}


@pytest.mark.parametrize("chunk", [2**22, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_they_are_counted_as_a_loop_over_all_pairs_counts_them(chunk, dtype, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    z1 = torch.randn(40, 16, generator=generator)
    z2 = z1 + 0.3 * torch.randn(40, 16, generator=generator)
    for copy, of in ((7, 3), (8, 3), (20, 11)):
        z1[copy], z2[copy] = 2 * z1[of], z2[of]
    z1[30] = z2[5]
    found = equal_negatives(z1.to(dtype), z2.to(dtype))
    pairs, anchors = by_pairs(z1, z2)
    assert (found.pairs, found.anchors) == (len(pairs), len(anchors))
    assert found.first == [(3, 7), (3, 8), (5, 30), (7, 8), (11, 20)]
    assert sum(k * rows for k, rows in found.by_anchor) == 2 * found.pairs
    assert sum(rows for _, rows in found.by_anchor) == 80
    assert dict(found.by_anchor) == {0: 80 - len(anchors), 1: 6, 2: 6}


def test_an_analysis_names_them_with_the_remedy_and_is_silent_without():
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(64, 32, generator=generator)
    clean = analyze(z, z + 0.1 * torch.randn(64, 32, generator=generator), 0.1)
    assert clean.equal_negatives.pairs == 0
    assert clean.sentences == clean.diagnosis.sentences
    z[10:20] = z[:10]
    report = analyze(z, z, 0.1)
    said = report.sentences[-1]
    assert said.startswith("40 pairs of negatives are equal (cosine >= 0.999): 40 of the 128 rows")
    assert "(0, 10), (1, 11)" in said
    assert "ids=" in said
    assert report.to_dict()["sentences"] == list(report.sentences)
    assert report.to_dict()["equal_negatives"]["by_anchor"] == [(0, 88), (2, 40)]
    assert "0 in 88 rows, 2 in 40 rows" in _embeddings(report)[-1][2]
    collapsed = analyze(torch.ones(16, 4), torch.ones(16, 4), 0.5)
    assert collapsed.sentences == collapsed.diagnosis.sentences
