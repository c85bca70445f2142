"""Everything that ``ntxent evaluate`` says of a run."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ntxent.measures import alignment, contrastive_accuracy, effective_rank, uniformity
from ntxent.simclr.config import DataConfig, EvaluationConfig
from ntxent.simclr.data import ImageData, Images, to_unit
from ntxent.simclr.evaluation.features import RawPixels, describe_all
from ntxent.simclr.evaluation.finetune import finetune, share_of_each_class
from ntxent.simclr.evaluation.scores import Evaluation, of_images
from ntxent.simclr.model.module import SimCLR
from ntxent.simclr.run.trained import TrainedRun

__all__ = ["assess", "confusion", "measure_views"]

LARGEST_PART = 2048
BATCH = 256


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


@torch.no_grad()
def measure_views(model: SimCLR, images: Images, seed: int = 0) -> dict[str, float] | None:
    """The measures of :mod:`ntxent.measures` on at most 2,048 of the images.

    ``contrastive_accuracy`` is the share of views whose other view is nearer than any view of any
    other image; it is larger for fewer images. None where there is one image only.
    """
    if len(images) < 2:
        return None
    device = next(model.parameters()).device
    count = min(len(images), LARGEST_PART)
    pairs = []
    model.eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, count, BATCH):
            batch = images[list(range(start, min(start + BATCH, count)))]
            views = model.views(to_unit(batch).to(device))
            pairs.append(model(torch.cat(views)).float().cpu().chunk(2))
    first, second = (torch.cat(part) for part in zip(*pairs, strict=True))
    return {
        "images": count,
        "contrastive_accuracy": contrastive_accuracy(first, second),
        "alignment": alignment(first, second),
        "uniformity": uniformity(torch.cat([first, second])),
        "effective_rank": effective_rank(torch.cat([first, second])),
    }
