"""What the probes say outranks what the loss says."""

import math

import pytest

from ntxent.diagnosis.probes import deciding_probe, judge_probes
from ntxent.report.run import read_run
from ntxent.report.words import tell
from runs import make_run


def scores(encoder, raw, untrained=0.5, reach=0.01):
    means = {"raw_pixels": raw, "untrained_encoder": untrained, "encoder": encoder}
    return {
        name: {"linear_all": {"mean": mean, "low": mean - reach, "high": mean + reach}}
        for name, mean in means.items()
    }


@pytest.mark.parametrize(
    ("encoder", "raw", "untrained", "verdict", "headline"),
    [
        (0.804, 0.840, 0.7, "behind", "The encoder is worse than raw pixels"),
        (0.804, 0.7, 0.840, "behind", "The encoder is worse than the encoder before training"),
        (0.845, 0.840, 0.7, "level", "The encoder is no better than raw pixels"),
        (0.894, 0.840, 0.7, "ahead", "The encoder has learnt"),
    ],
)
def test_an_encoder_is_judged_by_the_better_baseline(encoder, raw, untrained, verdict, headline):
    found = judge_probes(scores(encoder, raw, untrained), epochs=1)
    assert (found.verdict, found.headline) == (verdict, headline)
    assert f"{100 * max(raw, untrained):.1f} %" in found.sentence
    assert bool(found.advice) == (verdict != "ahead")


def test_without_a_baseline_nothing_is_said():
    assert judge_probes({"encoder": {"linear_all": {"mean": 0.9}}}) is None
    assert judge_probes({}) is None
    assert deciding_probe({"encoder": {"knn": {}}, "raw_pixels": {"linear_all": {}}}) is None


def story(folder, encoder, collapsed=False):
    make_run(folder)
    if collapsed:
        chance = math.log(2 * 256 - 1)
        lines = [f"{step},{step // 10},{chance},0.9999,0.9999,0.1" for step in range(120)]
        header = "step,epoch,loss,positive_similarity,negative_similarity,lr"
        (folder / "metrics.csv").write_text("\n".join([header, *lines, ""]))
    run = read_run(folder)
    run.summary["evaluation"] = scores(encoder, raw=0.84)
    return tell(run)


def test_a_run_that_looks_healthy_and_is_behind_raw_pixels_is_told_so_first(tmp_path):
    found = story(tmp_path / "run", 0.80)
    assert (found.tone, found.headline) == ("bad", "The encoder is worse than raw pixels")
    assert found.sentences[0].startswith("Held-out accuracy is 80.0 % against 84.0 %")
    assert found.next[0].startswith("Train longer")
    assert "12 epochs" in found.next[0]


def test_a_run_that_looks_collapsed_and_probes_well_is_not_told_to_restart(tmp_path):
    found = story(tmp_path / "run", 0.90, collapsed=True)
    by_loss = story(tmp_path / "other", 0.845, collapsed=True)
    assert by_loss.tone == "bad"
    assert (found.tone, found.next) == ("doubtful", ())
    assert found.sentences[0].startswith("The probes decide, not the loss")


def test_a_healthy_run_ahead_of_raw_pixels_keeps_its_story(tmp_path):
    assert story(tmp_path / "run", 0.90).tone == "good"
