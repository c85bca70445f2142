"""Accuracies on the held-out images, with their 95 % intervals."""

from collections.abc import Sequence
from math import sqrt
from statistics import mean, stdev
from typing import NamedTuple

from scipy.stats import norm
from scipy.stats import t as student

__all__ = ["Score", "mean_score", "wilson_score"]


class Score(NamedTuple):
    """Accuracy on the held-out images.

    ``sd`` is the sample deviation over the label draws. ``low`` to ``high`` is a 95 % interval:
    Student's for the mean over the draws, or Wilson's for the held-out images of a single probe.
    """

    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None


def mean_score(accuracies: Sequence[float]) -> Score:
    """Returns the score of a probe that was fitted to several draws of labels.

    >>> mean_score([0.5, 0.5])
    Score(mean=0.5, sd=0.0, low=0.5, high=0.5)
    """
    middle, sd, count = mean(accuracies), stdev(accuracies), len(accuracies)
    reach = float(student.ppf(0.975, count - 1)) * sd / sqrt(count)
    return Score(middle, sd, max(0.0, middle - reach), min(1.0, middle + reach))


def wilson_score(right: int, images: int) -> Score:
    """Returns the score of a single probe, with Wilson's interval.

    >>> score = wilson_score(9, 10)
    >>> round(score.low, 3), round(score.high, 3)
    (0.596, 0.982)
    """
    z, share = float(norm.ppf(0.975)), right / images
    middle = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    reach = z * sqrt(share * (1 - share) / images + z**2 / (4 * images**2)) / (1 + z**2 / images)
    return Score(share, None, max(0.0, middle - reach), min(1.0, middle + reach))
