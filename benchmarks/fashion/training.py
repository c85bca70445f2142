"""A plain training loop, the same for every contender, and what probes read from the encoder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import cos, pi
from time import perf_counter

import numpy as np
import torch
from lightly.loss import NTXentLoss as LightlyLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_pil_image

from ntxent import NTXentLoss
from ntxent.simclr import DataConfig, EvaluationConfig, TrainConfig
from ntxent.simclr.data import ImageData, MemoryImages, Shape, to_unit
from ntxent.simclr.data.loader import ShuffledBatches
from ntxent.simclr.evaluation.classifiers import knn, standardise
from ntxent.simclr.evaluation.features import RawPixels, extract_features
from ntxent.simclr.evaluation.probes import Probes
from ntxent.simclr.model.encoder import ProjectionHead, build_encoder
from ntxent.simclr.model.optimizer import make_optimizer, warmup_cosine
from ntxent.simclr.model.views import TwoViews
from ntxent.simclr.train.defaults import DEVICE_DEPENDENT, device_defaults, with_options

Pair = tuple[Tensor, Tensor]


def defaults(source: str, seed: int, images: int, shape: Shape) -> TrainConfig:
    """Returns what ``ntxent train --data.source SOURCE`` chooses without a GPU."""
    config = TrainConfig(seed=seed, data=DataConfig(source=source))
    return with_options(config, device_defaults(config, DEVICE_DEPENDENT, "cpu", images, shape))


@dataclass
class Contender:
    """A model in training, and the seconds of its steps, from images to updated weights."""

    encoder: nn.Module
    head: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    one_pass: bool
    optimizer: Optimizer
    schedule: LambdaLR
    pairs: Callable[[], Iterator[Pair]]
    seconds: list[float] = field(default_factory=list)

    def train(self) -> Iterator[float]:
        """Yields the loss of each step of one pass over the images."""
        pairs, started = self.pairs(), perf_counter()
        for first, second in pairs:
            self.optimizer.zero_grad()
            if self.one_pass:
                z1, z2 = self.head(self.encoder(torch.cat([first, second]))).chunk(2)
            else:
                z1, z2 = self.head(self.encoder(first)), self.head(self.encoder(second))
            loss = self.loss(z1, z2)
            torch.autograd.backward(loss)
            self.optimizer.step()
            self.schedule.step()
            self.seconds.append(perf_counter() - started)
            yield float(loss.detach())
            started = perf_counter()


def ours(config: TrainConfig, images: MemoryImages, steps: int) -> Contender:
    """What this package's trainer does, without its records."""
    torch.manual_seed(config.seed)
    views = TwoViews(config.augmentation, images.shape)
    encoder, features = build_encoder(config.model, views.shape)
    encoder.to(memory_format=torch.channels_last)
    head = ProjectionHead(features, config.model)
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = make_optimizer(weights, config.optimizer, config.batch_size)
    warmup = int(config.optimizer.warmup * steps)
    schedule = LambdaLR(optimizer, partial(warmup_cosine, steps=steps, warmup=warmup))

    def pairs() -> Iterator[Pair]:
        for rows in ShuffledBatches(len(images), config.batch_size):
            first, second = views(to_unit(images[rows]))
            yield (
                first.contiguous(memory_format=torch.channels_last),
                second.contiguous(memory_format=torch.channels_last),
            )

    loss = NTXentLoss(config.temperature)
    return Contender(encoder, head, loss, True, optimizer, schedule, pairs)


class _Pictures(Dataset[tuple[Tensor, Tensor]]):
    """PIL images under lightly's transform, which makes two views of one image at a time."""

    def __init__(self, images: MemoryImages, transform: Callable[..., list[Tensor]]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        first, second = self.transform(to_pil_image(self.images[[index]][0]))
        return first, second


def lightly(config: TrainConfig, images: MemoryImages, steps: int, workers: int = 2) -> Contender:
    """SimCLR as in lightly: its transform, head and loss, a pass a view, SGD as in its benchmark.

    Its CIFAR-10 benchmark has a rate of 0.06 x N / 128, momentum 0.9, weight decay 5e-4, a cosine,
    and the transform without blur at colour strength 0.5.
    """
    torch.manual_seed(config.seed)
    channels, size, _ = images.shape
    transform = SimCLRTransform(input_size=size, cj_strength=0.5, gaussian_blur=0.0, normalize=None)
    encoder, features = build_encoder(config.model, (channels, size, size))
    encoder.to(memory_format=torch.channels_last)
    head = SimCLRProjectionHead(features, config.model.hidden_dim, config.model.projection_dim)
    weights = [*encoder.parameters(), *head.parameters()]
    rate = 0.06 * config.batch_size / 128
    optimizer = SGD(weights, lr=rate, momentum=0.9, weight_decay=5e-4)
    schedule = LambdaLR(optimizer, lambda step: (1 + cos(pi * step / steps)) / 2)
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

    loss = LightlyLoss(temperature=config.temperature)
    return Contender(encoder, head, loss, False, optimizer, schedule, pairs)


def validation_split(data: ImageData, share: float = 1 / 6) -> tuple[MemoryImages, MemoryImages]:
    """Returns the training images without, and only with, a share held back for choices."""
    images = data.train
    rows = train_test_split(
        range(len(images)), test_size=share, stratify=images.labels, random_state=1
    )
    train, held_back = (images.take(part) for part in rows)
    if not isinstance(train, MemoryImages) or not isinstance(held_back, MemoryImages):
        raise ValueError("data: received images on disk, expected them in memory")
    return train, held_back


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
