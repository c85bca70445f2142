"""The health of a contrastive loss in anybody's LightningModule."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn

from .health import HealthMonitor, Similarities

__all__ = ["NTXentCallback"]


_LOG = logging.getLogger("ntxent")


@rank_zero_only
def _say(text: str) -> None:
    _LOG.warning(text)


class NTXentCallback(Callback):
    """Logs what :class:`HealthMonitor` says of the training loss, and warns on the first rank.

    The loss is what ``training_step`` returns, a tensor or a dict with ``"loss"``, or the metric it
    logs under ``metric``, which must not be an average over steps. A submodule that returns
    ``(loss, stats)``, as :class:`ntxent.NTXentLoss` with ``return_stats=True`` does, adds the
    measured similarities, and one with a ``temperature`` that is learnt keeps the limits true.

    At the global steps that ``every_n_steps`` divides, values go to the loggers, and for other
    callbacks, such as early stopping, to ``trainer.callback_metrics``: straight there, as
    ``LightningModule.log`` takes 0.3 ms a value, five times what it takes to find them all.

    Args:
        batch_size: N, the positive pairs of a step, over all ranks whose negatives are used.
        temperature: tau.
        dim: d, the dimension of the embeddings.
        variant: A key of ``bounds.VARIANTS``.
        metric: Name of a logged metric to take instead of the returned loss.
        prefix: Put before the names of what is logged.
        **options: ``queue``, ``views``, ``negatives``, ``normalized``, ``every_n_steps`` and
            ``patience`` of :class:`HealthMonitor`.

    >>> from lightning.pytorch import Trainer
    >>> watch = NTXentCallback(batch_size=256, temperature=0.5, every_n_steps=25)
    >>> trainer = Trainer(accelerator="cpu", callbacks=[watch], logger=False)
    """

    def __init__(
        self,
        batch_size: int,
        temperature: float,
        dim: int | None = None,
        variant: str = "nt_xent",
        *,
        metric: str | None = None,
        prefix: str = "ntxent/",
        **options: Any,
    ) -> None:
        self._new_monitor = partial(
            HealthMonitor, batch_size, temperature, dim, variant, say=_say, **options
        )
        self.monitor = self._new_monitor()
        self.metric = metric
        self.prefix = prefix
        self._criterion: nn.Module | None = None
        self._stats: Similarities | None = None
        self._hooks: list[Any] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.monitor = self._new_monitor()
        for module in pl_module.modules():
            if hasattr(module, "temperature"):
                self._hooks.append(module.register_forward_hook(self._keep_stats))

    def _keep_stats(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, tuple) and hasattr(output[-1], "positive_similarity"):
            self._criterion, self._stats = module, output[-1]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        stats, self._stats = self._stats, None
        step = trainer.global_step
        # Batches that accumulate gradients share a step.
        if step == self.monitor.step or not self.monitor.due(step):
            return
        loss = self._loss(trainer, pl_module, outputs)
        if loss is None:  # a batch that training_step skipped
            return
        temperature = getattr(self._criterion, "temperature", None)
        learnt = temperature if isinstance(temperature, Tensor) else None
        health = self.monitor.update(loss, stats, step=step, temperature=learnt)
        values = {self.prefix + name: value for name, value in health.items()}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step - 1)  # Lightning's own rows count from 0
        trainer.callback_metrics.update({name: torch.tensor(v) for name, v in values.items()})

    def _loss(self, trainer: Trainer, pl_module: LightningModule, outputs: Any) -> Tensor | None:
        if self.metric is not None:
            logged = trainer.callback_metrics
            if self.metric not in logged:
                names = ", ".join(map(repr, logged)) or "nothing"
                raise ValueError(f"metric: received {self.metric!r}, but training logs {names}")
            return logged[self.metric]
        loss: Tensor | None = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if pl_module.automatic_optimization:
            # Lightning has divided it by the batches whose gradients it accumulates.
            return None if loss is None else loss * trainer.accumulate_grad_batches
        if loss is None:
            raise ValueError(
                "training_step: it optimises by hand and returns no loss; return it, or log it and "
                "give its name as metric"
            )
        return loss

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._release()
        if trainer.is_global_zero:
            for sentence in self.monitor.sentences():
                _LOG.info(sentence)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        self._release()

    def _release(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._criterion = self._stats = None
