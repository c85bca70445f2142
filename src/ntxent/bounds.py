"""What a value of the NT-Xent loss can and cannot mean: every theorem as one function.

N pairs give 2N unit embeddings z with cosine similarities s_ik = <z_i, z_k>, p(i) is the positive
of i, τ the temperature and β = 1/τ. With natural logarithms (the unit is the nat),

    ℓ_i = log Σ_{k≠i} exp(β s_ik) − β s_ip(i)        L = mean of ℓ_i over the 2N anchors.

A registered function carries its theorem number, LaTeX statement, sharpness, range and source in
``THEOREMS``; the proofs are in ``docs/theory.md`` under the same numbers. Arguments are numbers or
arrays, which broadcast; numbers give a Python float, arrays a float64 array.

>>> [round(x, 4) for x in (floor(256, 0.5), chance(256), ceiling(256, 0.5))]
[4.2411, 6.2364, 9.5595]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, NamedTuple, ParamSpec, TypeAlias

import numpy as np
from numpy.typing import NDArray

Number: TypeAlias = float | NDArray[Any]
# A float for numbers, an array for arrays: like NumPy's own ufuncs, left to the caller.
Result: TypeAlias = Any
Array: TypeAlias = NDArray[np.float64]
Check: TypeAlias = Callable[[str, Any], NDArray[Any]]
P = ParamSpec("P")

GOLDEN = (1 + 5**0.5) / 2
# A cosine measured in float32 may leave [-1, 1] by this much; it is clipped back.
SIMILARITY_SLACK = 1e-5


class Interval(NamedTuple):
    low: Result
    high: Result


# --- arguments: one meaning and one check for each name -------------------------------------------


def _refuse(error: type[Exception], name: str, value: Any, expected: str) -> Exception:
    return error(f"{name}={value!r}: expected {expected}")


def _count(least: int, why: str) -> Check:
    """Integers from ``least`` to 2^53, beyond which float64 skips integers."""

    def check(name: str, value: Any) -> NDArray[Any]:
        array = np.asarray(value)
        if array.dtype.kind not in "iu":
            remedy = "convert with int(...) or .astype(int)"
            raise _refuse(TypeError, name, value, f"an integer or an array of integers; {remedy}")
        outside = array[(array < least) | (array > 2**53)]
        if outside.size:
            raise _refuse(ValueError, name, outside[0].item(), f"{least} to 2**53; {why}")
        return array.astype(np.int64)

    return check


def _real(low: float, high: float, expected: str, slack: float = 0.0) -> Check:
    """Finite reals in [low − slack, high + slack], clipped to [low, high]."""

    def check(name: str, value: Any) -> NDArray[Any]:
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise _refuse(TypeError, name, value, "a real number or an array of real numbers")
        array = array.astype(np.float64)
        inside = (array >= low - slack) & (array <= high + slack) & np.isfinite(array)
        if not inside.all():
            raise _refuse(ValueError, name, array[~inside][0].item(), expected)
        clipped: NDArray[Any] = np.clip(array, low, high)
        return clipped

    return check


def _variant(name: str, value: Any) -> Any:
    if not isinstance(value, str) or value not in VARIANTS:
        raise _refuse(ValueError, name, value, "one of " + ", ".join(VARIANTS))
    return value


class Argument(NamedTuple):
    meaning: str
    check: Check


_SIMILARITY = _real(
    -1, 1, "a mean cosine similarity in [-1, 1]; normalise the embeddings", SIMILARITY_SLACK
)
_FINITE_LOSS = _real(-np.inf, np.inf, "a finite loss in nats")

_ARGUMENTS = {
    "batch_size": Argument(
        "N ≥ 2, the number of positive pairs (2N embeddings)",
        _count(2, "with one pair there is nothing to contrast and the loss is always 0"),
    ),
    "temperature": Argument(
        "τ > 0",
        _real(1e-300, 1e300, "a temperature from 1e-300 to 1e300; the loss divides by it"),
    ),
    "dim": Argument("d ≥ 1, the dimension of the embeddings", _count(1, "it counts coordinates")),
    "queue": Argument("K ≥ 1, the number of queued negatives", _count(1, "it counts negatives")),
    "loss": Argument(
        "L ≥ 0, the mean over the anchors in nats, without an implementation's own factor",
        _real(0, np.inf, "a finite loss ≥ 0 in nats: the positive is one of the candidates"),
    ),
    "similarity": Argument("s̄, the mean cosine similarity of the positive pairs", _SIMILARITY),
    "positive": Argument("s̄, the mean cosine similarity of the positive pairs", _SIMILARITY),
    "negative": Argument("n̄, the mean cosine similarity of the negative pairs", _SIMILARITY),
    "variant": Argument("a key of VARIANTS", _variant),
}


def _plain(result: Any) -> Any:
    """Python floats for numbers; float64 arrays, of one shape within a tuple, for arrays."""
    if isinstance(result, tuple):
        return type(result)(*map(_plain, np.broadcast_arrays(*result)))
    return np.array(result, dtype=np.float64) if np.ndim(result) else float(result)


def _checked(**special: Argument) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Give the formula checked arrays, its caller plain numbers, its docstring the arguments."""

    def decorate(formula: Callable[P, Any]) -> Callable[P, Any]:
        signature = inspect.signature(formula)
        arguments = {name: special.get(name, _ARGUMENTS[name]) for name in signature.parameters}
        optional = {n for n, p in signature.parameters.items() if p.default is None}

        def checked(name: str, value: Any) -> Any:
            if name not in arguments or (value is None and name in optional):
                return value
            return arguments[name].check(name, value)

        @wraps(formula)
        def function(*args: P.args, **kwargs: P.kwargs) -> Any:
            # signature.bind took half the time of a formula; Python itself refuses wrong names.
            known = map(checked, arguments, args)
            surplus = args[len(arguments) :]
            named = {name: checked(name, value) for name, value in kwargs.items()}
            return _plain(formula(*known, *surplus, **named))  # type: ignore[arg-type]

        lines = (f"    {name}: {argument.meaning}." for name, argument in arguments.items())
        function.__doc__ = "\n".join([f"{formula.__doc__}", *lines])
        return function

    return decorate


# --- the registry ---------------------------------------------------------------------------------

Pair: TypeAlias = tuple[Array, Array]


@dataclass(frozen=True)
class Theorem:
    """One proven statement and the function that evaluates it.

    ``sharp`` says where equality holds (None: not claimed); ``witness(batch_size, temperature)``
    gives unit embeddings ``(z1, z2)`` that attain it, row i of one the positive of row i of the
    other. For a queue, z1 is one query and z2 its positive followed by the queue.
    """

    number: int
    title: str
    side: Literal["exact", "lower", "upper", "interval"]
    statement: str
    validity: str
    reference: str
    function: Callable[..., Any]
    sharp: str | None = None
    witness: Callable[[int, float], Pair] | None = None

    @property
    def anchor(self) -> str:
        return f"theorem-{self.number}"


THEOREMS: dict[str, Theorem] = {}


def theorem(
    number: int,
    title: str,
    side: Literal["exact", "lower", "upper", "interval"],
    statement: str,
    *,
    validity: str = "N ≥ 2, τ > 0",
    reference: str = "this project",
    sharp: str | None = None,
    witness: Callable[[int, float], Pair] | None = None,
) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Register a formula under its own name, with checked arguments."""

    def register(formula: Callable[P, Any]) -> Callable[P, Any]:
        function = _checked()(formula)
        function.__doc__ = (
            f"{function.__doc__}\n\n    Theorem {number}: {title}. {side.capitalize()}; "
            f"sharp: {sharp or 'not claimed'}.\n    Valid for {validity}. Source: {reference}.\n"
        )
        THEOREMS[formula.__name__] = Theorem(
            number, title, side, statement, validity, reference, function, sharp, witness
        )
        return function

    return register


# --- witnesses ------------------------------------------------------------------------------------


def _simplex(points: int) -> Array:
    """Regular simplex: ``points`` unit vectors in R^(points−1), every inner product −1/(points−1).

    Helmert's rows (1, …, 1, −k, 0, …)/√(k(k+1)) are orthonormal and orthogonal to (1, …, 1), so
    their columns have the Gram matrix I − 1/points.
    """
    k = np.arange(1, points)
    rows = np.tril(np.ones((points - 1, points)))
    rows[k - 1, k] = -k
    rows /= np.sqrt(k * (k + 1))[:, None]
    vertices: Array = rows.T * np.sqrt(points / (points - 1))
    return vertices


def _equicorrelated(batch_size: int, positive: float, negative: float) -> Pair:
    """All positive pairs at one similarity, all negative pairs at another.

    Pair centres w_i have ‖w_i‖² = (1+s̄)/2 and <w_i, w_k> = n̄: a common component of square a and
    a simplex of square (1+s̄)/2 − a. The two views leave the centre by ±√((1−s̄)/2) along an axis
    of their own. Exists for −(1+s̄)/(2N−2) ≤ n̄ ≤ (1+s̄)/2.
    """
    spread = ((1 + positive) / 2 - negative) * (batch_size - 1) / batch_size
    common = max((1 + positive) / 2 - spread, 0.0)
    centre = np.hstack([np.full((batch_size, 1), common**0.5), spread**0.5 * _simplex(batch_size)])
    step = ((1 - positive) / 2) ** 0.5 * np.eye(batch_size)
    return np.hstack([centre, step]), np.hstack([centre, -step])


def _collapse(batch_size: int, temperature: float) -> Pair:
    one = np.ones((batch_size, 1))
    return one, one


def _antipodal(batch_size: int, temperature: float) -> Pair:
    one = np.ones((batch_size, 1))
    return one, -one


def _aligned_simplex(batch_size: int, temperature: float) -> Pair:
    vertices = _simplex(batch_size)
    return vertices, vertices


def _free_simplex(batch_size: int, temperature: float) -> Pair:
    vertices = _simplex(2 * batch_size)
    return vertices[:batch_size], vertices[batch_size:]


def _two_poles(batch_size: int, temperature: float) -> Pair:
    if batch_size % 2:
        raise _refuse(ValueError, "batch_size", batch_size, "an even number, half at each pole")
    poles = np.where(np.arange(batch_size) % 2, -1.0, 1.0)[:, None]
    return poles, poles


def _interior_pairs(batch_size: int, temperature: float) -> Pair:
    return _equicorrelated(batch_size, 0.5, 0.25)


def _centred_pairs(batch_size: int, temperature: float) -> Pair:
    return _equicorrelated(batch_size, 0.5, -0.75 / (batch_size - 1))


def _opposed_queue(queue: int, temperature: float) -> Pair:
    return np.ones((1, 1)), np.r_[1.0, -np.ones(queue)][:, None]


# --- limits of the loss ---------------------------------------------------------------------------


def _softplus(x: Number) -> Result:
    """log(1 + e^x) without overflow."""
    return np.logaddexp(0.0, x)


def _log_expm1(x: Number) -> Result:
    """log(e^x − 1) = x + log(1 − e^−x), which neither overflows nor cancels; −∞ at 0."""
    with np.errstate(divide="ignore"):
        return x + np.log(-np.expm1(-x))


@theorem(
    1,
    "Chance",
    "exact",
    r"s_{ik} = c_i \text{ for all } k \ne i \implies L = \log(2N-1)",
    validity="N ≥ 2, τ > 0, the similarities of every row equal",
    reference="elementary",
    sharp="it is an equality; a collapsed encoder and one with zero logits both have it",
    witness=_collapse,
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
    witness=_collapse,
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
    witness=_collapse,
)
def similarity_limit(loss: Number, batch_size: Number, temperature: Number) -> Result:
    """Largest mean positive similarity: 1 − τ(L − log(2N−1)), clipped to [−1, 1].

    It says something only when the loss is above chance.

    >>> round(similarity_limit(7.5, 512, 0.5), 4)
    0.7152
    """
    return np.clip(1 - temperature * (loss - chance(batch_size)), -1, 1)


def _chord(batch_size: Number, temperature: Number) -> Result:
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
    witness=_collapse,
)
def upper_bound(batch_size: Number, temperature: Number, similarity: Number) -> Result:
    """Largest loss given the positives: log(2N−1) + κ(1−s̄), in nats.

    κ = ½ log((1 + (2N−2)e^(2/τ))/(2N−1)) < 1/τ, so this is below ``log_sum_exp_bound`` whenever
    s̄ < 1. Close to s̄ = −1 the ``ceiling``, which knows no similarity, is lower: both hold.

    >>> round(upper_bound(512, 0.5, similarity=0.9), 6)
    7.130447
    """
    return chance(batch_size) + _chord(batch_size, temperature) * (1 - similarity)


@theorem(
    4,
    "Ceiling",
    "upper",
    r"L \le \log\Bigl(1 + (N-1)\max\bigl(e^{2/\tau} + 1,\ 2e^{2/(\varphi\tau)}\bigr)\Bigr), \quad"
    r" \varphi = \frac{1+\sqrt5}{2}; \qquad"
    r" \tau \le 2 \implies L \le \log\bigl(N + (N-1)e^{2/\tau}\bigr)",
    sharp="τ ≤ 2, any d; open above",
    witness=_antipodal,
)
def ceiling(batch_size: Number, temperature: Number) -> Result:
    """Largest loss of any embeddings: log(N + (N−1)e^(2/τ)) for τ ≤ 2, in nats.

    In general log(1 + (N−1) max{e^(2/τ) + 1, 2e^(2/(φτ))}) with the golden ratio φ; the first form
    is the larger up to τ ≈ 2.038. It is attained by first views at u and second views at −u.

    >>> round(ceiling(512, 0.5), 4)
    10.2546
    """
    exponent = 2 / temperature
    worst_pair = np.maximum(_softplus(exponent), np.log(2) + exponent / GOLDEN)
    return _softplus(np.log(batch_size - 1) + worst_pair)


@theorem(
    5,
    "Floor from measured similarities",
    "lower",
    r"L \ge \log\Bigl(1 + (2N-2)e^{(\bar n-\bar s)/\tau}\Bigr)",
    validity="N ≥ 2, τ > 0, −(1+s̄)/(2N−2) ≤ n̄ ≤ (1+s̄)/2 as for all unit embeddings",
    sharp="every possible (s̄, n̄), d ≥ 2N",
    witness=_interior_pairs,
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
        raise _refuse(ValueError, "negative", _plain(negative), expected)
    return _softplus(np.log(2 * batch_size - 2) + (negative - positive) / temperature)


@theorem(
    6,
    "Floor",
    "lower",
    r"L \ge \log\Bigl(1 + (2N-2)e^{-\frac{N}{N-1}/\tau}\Bigr), \qquad"
    r" L \ge \log\Bigl(1 + (2N-2)e^{-\left(\bar s + \frac{1+\bar s}{2N-2}\right)/\tau}\Bigr)",
    reference="aligned pairs: known in other forms, e.g. Graf et al. 2021; with s̄: this project",
    sharp="first form: d ≥ N−1, aligned pairs on a regular simplex; second form: d ≥ 2N−1",
    witness=_aligned_simplex,
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
    bound = _softplus(np.log(2 * batch_size - 2) - gap / temperature)
    if dim is None:
        return bound
    return np.maximum(bound, uniformity_floor(batch_size, temperature, dim))


# log Σ U_k(p)/ν^k = Σ_k (p/ν)^k polynomial_k(p²), U_k of DLMF 10.41(ii): the logarithm of
# Debye's expansion of I_ν(νz), p = 1/√(1+z²).
_DEBYE = (
    (1 / 8, -5 / 24),
    (1 / 16, -3 / 8, 5 / 16),
    (25 / 384, -531 / 640, 221 / 128, -1105 / 1152),
    (13 / 128, -71 / 32, 531 / 64, -339 / 32, 565 / 128),
)


def _log_kernel_series(half_dim: Number, x: Number) -> Result:
    """log 0F1(; d/2; x) by its power series; positive terms, at most (x / half_dim)^k / k!."""
    total = np.zeros_like(x)
    for k in range(64, 0, -1):
        total = x / (k * (half_dim + k - 1)) * (1 + total)
    return np.log1p(total)


def _log_kernel_debye(order: Number, beta: Number) -> Result:
    """log K_d for large order ν = d/2 − 1, Stirling's series merged into Debye's.

    Γ(ν+1) contributes minus the value at β = 0, since K_d(0) = 1; what is left of the leading
    terms is ν(w − log(1 + w/2)) − ½ log √(1+z²) with w = √(1+z²) − 1: no cancellation.
    """
    z = beta / order
    root = np.hypot(1, z)
    w = z * (z / (1 + root))
    total = order * (w - np.log1p(w / 2)) - np.log(root) / 2
    for k, coefficients in enumerate(_DEBYE, start=1):
        polynomial = np.polynomial.polynomial.polyval(root**-2.0, coefficients)
        total += (root**-k * polynomial - sum(coefficients)) / order**k
    return total


@_checked()
def log_kernel_mean(dim: Number, temperature: Number) -> Result:
    """log K_d(1/τ): log of the mean of exp(<u, v>/τ) over v uniform on the sphere in R^d.

    K_d(β) = Γ(d/2) (2/β)^(d/2−1) I_{d/2−1}(β), cosh β for d = 1; in nats.

    >>> round(log_kernel_mean(3, 0.5), 6), round(float(np.log(np.sinh(2) / 2)), 6)
    (0.59522, 0.59522)
    """
    from scipy.special import gammaln, ive

    half, beta = np.broadcast_arrays(dim / 2, 1 / temperature)
    order = half - 1
    # Each branch sees its own range only; errors against 50 digits are below 1e-12 in all.
    near = np.minimum(beta, np.sqrt(64 * half))
    far = np.maximum(beta, np.sqrt(64 * half))
    low = np.minimum(order, 150)
    # SciPy's ive ends near 2^30; beyond, √β e^−β I(β) is constant to far below the rounding of β.
    known = np.minimum(far, 1e9)
    scaled = np.log(ive(low, known)) - np.log(far / known) / 2
    bessel = gammaln(low + 1) + low * np.log(2 / far) + scaled + far
    return np.select(
        [beta <= near, order <= low],
        [_log_kernel_series(half, near**2 / 4), bessel],
        _log_kernel_debye(np.maximum(order, 150), far),
    )


@theorem(
    7,
    "Uniformity floor",
    "lower",
    r"L \ge \log\bigl(2N K_d(1/\tau) e^{-1/\tau} - 1\bigr)"
    r" \text{ where the argument is at least } 1",
    validity="N ≥ 2, τ > 0, d ≥ 1; 0, which always holds, where the argument is below 1",
    reference="this project; finite-sample form of Wang & Isola, arXiv 2005.10242",
    sharp="d = 1 and even N; in the limit N → ∞ for every d",
    witness=_two_poles,
)
def uniformity_floor(batch_size: Number, temperature: Number, dim: Number) -> Result:
    """Smallest loss in R^d: max(0, log(2N K_d(1/τ) e^(−1/τ) − 1)), in nats.

    It is the loss of aligned pairs spread evenly over the sphere: no room is left to spread more.

    >>> round(uniformity_floor(512, 0.5, dim=32), 4), round(floor(512, 0.5), 4)
    (4.9871, 4.9328)
    """
    logits = np.log(2 * batch_size) + log_kernel_mean(dim, temperature) - 1 / temperature
    return _log_expm1(np.maximum(logits, np.log(2)))


@_checked()
def random_loss(batch_size: Number, temperature: Number, dim: Number) -> Result:
    """Loss of independent uniform embeddings for large N: log(2N−1) + log K_d(1/τ), in nats.

    A reference for an untrained encoder, not a bound: above chance, the more so the smaller τ.

    >>> round(random_loss(512, 0.1, dim=128) - chance(512), 4)
    0.3895
    """
    return chance(batch_size) + log_kernel_mean(dim, temperature)


# --- what a loss certifies ------------------------------------------------------------------------


@theorem(
    8,
    "Similarity gap",
    "lower",
    r"\bar s - \bar n \ge g(L) = -\tau \log\frac{e^L - 1}{2N-2}",
    sharp="every possible (s̄, n̄), d ≥ 2N",
    witness=_interior_pairs,
)
def similarity_gap(loss: Number, batch_size: Number, temperature: Number) -> Result:
    """Smallest s̄ − n̄, positives less negatives: g(L) = −τ log((e^L − 1)/(2N−2)).

    Positive exactly when the loss is below chance; ∞ at L = 0, which no unit embeddings reach.

    >>> round(similarity_gap(5.0, 512, 0.5), 4)
    0.9681
    """
    return temperature * (np.log(2 * batch_size - 2) - _log_expm1(loss))


@theorem(
    8,
    "Certified positive similarity",
    "interval",
    r"\frac{(2N-2)g(L) - 1}{2N-1} \le \bar s \le 1 - \frac{L - \log(2N-1)}{\kappa}",
    sharp="lower end: d ≥ 2N−1; upper end: only at L ≤ log(2N−1)",
    witness=_centred_pairs,
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
    high = 1 - (loss - chance(batch_size)) / _chord(batch_size, temperature)
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
    witness=_aligned_simplex,
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
    witness=_free_simplex,
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


@_checked(loss=Argument("L, any finite value in nats", _FINITE_LOSS))
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
        raise _refuse(ValueError, "temperature", _plain(temperature), expected)
    return (loss - low) / (level - low)


# --- the rest of the family -----------------------------------------------------------------------


@theorem(
    12,
    "InfoNCE and CLIP",
    "interval",
    r"\log\Bigl(1 + (N-1)e^{-\frac{N}{N-1}/\tau}\Bigr) \le L_{\mathrm{InfoNCE}}"
    r" \le \log\Bigl(1 + (N-1)e^{2/\tau}\Bigr)",
    validity="N ≥ 2, τ > 0, one direction or the mean of both",
    sharp="floor: d ≥ N−1, aligned pairs on a regular simplex; ceiling: N = 2",
    witness=_aligned_simplex,
)
def info_nce_interval(batch_size: Number, temperature: Number) -> Result:
    """Floor and ceiling of InfoNCE with N candidates, the positive among them, in nats.

    >>> [round(end, 6) for end in info_nce_interval(128, 0.07)]
    [7.1e-05, 33.415616]
    """
    others = np.log(batch_size - 1)
    spread = batch_size / (batch_size - 1)
    return Interval(_softplus(others - spread / temperature), _softplus(others + 2 / temperature))


@theorem(
    13,
    "InfoNCE with a queue",
    "interval",
    r"\log\bigl(1 + Ke^{-2/\tau}\bigr) \le L_{\mathrm{MoCo}} \le \log\bigl(1 + Ke^{2/\tau}\bigr)",
    validity="K ≥ 1, τ > 0, negatives from a queue",
    reference="elementary",
    sharp="both ends, any d",
    witness=_opposed_queue,
)
def moco_interval(queue: Number, temperature: Number) -> Result:
    """Floor and ceiling of InfoNCE against K queued negatives, in nats.

    >>> [round(end, 4) for end in moco_interval(65536, 0.2)]
    [1.3801, 21.0904]
    """
    return Interval(
        _softplus(np.log(queue) - 2 / temperature), _softplus(np.log(queue) + 2 / temperature)
    )


@theorem(
    14,
    "SupCon",
    "interval",
    r"L_{\mathrm{SupCon}} \text{ has the floors of Theorems 6 and 7 and the ceiling of Theorem 4}",
    validity="N ≥ 2, τ > 0, L_out over 2N embeddings whose anchors all have a positive",
    sharp="over all labellings: when every class is one pair it is NT-Xent",
    witness=_aligned_simplex,
)
def sup_con_interval(batch_size: Number, temperature: Number, dim: Number | None = None) -> Result:
    """Floor and ceiling of SupCon (L_out), whatever the labels, in nats: those of NT-Xent.

    >>> [round(end, 4) for end in sup_con_interval(1024, 0.5)]
    [5.6253, 10.9487]
    """
    return Interval(floor(batch_size, temperature, dim), ceiling(batch_size, temperature))


class Limits(NamedTuple):
    """Limits in the units that the variant reports, so already multiplied by ``scale``."""

    chance: Result
    floor: Result
    ceiling: Result
    scale: Result


@dataclass(frozen=True)
class Variant:
    """One published convention: the limits of its loss in nats and the factor it reports them in.

    ``size`` is the batch size N, or the queue length K where ``queued``.
    """

    title: str
    theorem: int
    chance: Callable[[Number], Result]
    interval: Callable[[Number, Number, Number | None], Result]
    scale: Callable[[Number], Result] = np.ones_like
    queued: bool = False

    def floor(self, size: Number, temperature: Number, dim: Number | None = None) -> Result:
        return self.interval(size, temperature, dim).low

    def ceiling(self, size: Number, temperature: Number) -> Result:
        return self.interval(size, temperature, None).high


def _info_nce(title: str, scale: Callable[[Number], Result] = np.ones_like) -> Variant:
    def interval(batch_size: Number, temperature: Number, dim: Number | None) -> Result:
        return info_nce_interval(batch_size, temperature)

    return Variant(title, 12, np.log, interval, scale)


def _nt_xent(title: str, scale: Callable[[Number], Result] = np.ones_like) -> Variant:
    return Variant(title, 14, chance, sup_con_interval, scale)


VARIANTS = {
    "nt_xent": _nt_xent("NT-Xent, mean over the 2N anchors"),
    "simclr_tf": _nt_xent(
        "google-research/simclr: sum of both directions", lambda τ: 2 * np.ones_like(τ)
    ),
    "supcon_ref": _nt_xent("HobbitLong/SupContrast: base_temperature 0.07", lambda τ: τ / 0.07),
    "info_nce": _info_nce("InfoNCE, mean over N anchors"),
    "clip": _info_nce("CLIP, mean of both directions"),
    "moco": Variant(
        "MoCo with a queue of K negatives",
        13,
        np.log1p,
        lambda queue, temperature, dim: moco_interval(queue, temperature),
        queued=True,
    ),
    "moco_v3": _info_nce("MoCo v3: sum of both directions, each times 2τ", lambda τ: 4 * τ),
    "sup_con": _nt_xent("SupCon (L_out), mean over the 2N anchors"),
}


@_checked(batch_size=Argument("N ≥ 1, the number of positive pairs", _count(1, "it counts pairs")))
def limits(
    variant: str,
    batch_size: Number,
    temperature: Number,
    queue: Number | None = None,
    dim: Number | None = None,
) -> Result:
    """Chance, floor and ceiling of a variant, in the units that it reports.

    ``queue`` is required for moco, whose batch size does not matter, and refused elsewhere. ``dim``
    raises the floor of the NT-Xent shapes. A single pair has nothing to contrast: all zero.

    >>> [round(x, 4) for x in limits("supcon_ref", 64, 0.1)]
    [6.9203, 0.007, 34.4902, 1.4286]
    >>> round(limits("moco", 256, 0.2, queue=65536).floor, 4)
    1.3801
    """
    row = VARIANTS[variant]
    scale = unit = row.scale(temperature)
    if row.queued:
        if queue is None:
            expected = f"the number of queued negatives, which {variant!r} compares with"
            raise _refuse(ValueError, "queue", queue, expected)
        size = queue
    else:
        if queue is not None:
            raise _refuse(ValueError, "queue", _plain(queue), f"None, as {variant!r} has no queue")
        size, unit = np.maximum(batch_size, 2), np.where(batch_size == 1, 0.0, scale)
    low, high = row.interval(size, temperature, dim)
    return Limits(unit * row.chance(size), unit * low, unit * high, scale)
