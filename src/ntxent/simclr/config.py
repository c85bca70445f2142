"""Every option of a training run. The text under a field is its help on the command line."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "AugmentationConfig",
    "DataConfig",
    "EvaluationConfig",
    "ModelConfig",
    "OptimizerConfig",
    "TrainConfig",
]


def _require(holds: bool, name: str, received: Any, expected: str) -> None:
    """Raises a ``ValueError`` unless the condition holds."""
    if not holds:
        raise ValueError(f"{name}: received {received!r}, expected {expected}")


def _require_share(name: str, received: float) -> None:
    """Raises a ``ValueError`` unless 0 <= received < 1."""
    _require(0 <= received < 1, name, received, "a share from 0 to below 1")


@dataclass(frozen=True)
class DataConfig:
    """Data: images to learn from, and a part held out that only evaluation sees"""

    source: str = "digits"
    """digits: scikit-learn's, 1797 images of 8x8 pixels; fashion_mnist, mnist, kmnist, emnist,
    svhn, cifar10, cifar100 or stl10; a folder of images; an .npz, .npy or idx file; or a Dataset
    or LightningDataModule, as package.module:Class."""
    root: str = "data"
    """Folder that holds the files of those datasets; Debian's in /usr/share/datasets are found."""
    download: bool = False
    """Let torchvision download the files that are missing there."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of your own Dataset or LightningDataModule; the split of emnist."""
    labels: str = "auto"
    """auto: the first level of sub-folders, or the labels that come with the images; none: ignore
    them; or an .npy file, one label an image of an .npy. They are for evaluation only."""
    held_out: float = 0.25
    """Share of the images that only evaluation sees, stratified and the same for every seed, where
    the data has no test part of its own."""
    image_size: int | None = None
    """Side, in pixels, of the square that the middle of each image of a folder is scaled to; by
    default the median of the shorter sides, at most 96, or 64 without a GPU."""
    max_skipped: float = 0.1
    """Largest share of a folder's files that may be unusable; the run folder lists them, and a
    larger share is an error."""
    memory: int = 1024
    """Images of at most so many megabytes in all are decoded once and stay on the device; workers
    read larger ones in every epoch."""
    workers: int = 2
    """Processes that read images from files."""

    def __post_init__(self) -> None:
        _require(self.source != "", "data.source", self.source, "the name of a source of images")
        _require(0 < self.held_out < 1, "data.held_out", self.held_out, "a share between 0 and 1")
        size = self.image_size
        fits = size is None or size >= 4
        _require(fits, "data.image_size", size, "an integer >= 4, or null")
        _require_share("data.max_skipped", self.max_skipped)
        _require(self.memory >= 0, "data.memory", self.memory, "an integer >= 0")
        _require(self.workers >= 0, "data.workers", self.workers, "an integer >= 0")


@dataclass(frozen=True)
class AugmentationConfig:
    """Augmentation: each view draws its own values, uniformly"""

    recipe: str = "auto"
    """affine: the seven choices from rotation to noise; simclr: random crop, flip, colour
    distortion, blur; auto: affine up to 16 pixels a side, else simclr; or a YAML file that lists
    kornia's augmentations."""
    view_size: int | None = None
    """Side of the views of simclr, pixels; by default the side of the images."""
    strength: float = 1.0
    """Strength s of the colour distortion of simclr."""
    crop: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest area of the random crop of simclr, as shares of the image."""
    flip: bool = True
    """Mirror half of the views of simclr left to right; turn it off where that changes meaning."""
    blur: bool = True
    """Blur half of the views of simclr; the authors leave it out for small images."""
    rotation: float = 15.0
    """Largest rotation, degrees."""
    translation: float = 0.1
    """Largest shift, as a share of the image's side."""
    scale: tuple[float, float] = (0.8, 1.2)
    """Smallest and largest zoom factor."""
    shear: float = 15.0
    """Largest shear, degrees."""
    brightness: float = 0.3
    """Largest change of brightness, as a share of the pixel range."""
    contrast: float = 0.3
    """Largest relative change of contrast."""
    noise: float = 0.1
    """Standard deviation of the Gaussian noise, as a share of the pixel range."""

    def __post_init__(self) -> None:
        size = self.view_size
        fits = size is None or size >= 4
        _require(fits, "augmentation.view_size", size, "an integer >= 4, or null")
        # hue turns by up to 0.2 s, and half a turn is the largest there is
        within = 0 <= self.strength <= 2.5
        _require(within, "augmentation.strength", self.strength, "a number from 0 to 2.5")
        small, large = self.crop
        shares = 0 < small <= large <= 1
        _require(shares, "augmentation.crop", self.crop, "two shares, 0 < low <= high <= 1")
        for name, largest in (("rotation", 180), ("shear", 80)):
            received, expected = getattr(self, name), f"degrees from 0 to {largest}"
            _require(0 <= received <= largest, f"augmentation.{name}", received, expected)
        _require_share("augmentation.translation", self.translation)
        _require_share("augmentation.brightness", self.brightness)
        _require_share("augmentation.contrast", self.contrast)
        low, high = self.scale
        ordered = 0 < low <= high < math.inf
        _require(ordered, "augmentation.scale", self.scale, "two factors, 0 < low <= high")
        _require(0 <= self.noise < math.inf, "augmentation.noise", self.noise, "a number >= 0")


@dataclass(frozen=True)
class ModelConfig:
    """Model: an encoder, and the MLP that projects its features for the loss"""

    encoder: str = "auto"
    """digits: four convolutions; compact: six, for images of up to 64 pixels on a CPU; any model
    of timm by name (resnet18, resnet50, vit_small_patch16_224); a module of your own, as
    package.module:Class; auto: digits for views of up to 16 pixels a side, else resnet18, or
    compact without a GPU."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the encoder, for timm ({"pretrained": true}) or for your own class."""
    stem: Literal["auto", "imagenet", "cifar"] = "auto"
    """First layers of a ResNet: cifar is a 3x3 convolution without stride or pooling; auto takes
    it for views of at most 64 pixels."""
    width: int = 32
    """Channels of the first convolution of digits, which has 4 times as many features, and of
    compact, which has 16 times as many."""
    hidden_dim: int = 256
    """Hidden units of the projection head."""
    head_layers: Literal[2, 3] = 2
    """Linear layers of the projection head: 2 as in SimCLR, 3 as in SimCLR v2."""
    head_norm: bool = False
    """Normalise the head's output over the batch, as the authors' code does."""
    projection_dim: int = 64
    """Coordinates d of the embeddings that the loss compares."""

    def __post_init__(self) -> None:
        for name in ("width", "hidden_dim", "projection_dim"):
            received = getattr(self, name)
            _require(received >= 1, f"model.{name}", received, "an integer >= 1")
        _require(self.encoder != "", "model.encoder", self.encoder, "the name of an encoder")


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer: warm-up and cosine decay by step"""

    name: Literal["adamw", "lars", "sgd"] = "adamw"
    """Rule of the update; LARS is SimCLR's for large batches."""
    lr: float = 3e-3
    """Peak learning rate, before lr_scaling."""
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    """Peak rate for N pairs: lr, lr * N / 256 (SimCLR: lr 0.3), or lr * sqrt(N) (SimCLR: 0.075)."""
    weight_decay: float = 1e-2
    """Weight decay; decoupled in adamw, part of the gradient in lars and sgd."""
    exclude_vectors: bool | None = None
    """Leave biases, norms and scalars out of weight decay and of LARS' ratio; null: lars only."""
    momentum: float = 0.9
    """Momentum of lars and sgd."""
    trust: float = 1e-3
    """LARS: length of a layer's step, as a share of the length of its weights."""
    clip_norm: float | None = None
    """Largest norm of the gradient of all weights; a longer one is scaled down to it."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""

    @property
    def excludes_vectors(self) -> bool:
        """``exclude_vectors``, with its default resolved."""
        return self.name == "lars" if self.exclude_vectors is None else self.exclude_vectors

    def __post_init__(self) -> None:
        for name in ("lr", "trust", "clip_norm"):
            received = getattr(self, name)
            if received is not None:
                _require(0 < received < math.inf, f"optimizer.{name}", received, "a number > 0")
        decay = self.weight_decay
        _require(0 <= decay < math.inf, "optimizer.weight_decay", decay, "a number >= 0")
        _require_share("optimizer.momentum", self.momentum)
        _require_share("optimizer.warmup", self.warmup)


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation: probes on the frozen features, beside raw pixels and the untrained encoder"""

    labels_per_class: tuple[int, ...] | None = None
    """Labels per class of the small linear probes, by default those of 1, 5 and 10 that the
    smallest class has; a probe with all labels is always added."""
    label_shares: tuple[float, ...] = ()
    """Shares of the labels of further small probes, of each class at least one label."""
    draws: int = 10
    """Random draws of the labels for each small probe."""
    neighbors: int | None = None
    """Neighbours that vote in kNN, the most similar by cosine; by default 200, or a tenth of the
    labelled images where that is less."""
    knn_temperature: float | None = 0.1
    """Temperature of the votes, which weigh exp(cosine / temperature); null: all weigh the same."""
    knn_every: int = 0
    """Epochs between two measurements of kNN accuracy during training; 0 for none."""

    def __post_init__(self) -> None:
        counts = self.labels_per_class
        positive = counts is None or all(count >= 1 for count in counts)
        _require(positive, "evaluation.labels_per_class", counts, "integers >= 1")
        within = all(0 < share < 1 for share in self.label_shares)
        _require(within, "evaluation.label_shares", self.label_shares, "shares between 0 and 1")
        spread = "an integer >= 2: a standard deviation needs two draws"
        _require(self.draws >= 2, "evaluation.draws", self.draws, spread)
        near, heat = self.neighbors, self.knn_temperature
        counted = near is None or near >= 1
        _require(counted, "evaluation.neighbors", near, "an integer >= 1, or null")
        warm = heat is None or 0 < heat < math.inf
        _require(warm, "evaluation.knn_temperature", heat, "a number > 0, or null")
        _require(self.knn_every >= 0, "evaluation.knn_every", self.knn_every, "an integer >= 0")


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    name: str | None = None
    """Name of the run and of its folder; by default the data, the seed and the time of start."""
    folder: str = "runs"
    """Folder that holds the run folders."""
    overwrite: bool = False
    """Replace the files of an earlier run of the same name."""
    resume: str | None = None
    """Run folder to continue; auto continues --folder/--name if it is there, else starts it."""
    checkpoint_seconds: float = 10.0
    """Shortest time between checkpoints, in seconds; 0: after every step. The last step has one."""
    seed: int = 0
    """Seed of the weights, the order of the data and the augmentation."""
    epochs: int = 60
    """Passes over the training images; fewer without a GPU (docs/training/images.md)."""
    batch_size: int = 256
    """Positive pairs in a batch, N; an incomplete last batch is left out, as limits depend on N.
    Smaller without a GPU or with few images, if not given."""
    temperature: float = 0.5
    """Temperature of the loss."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device; auto takes CUDA where there is one, else the CPU."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Type of the encoder's arithmetic; weights and the loss stay in float32, fp16 needs CUDA."""
    gradcache: int | None = None
    """Views embedded at a time, exact for any batch size; batch normalisation sees only those."""
    compile: bool = False
    """Compile encoder and head with torch.compile."""
    channels_last: bool = False
    """Keep images with their channels as the last axis in memory, faster for bf16 and fp16, and
    for the compact encoder on a CPU."""
    sync_batchnorm: bool = True
    """Several processes: normalise over the images of all of them, as one process would."""
    loggers: tuple[dict[str, Any], ...] = ()
    """Lightning loggers beside metrics.csv and TensorBoard, each a class_path and its init_args."""
    onnx: bool = False
    """Write the trained encoder as encoder.onnx too, as ntxent export does later."""
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**32, "seed", self.seed, "an integer from 0 to 2**32 - 1")
        _require(self.epochs >= 1, "epochs", self.epochs, "an integer >= 1")
        contrast = "an integer >= 2: one pair has nothing to be contrasted with"
        _require(self.batch_size >= 2, "batch_size", self.batch_size, contrast)
        seconds = self.checkpoint_seconds
        _require(0 <= seconds < math.inf, "checkpoint_seconds", seconds, "a number >= 0")
        chunk = self.gradcache
        _require(chunk is None or chunk >= 2, "gradcache", chunk, "an integer >= 2, or null")
        for logger in self.loggers:
            described = isinstance(logger.get("class_path"), str)
            _require(described, "loggers", logger, "class_path, and init_args if it has any")
        divisor = "a finite number > 0: similarities are divided by it"
        _require(0 < self.temperature < math.inf, "temperature", self.temperature, divisor)
