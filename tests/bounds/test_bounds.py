"""The theorems against embeddings: sound, equal at the witness, no room to strengthen."""

import inspect
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ntxent import bounds
from ntxent.bounds import THEOREMS, VARIANTS, witnesses

# --- an independent dense computation -------------------------------------------------------------


class Measured:
    """Everything the theorems speak of, from M×M matrices in float64."""

    def __init__(self, z1, z2, temperature):
        z = np.concatenate([z1, z2])
        self.N, self.d = z1.shape
        self.tau = temperature
        rows, M = np.arange(2 * self.N), 2 * self.N
        p = np.roll(rows, self.N)
        s = z @ z.T
        positive = s[rows, p]
        others = ~np.eye(M, dtype=bool)
        negatives = others.copy()
        negatives[rows, p] = False
        # Relative to the positive, so that a loss of 1e-30 keeps its digits.
        excess = np.where(negatives, (s - positive[:, None]) / temperature, -np.inf)
        top = np.maximum(excess.max(1), 0)
        total = np.exp(excess - top[:, None]).sum(1)
        self.anchor_losses = np.where(top == 0, np.log1p(total), top + np.log(total + np.exp(-top)))
        self.loss = self.anchor_losses.mean()
        self.positive = positive.mean()
        self.negative = s[negatives].mean()
        self.candidates = s[others].mean()
        self.top1 = (positive > np.where(negatives, s, -np.inf).max(1)).mean()
        # ∂ℓ_i/∂s_ik = (P_ik − [k = p(i)])/τ
        P = np.where(
            others, np.exp((s - positive[:, None]) / temperature - self.anchor_losses[:, None]), 0
        )
        P[rows, p] = np.expm1(-self.anchor_losses)
        G = P / temperature
        self.similarity_gradient = np.abs(G).sum(1).mean()
        self.gradient = np.linalg.norm((G + G.T) @ z, axis=1).sum() / M


# Theorem → (what it bounds, the bound), both from one measured batch.
QUANTITIES = {
    "log_sum_exp_bound": lambda m: (m.loss, bounds.log_sum_exp_bound(m.N, m.tau, m.positive)),
    "similarity_limit": lambda m: (m.positive, bounds.similarity_limit(m.loss, m.N, m.tau)),
    "upper_bound": lambda m: (m.loss, bounds.upper_bound(m.N, m.tau, m.positive)),
    "ceiling": lambda m: (m.loss, bounds.ceiling(m.N, m.tau)),
    "measured_floor": lambda m: (
        m.loss,
        bounds.measured_floor(m.N, m.tau, m.positive, m.negative),
    ),
    "floor": lambda m: (m.loss, bounds.floor(m.N, m.tau)),
    "uniformity_floor": lambda m: (m.loss, bounds.uniformity_floor(m.N, m.tau, m.d)),
    "similarity_gap": lambda m: (
        m.positive - m.negative,
        bounds.similarity_gap(m.loss, m.N, m.tau),
    ),
    "similarity_interval": lambda m: (
        m.positive,
        bounds.similarity_interval(m.loss, m.N, m.tau),
    ),
    "top1_share": lambda m: (m.top1, bounds.top1_share(m.loss)),
    "similarity_gradient_bound": lambda m: (
        m.similarity_gradient,
        bounds.similarity_gradient_bound(m.loss, m.tau),
    ),
    "gradient_bound": lambda m: (m.gradient, bounds.gradient_bound(m.loss, m.tau)),
    "candidate_similarity_interval": lambda m: (
        m.candidates,
        bounds.candidate_similarity_interval(m.loss, m.N, m.tau, m.positive),
    ),
    "sup_con_interval": lambda m: (m.loss, bounds.sup_con_interval(m.N, m.tau, m.d)),
}
# These speak of other losses, or of one configuration; they have tests of their own.
ELSEWHERE = {"chance", "info_nce_interval", "moco_interval"}


def ends(name, bound):
    """(low, high) of a bound; what the theorem leaves open is infinite."""
    side = THEOREMS[name].side
    return {
        "lower": (bound, np.inf),
        "upper": (-np.inf, bound),
        "interval": bound,
        "exact": (bound, bound),
    }[side]


# --- embeddings -----------------------------------------------------------------------------------


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def torch_loss(x, temperature):
    """Mean NT-Xent loss and mean positive similarity of stacks (..., 2N, d)."""
    z = torch.nn.functional.normalize(x, dim=-1)
    s = z @ z.mT
    M = s.shape[-1]
    rows = torch.arange(M)
    positive = s[..., rows, rows.roll(M // 2)]
    logits = (s / temperature).masked_fill(torch.eye(M, dtype=torch.bool), -torch.inf)
    return (logits.logsumexp(-1) - positive / temperature).mean(-1), positive.mean(-1)


def ascend(start, objective, steps, rate=0.1):
    """Stacks of unit embeddings, each climbed on its own by Adam with a decaying step."""
    x = torch.tensor(start, requires_grad=True)
    adam = torch.optim.Adam([x], rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        adam.zero_grad()
        (-objective(x).sum()).backward()
        adam.step()
        decay.step()
    return unit(x.detach().numpy())


SIZES = [(2, 1), (3, 1), (64, 1), (2, 2), (5, 2), (3, 5), (8, 3), (16, 64), (64, 2), (64, 16)]
TEMPERATURES = [0.02, 0.1, 0.5, 2.0, 5.0]


def embeddings(N, d, tau, rng):
    """Random, aligned, opposed, clustered and adversarial (z1, z2)."""
    z1, z2 = unit(rng.normal(size=(2, N, d)))
    yield z1, z2
    yield z1, z1
    yield z1, -z1
    yield z1, unit(z1 + 0.1 * rng.normal(size=(N, d)))
    centres = unit(rng.normal(size=(2, d)))[rng.integers(0, 2, N)]
    yield unit(centres + 0.05 * rng.normal(size=(N, d))), centres
    if d == 1:
        return
    # ±L, alone and against the positives: the loss over and under what s̄ allows.
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])
    weights = torch.tensor([0.0, 0.0, 1.0, 1.0]) * signs / tau

    def objective(x):
        loss, positive = torch_loss(x, tau)
        return signs * loss + weights * positive

    for z in ascend(rng.normal(size=(4, 2 * N, d)), objective, steps=60):
        yield z[:N], z[N:]


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    return [
        Measured(*pair, tau)
        for N, d in SIZES
        for tau in TEMPERATURES
        for pair in embeddings(N, d, tau, rng)
    ]


# --- every theorem --------------------------------------------------------------------------------


def test_every_public_function_is_a_theorem_or_listed():
    not_theorems = {"position", "limits", "random_loss", "log_kernel_mean"}
    public = {
        name
        for name, thing in vars(bounds).items()
        if isinstance(thing, types.FunctionType) and thing.__module__.startswith(bounds.__name__)
    }
    assert public - not_theorems == set(THEOREMS)
    assert {t.number for t in THEOREMS.values()} == set(range(1, 15))
    assert set(THEOREMS) == set(QUANTITIES) | ELSEWHERE
    for name, theorem in THEOREMS.items():
        assert theorem.function is getattr(bounds, name)
        assert ">>>" in inspect.getdoc(theorem.function)
        assert (theorem.sharp is None) == (theorem.witness is None)


@pytest.mark.parametrize("name", QUANTITIES)
def test_sound(name, batches):
    for m in batches:
        value, bound = QUANTITIES[name](m)
        low, high = ends(name, bound)
        slack = 1e-11 * (1 + abs(value))
        assert low - slack <= value <= high + slack, (m.N, m.d, m.tau, value, bound)


def test_floor_with_similarity_and_dim_is_sound(batches):
    for m in batches:
        low = bounds.floor(m.N, m.tau, dim=m.d, similarity=m.positive)
        assert low <= m.loss + 1e-11 * (1 + m.loss)


SHARP_CASES = [(2, 0.3), (2, 2.0), (4, 0.5), (12, 0.2), (64, 1.0)]
# Which ends of an interval its witness attains.
ATTAINED = {
    "similarity_interval": "low",
    "candidate_similarity_interval": "low high",
    "sup_con_interval": "low",
}


@pytest.mark.parametrize(("N", "tau"), SHARP_CASES)
@pytest.mark.parametrize("name", [n for n in QUANTITIES if THEOREMS[n].sharp])
def test_sharp_at_the_witness_and_no_further(name, N, tau):
    z1, z2 = THEOREMS[name].witness(N, tau)
    np.testing.assert_allclose(np.linalg.norm([*z1, *z2], axis=-1), 1, atol=1e-14)
    value, bound = QUANTITIES[name](Measured(z1, z2, tau))
    for end, sign in (("low", 1), ("high", -1)):
        if THEOREMS[name].side == "interval":
            if end not in ATTAINED[name]:
                continue
            edge = getattr(bound, end)
        elif (end == "low") != (THEOREMS[name].side == "lower"):
            continue
        else:
            edge = bound
        assert value == pytest.approx(edge, rel=1e-12, abs=1e-14 if abs(edge) > 1e-3 else 0)
        assert sign * (edge + sign * 1e-6 * abs(edge)) > sign * value, (
            "strengthened, it still holds"
        )


@pytest.mark.parametrize("N", [2, 5, 33])
@pytest.mark.parametrize("positive", [-1.0, -0.4, 0.0, 0.7, 1.0])
def test_floors_given_similarities_are_sharp_everywhere(N, positive):
    lowest, highest = -(1 + positive) / (2 * N - 2), (1 + positive) / 2
    for negative in np.linspace(lowest, highest, 4):
        m = Measured(*witnesses.equicorrelated(N, positive, negative), 0.3)
        assert (m.positive, m.negative) == pytest.approx((positive, negative), abs=1e-13)
        assert m.loss == pytest.approx(bounds.measured_floor(N, 0.3, positive, negative), rel=1e-12)
    m = Measured(*witnesses.equicorrelated(N, positive, lowest), 0.3)
    assert m.loss == pytest.approx(bounds.floor(N, 0.3, similarity=positive), rel=1e-12)


def test_a_tiny_floor_keeps_its_digits():
    m = Measured(*witnesses.aligned_simplex(2, 0.02), 0.02)
    assert m.loss == pytest.approx(2 * np.exp(-100), rel=1e-12, abs=0)
    assert bounds.floor(2, 0.02) == pytest.approx(m.loss, rel=1e-12, abs=0)


def test_chance_needs_equal_rows_only():
    for pair in (witnesses.collapse(7, 0.1), witnesses.free_simplex(7, 0.1)):
        assert Measured(*pair, 0.1).loss == pytest.approx(bounds.chance(7), rel=1e-13)


@pytest.mark.parametrize("N", [50, 400])
def test_uniformity_floor_is_nearly_attained_in_the_plane(N):
    angle = 2 * np.pi * np.arange(N) / N
    z = np.stack([np.cos(angle), np.sin(angle)], 1)
    m = Measured(z, z, 0.1)
    assert m.loss == pytest.approx(bounds.floor(N, 0.1, dim=2), rel=1e-9)
    assert bounds.floor(N, 0.1, dim=2) > bounds.floor(N, 0.1) + 1


# --- 200 random starts ----------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("N", "d"), [(2, 2), (3, 3)])
def test_maximiser_attains_the_ceiling_and_never_exceeds_it(N, d, tau):
    start = np.random.default_rng(1).normal(size=(200, 2 * N, d))
    z = ascend(start, lambda x: torch_loss(x, tau)[0], steps=250)
    losses = torch_loss(torch.tensor(z), tau)[0].numpy()
    limit = bounds.ceiling(N, tau)
    assert losses.max() <= limit * (1 + 1e-12)
    assert losses.max() >= limit * (1 - 1e-6)


@pytest.mark.parametrize("tau", [0.2, 0.5, 2.0])
@pytest.mark.parametrize(("N", "d"), [(2, 1), (3, 2), (4, 3), (4, 6)])
def test_minimiser_attains_the_floor_and_never_passes_it(N, d, tau):
    start = np.random.default_rng(2).normal(size=(200, 2 * N, d))
    z = ascend(start, lambda x: -torch_loss(x, tau)[0], steps=1000)
    losses = torch_loss(torch.tensor(z), tau)[0].numpy()
    limit = bounds.floor(N, tau)
    assert losses.min() >= limit - 1e-12
    assert losses.min() <= limit * (1 + 1e-4)


# --- the family -----------------------------------------------------------------------------------


def info_nce(x, y, tau):
    s = x @ y.mT
    positive = s.diagonal(dim1=-2, dim2=-1)
    return ((s / tau).logsumexp(-1) - positive / tau).mean(-1)


@pytest.mark.parametrize("tau", [0.1, 0.5, 3.0])
@pytest.mark.parametrize(("N", "d"), [(2, 1), (2, 3), (5, 2), (5, 8)])
def test_info_nce_and_clip(N, d, tau):
    low, high = bounds.info_nce_interval(N, tau)
    start = np.random.default_rng(3).normal(size=(20, 2 * N, d))

    def loss(x, both):
        x, y = torch.nn.functional.normalize(x, dim=-1).tensor_split([N], dim=-2)
        one = info_nce(x, y, tau)
        return (one + info_nce(y, x, tau)) / 2 if both else one

    for both in (False, True):
        for sign in (1, -1):
            steps = 80
            z = torch.tensor(ascend(start, lambda x, b=both, s=sign: s * loss(x, b), steps))
            values = loss(z, both)
            assert values.min() >= low - 1e-12
            assert values.max() <= high + 1e-12


@pytest.mark.parametrize(("N", "tau"), SHARP_CASES)
def test_info_nce_and_queue_are_sharp(N, tau):
    x, y = map(torch.tensor, witnesses.aligned_simplex(N, tau))
    low, high = bounds.info_nce_interval(N, tau)
    assert info_nce(x, y, tau).item() == pytest.approx(low, rel=1e-12, abs=1e-13)
    if N == 2:
        x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        assert info_nce(x, -x, tau).item() == pytest.approx(high, rel=1e-12)
    query, keys = THEOREMS["moco_interval"].witness(N, tau)
    for sign, end in zip((1, -1), bounds.moco_interval(N, tau), strict=True):
        s = sign * (keys @ query[0]) / tau
        assert np.log1p(np.exp(s[1:] - s[0]).sum()) == pytest.approx(end, rel=1e-12)


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0, 5.0])
@pytest.mark.parametrize(
    "labels", [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1, 1, 1], [0] * 5 + [1] * 2 + [2] * 3]
)
def test_sup_con_whatever_the_labels(labels, tau):
    labels = torch.tensor(labels)
    M = len(labels)
    own = torch.eye(M, dtype=torch.bool)
    positives = ((labels[:, None] == labels) & ~own).double()

    def loss(x):
        z = torch.nn.functional.normalize(x, dim=-1)
        s = z @ z.mT / tau
        mean = (s * positives).sum(-1) / positives.sum(-1)
        return (s.masked_fill(own, -torch.inf).logsumexp(-1) - mean).mean(-1)

    for d in (1, 2, 6):
        start = np.random.default_rng(4).normal(size=(20, M, d))
        low, high = bounds.sup_con_interval(M // 2, tau, d)
        for sign in (1, -1):
            values = loss(torch.tensor(ascend(start, lambda x, s=sign: s * loss(x), 80)))
            assert values.min() >= low - 1e-11
            assert values.max() <= high + 1e-11


# Public reports: loss limits as the implementation prints them.
@pytest.mark.parametrize(
    ("variant", "N", "tau", "queue", "chance", "floor"),
    [
        ("nt_xent", 4, 0.1, None, 1.94591, None),
        ("supcon_ref", 64, 0.1, None, 6.9203, None),
        ("supcon_ref", 1024, 0.5, None, 54.458, 40.18),
        ("nt_xent", 64, 0.5, None, 4.844, 2.863),
        ("nt_xent", 512, 0.05, None, 6.9305, None),
        ("clip", 128, 0.07, None, 4.852, None),
        ("moco", 256, 0.2, 65536, 11.0904, 1.3801),
        ("moco", 1, 0.2, 65536, 11.0904, 1.3801),
        ("clip", 1, 0.07, None, 0, 0),
        ("nt_xent", 2, 0.5, None, 1.0986, 0.0360),
    ],
)
def test_limits_of_public_reports(variant, N, tau, queue, chance, floor):
    limits = bounds.limits(variant, N, tau, queue)
    assert limits.chance == pytest.approx(chance, rel=1e-4)
    if floor is not None:
        assert limits.floor == pytest.approx(floor, rel=2e-3)


def test_variants_are_the_theorems_times_their_factor():
    N, tau = 32, 0.3
    factor = {"simclr_tf": 2, "supcon_ref": tau / 0.07, "moco_v3": 4 * tau}
    for name, variant in VARIANTS.items():
        got = bounds.limits(name, N, tau, queue=N if variant.queued else None)
        own = (variant.chance(N), variant.floor(N, tau), variant.ceiling(N, tau))
        assert got.scale == pytest.approx(factor.get(name, 1))
        assert got[:3] == pytest.approx([got.scale * x for x in own])
        assert got.floor < got.chance < got.ceiling
        if not variant.queued:
            assert bounds.limits(name, 1, tau)[:3] == (0, 0, 0)
    both = bounds.limits("nt_xent", np.array([1, 8]), 0.5, dim=2)
    assert both.floor.tolist() == [0, bounds.floor(8, 0.5, dim=2)]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: bounds.chance(1), ValueError, "batch_size=1: expected 2"),
        (lambda: bounds.chance(True), TypeError, "batch_size=True"),
        (lambda: bounds.chance(2.5), TypeError, "batch_size=2.5"),
        (lambda: bounds.chance(4.0), TypeError, "int"),
        (lambda: bounds.chance([4, 1, 8]), ValueError, "batch_size=1"),
        (lambda: bounds.ceiling(4, 0), ValueError, "temperature=0"),
        (lambda: bounds.ceiling(4, -0.5), ValueError, "temperature=-0.5"),
        (lambda: bounds.ceiling(4, np.inf), ValueError, "temperature=inf"),
        (lambda: bounds.ceiling(4, np.nan), ValueError, "temperature=nan"),
        (lambda: bounds.ceiling(4, None), TypeError, "temperature=None"),
        (lambda: bounds.ceiling(4, "0.5"), TypeError, "temperature='0.5'"),
        (lambda: bounds.ceiling(4, 1j), TypeError, "temperature=1j"),
        (lambda: bounds.upper_bound(4, 1, 1.0001), ValueError, "similarity=1.0001"),
        (lambda: bounds.floor(4, 1, similarity=-1.0001), ValueError, "normalise"),
        (lambda: bounds.floor(4, 1, dim=0), ValueError, "dim=0"),
        (lambda: bounds.uniformity_floor(4, 1, 1.5), TypeError, "dim=1.5"),
        (lambda: bounds.measured_floor(4, 1, 0.5, 0.76), ValueError, "negative=0.76"),
        (lambda: bounds.measured_floor(4, 1, 0.5, -0.26), ValueError, "negative=-0.26"),
        (lambda: bounds.similarity_gap(-1e-9, 4, 1), ValueError, "loss=-1e-09"),
        (lambda: bounds.top1_share(np.inf), ValueError, "loss=inf"),
        (lambda: bounds.position(np.nan, 4, 1), ValueError, "loss=nan"),
        (lambda: bounds.position(1.0, 4, 1e20), ValueError, "temperature=1e\\+20"),
        (lambda: bounds.limits("moco", 4, 1), ValueError, "queue=None"),
        (lambda: bounds.limits("moco", 4, 1, queue=0), ValueError, "queue=0"),
        (lambda: bounds.limits("clip", 4, 1, queue=8), ValueError, "'clip' has no queue"),
        (lambda: bounds.limits("simsiam", 4, 1), ValueError, "one of nt_xent"),
        (lambda: witnesses.two_poles(3, 1), ValueError, "even"),
    ],
)
def test_refused_with_the_name_and_the_reason(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_float32_rounding_of_a_similarity_is_forgiven():
    assert bounds.upper_bound(4, 0.1, 1.0000001) == bounds.chance(4)


def test_no_torch_and_no_scipy_for_a_limit():
    code = "import sys; from ntxent import bounds; bounds.limits('nt_xent', 256, 0.5); "
    code += "sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- laws -----------------------------------------------------------------------------------------

sizes = st.integers(2, 10**9)
temperatures = st.floats(1e-3, 1e3)
dims = st.integers(1, 10**6)
similarities = st.floats(-1, 1)
unit_interval = st.floats(0, 1)
laws = settings(max_examples=200, derandomize=True)


@laws
@given(sizes, sizes, temperatures, temperatures, dims)
def test_order(N, more, tau, warmer, dim):
    more, warmer = max(N, more), max(tau, warmer)
    low, level, high = bounds.floor(N, tau, dim), bounds.chance(N), bounds.ceiling(N, tau)
    assert 0 <= bounds.floor(N, tau) <= low <= level <= high
    assert bounds.floor(N, tau) <= bounds.floor(N, warmer) * (1 + 1e-14)
    assert bounds.floor(N, tau) <= bounds.floor(more, tau) * (1 + 1e-14)
    assert bounds.ceiling(N, warmer) <= high * (1 + 1e-14)
    assert bounds.random_loss(N, tau, dim) >= level


@laws
@given(sizes, temperatures, similarities)
def test_chord_is_below_log_sum_exp(N, tau, s):
    chord, lse = bounds.upper_bound(N, tau, s), bounds.log_sum_exp_bound(N, tau, s)
    assert bounds.floor(N, tau, similarity=s) <= chord <= lse
    if s <= 0.99 and N <= 10**4 and tau <= 10:
        assert chord < lse


@laws
@given(sizes, temperatures, st.floats(0, 1e6), similarities)
def test_intervals_are_intervals(N, tau, loss, s):
    low, high = bounds.similarity_interval(loss, N, tau)
    assert -1 <= low <= high <= 1
    low, high = bounds.candidate_similarity_interval(loss, N, tau, s)
    assert -1 <= low <= high <= 1
    assert 0 <= bounds.top1_share(loss) <= 1
    assert 0 <= bounds.gradient_bound(loss, tau) <= 4 / tau


@laws
@given(st.integers(2, 10**6), st.floats(0.01, 10), similarities)
def test_inversions_return(N, tau, s):
    chord = bounds.upper_bound(N, tau, s)
    assert bounds.similarity_interval(chord, N, tau).high == pytest.approx(s, abs=1e-11)
    lse = bounds.log_sum_exp_bound(N, tau, s)
    assert bounds.similarity_limit(lse, N, tau) == pytest.approx(s, abs=1e-11)
    low = bounds.floor(N, tau, similarity=s)
    assert bounds.similarity_interval(low, N, tau).low == pytest.approx(s, abs=1e-11)
    highest = (1 + s) / 2
    measured = bounds.measured_floor(N, tau, s, highest)
    assert bounds.similarity_gap(measured, N, tau) == pytest.approx(s - highest, abs=1e-11)


@laws
@given(sizes, temperatures, dims)
def test_position_is_zero_at_the_floor_and_one_at_chance(N, tau, dim):
    low, level = bounds.floor(N, tau, dim), bounds.chance(N)
    assert bounds.position(low, N, tau, dim) == 0
    assert bounds.position(level, N, tau, dim) == 1
    assert bounds.position(low - 1, N, tau, dim) < 0


def test_arrays_broadcast_and_agree_with_scalars():
    N = np.array([2, 7, 4096], dtype=np.uint16)[:, None]
    tau = np.array([0.003, 0.5, 40], dtype=np.float32)
    values = {
        "temperature": tau,
        "batch_size": N,
        "dim": np.array([1, 3, 1000]),
        "queue": np.array([1, 2, 3]),
        "loss": np.array([0.01, 1.0, 9.0]),
        "similarity": 0.25,
        "positive": 0.5,
        "negative": 0.1,
    }
    for name, theorem in THEOREMS.items():
        arguments = {a: values[a] for a in inspect.signature(theorem.function).parameters}
        got = theorem.function(**arguments)
        grid = np.broadcast_arrays(*arguments.values())
        for index in np.ndindex(grid[0].shape):
            scalar = {a: g[index].item() for a, g in zip(arguments, grid, strict=True)}
            one = theorem.function(**scalar)
            pairs = zip(one, got, strict=True) if isinstance(one, tuple) else [(one, got)]
            for number, array in pairs:
                assert type(number) is float
                assert array.dtype == np.float64
                at_index = np.broadcast_to(array, grid[0].shape)[index]
                assert number == pytest.approx(at_index, rel=1e-13), name
