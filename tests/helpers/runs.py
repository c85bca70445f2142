"""Run folders for the report's tests: small, whole, and as awkward as a test asks for."""

import csv
import json
from pathlib import Path

import numpy as np
import yaml

from ntxent import bounds
from ntxent.simclr.train.recorder import recorded_steps

MEASURES = {
    "alignment": lambda x: 1.0 * np.exp(-3 * x) + 0.1,
    "uniformity": lambda x: -2 - x,
    "effective_rank": lambda x: 10 + 20 * x,
    "feature_rank": lambda x: 20 + 20 * x,
    "contrastive_accuracy": lambda x: x**0.5,
    "gradient": lambda x: 3 - 2 * x,
}


def losses(steps: int, size: int, temperature: float, dim: int, end: float = 0.2) -> np.ndarray:
    """From chance to position ``end``, with some noise."""
    noise = 0.01 * np.random.default_rng(0).standard_normal(steps)
    position = end + (1 - end) * np.exp(-5 * np.linspace(0, 1, steps)) + noise
    floor, chance = bounds.floor(size, temperature, dim), bounds.chance(size)
    return floor + (chance - floor) * position


def write_metrics(path: Path, loss: np.ndarray, size: int, temperature: float) -> None:
    """As the trainer logs them; s̄ in the middle of its certified interval."""
    usable = np.where(np.isfinite(loss) & (loss >= 0), loss, 1.0)
    low, high = bounds.similarity_interval(usable, size, temperature)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = ("step", "epoch", "loss", "positive_similarity", "negative_similarity", "lr")
        writer.writerow(names)
        for step, value in enumerate(loss):
            middle = (low[step] + high[step]) / 2
            writer.writerow([step, step // 10, value, middle, 0.0, 0.1 / (1 + step)])


def make_run(
    folder: Path,
    *,
    name: str = "run",
    size: int = 256,
    temperature: float = 0.5,
    dim: int = 64,
    loss: np.ndarray | None = None,
    finished: bool = True,
    accuracy: float = 0.9,
    classes: tuple[str, ...] = ("cat", "dog", "owl"),
) -> Path:
    folder.mkdir(parents=True)
    loss = losses(120, size, temperature, dim) if loss is None else loss
    config = {"name": name, "batch_size": size, "temperature": temperature, "epochs": 12}
    config |= {"model": {"projection_dim": dim}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    write_metrics(folder / "metrics.csv", loss, size, temperature)
    record(folder / "report", loss, classes)
    if finished:
        score = {"linear_5": {"mean": accuracy - 0.1, "sd": 0.02}}
        score |= {"linear_all": {"mean": accuracy, "sd": None}}
        summary = {
            "name": name,
            "command": f"ntxent train --name '{name}'",
            "finished": "2026-01-01T00:00:00+00:00",
            "seconds": {"train": 60.0},
            "warnings": [],
            "evaluation": dict.fromkeys(("raw_pixels", "untrained_encoder", "encoder"), score),
            "environment": {"device": "cpu"},
            "versions": {"ntxent": "0"},
        }
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def record(folder: Path, loss: np.ndarray, classes: tuple[str, ...]) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    at = np.array(recorded_steps(len(loss)))
    with (folder / "measures.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "epoch", "seconds", "loss", *MEASURES])
        for step in at:
            share = step / max(at[-1], 1)
            known = [measure(share) for measure in MEASURES.values()]
            writer.writerow([step, step // 10, 0.5 * step, loss[step], *known])
    edges = np.linspace(-1, 1, 101)
    kept = []
    for step in (at[0], at[len(at) // 2], at[-1]):
        positive = np.histogram(rng.normal(0.7, 0.1, 256), edges)[0].tolist()
        negative = np.histogram(rng.normal(0.0, 0.2, 5000), edges)[0].tolist()
        kept.append({"step": int(step), "edges": edges.tolist(), "positive": positive})
        kept[-1] |= {"negative": negative, "sampled": True}
    (folder / "similarities.json").write_text(json.dumps(kept))
    labels = np.arange(60) % len(classes)
    centres = rng.normal(size=(len(classes), 16))
    np.savez(
        folder / "samples.npz",
        features=(centres[labels] + 0.3 * rng.normal(size=(60, 16))).astype(np.float32),
        labels=labels,
        thumbnails=rng.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8),
        classes=np.array(classes),
    )
    np.savez(folder / "views.npz", pairs=rng.integers(0, 256, (4, 2, 8, 8, 3)).astype(np.uint8))
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    data = {"source": "made up", "shape": [3, 8, 8], "classes": list(classes)}
    data |= {"images": {"train": 100, "held_out": 60}, "per_class": {"held_out": counts}}
    (folder.parent / "data.json").write_text(json.dumps(data))
