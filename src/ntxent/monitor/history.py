"""The losses that a monitor has seen, in bounded memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ntxent.diagnosis import Series

__all__ = ["History"]

MOST = 4000  # looks kept, beyond which each is the mean of twice as many


class History:
    """Steps and losses in order; of more than ``MOST``, means of consecutive ones."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        known = state or {"steps": [], "losses": [], "stride": 1, "waiting": []}
        self._steps, self._losses = list(known["steps"]), list(known["losses"])
        self._stride, self._waiting = known["stride"], list(known["waiting"])

    def add(self, step: int, loss: float) -> None:
        if not self._waiting:
            self._steps.append(step)
        self._waiting.append(loss)
        if len(self._waiting) == self._stride:
            self._losses.append(math.fsum(self._waiting) / self._stride)
            self._waiting = []
        if len(self._losses) == MOST:
            self._steps = self._steps[::2]
            pairs = zip(self._losses[::2], self._losses[1::2], strict=True)
            self._losses = [(one + other) / 2 for one, other in pairs]
            self._stride *= 2

    def __len__(self) -> int:
        return len(self._losses)

    def series(self) -> Series:
        count = len(self._losses)
        return Series(np.array(self._steps[:count], dtype=float), np.array(self._losses))

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": list(self._steps),
            "losses": list(self._losses),
            "stride": self._stride,
            "waiting": list(self._waiting),
        }
