"""Lightning's Trainer for a run, without Lightning's own log lines."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger

from ntxent.simclr.config import TrainConfig
from ntxent.simclr.train.checkpoints import AtomicCheckpointIO
from ntxent.simclr.train.processes import Processes

__all__ = ["make_trainer", "quiet_lightning", "resolve_accelerator"]

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def resolve_accelerator(config: TrainConfig) -> str:
    """Returns the device to train on.

    Raises:
        ValueError: this machine does not have it, or it does not have the precision.
    """
    name = config.accelerator
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = "cuda" if present["cuda"] else "cpu"
    if not present[name]:
        here = ", ".join(device for device, found in present.items() if found)
        raise ValueError(f"accelerator: received {name!r}, expected one of this machine's: {here}")
    if config.precision == "fp16" and name != "cuda":
        raise ValueError(
            f"precision: received 'fp16' on {name}, expected it on cuda only, where gradients are "
            "scaled for it; bf16 runs everywhere"
        )
    return name


def make_trainer(
    config: TrainConfig,
    accelerator: str,
    processes: Processes,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
) -> Trainer:
    """Returns a Trainer that logs every step, for the data-parallel processes of a run."""
    return Trainer(
        accelerator=accelerator,
        devices=processes.local_size,
        num_nodes=processes.size // processes.local_size,
        strategy="ddp" if processes.size > 1 else "auto",
        precision=PRECISIONS[config.precision],  # type: ignore[arg-type]
        max_epochs=config.epochs,
        gradient_clip_val=config.optimizer.clip_norm,
        log_every_n_steps=1,
        logger=list(loggers) or False,
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Suppresses Lightning's tips, and its warnings about what this package does on purpose."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Images in memory need no worker processes.
        warnings.filterwarnings("ignore", "The '.*dataloader' does not have many workers")
        # About Lightning's own use of PyTorch.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")
        # --accelerator cpu on a machine with a GPU is a choice.
        warnings.filterwarnings("ignore", "GPU available but not used")
        try:
            yield
        finally:
            log.setLevel(level)
