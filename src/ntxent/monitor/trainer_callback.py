"""The health of a contrastive loss in a Trainer of Hugging Face's transformers."""

from __future__ import annotations

import logging
from typing import Any

try:
    from transformers import (  # type: ignore[import-not-found]
        TrainerCallback,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "NTXentTrainerCallback needs transformers, which is not installed; pip install "
        "transformers, or use HealthMonitor",
        name=error.name,
    ) from error

from .health import HealthMonitor

__all__ = ["NTXentTrainerCallback"]

_LOG = logging.getLogger("ntxent")


class NTXentTrainerCallback(TrainerCallback):  # type: ignore[misc]
    """Adds what :class:`HealthMonitor` says of the logged loss to each log, and warns in words.

    The loss is the one that ``Trainer`` logs, a mean over ``logging_steps`` steps, for which every
    limit holds as for one. Values go into ``state.log_history``, hence ``trainer_state.json``, and
    to the callbacks that come after this one.

    Args:
        temperature: tau.
        batch_size: N, the positive pairs whose negatives are used together;
            ``per_device_train_batch_size`` unless given.
        dim: d, the dimension of the embeddings.
        variant: A key of ``bounds.VARIANTS``.
        metric: Name of the logged loss.
        prefix: Put before the names of what is added.
        **options: ``queue``, ``views``, ``negatives``, ``normalized`` and ``patience`` of
            :class:`HealthMonitor`.

    Use it as ``Trainer(..., callbacks=[NTXentTrainerCallback(temperature=0.05)])``.
    """

    def __init__(
        self,
        temperature: float,
        batch_size: int | None = None,
        dim: int | None = None,
        variant: str = "info_nce",
        *,
        metric: str = "loss",
        prefix: str = "ntxent/",
        **options: Any,
    ) -> None:
        self._settings = (temperature, dim, variant)
        self._options = options
        self._batch_size = batch_size
        self._silent = False
        self.metric = metric
        self.prefix = prefix
        self.monitor: HealthMonitor | None = None
        if batch_size is not None:
            self.monitor = self._new_monitor(batch_size)  # which refuses what has no limits

    def _new_monitor(self, batch_size: int) -> HealthMonitor:
        temperature, dim, variant = self._settings
        return HealthMonitor(
            batch_size,
            temperature,
            dim,
            variant,
            every_n_steps=1,
            say=self._say,
            **self._options,
        )

    def _say(self, text: str) -> None:
        if not self._silent:
            _LOG.warning(text)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        self._silent = not state.is_world_process_zero
        self.monitor = self._new_monitor(self._batch_size or args.per_device_train_batch_size)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        # Logs of evaluation and the summary at the end have no such value.
        if self.monitor is None or logs is None or self.metric not in logs:
            return
        health = self.monitor.update(float(logs[self.metric]), step=state.global_step)
        values = {self.prefix + name: value for name, value in health.items()}
        logs.update(values)
        if state.log_history:
            state.log_history[-1].update(values)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        if self.monitor is not None and not self._silent:
            for sentence in self.monitor.sentences():
                _LOG.info(sentence)
