"""Short runs from configuration to run folder."""

import csv
import json
import math
from dataclasses import asdict, replace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from ntxent import bounds
from ntxent.simclr import (
    AugmentationConfig,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from ntxent.simclr.data import MemoryImages
from ntxent.simclr.evaluation.features import extract_features
from ntxent.simclr.model.encoder import DigitsEncoder
from ntxent.simclr.training import train

FILES = {
    *("config.yaml", "data.json", "metrics.csv", "checkpoint.ckpt", "encoder.safetensors"),
    *("summary.json", "report", "report.html"),
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return TrainConfig(
        name="short",
        folder=str(tmp_path_factory.mktemp("runs")),
        epochs=2,
        accelerator="cpu",
        model=ModelConfig(width=8),
        evaluation=EvaluationConfig(labels_per_class=(1,), draws=2),
    )


@pytest.fixture(scope="module")
def result(config):
    return train(config)


@pytest.fixture(scope="module")
def run(result):
    return result[0]


@pytest.fixture(scope="module")
def summary(result):
    return json.loads(result[0].summary.read_text())


@pytest.fixture(scope="module")
def steps(run):
    with run.metrics.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_the_folder_has_every_file_and_nothing_half_written(run):
    assert {path.name for path in run.path.iterdir()} == FILES | {"tensorboard"}
    assert list(run.tensorboard.glob("events.out.tfevents.*"))


def test_metrics_have_one_row_for_each_step_inside_the_limits(steps, config):
    assert [row["step"] for row in steps] == list(range(10))
    assert [row["epoch"] for row in steps] == [0] * 5 + [1] * 5
    size, temperature, dim = config.batch_size, config.temperature, config.model.projection_dim
    for row in steps:
        assert row["floor"] == pytest.approx(bounds.floor(size, temperature, dim))
        assert row["chance"] == pytest.approx(bounds.chance(size))
        assert row["floor"] < row["loss"] < row["chance"]
        position = bounds.position(row["loss"], size, temperature, dim)
        assert row["position"] == pytest.approx(position)
        low, high = bounds.similarity_interval(row["loss"], size, temperature)
        assert low <= row["positive_similarity"] <= high
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert 0 < steps[-1]["lr"] < max(row["lr"] for row in steps) == pytest.approx(3e-3)


def test_the_summary_says_how_the_run_ended(summary, result, steps, config):
    assert summary == json.loads(json.dumps(result[1]))
    assert set(summary) == {
        *("name", "command", "finished", "seed", "seconds", "batch_size", "temperature", "dim"),
        *("loss", "warnings", "evaluation", "environment", "versions"),
    }
    assert summary["warnings"] == []  # a healthy run
    loss = summary["loss"]
    last = [row["loss"] for row in steps if row["epoch"] == 1]
    assert loss["mean_of_last_epoch"] == pytest.approx(math.fsum(last) / 5)
    assert loss["floor"] < loss["mean_of_last_epoch"] < loss["chance"] < loss["ceiling"]
    low, high = loss["positive_similarity_interval"]
    assert low <= loss["positive_similarity"] <= high
    assert loss["steps"] == 10
    assert set(summary["evaluation"]) == {"raw_pixels", "untrained_encoder", "encoder"}
    for scores in summary["evaluation"].values():
        assert list(scores) == ["linear_1", "linear_all", "knn"]
        assert all(0.3 < score["mean"] <= 1 for score in scores.values())
    assert summary["seconds"]["total"] >= summary["seconds"]["train"] > 0


def test_the_configuration_is_kept_whole(run, config):
    kept = yaml.safe_load(run.config.read_text())
    assert kept == json.loads(json.dumps(asdict(config)))


def test_encoder_and_checkpoint_hold_the_trained_weights(run, config):
    encoder = DigitsEncoder(config.model)
    encoder.load_state_dict(load_file(run.encoder))
    image = MemoryImages(torch.zeros(1, 1, 8, 8))
    assert extract_features(encoder, image, image.shape).shape == (1, 32)
    checkpoint = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    for name, weight in encoder.state_dict().items():
        torch.testing.assert_close(checkpoint[f"encoder.{name}"], weight, rtol=0, atol=0)


def test_the_same_seed_gives_the_same_run_and_another_does_not(run, result, config):
    again, summary = train(replace(config, name="again"))
    assert again.metrics.read_bytes() == run.metrics.read_bytes()
    assert summary["loss"] == result[1]["loss"]
    _, other = train(replace(config, name="other", seed=1))
    assert other["loss"]["mean_of_last_epoch"] != summary["loss"]["mean_of_last_epoch"]


def test_default_names_carry_the_seed(config):
    run, _ = train(replace(config, name=None, seed=7, epochs=1))
    assert run.path.name.startswith("digits-seed7-")


@pytest.mark.parametrize(("batch_size", "held_out", "steps"), [(2, 0.95, 44), (1347, 0.25, 1)])
def test_the_smallest_and_the_largest_batch_train(config, batch_size, held_out, steps):
    name, data = f"batch{batch_size}", DataConfig(held_out=held_out)
    _, summary = train(replace(config, name=name, batch_size=batch_size, data=data, epochs=1))
    assert summary["loss"]["steps"] == steps


def test_a_run_no_better_than_guessing_is_told_so(tmp_path, capsys):
    """Rotations by any angle, noise that drowns the image, a learning rate that moves nothing."""
    config = TrainConfig(
        name="stuck",
        folder=str(tmp_path),
        epochs=24,
        accelerator="cpu",
        model=ModelConfig(width=2, hidden_dim=4, projection_dim=4),
        augmentation=AugmentationConfig(rotation=180, noise=20.0),
        optimizer=OptimizerConfig(lr=1e-12),
        evaluation=EvaluationConfig(labels_per_class=(1,), draws=2),
    )
    _, summary = train(config)
    assert len(summary["warnings"]) == 1
    assert "Worse than guessing" in summary["warnings"][0]
    assert summary["warnings"][0][:9] in capsys.readouterr().err
