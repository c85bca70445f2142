"""The bounds against fifty digits, over all N, τ and d that anybody could ask for."""

import mpmath
import numpy as np
import pytest

from ntxent import bounds
from ntxent.bounds.loss import chord

BOX_N, BOX_TAU = (2, 3, 256, 10**9), (1e-3, 0.0271, 0.5, 1.9, 2.5, 37.0, 1e3)
BOX_DIM = (1, 2, 3, 17, 128, 300, 301, 302, 303, 2048, 10**5, 10**6)


@pytest.fixture(autouse=True, scope="module")
def digits():
    with mpmath.workdps(50):
        yield


def close(got, exact, rel=1e-12):
    # Below the smallest normal float64 there are fewer digits to compare.
    return abs(got - exact) <= rel * abs(exact) + mpmath.mpf(2) ** -1022


@pytest.mark.parametrize("tau", BOX_TAU)
@pytest.mark.parametrize("N", BOX_N)
def test_stable_over_the_box(N, tau):
    n, beta, log, exp = mpmath.mpf(N), 1 / mpmath.mpf(tau), mpmath.log, mpmath.exp
    log1p = mpmath.log1p
    phi = (1 + mpmath.sqrt(5)) / 2
    kappa = log((1 + (2 * n - 2) * exp(2 * beta)) / (2 * n - 1)) / 2
    assert close(bounds.floor(N, tau), log1p((2 * n - 2) * exp(-n / (n - 1) * beta)))
    worst = max(exp(2 * beta) + 1, 2 * exp(2 * beta / phi))
    assert close(bounds.ceiling(N, tau), log1p((n - 1) * worst))
    assert close(bounds.upper_bound(N, tau, -0.5), log(2 * n - 1) + kappa * 3 / 2)
    assert close(chord(N, tau), kappa)
    low, high = bounds.info_nce_interval(N, tau)
    assert close(low, log1p((n - 1) * exp(-n / (n - 1) * beta)))
    assert close(high, log1p((n - 1) * exp(2 * beta)))
    for loss in (1e-300, 1e-12, 0.3, 40.0, 5000.0):
        gap = -mpmath.mpf(tau) * log(mpmath.expm1(loss) / (2 * n - 2))
        assert close(bounds.similarity_gap(loss, N, tau), gap)
        assert close(bounds.gradient_bound(loss, tau), -4 * beta * mpmath.expm1(-mpmath.mpf(loss)))


@pytest.mark.parametrize("dim", BOX_DIM)
def test_kernel_mean_over_the_box(dim):
    half = mpmath.mpf(dim) / 2
    # Both sides of β² = 32 d, where the series hands over.
    seam = [(32 * dim) ** -0.5 * (1 + e) for e in (-1e-9, 1e-9)]
    for tau in (*BOX_TAU, *seam):
        beta = 1 / mpmath.mpf(tau)
        exact = mpmath.log(mpmath.hyp0f1(half, beta**2 / 4))
        assert close(bounds.log_kernel_mean(dim, tau), exact, rel=1e-13), tau
        logits = mpmath.log(2 * 10**9) + exact - beta
        if logits > 1:
            expected = mpmath.log(mpmath.expm1(logits))
            assert close(bounds.uniformity_floor(10**9, tau, dim), expected)


def test_extreme_temperatures_stay_finite():
    for tau in (1e-300, 1e-12, 1e12, 1e300):
        low, level, high = bounds.floor(2, tau, dim=3), bounds.chance(2), bounds.ceiling(2, tau)
        assert 0 <= low <= level * (1 + 1e-15)
        assert level <= high * (1 + 1e-15)
        assert np.isfinite(bounds.ceiling(2, tau))
        assert np.isfinite(bounds.log_kernel_mean(3, tau))
    assert bounds.similarity_gap(0.0, 2, 0.5) == np.inf
    assert bounds.similarity_interval(0.0, 2, 0.5) == (1, 1)
