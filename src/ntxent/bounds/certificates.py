"""What a loss certifies: similarities, rankings, gradients."""

import numpy as np

from .calling import Interval, Number, Result
from .logarithms import log_expm1
from .loss import chance, chord
from .registry import theorem
from .witnesses import aligned_simplex, centred_pairs, free_simplex, interior_pairs


@theorem(
    8,
    "Similarity gap",
    "lower",
    r"\bar s - \bar n \ge g(L) = -\tau \log\frac{e^L - 1}{2N-2}",
    sharp="every possible (s̄, n̄), d ≥ 2N",
    witness=interior_pairs,
)
def similarity_gap(loss: Number, batch_size: Number, temperature: Number) -> Result:
    """Smallest s̄ − n̄, positives less negatives: g(L) = −τ log((e^L − 1)/(2N−2)).

    Positive exactly when the loss is below chance; ∞ at L = 0, which no unit embeddings reach.

    >>> round(similarity_gap(5.0, 512, 0.5), 4)
    0.9681
    """
    return temperature * (np.log(2 * batch_size - 2) - log_expm1(loss))


@theorem(
    8,
    "Certified positive similarity",
    "interval",
    r"\frac{(2N-2)g(L) - 1}{2N-1} \le \bar s \le 1 - \frac{L - \log(2N-1)}{\kappa}",
    sharp="lower end: d ≥ 2N−1; upper end: only at L ≤ log(2N−1)",
    witness=centred_pairs,
)
def similarity_interval(loss: Number, batch_size: Number, temperature: Number) -> Result:
    """Interval that contains s̄, from the loss alone, clipped to [−1, 1]; g and κ as above.

    A loss below the floor gives (1, 1). A loss that was rounded certifies what its rounding
    allows: pass the largest value it may have had for the lower end.

    >>> low, high = similarity_interval(5.0, 512, 0.5)
    >>> round(low, 4), high
    (0.9662, 1.0)
    """
    others = 2 * batch_size - 2
    low = (others * similarity_gap(loss, batch_size, temperature) - 1) / (others + 1)
    high = 1 - (loss - chance(batch_size)) / chord(batch_size, temperature)
    return Interval(np.clip(low, -1, 1), np.clip(high, -1, 1))


@theorem(
    9,
    "Top-1 share",
    "lower",
    r"\frac{1}{2N}\#\bigl[i : s_{ip(i)} > s_{ik} \text{ for all } k \ne i, p(i)\bigr]"
    r" \ge 1 - \frac{L}{\log 2}",
    validity="N ≥ 2, any τ > 0",
)
def top1_share(loss: Number) -> Result:
    """Smallest share of anchors whose positive is strictly their top-1: max(0, 1 − L/log 2).

    >>> round(top1_share(0.0693), 4)
    0.9
    """
    return np.maximum(0.0, 1 - loss / np.log(2))


@theorem(
    10,
    "Gradient in the similarities",
    "upper",
    r"\frac{1}{2N}\sum_i \sum_{k \ne i} \left\lvert\frac{\partial \ell_i}{\partial s_{ik}}"
    r"\right\rvert \le \frac{2}{\tau}\bigl(1 - e^{-L}\bigr)",
    sharp="all ℓ_i equal",
    witness=aligned_simplex,
)
def similarity_gradient_bound(loss: Number, temperature: Number) -> Result:
    """Largest mean over anchors of Σ_k |∂ℓ_i/∂s_ik|: (2/τ)(1 − e^−L).

    >>> round(similarity_gradient_bound(0.1, 0.5), 4)
    0.3807
    """
    return -2 * np.expm1(-loss) / temperature


@theorem(
    10,
    "Gradient in the embeddings",
    "upper",
    r"\sum_j \left\lVert\frac{\partial L}{\partial z_j}\right\rVert"
    r" \le \frac{4}{\tau}\bigl(1 - e^{-L}\bigr)",
)
def gradient_bound(loss: Number, temperature: Number) -> Result:
    """Largest Σ_j ‖∂L/∂z_j‖ at unit embeddings: (4/τ)(1 − e^−L).

    It holds with z free and, as projecting shortens vectors, through the normalisation too.

    >>> round(gradient_bound(0.1, 0.5), 4)
    0.7613
    """
    return 2 * similarity_gradient_bound(loss, temperature)


@theorem(
    11,
    "Average candidate",
    "interval",
    r"-\frac{1}{2N-1} \le \bar S \le \min\bigl(1,\ \bar s + \tau(L - \log(2N-1))\bigr)",
    sharp="lower end: Σ z_i = 0; upper end: similarities equal within every row",
    witness=free_simplex,
)
def candidate_similarity_interval(
    loss: Number, batch_size: Number, temperature: Number, similarity: Number
) -> Result:
    """Interval that contains S̄, the mean similarity over all candidates k ≠ i, positives included.

    At or below chance the average candidate is never more similar than the average positive. A
    loss too low for its s̄ gives the lower end twice.

    >>> [round(end, 4) for end in candidate_similarity_interval(6.5, 512, 0.5, similarity=0.4)]
    [-0.001, 0.1848]
    """
    low = -1 / (2 * batch_size - 1)
    high = similarity + temperature * (loss - chance(batch_size))
    return Interval(low, np.clip(high, low, 1))
