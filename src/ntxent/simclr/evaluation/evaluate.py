"""The evaluation of a finished run, as ``ntxent evaluate`` writes it."""

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
from ntxent.simclr.evaluation.finetune import finetune, stratified_indices
from ntxent.simclr.evaluation.probes import Probes
from ntxent.simclr.evaluation.scores import wilson_score
from ntxent.simclr.model.module import SimCLR
from ntxent.simclr.run.trained import TrainedRun
from ntxent.simclr.stages import Stages, silent

__all__ = ["confusion_matrix", "evaluate_run", "measure_views"]

# Held-out images whose views are measured at most, and how many of them at a time.
LARGEST_PART, BATCH = 2048, 256


def evaluate_run(
    trained: TrainedRun,
    data: DataConfig,
    evaluation: EvaluationConfig,
    finetuning: float | None,
    stages: Stages = silent,
) -> dict[str, Any]:
    """Returns the content of ``evaluation.json``: accuracies, confusions, measures of the views.

    Args:
        trained: The run.
        data: The images to evaluate on; the probes learn from the labelled ones.
        evaluation: The probes.
        finetuning: Share of the labels to fine-tune all weights on, once from the trained encoder
            and once from the untrained one; None for no fine-tuning.
        stages: Shows what takes seconds.

    Raises:
        ValueError: fine-tuning was asked for, and the data has no labels; or the images do not fit
            the encoder.
    """
    started = perf_counter()
    images = ImageData(data, batch_size=1, stages=stages)
    trained.require_channels(images.train)
    result: dict[str, Any] = {
        "run": str(trained.run.path),
        "data": data.source,
        "classes": list(images.classes),
        "images": {"labelled": 0, "held_out": len(images.test)},
        "views": measure_views(trained.model, images.test, stages=stages),
    }
    probes = Probes.of(images, evaluation)
    if probes is None and finetuning is not None:
        raise ValueError(
            f"finetune: received {finetuning:g}, and {data.source} has no labels, expected "
            "labelled images; put them into one sub-folder a class, or leave it out"
        )
    if probes is not None:
        result["images"]["labelled"] = len(images.labelled)
        encoders = {
            "encoder": trained.model.encoder,
            "untrained_encoder": trained.untrained_encoder(),
        }
        predicted = probes.predictions_of(encoders, images, trained.model.views.shape, stages)
        result["evaluation"] = {
            name: {probe: score._asdict() for probe, score in probes.scores(labels).items()}
            for name, labels in predicted.items()
        }
        result["confusion"] = {
            probe: confusion_matrix(
                probes.test_labels, predicted["encoder"][probe][0], len(images.classes)
            ).tolist()
            for probe in ("linear_all", "knn")
        }
        if finetuning is not None:
            result["finetuning"] = _finetuned(finetuning, images, probes, encoders, trained, stages)
    result["seconds"] = round(perf_counter() - started, 3)
    return result


def confusion_matrix(labels: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[Any]:
    """Returns counts ``[label, predicted label]``.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    counts = np.bincount(labels * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes)


def _finetuned(
    share: float,
    images: ImageData,
    probes: Probes,
    encoders: Mapping[str, nn.Module],
    trained: TrainedRun,
    stages: Stages,
) -> dict[str, Any]:
    rows = stratified_indices(probes.train_labels, share)
    part, labels = images.labelled.take(rows), probes.train_labels[rows]
    result: dict[str, Any] = {"share": share, "labels": len(rows)}
    for name, encoder in encoders.items():
        predicted = finetune(
            *(encoder, trained.model.views, part, labels, images.test),
            stages=stages,
            name=f"fine-tuning the {name.replace('_', ' ')}",
        )
        right = int((predicted == probes.test_labels).sum())
        result[name] = wilson_score(right, len(probes.test_labels))._asdict()
    return result


@torch.no_grad()
def measure_views(
    model: SimCLR, images: Images, seed: int = 0, stages: Stages = silent
) -> dict[str, float] | None:
    """Returns the measures of :mod:`ntxent.measures` on two views of at most 2,048 images.

    They need no labels. ``contrastive_accuracy`` is the share of views that are nearer to the other
    view of their image than to any view of another image, so it falls as the images grow in number.
    Returns None for a single image.
    """
    if len(images) < 2:
        return None
    device = next(model.parameters()).device
    count = min(len(images), LARGEST_PART)
    pairs = []
    model.eval()
    with torch.random.fork_rng(), stages(f"two views of {count:,} images", count) as advance:
        torch.manual_seed(seed)
        for start in range(0, count, BATCH):
            batch = images[list(range(start, min(start + BATCH, count)))]
            views = model.views(to_unit(batch).to(device))
            pairs.append(model(torch.cat(views)).float().cpu().chunk(2))
            advance(len(batch))
    first, second = (torch.cat(part) for part in zip(*pairs, strict=True))
    return {
        "images": count,
        "contrastive_accuracy": contrastive_accuracy(first, second),
        "alignment": alignment(first, second),
        "uniformity": uniformity(torch.cat([first, second])),
        "effective_rank": effective_rank(torch.cat([first, second])),
    }
