"""SimCLR as a LightningModule, which logs the loss of each step beside its limits."""

from functools import partial
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

from ntxent import bounds
from ntxent.gradient_cache import gradcache
from ntxent.losses import NTXentLoss
from ntxent.monitor import HealthMonitor
from ntxent.simclr.config import TrainConfig
from ntxent.simclr.data import Shape
from ntxent.simclr.data.loader import local_batch_size
from ntxent.simclr.model.encoder import ProjectionHead, build_encoder
from ntxent.simclr.model.optimizer import make_optimizer, warmup_cosine
from ntxent.simclr.model.views import TwoViews

__all__ = ["COLUMNS", "SimCLR"]

COLUMNS = (
    *("loss", "floor", "chance", "position"),
    *("positive_similarity", "negative_similarity", "lr"),
)


class SimCLR(LightningModule):
    """Encodes two views of each image by one encoder and head, and trains them by NT-Xent.

    A step on images ``[N, C, H, W]`` logs :data:`COLUMNS`; ``monitor`` warns of impossible values,
    collapse, chance and the floor.
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
        if config.compile:
            self.encoder.compile()
            self.head.compile()

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.head(self.encoder(images))
        return embeddings

    def training_step(self, images: Tensor, batch_index: int) -> Tensor:
        views = self.views(images, self._local_rows(), self.config.batch_size)
        if self.config.channels_last:
            views = tuple(view.contiguous(memory_format=torch.channels_last) for view in views)
        loss, stats = self._step(*views) if self.config.gradcache is None else self._cached(*views)
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

    def _step(self, first: Tensor, second: Tensor) -> tuple[Tensor, Any]:
        # One pass over all 2N views: batch normalisation sees both of a pair, as in SimCLR.
        return self._finite_loss(*self(torch.cat([first, second])).chunk(2))

    def _cached(self, first: Tensor, second: Tensor) -> tuple[Tensor, Any]:
        """Computes the loss and all gradients in chunks; ``backward`` then does nothing."""
        self.zero_grad()
        loss, stats = gradcache(
            self,
            (first, second),
            self._finite_loss,
            chunk_size=self.config.gradcache or 1,
            scaler=getattr(self.trainer.precision_plugin, "scaler", None),
        )
        if self.trainer.world_size > 1:
            self._average_gradients()
        return loss, stats

    def _average_gradients(self) -> None:
        """Averages the gradients over the processes once all chunks have theirs.

        DDP would do so in the backward pass of each chunk.
        """
        gradients = [weight.grad for weight in self.parameters() if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        parts = torch.split(flat / self.trainer.world_size, [g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def on_fit_start(self) -> None:
        wrapped = self.trainer.strategy.model
        if self.config.gradcache is not None and isinstance(wrapped, DistributedDataParallel):
            wrapped.require_backward_grad_sync = False

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        if self.config.gradcache is None:
            super().backward(loss, *args, **kwargs)

    def optimizer_zero_grad(self, *args: Any) -> None:
        if self.config.gradcache is None:
            super().optimizer_zero_grad(*args)

    def _local_rows(self) -> slice:
        """Returns the rows of the global batch that this process has."""
        size = local_batch_size(self.config.batch_size, self.trainer.world_size)
        return slice(self.trainer.global_rank * size, (self.trainer.global_rank + 1) * size)

    def _finite_loss(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, Any]:
        """Returns the loss, computed in float32, and its statistics.

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
        raise FloatingPointError(f"step {step}: {received}, before it changed any weight")

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
