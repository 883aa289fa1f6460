"""Each family against arbitrary precision and against two peers; gradients in the corners."""

import functools
import itertools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from statsmodels.distributions.copula import api as statsmodels_copulas

from jaxcascade.copulas import (
    Clayton,
    Frank,
    Gaussian,
    Gumbel,
    Independence,
    Joe,
    StudentT,
    SurvivalGumbel,
    rotated,
    student_t,
)
from jaxcascade.errors import InvalidInputError
from tests.cases import COPULAS, call, over

METHODS = ("cdf", "h_function", "lower_conditional", "log_prob")
HARD = [1e-15, 1e-9, 0.01, 0.4, 0.6, 1 - 1e-3, 1 - 1e-9, 1 - 2**-50]
POINTS = list(itertools.product(HARD, HARD))
CORNERS = [0.0, 1e-300, 1e-15, 0.5, 1 - 1e-15, 1 - 2**-53, 1.0]


def clayton(theta, u, v):
    s = u**-theta + v**-theta - 1
    cdf = s ** (-1 / theta)
    h = u ** (-theta - 1) * s ** (-1 / theta - 1)
    density = (1 + theta) * (u * v) ** (-theta - 1) * s ** (-2 - 1 / theta)
    return cdf, h, mp.log(density)


def joe(theta, u, v):
    a, b = (1 - u) ** theta, (1 - v) ** theta
    s = a + b - a * b
    h = s ** (1 / theta - 1) * (1 - u) ** (theta - 1) * (1 - b)
    density = s ** (1 / theta - 2) * ((1 - u) * (1 - v)) ** (theta - 1) * (theta - 1 + s)
    return 1 - s ** (1 / theta), h, mp.log(density)


def frank(theta, u, v):
    a, b, whole = (mp.expm1(-theta * z) for z in (u, v, 1))
    inner = whole + a * b
    density = -theta * whole * mp.exp(-theta * (u + v)) / inner**2
    return -mp.log(1 + a * b / whole) / theta, (a + 1) * b / inner, mp.log(density)


def gumbel(theta, u, v):
    x, y = -mp.log(u), -mp.log(v)
    a = (x**theta + y**theta) ** (1 / theta)
    cdf = mp.exp(-a)
    h = cdf / u * (x / a) ** (theta - 1)
    density = cdf / (u * v) * (x * y) ** (theta - 1) * a ** (1 - 2 * theta) * (a + theta - 1)
    return cdf, h, mp.log(density)


def survival_gumbel(theta, u, v):
    cdf, h, log_density = gumbel(theta, 1 - u, 1 - v)
    return u + v - 1 + cdf, 1 - h, log_density


REFERENCES = [
    (Clayton, clayton, [1e-8, 0.3, 2.0, 20.0, 198.0]),
    (Joe, joe, [1 + 1e-10, 1.2, 3.0, 20.0, 198.0]),
    (Frank, frank, [-398.0, -30.0, -1.0, -1e-8, 1e-8, 0.5, 8.0, 398.0]),
    (Gumbel, gumbel, [1 + 1e-10, 1.3, 4.0, 100.0]),
    (SurvivalGumbel, survival_gumbel, [1 + 1e-10, 1.3, 4.0, 100.0]),
]
CASES = [(f, r, t) for f, r, thetas in REFERENCES for t in thetas]


def build(family, theta):
    theta = jnp.array(theta)
    return family(Gumbel(theta)) if family is SurvivalGumbel else family(theta)


@pytest.mark.parametrize(("family", "reference", "theta"), CASES)
def test_matches_arbitrary_precision_at_hard_points(family, reference, theta):
    with mp.workdps(400):
        exact = [reference(mp.mpf(theta), mp.mpf(u), mp.mpf(v)) for u, v in POINTS]
        exact = np.array([[float(x) for x in row] for row in exact])
    u, v = jnp.asarray(POINTS).T
    copula = build(family, theta)
    np.testing.assert_allclose(call(copula, "cdf", u, v), exact[:, 0], atol=4e-16, rtol=3e-14)
    smaller = np.minimum(u, v)
    assert np.max(np.abs(call(copula, "cdf", u, v) - exact[:, 0]) / smaller) < 1e-13
    # An argument rounded in its last digit moves h by theta times as much.
    np.testing.assert_allclose(call(copula, "h_function", u, v), exact[:, 1], atol=2e-12)
    np.testing.assert_allclose(call(copula, "log_prob", u, v), exact[:, 2], rtol=1e-10, atol=2e-11)


def exact_elliptical(rho, degrees, u, v):
    """C(u, v) / u as a mean of h over u, integrated in the quantile of u."""
    rho = mp.mpf(rho)
    if degrees is None:
        density, cdf = mp.npdf, mp.ncdf
        conditional = lambda x, y: mp.ncdf((y - rho * x) / mp.sqrt(1 - rho**2))  # noqa: E731
    else:
        n = mp.mpf(degrees)

        def density(x):
            norm = mp.gamma((n + 1) / 2) / mp.gamma(n / 2) / mp.sqrt(n * mp.pi)
            return norm * (1 + x * x / n) ** (-(n + 1) / 2)

        def cdf(x, n=n):
            tail = mp.betainc(n / 2, 0.5, 0, n / (n + x * x), regularized=True) / 2
            return tail if x < 0 else 1 - tail

        def conditional(x, y):
            scale = mp.sqrt((n + x * x) * (1 - rho**2) / (n + 1))
            return cdf((y - rho * x) / scale, n + 1)

    x, y = mp.mpf(u), mp.mpf(v)  # quantiles
    cuts = sorted({*(x - k for k in (0, 1, 3, 9, 30)), *((y / rho,) if y / rho < x else ())})
    span = [-mp.inf if degrees else x - 45, *cuts]
    return float(mp.quad(lambda s: density(s) * conditional(s, y), span) / cdf(x)), float(cdf(x))


ELLIPTICAL = [(rho, degrees) for rho in (-0.7, 0.4, 0.9, 0.97) for degrees in (None, 3.0)]
# The ends of the domain, fractions, and both sides of where whole numbers are powers by squaring.
ELLIPTICAL += [(0.4, 1.0), (-0.7, 1.2), (0.9, 15.0), (0.4, 16.0), (0.4, 1000.0)]


# Arbitrary precision takes a second or two for each.
AT_ONCE = [(0.4, None), (0.97, None), (-0.7, 3.0), (0.4, 1.0), (0.9, 15.0), (0.4, 16.0)]


@pytest.mark.parametrize(
    ("rho", "degrees"),
    [pytest.param(*case, marks=[] if case in AT_ONCE else pytest.mark.slow) for case in ELLIPTICAL],
)
def test_elliptical_probabilities_match_arbitrary_precision(rho, degrees):
    quantiles = [(-6.0, -5.5), (-6.0, 0.3), (-1.0, -1.1), (0.4, 0.4), (0.2, -1.5), (2.0, 2.5)]
    with mp.workdps(20):
        exact = [exact_elliptical(rho, degrees, x, y) for x, y in quantiles]
        levels = [(b, exact_elliptical(rho, degrees, y, x)[1]) for (x, y), (_, b) in
                  zip(quantiles, exact, strict=True)]  # fmt: skip
    u, v = jnp.asarray(levels).T
    copula = Gaussian(jnp.array(rho)) if degrees is None else StudentT(
        jnp.array(rho), jnp.array(degrees))  # fmt: skip
    expected = np.array([ratio for ratio, _ in exact])
    np.testing.assert_allclose(call(copula, "lower_conditional", u, v), expected, atol=2e-11)
    np.testing.assert_allclose(call(copula, "cdf", u, v), expected * u, atol=2e-12)


TAUS = [0.1, 0.5, 0.8]
PEERS = {
    "clayton": (Clayton, 0),
    "frank": (Frank, 0),
    "joe": (Joe, 0),
    "gumbel": (Gumbel, 0),
    "gaussian": (Gaussian, 0),
    "student": (StudentT, 0),
    "clayton-90": (rotated(Clayton, 90), 90),
    "gumbel-180": (SurvivalGumbel, 180),
    "joe-270": (rotated(Joe, 270), 270),
}


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("name", PEERS)
def test_matches_pyvinecopulib(name, tau):
    peers = pytest.importorskip("pyvinecopulib", reason="pyvinecopulib is not installed")
    family, degrees = PEERS[name]
    ours = family.from_tau(jnp.array(-tau if degrees in (90, 270) else tau))
    base = getattr(ours, "base", ours)
    parameter = base.rho if hasattr(base, "rho") else base.theta
    parameters = [[float(parameter)]] + ([[4.0]] if name == "student" else [])
    theirs = peers.Bicop(
        getattr(peers.BicopFamily, name.split("-")[0]),
        rotation=degrees,
        parameters=np.array(parameters),
    )
    grid = np.linspace(0.05, 0.95, 7)
    pairs = np.array(list(itertools.product(grid, grid + 0.011)))
    u, v = jnp.asarray(pairs).T
    # Theirs rounds more: its t quantiles and normal integrals carry 1e-7 to 1e-10.
    loose = 1e-7 if name in ("student", "gaussian") else 1e-9
    np.testing.assert_allclose(call(ours, "cdf", u, v), theirs.cdf(pairs), atol=loose)
    np.testing.assert_allclose(call(ours, "h_function", u, v), theirs.hfunc1(pairs), atol=loose)
    np.testing.assert_allclose(np.exp(call(ours, "log_prob", u, v)), theirs.pdf(pairs), rtol=1e-6)
    # Theirs inverts by bisection.
    np.testing.assert_allclose(
        call(ours, "inverse_h_function", u, v), theirs.hinv1(pairs), atol=2e-5
    )
    np.testing.assert_allclose(ours.tau, theirs.tau, atol=1e-6)


@pytest.mark.parametrize("tau", TAUS)
def test_matches_statsmodels(tau):
    pairs = np.array(list(itertools.product([0.1, 0.4, 0.8], [0.2, 0.5, 0.9])))
    u, v = jnp.asarray(pairs).T
    for family, peer in ((Clayton, "ClaytonCopula"), (Frank, "FrankCopula")):
        ours = family.from_tau(jnp.array(tau))
        theirs = getattr(statsmodels_copulas, peer)(float(ours.theta))
        np.testing.assert_allclose(call(ours, "cdf", u, v), theirs.cdf(pairs), rtol=1e-10)
        # Their Frank density is off by 4e-5 at tau 0.8; arbitrary precision sides with ours.
        loose = 1e-4 if family is Frank else 1e-9
        np.testing.assert_allclose(
            np.exp(call(ours, "log_prob", u, v)), theirs.pdf(pairs), rtol=loose
        )
        np.testing.assert_allclose(ours.tau, theirs.tau(), rtol=1e-6)
    ours = Gaussian.from_tau(jnp.array(tau))
    theirs = statsmodels_copulas.GaussianCopula(float(ours.rho))
    np.testing.assert_allclose(
        call(ours, "log_prob", u, v), theirs.logpdf(pairs), rtol=1e-9, atol=1e-10
    )
    np.testing.assert_allclose(
        call(ours, "cdf", u, v), theirs.cdf(pairs), atol=1e-5
    )  # theirs: quasi-random


# Compiled once per class, not per case.
@functools.partial(jax.jit, static_argnums=0)
def gradients(method, case, u, v):
    f = lambda c, a, b: getattr(c, method)(a, b)  # noqa: E731
    return jax.vmap(jax.grad(f, argnums=(0, 1, 2)), (None, 0, 0))(case, u, v)


# One case of each class quickly, all of them when time does not count.
QUICK = ["gumbel-3", "clayton-0", "joe-2", "frank-minus-5", "gaussian-0.6", "survival-gumbel"]
EACH = [
    pytest.param(case, id=name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name, case in COPULAS.items()
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", EACH)
def test_gradients_are_finite_in_the_corners(case, method):
    u, v = (jnp.asarray(c) for c in zip(*itertools.product(CORNERS, CORNERS), strict=True))
    # At the very ends the log density of a dependent pair may be infinite, and its slope.
    inside = np.asarray((u < 1) & (v < 1) & (u > 0) & (v > 0)) | (method != "log_prob")
    assert np.all(np.isfinite(call(case, method, u, v))[inside])
    for slope in jax.tree.leaves(gradients(method, case, u, v)):
        bad = ~np.isfinite(np.asarray(slope)) & inside
        assert not bad.any(), np.stack([u, v], 1)[bad][:6].tolist()


# At the end of its range a parameter has no two-sided difference.
SMOOTH_CASES = [case for case in EACH if case.id not in ("gumbel-1", "joe-1")]


@pytest.mark.parametrize("method", [*METHODS, "inverse_h_function"])
@pytest.mark.parametrize("case", SMOOTH_CASES)
def test_gradients_match_finite_differences(case, method):
    u, v = jnp.array([0.15, 0.4, 0.4, 0.8, 0.7]), jnp.array([0.3, 0.35, 0.47, 0.9, 0.12])
    leaves, structure = jax.tree.flatten((case, u, v))
    found = jax.tree.leaves(gradients(method, case, u, v))
    for at, slope in enumerate(found):

        def moved(h, at=at):
            shifted = [leaf + h * (i == at) for i, leaf in enumerate(leaves)]
            law, *arguments = jax.tree.unflatten(structure, shifted)
            return np.asarray(call(law, method, *arguments))

        # Five points: the h-functions of theta 100 turn within 1e-2.
        h = 1e-5
        numeric = (8 * (moved(h / 2) - moved(-h / 2)) - (moved(h) - moved(-h))) / (6 * h)
        np.testing.assert_allclose(slope, numeric, rtol=2e-5, atol=2e-6)


# Frank's exponentials overflow there; t needs double precision.
OUT_OF_RANGE = ("frank-100", "frank-minus-100", "t-0", "t-0.6", "t-minus-0.9")
SINGLE_CASES = [case for case in EACH if case.id not in OUT_OF_RANGE]
SINGLE_GRID = [1e-30, 1e-6, 0.02, 0.2, 0.5, 0.77, 0.96, 1 - 1e-4, 1 - 1e-6]
SINGLE_CORNERS = [0.0, 1e-30, 1e-7, 0.5, 1 - 1e-6, 1 - 2**-24, 1.0]
SINGLE_ERRORS = {"cdf": 2e-7, "h_function": 2e-6, "log_prob": 1e-5}


def single(x):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), x)


def double(x):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), x)


@pytest.mark.parametrize("method", list(SINGLE_ERRORS))
@pytest.mark.parametrize("case", SINGLE_CASES)
def test_single_precision_agrees_with_double(case, method):
    u, v = jnp.asarray(list(itertools.product(SINGLE_GRID, SINGLE_GRID)), jnp.float32).T
    found = call(single(case), method, u, v)
    assert found.dtype == jnp.float32
    exact = np.asarray(call(double(single(case)), method, double(u), double(v)))
    scale = np.maximum(1.0, np.abs(exact)) if method == "log_prob" else 1.0
    assert np.max(np.abs(found - exact) / scale) < SINGLE_ERRORS[method]


@pytest.mark.parametrize("method", list(SINGLE_ERRORS))
@pytest.mark.parametrize("case", SINGLE_CASES)
def test_single_precision_is_finite_in_the_corners(case, method):
    corners = np.array(list(itertools.product(SINGLE_CORNERS, SINGLE_CORNERS)), np.float32)
    u, v = jnp.asarray(corners).T
    inside = np.asarray((u < 1) & (v < 1) & (u > 0) & (v > 0)) | (method != "log_prob")
    assert np.all(np.isfinite(call(single(case), method, u, v))[inside])
    for slope in jax.tree.leaves(gradients(method, single(case), u, v)):
        assert slope.dtype == jnp.float32
        bad = ~np.isfinite(np.asarray(slope)) & inside
        assert not bad.any(), corners[bad][:6].tolist()


@pytest.mark.parametrize("family", [Clayton, Frank, Joe, Gaussian, StudentT, SurvivalGumbel])
def test_from_tau_moves_to_the_nearest_member_and_inverts_tau(family):
    low, high = family.tau_range
    tau = jnp.concatenate([jnp.linspace(low, high, 41), jnp.array([0.0, 1e-9])])
    back = jax.jit(lambda t: family.from_tau(t).tau)
    np.testing.assert_allclose(back(tau), tau, atol=1e-13)
    np.testing.assert_allclose(back(jnp.array([-1.0, 1.0])), [low, high], atol=1e-12)
    slope = jax.vmap(jax.grad(back))(jnp.array([0.05, 0.5, 0.9]))
    np.testing.assert_allclose(slope, 1.0, rtol=1e-9)


@over(COPULAS)
def test_rectangles_match_arbitrary_sums(case):
    edges = np.array([0.0, 0.1, 0.35, 0.5, 0.9, 1.0])
    low, high = edges[:-1], edges[1:]
    i, j = (x.ravel() for x in np.meshgrid(range(5), range(5)))
    # Not compiled as a whole: that takes longer than it saves.
    mass = np.asarray(case.rectangle(*(jnp.asarray(x) for x in (low[i], high[i], low[j], high[j]))))
    assert np.all(mass >= -1e-16)
    np.testing.assert_allclose(mass.sum(), 1.0, rtol=1e-12)
    for k in range(5):
        np.testing.assert_allclose(mass[i == k].sum(), high[k] - low[k], rtol=1e-12)
    strips = np.asarray(case.strip(jnp.full(5, 0.3), jnp.asarray(low), jnp.asarray(high)))
    np.testing.assert_allclose(strips.sum(), 1.0, rtol=1e-12)


def test_small_rectangles_in_corners_keep_their_digits():
    """Where the sum of four cdfs is noise: P(U <= 0.2, V > 0.9) at theta 20."""
    copula, theta = Gumbel(jnp.array(20.0)), mp.mpf(20)
    one, zero = jnp.array(1.0), jnp.array(0.0)
    with mp.workdps(60):
        mixed = mp.mpf(0.2) - gumbel(theta, mp.mpf(0.2), mp.mpf(0.9))[0]
        upper = survival_gumbel(theta, 1 - mp.mpf(1 - 1e-9), 1 - mp.mpf(1 - 3e-9))[0]
    found = call(copula, "rectangle", zero, jnp.array(0.2), jnp.array(0.9), one)
    np.testing.assert_allclose(found, float(mixed), rtol=1e-11)
    found = call(copula, "rectangle", jnp.array(1 - 1e-9), one, jnp.array(1 - 3e-9), one)
    np.testing.assert_allclose(found, float(upper), rtol=1e-13)
    with mp.workdps(60):
        strip = 1 - gumbel(theta, mp.mpf(0.2), mp.mpf(0.9))[1]
    found = call(copula, "strip", jnp.array(0.2), jnp.array(0.9), one)
    np.testing.assert_allclose(found, float(strip), rtol=1e-11)


def test_a_family_with_degrees_of_freedom_or_a_turn_is_a_class_of_its_own():
    assert student_t(7.0) is student_t(7.0)
    np.testing.assert_array_equal(student_t(7.0).from_tau(jnp.zeros(3)).degrees, 7.0)
    assert rotated(Gumbel, 180) is SurvivalGumbel
    with pytest.raises(InvalidInputError, match="must lie in"):
        student_t(0.5)
    with pytest.raises(InvalidInputError, match="90, 180 or 270"):
        rotated(Gumbel, 45)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInputError, match="its own rotations"):
        rotated(Frank, 90)


def test_independence_has_all_orthants():
    u, v = jnp.array(0.3), jnp.array(0.6)
    found = [Independence(jnp.zeros(())).orthant(u, v, jnp.array(a), jnp.array(b))
             for a in (False, True) for b in (False, True)]  # fmt: skip
    np.testing.assert_allclose(found, [0.18, 0.12, 0.42, 0.28])
