"""Everything that ``ntxent evaluate`` says of a run."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ntxent.simclr.config import DataConfig, EvaluationConfig
from ntxent.simclr.data import ImageData
from ntxent.simclr.evaluation.features import RawPixels, describe_all
from ntxent.simclr.evaluation.finetune import finetune, share_of_each_class
from ntxent.simclr.evaluation.held_out_views import measure_views
from ntxent.simclr.evaluation.scores import Evaluation, of_images
from ntxent.simclr.run.trained import TrainedRun

__all__ = ["assess", "confusion"]


def assess(
    trained: TrainedRun, data: DataConfig, evaluation: EvaluationConfig, finetuning: float | None
) -> dict[str, Any]:
    """Probes and views of the held-out images, and with ``finetuning`` the share of the labels
    that all weights are trained on, once from the run's encoder and once from its beginning.

    Raises:
        ValueError: the data has no labels, and a probe that needs them was asked for; or the
            images do not fit the encoder.
    """
    started = perf_counter()
    images = ImageData(data, batch_size=1)
    trained.require_channels(images.train)
    result: dict[str, Any] = {
        "run": str(trained.run.path),
        "data": data.source,
        "classes": list(images.classes),
        "images": {"labelled": 0, "held_out": len(images.test)},
        "views": measure_views(trained.model, images.test),
    }
    probes = Evaluation.of(images, evaluation)
    if probes is None and finetuning is not None:
        raise ValueError(
            f"finetune: received {finetuning:g}, and {data.source} has no labels, expected "
            "labelled images; put them into one sub-folder a class, or leave it out"
        )
    if probes is not None:
        result["images"]["labelled"] = len(images.labelled)
        encoders = {"encoder": trained.model.encoder, "untrained_encoder": trained.untrained()}
        result |= _probed(probes, images, encoders, trained)
        if finetuning is not None:
            result["finetuning"] = _finetuned(finetuning, images, encoders, trained)
    result["seconds"] = round(perf_counter() - started, 3)
    return result


def _probed(
    probes: Evaluation, images: ImageData, encoders: Mapping[str, nn.Module], trained: TrainedRun
) -> dict[str, Any]:
    described = {"raw_pixels": RawPixels(), **encoders}
    shape = trained.model.views.shape
    train, test = (
        describe_all(described, part, shape, images.config.workers)
        for part in (images.labelled, images.test)
    )
    answers = {name: probes.predictions(train[name], test[name]) for name in described}
    classes = len(images.classes)
    return {
        "evaluation": {
            name: {measure: score._asdict() for measure, score in probes.scores(given).items()}
            for name, given in answers.items()
        },
        "confusion": {
            measure: confusion(probes.test_labels, answers["encoder"][measure][0], classes).tolist()
            for measure in ("linear_all", "knn")
        },
    }


def confusion(labels: NDArray[Any], answers: NDArray[Any], classes: int) -> NDArray[Any]:
    """Counts ``[label, answer]``.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    return np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)


def _finetuned(
    share: float, images: ImageData, encoders: Mapping[str, nn.Module], trained: TrainedRun
) -> dict[str, Any]:
    labels, test_labels = images.labelled.labels, images.test.labels
    if labels is None or test_labels is None:
        raise ValueError("finetune: expected labelled images")
    rows = share_of_each_class(labels, share)
    part, taken = images.labelled.take(rows), labels[rows]
    result: dict[str, Any] = {"share": share, "labels": len(rows)}
    for name, encoder in encoders.items():
        answers = finetune(encoder, trained.model.views, part, taken, images.test)
        right = int((answers == test_labels).sum())
        result[name] = of_images(right, len(test_labels))._asdict()
    return result
