"""A plain training loop, the same for every contender, and what probes read from the encoder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch
from lightly.transforms import SimCLRTransform
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_pil_image

from benchmarks.claims import digits
from benchmarks.claims.digits import Contender
from ntxent.simclr import DataConfig, EvaluationConfig, TrainConfig
from ntxent.simclr.data import MemoryImages, Shape, to_unit
from ntxent.simclr.data.loader import ShuffledBatches
from ntxent.simclr.evaluation.classifiers import knn, standardise
from ntxent.simclr.evaluation.features import RawPixels, extract_features
from ntxent.simclr.evaluation.probes import Probes
from ntxent.simclr.model.encoder import build_encoder
from ntxent.simclr.model.views import TwoViews
from ntxent.simclr.train.defaults import DEVICE_DEPENDENT, device_defaults, with_options

Pair = tuple[Tensor, Tensor]


def defaults(source: str, seed: int, images: int, shape: Shape) -> TrainConfig:
    """Returns what ``ntxent train --data.source SOURCE`` chooses without a GPU."""
    config = TrainConfig(seed=seed, data=DataConfig(source=source))
    return with_options(config, device_defaults(config, DEVICE_DEPENDENT, "cpu", images, shape))


@dataclass
class Training:
    """A contender of the digits, where its views come from, and the seconds of its steps, from
    images to updated weights.
    """

    contender: Contender
    pairs: Callable[[], Iterator[Pair]]
    seconds: list[float] = field(default_factory=list)

    def epoch(self) -> Iterator[float]:
        """Yields the loss of each step of one pass over the images."""
        pairs, started = self.pairs(), perf_counter()
        for first, second in pairs:
            loss = self.contender.step(first, second)
            self.seconds.append(perf_counter() - started)
            yield loss
            started = perf_counter()


def ours(config: TrainConfig, images: MemoryImages, steps: int) -> Training:
    """What this package's trainer does, without its records."""
    torch.manual_seed(config.seed)
    views = TwoViews(config.augmentation, images.shape)
    encoder, features = build_encoder(config.model, views.shape)
    encoder.to(memory_format=torch.channels_last)

    def pairs() -> Iterator[Pair]:
        for rows in ShuffledBatches(len(images), config.batch_size):
            first, second = views(to_unit(images[rows]))
            yield (
                first.contiguous(memory_format=torch.channels_last),
                second.contiguous(memory_format=torch.channels_last),
            )

    return Training(digits.ours(config, encoder, features, steps), pairs)


class _Pictures(Dataset[tuple[Tensor, Tensor]]):
    """PIL images under lightly's transform, which makes two views of one image at a time."""

    def __init__(self, images: MemoryImages, transform: Callable[..., list[Tensor]]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        first, second = self.transform(to_pil_image(self.images[[index]][0]))
        return first, second


def lightly(config: TrainConfig, images: MemoryImages, steps: int, workers: int = 2) -> Training:
    """SimCLR as in lightly: its transform, head and loss, a pass a view, SGD as in its benchmark.

    The transform is without blur and at colour strength 0.5, as in its CIFAR-10 benchmark.
    """
    torch.manual_seed(config.seed)
    channels, size, _ = images.shape
    transform = SimCLRTransform(input_size=size, cj_strength=0.5, gaussian_blur=0.0, normalize=None)
    encoder, features = build_encoder(config.model, (channels, size, size))
    encoder.to(memory_format=torch.channels_last)
    loader = DataLoader(
        _Pictures(images, transform),
        config.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def pairs() -> Iterator[Pair]:
        yield from loader

    return Training(digits.theirs(config, encoder, features, steps, adamw=False), pairs)


def validation_split(images: MemoryImages, share: float = 1 / 6) -> list[MemoryImages]:
    """Returns the training images without, and only with, a share held back for choices."""
    rows = train_test_split(
        range(len(images)), test_size=share, stratify=images.labels, random_state=1
    )
    return [images.take(part) for part in rows]


def probed(
    encoder: nn.Module, train: MemoryImages, test: MemoryImages, shape: Shape
) -> dict[str, float]:
    """Returns accuracies of the frozen features, those of kNN in two forms."""
    if train.labels is None or test.labels is None:
        raise ValueError("data: received images without labels, expected labels for the probes")
    features = [extract_features(encoder, part, shape) for part in (train, test)]
    probes = Probes(train.labels, test.labels, EvaluationConfig(labels_per_class=(10,)))
    scores = {name: score.mean for name, score in probes(*features).items()}
    first, second = standardise(*features)
    near = knn(first, train.labels, second, 5, None)
    return {**scores, "knn of 5": float(np.mean(near == test.labels))}


def raw_pixels(train: MemoryImages, test: MemoryImages) -> dict[str, float]:
    return probed(RawPixels(), train, test, train.shape)
