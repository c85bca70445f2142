"""Published settings by name, each value with its source."""

from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["PRESETS", "Preset", "Value"]

# Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations.
PAPER = "arXiv 2002.05709"
CODE = "github.com/google-research/simclr"


class Value(NamedTuple):
    """The value of an option, and where it is published."""

    value: Any
    source: str


@dataclass(frozen=True)
class Preset:
    """Options of ``ntxent train`` by their dotted names; all others keep their defaults."""

    summary: str
    values: dict[str, Value]

    def nested(self) -> dict[str, Any]:
        """Returns the values as nested mappings, as a configuration file has them.

        >>> PRESETS["simclr-cifar10"].nested()["data"]
        {'source': 'cifar10'}
        """
        tree: dict[str, Any] = {}
        for option, (value, _) in self.values.items():
            *groups, name = option.split(".")
            branch = tree
            for group in groups:
                branch = branch.setdefault(group, {})
            branch[name] = value
        return tree


# §2.1 and Appendix B.9 name the architectures; the head's details are those of the authors' code.
_MODEL = {
    "model.encoder": Value("resnet50", f"{PAPER}, §2.1 and B.9"),
    "model.head_layers": Value(2, f"{PAPER}, §2.1: one hidden layer"),
    "model.hidden_dim": Value(2048, f"{CODE}, model_util.py: as wide as the features"),
    "model.projection_dim": Value(128, f"{PAPER}, §2.1: a 128-dimensional latent space"),
    "model.head_norm": Value(True, f"{CODE}, model_util.py: use_bn in the last layer"),
}

# Appendix B.9: "the rest of the settings are the same as our ImageNet training".
_OPTIMIZER = {
    "optimizer.name": Value("lars", f"{PAPER}, §2.2"),
    "optimizer.lr_scaling": Value("linear", f"{PAPER}, §2.2: LearningRate x BatchSize / 256"),
    "optimizer.momentum": Value(0.9, f"{CODE}, run.py"),
    "optimizer.weight_decay": Value(1e-6, f"{PAPER}, §2.2"),
}

PRESETS = {
    "simclr-cifar10": Preset(
        "ResNet-50 on CIFAR-10 for 1,000 epochs; the paper reports 94.0 % by a linear probe",
        {
            "epochs": Value(1000, f"{PAPER}, B.9: up to 1000; {CODE}, README"),
            "batch_size": Value(1024, f"{PAPER}, B.9: the batch size of the best model"),
            "temperature": Value(0.5, f"{PAPER}, B.9: of 0.1, 0.5, 1.0; {CODE}, README"),
            "data.source": Value("cifar10", f"{PAPER}, B.9"),
            "augmentation.recipe": Value("simclr", f"{PAPER}, B.9: Inception crop, flip, colour"),
            "augmentation.view_size": Value(32, f"{PAPER}, B.9"),
            "augmentation.crop": Value([0.08, 1.0], f"{CODE}, data_util.py: area_range"),
            "augmentation.strength": Value(0.5, f"{PAPER}, B.9"),
            "augmentation.blur": Value(False, f"{PAPER}, B.9: leaving out Gaussian blur"),
            "model.stem": Value("cifar", f"{PAPER}, B.9: 3x3 of stride 1, no max pooling"),
            **_MODEL,
            "optimizer.lr": Value(1.0, f"{PAPER}, B.9: of 0.5, 1.0, 1.5; {CODE}, README"),
            **_OPTIMIZER,
            "optimizer.warmup": Value(0.01, f"{PAPER}, §2.2: the first 10 epochs"),
        },
    ),
    "simclr-imagenet-100ep": Preset(
        "ResNet-50 on ImageNet for 100 epochs; its authors report 64.5 % by a linear probe",
        {
            "epochs": Value(100, f"{PAPER}, §2.2"),
            "batch_size": Value(4096, f"{PAPER}, §2.2"),
            "temperature": Value(0.1, f"{CODE}, README: the defaults of the paper, 100 epochs"),
            "data.image_size": Value(256, "choice of this package: 224 / 0.875, then cropped"),
            "augmentation.recipe": Value("simclr", f"{PAPER}, Appendix A"),
            "augmentation.view_size": Value(224, f"{PAPER}, Appendix A"),
            "augmentation.crop": Value([0.08, 1.0], f"{PAPER}, Appendix A"),
            "augmentation.strength": Value(1.0, f"{PAPER}, Appendix A; {CODE}, run.py"),
            "augmentation.blur": Value(True, f"{PAPER}, Appendix A: half of the time"),
            "model.stem": Value("imagenet", f"{PAPER}, §2.1"),
            **_MODEL,
            "optimizer.lr": Value(0.3, f"{PAPER}, §2.2: 0.3 x BatchSize / 256 = 4.8"),
            **_OPTIMIZER,
            "optimizer.warmup": Value(0.1, f"{PAPER}, §2.2: the first 10 epochs"),
        },
    ),
}
