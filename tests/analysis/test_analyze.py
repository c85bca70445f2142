"""The analysis of two views: exact, true to every theorem, chance told from collapse."""

import json
import math
from importlib import import_module

import pytest
import torch

from embeddings import KINDS, views
from ntxent import bounds, measures
from ntxent.analysis import analyze, exact_loss
from ntxent.reference import dense_nt_xent_loss


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.02, 0.5, 5.0])
def test_the_loss_is_that_of_the_dense_definition(kind, temperature):
    z1, z2 = views(kind, 300, 16)
    expected = dense_nt_xent_loss(z1, z2, temperature).item()
    assert exact_loss(z1, z2, temperature) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    wide = exact_loss(z1.double(), z2.double(), temperature)
    assert wide == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_chunks_of_anchors_change_nothing(monkeypatch):
    z1, z2 = (view.double() for view in views("random", 61, 5))
    whole = exact_loss(z1, z2, 0.1)
    # The function of the same name hides the module.
    monkeypatch.setattr(import_module("ntxent.analysis.analyze"), "ANCHORS", 7)
    shares = []
    assert exact_loss(z1, z2, 0.1, shares.append) == pytest.approx(whole, rel=1e-13)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d"), [(2, 1), (40, 3), (40, 200)])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_every_bound_holds_of_what_was_measured(kind, n, d, temperature):
    z1, z2 = views(kind, n, d)
    report = analyze(z1, z2, temperature)
    judged = report.diagnosis
    slack = 1e-5 * (1 + 1 / temperature)
    assert judged.verdict != "impossible"
    assert max(judged.floor, report.measured_floor) <= judged.loss + slack
    assert judged.loss <= min(report.similarity_ceiling, judged.ceiling) + slack
    low, high = report.similarity_interval
    assert low - slack <= judged.positive_similarity <= high + slack
    gap = judged.positive_similarity - judged.negative_similarity
    assert gap >= report.similarity_gap - slack
    low, high = report.candidate_similarity_interval
    assert low - slack <= report.candidate_similarity <= high + slack
    assert report.contrastive_accuracy >= judged.top1_share - slack
    each = (measures.uniformity(z1), measures.uniformity(z2))
    assert report.uniformity == pytest.approx(sum(each) / 2, abs=1e-6)


def test_collapse_is_told_from_chance():
    collapsed = analyze(*views("collapsed", 50, 8)).diagnosis
    assert collapsed.loss == pytest.approx(math.log(99), abs=1e-6)
    assert collapsed.verdict == "collapsed"
    # Chance to a percent of the span, with similarities that have nothing of a collapse.
    z1, z2 = views("random", 400, 512)
    assert analyze(z1, z2, 0.5).diagnosis.verdict == "at_chance"


def test_a_loss_that_underflows_is_still_strict_json():
    z1, z2 = views("aligned_simplex", 8, 8)
    report = analyze(z1, z2, 1e-5)
    assert report.diagnosis.loss == 0.0
    assert report.similarity_gap == 2.0
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["loss"] == 0.0


def test_the_dict_holds_the_diagnosis_and_the_measures():
    z1, z2 = views("clustered", 20, 4)
    report = analyze(z1, z2, 0.2)
    flat = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert flat["chance"] == pytest.approx(bounds.chance(20))
    assert flat["floor"] == pytest.approx(bounds.floor(20, 0.2, dim=4))
    loss = report.diagnosis.loss
    assert flat["similarity_interval"] == list(bounds.similarity_interval(loss, 20, 0.2))
    assert flat["alignment"] == report.alignment
    assert sum(flat["histogram"]["positive"]) == 20
    assert {"verdict", "position", "ceiling", "sentences", "effective_rank"} <= flat.keys()


def test_progress_names_its_stages_and_rises():
    told = []
    analyze(*views("random", 200, 3), on_progress=lambda *step: told.append(step))
    stages, shares = zip(*told, strict=True)
    assert list(dict.fromkeys(stages)) == ["reading", "loss", "ranking", "uniformity", "done"]
    assert list(shares) == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf, 1e-40])
def test_temperatures_out_of_range_are_refused(temperature):
    with pytest.raises(ValueError, match="temperature: received"):
        analyze(torch.eye(2), torch.eye(2), temperature)


def test_errors_call_the_views_by_name():
    with pytest.raises(ValueError, match=r"mine: row 1 has zero norm"):
        analyze(torch.eye(2), torch.eye(2) * torch.tensor([[1.0], [0.0]]), names=("its", "mine"))
