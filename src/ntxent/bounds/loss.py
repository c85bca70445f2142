"""Chance, floors and ceilings of NT-Xent, and where a value stands between them."""

import numpy as np

from .calling import (
    SIMILARITY_SLACK,
    Argument,
    Number,
    Result,
    checked,
    plain,
    real,
    refuse,
)
from .logarithms import log_expm1, softplus
from .registry import theorem
from .sphere import log_kernel_mean
from .witnesses import aligned_simplex, antipodal, collapse, interior_pairs, two_poles

GOLDEN = (1 + 5**0.5) / 2


@theorem(
    1,
    "Chance",
    "exact",
    r"s_{ik} = c_i \text{ for all } k \ne i \implies L = \log(2N-1)",
    validity="N ≥ 2, τ > 0, the similarities of every row equal",
    reference="elementary",
    sharp="it is an equality; a collapsed encoder and one with zero logits both have it",
    witness=collapse,
)
def chance(batch_size: Number) -> Result:
    """Loss of embeddings that tell no candidate from another: log(2N−1), in nats.

    >>> round(chance(512), 4)
    6.9305
    """
    return np.log(2 * batch_size - 1)


@theorem(
    2,
    "Log-sum-exp bound",
    "upper",
    r"L \le \log(2N-1) + \frac{1-\bar s}{\tau}",
    reference="this project; a bound of the kind announced by Ågren, arXiv 2205.03169",
    sharp="only at s̄ = 1",
    witness=collapse,
)
def log_sum_exp_bound(batch_size: Number, temperature: Number, similarity: Number) -> Result:
    """Largest loss by the log-sum-exp inequality: log(2N−1) + (1−s̄)/τ, in nats.

    >>> round(log_sum_exp_bound(512, 0.5, similarity=0.9), 6)
    7.130495
    """
    return chance(batch_size) + (1 - similarity) / temperature


@theorem(
    2,
    "Log-sum-exp bound on the positives",
    "upper",
    r"\bar s \le 1 - \tau\bigl(L - \log(2N-1)\bigr)",
    reference="this project; a bound of the kind announced by Ågren, arXiv 2205.03169",
    sharp="only at L = log(2N−1)",
    witness=collapse,
)
def similarity_limit(loss: Number, batch_size: Number, temperature: Number) -> Result:
    """Largest mean positive similarity: 1 − τ(L − log(2N−1)), clipped to [−1, 1].

    It says something only when the loss is above chance.

    >>> round(similarity_limit(7.5, 512, 0.5), 4)
    0.7152
    """
    return np.clip(1 - temperature * (loss - chance(batch_size)), -1, 1)


def chord(batch_size: Number, temperature: Number) -> Result:
    """κ = ½ log((1 + (2N−2)e^2β)/(2N−1)) with e^2β taken out: no overflow, no cancellation."""
    beta = 1 / temperature
    return beta + np.log1p(np.expm1(-2 * beta) / (2 * batch_size - 1)) / 2


@theorem(
    3,
    "Chord bound",
    "upper",
    r"L \le \log(2N-1) + \kappa(1-\bar s), \quad"
    r" \kappa = \frac12 \log\frac{1 + (2N-2)e^{2/\tau}}{2N-1} < \frac1\tau",
    sharp="only at s̄ = 1",
    witness=collapse,
)
def upper_bound(batch_size: Number, temperature: Number, similarity: Number) -> Result:
    """Largest loss given the positives: log(2N−1) + κ(1−s̄), in nats.

    κ = ½ log((1 + (2N−2)e^(2/τ))/(2N−1)) < 1/τ, so this is below ``log_sum_exp_bound`` whenever
    s̄ < 1. Close to s̄ = −1 the ``ceiling``, which knows no similarity, is lower: both hold.

    >>> round(upper_bound(512, 0.5, similarity=0.9), 6)
    7.130447
    """
    return chance(batch_size) + chord(batch_size, temperature) * (1 - similarity)


@theorem(
    4,
    "Ceiling",
    "upper",
    r"L \le \log\Bigl(1 + (N-1)\max\bigl(e^{2/\tau} + 1,\ 2e^{2/(\varphi\tau)}\bigr)\Bigr), \quad"
    r" \varphi = \frac{1+\sqrt5}{2}; \qquad"
    r" \tau \le 2 \implies L \le \log\bigl(N + (N-1)e^{2/\tau}\bigr)",
    sharp="τ ≤ 2, any d; open above",
    witness=antipodal,
)
def ceiling(batch_size: Number, temperature: Number) -> Result:
    """Largest loss of any embeddings: log(N + (N−1)e^(2/τ)) for τ ≤ 2, in nats.

    In general log(1 + (N−1) max{e^(2/τ) + 1, 2e^(2/(φτ))}) with the golden ratio φ; the first form
    is the larger up to τ ≈ 2.038. It is attained by first views at u and second views at −u.

    >>> round(ceiling(512, 0.5), 4)
    10.2546
    """
    exponent = 2 / temperature
    worst_pair = np.maximum(softplus(exponent), np.log(2) + exponent / GOLDEN)
    return softplus(np.log(batch_size - 1) + worst_pair)


@theorem(
    5,
    "Floor from measured similarities",
    "lower",
    r"L \ge \log\Bigl(1 + (2N-2)e^{(\bar n-\bar s)/\tau}\Bigr)",
    validity="N ≥ 2, τ > 0, −(1+s̄)/(2N−2) ≤ n̄ ≤ (1+s̄)/2 as for all unit embeddings",
    sharp="every possible (s̄, n̄), d ≥ 2N",
    witness=interior_pairs,
)
def measured_floor(
    batch_size: Number, temperature: Number, positive: Number, negative: Number
) -> Result:
    """Smallest loss given both mean similarities: log(1 + (2N−2)e^((n̄−s̄)/τ)), in nats.

    n̄ needs no 2N×2N matrix: 2N + 2N s̄ + 2N(2N−2) n̄ = ‖Σ z_i‖².

    >>> round(measured_floor(512, 0.5, positive=0.9, negative=0.0), 4)
    5.1354
    """
    low, high = -(1 + positive) / (2 * batch_size - 2), (1 + positive) / 2
    inside = (negative >= low - SIMILARITY_SLACK) & (negative <= high + SIMILARITY_SLACK)
    if not np.all(inside):
        expected = (
            "-(1+s)/(2N-2) to (1+s)/2, s = positive; measure both on the same unit embeddings"
        )
        raise refuse(ValueError, "negative", plain(negative), expected)
    return softplus(np.log(2 * batch_size - 2) + (negative - positive) / temperature)


@theorem(
    6,
    "Floor",
    "lower",
    r"L \ge \log\Bigl(1 + (2N-2)e^{-\frac{N}{N-1}/\tau}\Bigr), \qquad"
    r" L \ge \log\Bigl(1 + (2N-2)e^{-\left(\bar s + \frac{1+\bar s}{2N-2}\right)/\tau}\Bigr)",
    reference="aligned pairs: known in other forms, e.g. Graf et al. 2021; with s̄: this project",
    sharp="first form: d ≥ N−1, aligned pairs on a regular simplex; second form: d ≥ 2N−1",
    witness=aligned_simplex,
)
def floor(
    batch_size: Number,
    temperature: Number,
    dim: Number | None = None,
    similarity: Number | None = None,
) -> Result:
    """Smallest loss: log(1 + (2N−2) e^(−(s̄ + (1+s̄)/(2N−2))/τ)), s̄ = 1 unless given, in nats.

    With ``dim`` the larger of this and Theorem 7, which binds when 2N is large against d.

    >>> round(floor(512, 0.5), 4), round(floor(512, 0.5, similarity=0.9), 4)
    (4.9328, 5.1317)
    >>> round(floor(512, 0.5, dim=32), 4)
    4.9871
    """
    s = 1.0 if similarity is None else similarity
    gap = s + (1 + s) / (2 * batch_size - 2)
    bound = softplus(np.log(2 * batch_size - 2) - gap / temperature)
    if dim is None:
        return bound
    return np.maximum(bound, uniformity_floor(batch_size, temperature, dim))


@theorem(
    7,
    "Uniformity floor",
    "lower",
    r"L \ge \log\bigl(2N K_d(1/\tau) e^{-1/\tau} - 1\bigr)"
    r" \text{ where the argument is at least } 1",
    validity="N ≥ 2, τ > 0, d ≥ 1; 0, which always holds, where the argument is below 1",
    reference="this project; finite-sample form of Wang & Isola, arXiv 2005.10242",
    sharp="d = 1 and even N; in the limit N → ∞ for every d",
    witness=two_poles,
)
def uniformity_floor(batch_size: Number, temperature: Number, dim: Number) -> Result:
    """Smallest loss in R^d: max(0, log(2N K_d(1/τ) e^(−1/τ) − 1)), in nats.

    It is the loss of aligned pairs spread evenly over the sphere: no room is left to spread more.

    >>> round(uniformity_floor(512, 0.5, dim=32), 4), round(floor(512, 0.5), 4)
    (4.9871, 4.9328)
    """
    logits = np.log(2 * batch_size) + log_kernel_mean(dim, temperature) - 1 / temperature
    return log_expm1(np.maximum(logits, np.log(2)))


@checked()
def random_loss(batch_size: Number, temperature: Number, dim: Number) -> Result:
    """Loss of independent uniform embeddings for large N: log(2N−1) + log K_d(1/τ), in nats.

    A reference for an untrained encoder, not a bound: above chance, the more so the smaller τ.

    >>> round(random_loss(512, 0.1, dim=128) - chance(512), 4)
    0.3895
    """
    return chance(batch_size) + log_kernel_mean(dim, temperature)


@checked(
    loss=Argument("L, any finite value in nats", real(-np.inf, np.inf, "a finite loss in nats"))
)
def position(
    loss: Number, batch_size: Number, temperature: Number, dim: Number | None = None
) -> Result:
    """Where a loss stands between its limits: (L − floor)/(chance − floor).

    0 at the floor, 1 at chance, above 1 worse than chance, below 0 impossible. It says how much of
    its room a loss has used; across N and τ it does not rank encoders (docs/study.md).

    >>> round(position(5.0, 512, 0.5), 4)
    0.0336
    """
    low, level = floor(batch_size, temperature, dim), chance(batch_size)
    if np.any(low == level):
        expected = "one at which floor and chance differ in float64"
        raise refuse(ValueError, "temperature", plain(temperature), expected)
    return (loss - low) / (level - low)
