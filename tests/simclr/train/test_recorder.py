"""What a run leaves for its report."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from ntxent import bounds, measures
from ntxent.reference import dense_nt_xent_loss
from ntxent.simclr import EvaluationConfig, ModelConfig, TrainConfig
from ntxent.simclr.data import MemoryImages
from ntxent.simclr.train import train as training_module
from ntxent.simclr.train.recorder import (
    PAIRS,
    Recorder,
    _measure,
    _pixels,
    record_samples,
    recorded_steps,
)
from ntxent.simclr.train.train import train


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return TrainConfig(
        name="recorded",
        folder=str(tmp_path_factory.mktemp("runs")),
        epochs=2,
        accelerator="cpu",
        model=ModelConfig(width=4, projection_dim=8),
        evaluation=EvaluationConfig(labels_per_class=(1,), draws=2),
    )


@pytest.fixture(scope="module")
def folder(config):
    return train(config)[0].recording


def rows(path):
    with path.open(newline="") as file:
        return [{name: float(x) for name, x in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("steps", [1, 2, 10, 16, 17, 300, 10**6])
def test_moments_begin_and_end_with_the_run(steps):
    chosen = recorded_steps(steps)
    assert chosen[0] == 0
    assert chosen[-1] == steps - 1
    assert len(chosen) == len(set(chosen)) <= 16
    assert len(chosen) >= min(steps, 5)


def test_measures_are_those_of_the_step_that_was_logged(folder):
    logged = {row["step"]: row for row in rows(folder.parent / "metrics.csv")}
    found = rows(folder / "measures.csv")
    assert [row["step"] for row in found] == recorded_steps(10)
    for row in found:
        step = logged[row["step"]]
        assert row["loss"] == pytest.approx(step["loss"], rel=1e-5)
        assert row["epoch"] == step["epoch"]
        # Mean squared distance of unit pairs: 2 − 2 s̄.
        assert row["alignment"] == pytest.approx(2 - 2 * step["positive_similarity"], abs=1e-5)
        assert row["gradient"] <= bounds.gradient_bound(row["loss"], 0.5)
        assert row["contrastive_accuracy"] >= bounds.top1_share(row["loss"])
        assert 1 <= row["effective_rank"] <= 8
    seconds = [row["seconds"] for row in found]
    assert seconds == sorted(seconds)


def test_the_gradient_is_that_of_the_dense_loss():
    rng = torch.Generator().manual_seed(0)
    z1, z2 = torch.randn(2, 16, 4, generator=rng)
    unit = normalize(torch.cat([z1, z2]).double()).requires_grad_()
    dense_nt_xent_loss(*unit.chunk(2), 0.2).backward()
    found = _measure(z1, z2, z1, 0.2)
    assert found["gradient"] == pytest.approx(unit.grad.norm(dim=1).sum().item(), rel=1e-5)
    assert found["uniformity"] == (measures.uniformity(z1) + measures.uniformity(z2)) / 2


def test_histograms_are_of_the_first_a_middle_and_the_last_step(folder):
    kept = json.loads((folder / "similarities.json").read_text())
    steps = recorded_steps(10)
    assert [histogram["step"] for histogram in kept][::2] == [steps[0], steps[-1]]
    assert len(kept) == 3
    for histogram in kept:
        assert sum(histogram["positive"]) == 256
        assert len(histogram["edges"]) == 101


def test_views_and_samples_are_images_with_what_was_made_of_them(folder, config):
    with np.load(folder / "views.npz") as views:
        assert views["pairs"].shape == (PAIRS, 2, 8, 8, 1)
        assert views["pairs"].dtype == np.uint8
    with np.load(folder / "samples.npz") as samples:
        assert samples["features"].shape == (450, 16)
        assert samples["thumbnails"].shape == (450, 8, 8, 1)
        assert samples["thumbnails"].max() == 255
        assert set(samples["labels"]) == set(range(10))
        assert list(samples["classes"]) == list("0123456789")


def test_a_run_is_the_same_without_its_recorder(folder, config, monkeypatch):
    class Nothing(Recorder):
        def on_train_start(self, trainer, pl_module):
            pass

    monkeypatch.setattr(training_module, "Recorder", Nothing)
    run, _ = train(replace(config, name="unrecorded"))
    assert not (run.recording / "measures.csv").exists()
    assert run.metrics.read_bytes() == (folder.parent / "metrics.csv").read_bytes()


def test_chunks_of_the_gradient_cache_are_recorded_as_one_batch(config):
    run, _ = train(replace(config, name="chunks", epochs=1, gradcache=48))
    logged = {row["step"]: row for row in rows(run.metrics)}
    found = rows(run.recording / "measures.csv")
    assert [row["step"] for row in found] == recorded_steps(5)
    for row in found:
        # batch normalisation sees a chunk in each of the two passes, the same one
        assert row["loss"] == pytest.approx(logged[row["step"]]["loss"], rel=1e-5)
    with np.load(run.recording / "views.npz") as views:
        assert len(views["pairs"]) == PAIRS


def test_a_resumed_run_repeats_what_came_after_its_checkpoint(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "report")
    recorder = Recorder(tmp_path / "report")
    before = rows(folder / "measures.csv")
    spent = recorder._resume(6)
    kept = rows(tmp_path / "report" / "measures.csv")
    assert kept == [row for row in before if row["step"] < 6]
    assert spent == kept[-1]["seconds"]
    histograms = json.loads((tmp_path / "report" / "similarities.json").read_text())
    assert all(histogram["step"] < 6 for histogram in histograms)
    assert (tmp_path / "report" / "views.npz").exists()
    assert recorder._resume(0) == 0
    assert not (tmp_path / "report" / "measures.csv").exists()


def test_what_is_kept_is_bounded(tmp_path):
    images = torch.rand(1200, 3, 64, 48)
    labels = np.arange(1200) % 2
    held_out = MemoryImages(images, labels)
    record_samples(tmp_path, lambda x: x.pixels.mean((2, 3)).numpy(), held_out, ["a", "b"])
    with np.load(tmp_path / "samples.npz") as samples:
        assert samples["thumbnails"].shape == (1000, 32, 24, 3)
        assert len(samples["features"]) == 1000
        assert np.bincount(samples["labels"]).tolist() == [500, 500]
    record_samples(tmp_path, lambda x: x.pixels.mean((2, 3)).numpy(), MemoryImages(images), [])
    with np.load(tmp_path / "samples.npz") as samples:
        assert set(samples["labels"]) == {-1}


def test_normalised_images_are_stretched_to_the_range_of_a_pixel():
    pixels = _pixels(torch.tensor([-2.0, 0.0, 2.0]).view(1, 1, 1, 3), side=8)
    assert pixels.ravel().tolist() == [0, 128, 255]
