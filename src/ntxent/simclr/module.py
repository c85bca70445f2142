"""SimCLR as a LightningModule: every step is logged together with the limits of its loss."""

from functools import partial
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ntxent import bounds
from ntxent.losses import NTXentLoss
from ntxent.monitor import HealthMonitor
from ntxent.simclr.augmentation import TwoViews
from ntxent.simclr.backbones import build_encoder
from ntxent.simclr.config import TrainConfig
from ntxent.simclr.data import Shape
from ntxent.simclr.model import ProjectionHead
from ntxent.simclr.optimizers import make_optimizer
from ntxent.simclr.order import share_of
from ntxent.simclr.schedules import warmup_cosine

__all__ = ["COLUMNS", "SimCLR"]

COLUMNS = (
    "loss",
    "floor",
    "chance",
    "position",
    "positive_similarity",
    "negative_similarity",
    "lr",
)


class SimCLR(LightningModule):
    """Two views, one encoder and head for both, NT-Xent between their embeddings.

    A batch of images ``[N, C, H, W]`` logs ``loss``, ``floor``, ``chance``, ``position``,
    ``positive_similarity``, ``negative_similarity`` and ``lr``; ``monitor`` warns in words.
    """

    def __init__(self, config: TrainConfig, image_shape: Shape) -> None:
        super().__init__()
        self.config = config
        self.views = TwoViews(config.augmentation, image_shape)
        self.encoder, features = build_encoder(config.model, self.views.shape)
        self.head = ProjectionHead(features, config.model)
        self.loss = NTXentLoss(config.temperature, return_stats=True)
        self.setting = config.batch_size, config.temperature, config.model.projection_dim
        self.floor, self.chance = bounds.floor(*self.setting), bounds.chance(config.batch_size)
        self.monitor = HealthMonitor(*self.setting)
        if config.channels_last:
            self.encoder.to(memory_format=torch.channels_last)
        self.embed = torch.compile(self.forward) if config.compile else self.forward

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.head(self.encoder(images))
        return embeddings

    def training_step(self, images: Tensor, batch_index: int) -> Tensor:
        # One pass over all 2N views: batch normalisation sees both of a pair, as in SimCLR.
        views = torch.cat(self.views(images, self._rows(), self.config.batch_size))
        if self.config.channels_last:
            views = views.contiguous(memory_format=torch.channels_last)
        z1, z2 = self.embed(views).chunk(2)
        loss, stats = self._finite_loss(z1, z2)
        value = loss.item()
        self.log_dict(
            {
                "loss": value,
                "floor": self.floor,
                "chance": self.chance,
                "position": bounds.position(value, *self.setting),
                "positive_similarity": stats.positive_similarity,
                "negative_similarity": stats.negative_similarity,
                "lr": self.trainer.optimizers[0].param_groups[0]["lr"],
            },
            batch_size=len(images),
        )
        self.monitor.update(value, stats)
        return loss

    def _rows(self) -> slice:
        """The rows of the batch that this process has."""
        share = share_of(self.config.batch_size, self.trainer.world_size)
        return slice(self.trainer.global_rank * share, (self.trainer.global_rank + 1) * share)

    def _finite_loss(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, Any]:
        """The loss in float32, and its statistics.

        Raises:
            FloatingPointError: an embedding or the loss is not finite.
        """
        try:
            with torch.autocast(z1.device.type, enabled=False):
                loss, stats = self.loss(z1.float(), z2.float())
        except ValueError:
            if z1.isfinite().all() and z2.isfinite().all():
                raise
            received = "an embedding is not finite"
        else:
            if loss.isfinite():
                return loss, stats
            received = f"the loss is {loss.item()}"
        step = self.trainer.global_step
        raise FloatingPointError(f"step {step}: {received}, before any weight was changed by it")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["monitor"] = self.monitor.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.monitor.load_state_dict(checkpoint["monitor"])

    def configure_optimizers(self) -> Any:
        choice = self.config.optimizer
        optimizer = make_optimizer(self.parameters(), choice, self.config.batch_size)
        steps = int(self.trainer.estimated_stepping_batches)
        factor = partial(warmup_cosine, steps=steps, warmup=int(choice.warmup * steps))
        schedule = {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}
