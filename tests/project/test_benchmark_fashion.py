"""The benchmark on real images, on a few made-up ones: every part of it runs and is asserted."""

import json

import numpy as np
import pytest
from benchmarks.fashion import __main__ as command

pytest.importorskip("lightly", reason="lightly is not installed")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two classes, dark and bright, 60 images each, and a test part."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    pixels = rng.integers(0, 100, (120, 20, 20)) + 120 * labels[:, None, None]
    path = tmp_path_factory.mktemp("fashion") / "pictures.npz"
    test = {"test_images": pixels[:40].astype(np.uint8), "test_labels": labels[:40]}
    np.savez(path, train_images=pixels.astype(np.uint8), train_labels=labels, **test)
    return str(path)


def rows(capsys, monkeypatch, *argv):
    monkeypatch.setattr("sys.argv", ["fashion", *argv])
    assert command.main() == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[:1] == "{"]


def test_settings_are_tried_on_images_that_are_held_back(source, capsys, monkeypatch):
    options = ("--source", source, "--steps", "2", "--settings", "temperature=0.5")
    raw, tried = rows(capsys, monkeypatch, "tune", *options)
    assert (raw["setting"], tried["setting"]) == ("raw pixels", "temperature=0.5")
    assert raw["encoder"]["linear_all"] == 1.0  # dark from bright
    assert set(tried["encoder"]) == {"linear_10", "linear_all", "knn", "knn of 5"}


def test_both_libraries_step_in_turns(source, capsys, monkeypatch):
    (found,) = rows(capsys, monkeypatch, "speed", "--source", source, "--steps", "1")
    assert set(found["images_per_second"]) == {"ntxent", "lightly", "lightly, no workers"}
    assert min(found["images_per_second"].values()) > 0
