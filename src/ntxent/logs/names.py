"""What the name of a column says: a loss and which one, a step, or something else."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["is_epoch", "is_step", "quantity", "rank", "step_rank", "tokens"]

# Names of the contrastive loss in public code, as words and as parts of a word.
CONTRASTIVE = {"nce", "clip", "ita", "itc", "ssl", "contr", "cl"}
CONTRASTIVE_PARTS = re.compile(r"contrast|infonce|ntxent|simclr|supcon|moco")
# Losses beside it, and sums of it with others.
BESIDE = set().union(
    ("total", "sum", "all", "class", "classification", "cls", "clf", "ce", "bce", "supervised"),
    ("sup", "mlm", "itm", "lm", "kl", "kld", "l1", "l2", "reg", "regularization", "decay", "mse"),
    ("recon", "reconstruction", "probe", "linear", "online", "aux", "distill", "distillation"),
    ("gan", "adv", "vq", "commit", "commitment", "caption", "captioning", "cross", "softmax"),
)
HELD_OUT = {"val", "valid", "validation", "test", "eval", "dev", "heldout"}
# With one of these a name is that of no loss, whatever else it says.
NO_LOSS = set().union(
    ("lr", "rate", "scale", "scaler", "acc", "accuracy", "top", "top1", "top5", "grad", "norm"),
    ("temperature", "temp", "tau", "time", "weight", "weights", "coef", "coeff", "lambda"),
    ("size", "similarity", "sim", "entropy", "margin", "dim", "min", "max", "std", "var"),
    ("mem", "memory", "eta", "queue", "momentum", "path", "epochs", "recall", "precision", "f1"),
)
# Of no loss by its name, but the loss where nothing else in the file could be.
NAMELESS = {"value", "y", "cost", "objective", "nll", "criterion"}
PART_OF_NAME = {"train", "training", "tr", "loss", "losses", "step", "epoch", "avg", "average"}
PART_OF_NAME |= {"mean", "the", "running", "batch", "iter", "current", "smoothed", "meter", "log"}
COARSE = {"epoch", "avg", "average", "mean", "smoothed", "running"}
STEPS = set().union(
    ("step", "steps", "iteration", "iterations", "iter", "iters", "it", "itr", "updates"),
    ("update", "batch", "batches", "minibatch", "round", "idx"),
)
EPOCHS = {"epoch", "epochs", "ep"}

# Ranks of names; a smaller one is likelier to be the loss.
SURE, PLAIN, TRAINED, OTHER, VAGUE, BEHIND, AWAY = 0, 10, 20, 30, 40, 50, 100


@lru_cache(maxsize=4096)
def tokens(name: str) -> tuple[str, ...]:
    """Its words in lower case; ``brisk-pond-1 - train/loss`` is named after the last part.

    >>> tokens("train/NTXentLoss"), tokens("run-1 - loss")
    (('train', 'nt', 'xent', 'loss'), ('loss',))
    """
    own = name.rsplit(" - ", 1)[-1]
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", own)
    return tuple(re.findall(r"[a-zA-Z]+\d*|\d+", parted.lower()))


@lru_cache(maxsize=4096)
def step_rank(name: str) -> int | None:
    """How well a name counts steps, 0 the best; None where it counts none.

    >>> sorted(["batch", "Step", "num_updates", "iter", "trainer/global_step"], key=step_rank)
    ['num_updates', 'trainer/global_step', 'Step', 'iter', 'batch']
    """
    words = tokens(name)
    counts = bool(words) and (
        words[-1] in STEPS or (words[0] in ("iter", "step") and len(words) <= 2)
    )
    if not counts or "loss" in words or NO_LOSS.intersection(words):
        return None
    if {"global", "num", "total", "trainer"} & set(words):
        return 0
    order = ("step", "iter", "update", "batch")
    return 1 + next((k for k, stem in enumerate(order) if words[-1].startswith(stem)), 2)


def is_step(name: str) -> bool:
    """Whether it counts steps, such as ``global_step``, ``Step`` or ``Iter(train)``."""
    return step_rank(name) is not None


def is_epoch(name: str) -> bool:
    words = tokens(name)
    return bool(words) and "loss" not in words and (words[-1] in EPOCHS or words[0] in EPOCHS)


@lru_cache(maxsize=4096)
def rank(name: str) -> int | None:
    """How far back a name stands among those of the loss; None where it is none.

    >>> sorted(["total_loss", "loss", "val_loss", "InfoNCE", "train_loss"], key=rank)
    ['InfoNCE', 'loss', 'train_loss', 'total_loss', 'val_loss']
    >>> rank("loss_scale"), rank("accuracy")
    (None, None)
    """
    words = set(tokens(name))
    compact = "".join(tokens(name))
    named = bool(CONTRASTIVE & words) or bool(CONTRASTIVE_PARTS.search(compact))
    if NO_LOSS & words or not ("loss" in compact or named or words & NAMELESS):
        return None
    if is_step(name) and "loss" not in compact:
        return None
    coarse = bool(COARSE & words)
    if HELD_OUT & words:
        return AWAY + coarse
    if BESIDE & words and not CONTRASTIVE & words and not CONTRASTIVE_PARTS.search(compact):
        return BEHIND + coarse
    if named and not BESIDE & words:
        return SURE + coarse
    if named:
        return BEHIND + coarse
    if not quantity(name) and "loss" in words:
        return (TRAINED if words & {"train", "training", "tr"} else PLAIN) + coarse
    return (VAGUE if words & NAMELESS and "loss" not in compact else OTHER) + coarse


@lru_cache(maxsize=4096)
def quantity(name: str) -> frozenset[str]:
    """What a name says beyond being a loss, logged for steps or epochs."""
    return frozenset(tokens(name)) - PART_OF_NAME
