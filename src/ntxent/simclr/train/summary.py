"""The content of ``summary.json``."""

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ntxent import __version__, bounds
from ntxent.simclr.config import TrainConfig
from ntxent.simclr.evaluation.scores import Score
from ntxent.simclr.train.metrics_file import epoch_means

__all__ = ["summarise"]

LIBRARIES = (
    *("torch", "numpy", "scipy", "lightning", "kornia", "timm"),
    *("torchvision", "scikit-learn", "safetensors"),
)


def summarise(
    config: TrainConfig,
    metrics: Path,
    seconds: Mapping[str, float],
    device: torch.device,
    evaluation: Mapping[str, Mapping[str, Score]],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Returns results, settings, environment and versions of a run, as plain JSON values."""
    return {
        "name": config.name,
        "command": shlex.join(sys.argv),
        "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": config.seed,
        "seconds": {stage: round(spent, 3) for stage, spent in seconds.items()},
        "batch_size": config.batch_size,
        "temperature": config.temperature,
        "dim": config.model.projection_dim,
        "loss": _loss(metrics, config),
        "warnings": list(warnings),
        "evaluation": {
            name: {measure: score._asdict() for measure, score in scores.items()}
            for name, scores in evaluation.items()
        },
        "environment": _environment(device),
        "versions": {"ntxent": __version__} | {name: version(name) for name in LIBRARIES},
    }


def _loss(metrics: Path, config: TrainConfig) -> dict[str, Any]:
    """Returns the mean loss of the last epoch, beside the limits for its N and τ.

    Every limit of one step holds for the mean of several with the same N and τ: floor and ceiling
    are constants, the certified interval's low end is convex in the loss and its high end concave.
    """
    size, temperature, dim = config.batch_size, config.temperature, config.model.projection_dim
    means = epoch_means(metrics)
    value = means["loss"]
    low, high = bounds.similarity_interval(value, size, temperature)
    return {
        "mean_of_last_epoch": value,
        "steps": len(metrics.read_text().splitlines()) - 1,
        "floor": bounds.floor(size, temperature, dim),
        "chance": bounds.chance(size),
        "ceiling": bounds.ceiling(size, temperature),
        "position": bounds.position(value, size, temperature, dim),
        "positive_similarity": means["positive_similarity"],
        "positive_similarity_interval": [low, high],
        "negative_similarity": means["negative_similarity"],
    }


def _environment(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "device_name": name,
    }
