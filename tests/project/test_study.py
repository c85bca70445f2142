"""The study: its runs, its statistics, and that its page says what its rows say."""

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from study import __main__ as command
from study.page import repeating, rows, statistics, write
from study.questions import choosing, detection
from study.runs import data
from study.runs.failures import FAILURES
from study.runs.grids import FULL, QUICK, specs
from study.runs.training import Spec, run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "study.md"


# --- runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", data.DATA)
def test_views_differ_unless_their_strength_is_zero(name):
    source = data.load(name)
    x = source.train[:8]
    twice = torch.cat([x, x])
    first, second = source.views(twice, 1.0, torch.Generator().manual_seed(0)).chunk(2)
    same, again = source.views(twice, 0.0, torch.Generator().manual_seed(0)).chunk(2)
    assert first.shape == source.plain(x).shape
    assert (first != second).flatten(1).any(1).all()
    torch.testing.assert_close(same, again, rtol=0, atol=0)


def test_held_out_windows_touch_no_training_window():
    source = data.load("patches")
    assert len(source.train) + len(source.test) == 2080
    train = {x.numpy().tobytes() for x in source.train}
    shared = [x for x in source.test if x.numpy().tobytes() in train]
    # The sky of one photograph has windows that are equal to the bit.
    assert len(shared) < 5


def test_a_run_is_the_same_twice_and_learns():
    spec = Spec("test", "manifold", 64, 0.2, seed=3, pairs=2**13)
    looks, end = run(spec)
    again, _ = run(spec)
    assert looks == again
    assert looks[-1]["step"] == 128
    assert looks[-1]["loss"] < looks[0]["loss"] - 1
    assert end["few"] > 0.25  # 20 classes; an untrained encoder has 0.12
    assert run(replace(spec, seed=4))[0] != looks


def test_every_failure_runs_and_fails_in_its_way():
    ends = {}
    for name in FAILURES:
        spec = Spec("test", "digits", 64, 0.1, seed=0, pairs=2**11, failure=name, dense=True)
        looks, _ = run(spec)
        ends[name] = looks[-1]
        assert len(looks) == 33
    assert ends["no augmentation"]["positive"] > 0.99999
    assert ends["shuffled positives"]["loss"] > 4.5  # chance is 4.84
    torch.testing.assert_close(
        ends["directions summed"]["loss"] / 2, ends["none"]["loss"], rtol=0.1, atol=0
    )
    assert ends["self not excluded"]["loss"] > np.log(2)
    assert ends["local negatives"]["loss"] < ends["none"]["loss"]


def test_a_second_phase_goes_on_where_the_first_ended():
    spec = Spec("test", "digits", 16, 2.0, seed=0, pairs=2**9, second=(64, 0.2))
    looks, end = run(spec)
    assert [look["phase"] for look in looks] == sorted(look["phase"] for look in looks)
    steps = [look["step"] for look in looks]
    assert steps == sorted(set(steps))
    assert {"few", "few_first"} <= set(end)


def test_a_changed_field_is_another_run():
    keys = {spec.key for spec in specs(FULL)}
    assert len(keys) == len(specs(FULL)) == 1101
    first = specs(FULL)[0]
    assert replace(first, strength=0.9).key not in keys


# --- statistics -----------------------------------------------------------------------------------


def test_the_rank_correlation_is_that_of_scipy():
    draw = np.random.default_rng(0)
    values = draw.integers(0, 6, size=(50, 4)).astype(float)  # with ties
    found = statistics.spearman(values)
    expected = [spearmanr(values[:, 0], values[:, k]).statistic for k in (1, 2, 3)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says():
    draw = np.random.default_rng(0)
    inside = [
        low <= 0 <= high
        for _, low, high in (statistics.mean(draw.normal(size=30)) for _ in range(200))
    ]
    assert 0.88 <= np.mean(inside) <= 0.99


def test_correlations_resample_settings_and_seeds():
    """With no noise among seeds all that is uncertain is which settings were tried."""
    frame = pd.DataFrame(
        [(c, s, float(c), float(c)) for c in range(6) for s in range(3)],
        columns=["cell", "seed", "target", "same"],
    )
    found, samples = statistics.correlations(frame, ["cell"], "target", ["same"])
    assert found["same"] == (pytest.approx(1), pytest.approx(1), pytest.approx(1))
    assert len(samples["same"]) == statistics.RESAMPLES


def test_a_correlation_within_groups_does_not_see_what_sets_them_apart():
    """Falling from group to group, rising within each: over all −, within +."""
    frame = pd.DataFrame(
        [
            (g, c, s, 10.0 * g + c, -10.0 * g + c)
            for g in range(3)
            for c in range(5)
            for s in (0, 1)
        ],
        columns=["group", "cell", "seed", "target", "number"],
    )
    overall, _ = statistics.correlations(frame, ["group", "cell"], "target", ["number"])
    within = statistics.correlations_within(frame, "group", ["cell"], "target", ["number"])
    assert overall["number"].value < -0.5
    assert within["number"] == (pytest.approx(1), pytest.approx(1), pytest.approx(1))


def test_a_verdict_counts_when_it_lasts():
    verdict = ["learning"] * 5 + ["impossible"] * 9 + ["learning"] + ["impossible"] * 10
    assert detection.sustained(verdict, {"impossible"}) == 15
    assert detection.sustained(verdict[:-1], {"impossible"}) is None
    assert detection.alarms(verdict) == {"impossible"}
    # Chance in the first tenth is where every run starts.
    assert detection.alarms(["at_chance"] * 10 + ["learning"] * 90) == set()
    assert detection.alarms(["at_chance"] * 25 + ["learning"] * 75) == {"chance"}


def test_the_rule_takes_the_largest_temperature_with_enough_room():
    sizes, temperatures = np.array([16, 1024]), np.array([0.05, 0.2, 0.5, 2.0])
    room = choosing.usable(sizes[:, None], temperatures[None])
    assert (np.diff(room, axis=1) < 0).all()
    for least in (0.1, 0.4, 0.8):
        for row, k in enumerate(choosing.by_rule(sizes, temperatures, least)):
            assert room[row, k] >= least
            assert k == 3 or room[row, k + 1] < least


# --- the whole ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    command.measure(QUICK, folder / "work", folder / "rows", workers=2)
    return folder


def test_a_stopped_study_goes_on_to_the_same_rows(quick):
    before = (quick / "rows" / "looks.parquet").read_bytes()
    files = sorted((quick / "work").glob("*.json"))
    lost, kept = files[::40], files[1]
    for path in lost:
        path.unlink()
    (quick / "work" / "torn.part").write_text("{")
    untouched = kept.stat().st_mtime_ns
    command.measure(QUICK, quick / "work", quick / "rows", workers=1)
    assert (quick / "rows" / "looks.parquet").read_bytes() == before
    assert kept.stat().st_mtime_ns == untouched
    assert all(path.exists() for path in lost)


def test_the_quick_study_writes_a_page_and_every_figure(quick):
    write.write(quick / "rows", quick / "study.md")
    page = (quick / "study.md").read_text()
    for name in write.QUESTIONS:
        assert f"](study/{name}.png)" in page
        assert (quick / "study" / f"{name}.png").stat().st_size > 5000
    assert "nan" not in re.findall(r"[a-z]+", page)


# --- what is committed ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known():
    return rows.read(command.KEPT)


def test_the_rows_are_those_of_the_grid_and_small(known):
    assert known.runs.run.tolist() == [spec.key for spec in specs(FULL)]
    assert sum(path.stat().st_size for path in command.KEPT.iterdir()) < 5_000_000
    where = json.loads((command.KEPT / "environment.json").read_text())
    assert where["versions"]["torch"]


@pytest.mark.slow
def test_the_page_says_what_the_rows_say(known):
    assert PAGE.read_text() == write.render(known, write.answers(known))


def test_a_run_of_today_is_that_of_the_rows(known):
    """To the noise that the page states; on the machine of the rows it has the same bits."""
    spec = next(
        s for s in specs(FULL) if (s.grid, s.data, s.batch_size) == ("main", "digits", 1024)
    )
    looks, end = run(spec)
    before = known.looks[known.looks.run == spec.key]
    assert [look["step"] for look in looks] == before.step.tolist()
    np.testing.assert_allclose([look["loss"] for look in looks], before.loss, atol=0.05)
    assert end["few"] == pytest.approx(known.runs[known.runs.run == spec.key].few.item(), abs=0.02)


def test_two_whole_runs_are_compared(known):
    alike = repeating.differences(known, known)
    assert alike.startswith("1101 runs twice: 1101 alike to the bit")
    few = known.runs.few.where(known.runs.seed > 0, known.runs.few + 0.5)
    moved = repeating.differences(known, replace(known, runs=known.runs.assign(few=few)))
    assert "at the end the accuracy differs by 0 points in the median, at most 50" in moved
    assert "settings differ by 10 points in the median, at most 17" in moved  # of 5 or 3 seeds
    with pytest.raises(SystemExit, match="rows of the same grid"):
        repeating.differences(known, known.grid("main"))


def test_no_theorem_is_violated(known):
    from study.questions.tightness import gaps, healthy

    looks = healthy(known, "main", "large", "dimension", "strength")
    distance = gaps(looks)
    assert (distance >= -1e-4 * np.maximum(1, looks.loss.to_numpy()[:, None])).all(axis=None)


def test_the_study_uses_what_is_public():
    allowed = {"ntxent", "ntxent.trajectory"}
    for path in (ROOT / "study").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ntxent"):
                assert node.module in allowed, f"{path.name}: {node.module}"


def test_the_command_says_what_it_does():
    out = subprocess.run(
        [sys.executable, "-m", "study", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert out.returncode == 0
    assert "python -m study write" in out.stdout
