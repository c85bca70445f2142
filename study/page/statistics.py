"""Bootstrap intervals and rank correlations."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

RESAMPLES = 2000
LEVEL = 0.95


class Estimate(NamedTuple):
    """A value with its 95 % percentile interval."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """As ``0.81 (0.75 to 0.86)``."""
        value, low, high = (f"{x:.{digits}f}".replace("-", "−") for x in self)
        return f"{value} ({low} to {high})"


def interval(samples: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean(values: np.ndarray) -> Estimate:
    """The mean of independent values, of seeds say."""
    return _estimate(values, np.mean)


def median(values: np.ndarray) -> Estimate:
    return _estimate(values, np.median)


def _estimate(values: np.ndarray, statistic: Callable[..., np.ndarray]) -> Estimate:
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    draw = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    return Estimate(float(statistic(values)), *interval(statistic(values[draw], axis=1)))


def share(found: np.ndarray) -> Estimate:
    return mean(np.asarray(found, float))


def cube(frame: pd.DataFrame, cells: list[str], columns: list[str]) -> np.ndarray:
    """``[cells, seeds, columns]``, NaN where a run is missing."""
    table = frame.pivot_table(index=cells, columns="seed", values=columns, dropna=False)
    table = table.dropna(how="all")
    return np.stack([table[column].to_numpy() for column in columns], axis=2)


def resampled(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int = 0
) -> np.ndarray:
    """``statistic`` of ``[rows, columns]`` for resamples of the cells, and of seeds within each."""
    draw = np.random.default_rng(seed)
    cells, seeds, _ = values.shape
    found = []
    for _ in range(RESAMPLES):
        cell = draw.integers(cells, size=(cells, 1))
        run = draw.integers(seeds, size=(cells, seeds))
        found.append(statistic(values[cell, run].reshape(cells * seeds, -1)))
    return np.array(found)


def spearman(rows: np.ndarray) -> np.ndarray:
    """Rank correlation of the first column with each other one."""
    rows = rows[np.isfinite(rows).all(1)]
    ranks = rankdata(rows, axis=0)
    ranks -= ranks.mean(0)
    norm = np.linalg.norm(ranks, axis=0)
    with np.errstate(invalid="ignore"):
        correlation: np.ndarray = ranks[:, 0] @ ranks[:, 1:] / (norm[0] * norm[1:])
    return correlation


def correlations(
    frame: pd.DataFrame, cells: list[str], target: str, columns: list[str]
) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
    """Spearman's correlation of each column with the target, and its resamples."""
    values = cube(frame, cells, [target, *columns])
    point = spearman(values.reshape(-1, values.shape[2]))
    samples = resampled(values, spearman)
    found = {
        column: Estimate(float(point[k]), *interval(samples[:, k]))
        for k, column in enumerate(columns)
    }
    return found, {column: samples[:, k] for k, column in enumerate(columns)}


def correlations_within(
    frame: pd.DataFrame, fixed: str, cells: list[str], target: str, columns: list[str]
) -> dict[str, Estimate]:
    """Mean over the values of ``fixed`` of the correlation among the runs that share it."""
    points, samples = [], []
    for seed, (_, own) in enumerate(frame.groupby(fixed)):
        values = cube(own, cells, [target, *columns])
        points.append(spearman(values.reshape(-1, values.shape[2])))
        samples.append(resampled(values, spearman, seed))
    point, sample = _mean_of_known(points), _mean_of_known(samples)
    return {
        column: Estimate(float(point[k]), *interval(sample[:, k]))
        for k, column in enumerate(columns)
    }


def _mean_of_known(values: list[np.ndarray]) -> np.ndarray:
    """Over the first axis; NaN, in silence, where nothing is known."""
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = np.nansum(values, axis=0) / np.isfinite(values).sum(0)
    return mean
