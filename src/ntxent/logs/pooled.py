"""A column of any length in bounded memory."""

from __future__ import annotations

from array import array

import numpy as np

from ntxent.diagnosis.trajectory import Series

__all__ = ["Column"]

CHUNK = 2**16  # values pooled at once; a multiple of every stride
MOST = 2**20  # values kept, beyond which each is the mean of twice as many


class Column:
    """The steps and values of a column, in the order of the log.

    Up to ``MOST`` values are kept as they are. Of more, each value kept is the mean of ``stride``
    consecutive ones, NaN where one of them is, at the step of the first: 16 MB whatever the log.
    """

    def __init__(self) -> None:
        self.steps, self.values = array("d"), array("d")  # those not pooled yet
        self.stride = 1
        self._pooled: list[Series] = []
        self._count = 0

    def pool(self) -> None:
        """Called whenever there are ``CHUNK`` values or more."""
        whole = len(self.values) // CHUNK * CHUNK
        steps, values = np.array(self.steps[:whole]), np.array(self.values[:whole])
        del self.steps[:whole], self.values[:whole]
        self._pooled.append(_means(steps, values, self.stride))
        self._count += whole // self.stride
        if self._count > MOST:
            self._pooled = [_means(*self._joined(), 2)]
            self.stride *= 2
            self._count = len(self._pooled[0].values)

    def series(self) -> Series:
        count = len(self.values) // self.stride * self.stride
        steps, values = np.array(self.steps), np.array(self.values)
        self._pooled.append(_means(steps[:count], values[:count], self.stride))
        if count < len(values):
            self._pooled.append(
                Series(steps[count : count + 1], values[count:].mean(keepdims=True))
            )
        del self.steps[:], self.values[:]
        self._pooled = [self._joined()]
        return self._pooled[0]

    def _joined(self) -> Series:
        steps, values = zip(*self._pooled, strict=True)
        return Series(np.concatenate(steps), np.concatenate(values))


def _means(steps: np.ndarray, values: np.ndarray, stride: int) -> Series:
    with np.errstate(invalid="ignore"):  # the mean of two infinities may be NaN
        return Series(steps[::stride], values.reshape(-1, stride).mean(axis=1))
