"""What every copula promises, and Gumbel at points where plain formulas fail."""

import itertools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from statsmodels.distributions.copula.api import GumbelCopula

from jaxcascade.copulas import Gumbel, Independence
from tests.cases import COPULAS, call, over, stacked

GRID = np.array([0.02, 0.2, 0.5, 0.77, 0.96])
U, V = (jnp.asarray(x.ravel()) for x in np.meshgrid(GRID, GRID + 0.011))
METHODS = ("cdf", "h_function", "inverse_h_function", "lower_conditional", "log_prob")
HARD = [1e-300, 1e-9, 0.01, 0.6, 1 - 1e-3, 1 - 1e-9, 1 - 2**-52]
SAME = pytest.mark.parametrize("theta", [1.0, 1 + 1e-10, 1.05, 2.0, 7.5, 30.0, 100.0])


@over(COPULAS)
def test_h_function_is_the_derivative_of_the_cdf(case):
    h = 1e-6
    slope = (call(case, "cdf", U + h, V) - call(case, "cdf", U - h, V)) / (2 * h)
    # At theta 100 the h-function turns within 1e-2: third derivatives reach 1e5.
    np.testing.assert_allclose(slope, call(case, "h_function", U, V), atol=1e-6)


@over(COPULAS)
def test_density_is_the_derivative_of_the_h_function(case):
    h = 1e-6
    slope = (call(case, "h_function", U, V + h) - call(case, "h_function", U, V - h)) / (2 * h)
    np.testing.assert_allclose(slope, np.exp(call(case, "log_prob", U, V)), rtol=1e-6, atol=1e-6)


@over(COPULAS)
def test_lower_conditional_is_the_cdf_over_its_first_argument(case):
    expected = call(case, "cdf", U, V) / U
    np.testing.assert_allclose(
        call(case, "lower_conditional", U, V), expected, rtol=1e-13, atol=1e-15
    )


@over(COPULAS)
def test_lower_conditional_has_a_limit_at_zero(case):
    v = jnp.asarray(GRID)
    at_zero, beside = (
        call(case, "lower_conditional", jnp.zeros(5), v),
        call(case, "lower_conditional", 1e-300, v),
    )
    assert np.all((at_zero >= 0) & (at_zero <= 1))
    np.testing.assert_allclose(at_zero, beside, rtol=1e-2)


@over(COPULAS)
def test_inverse_h_function_round_trip(case):
    p, u = V, U
    v = call(case, "inverse_h_function", u, p)
    assert np.all((v > 0) & (v < 1))
    np.testing.assert_allclose(call(case, "h_function", u, v), p, rtol=1e-9)


@over(COPULAS)
def test_inverse_h_function_at_the_ends(case):
    u, p = (
        jnp.asarray(x)
        for x in zip(*itertools.product([0.0, 1e-12, 0.4, 1.0], [0.0, 0.3, 1.0]), strict=False)
    )
    v = np.asarray(call(case, "inverse_h_function", u, p))
    assert np.all((v >= 0) & (v <= 1)), v


@over(COPULAS)
def test_edges_of_the_square_are_uniform(case):
    u, one, zero = jnp.asarray(GRID), jnp.ones(5), jnp.zeros(5)
    np.testing.assert_allclose(call(case, "cdf", u, one), u, rtol=1e-14)
    np.testing.assert_allclose(call(case, "cdf", one, u), u, rtol=1e-14)
    np.testing.assert_array_equal(call(case, "cdf", u, zero), 0)
    np.testing.assert_array_equal(call(case, "cdf", zero, u), 0)
    np.testing.assert_array_equal(call(case, "h_function", u, one), 1)
    np.testing.assert_array_equal(call(case, "h_function", u, zero), 0)
    np.testing.assert_allclose(call(case, "lower_conditional", u, one), 1, rtol=1e-14)
    np.testing.assert_array_equal(call(case, "lower_conditional", u, zero), 0)


@over(COPULAS)
def test_is_exchangeable_or_has_a_transpose(case):
    for method in ("cdf", "log_prob"):
        one, other = call(case, method, U, V), call(case.transpose(), method, V, U)
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@over(COPULAS)
def test_tau_of_samples(case):
    n = 3000
    pairs = np.asarray(call(case, "sample", jax.random.key(2), (n,)))
    assert pairs.shape == (n, 2)
    # Five standard errors at independence, where they are largest: 2/3 sqrt(1/n).
    assert kendalltau(*pairs.T).statistic == pytest.approx(float(case.tau), abs=5 * 0.67 / n**0.5)
    for column in pairs.T:
        gap = np.abs(np.sort(column) - (np.arange(n) + 0.5) / n).max()
        assert gap < np.sqrt(np.log(2e6) / (2 * n))  # fails for one seed in a million


@over(COPULAS)
def test_from_tau_inverts_tau(case):
    np.testing.assert_allclose(type(case).from_tau(case.tau).tau, case.tau, atol=1e-15)


def test_from_tau_moves_to_the_nearest_member():
    np.testing.assert_allclose(Gumbel.from_tau(jnp.array([-0.5, 0.0, 1.0])).tau, [0, 0, 0.99])
    np.testing.assert_array_equal(Independence.from_tau(jnp.array([0.5])).tau, [0.0])


@jax.jit
def cdf_of_each(copulas):
    return jax.vmap(lambda one: one.cdf(U, V))(copulas)


@over(COPULAS)
def test_survives_jit_vmap_and_a_pytree_round_trip(case):
    leaves, structure = jax.tree.flatten(case)
    again = jax.tree.unflatten(structure, leaves)
    for method in METHODS:
        plain = call(case, method, U, V)
        np.testing.assert_array_equal(call(again, method, U, V), plain)
    both = cdf_of_each(stacked([case, case]))
    np.testing.assert_allclose(
        both, np.stack([call(case, "cdf", U, V)] * 2), rtol=1e-13, atol=1e-15
    )


@jax.jit
def everything(theta, u, v):
    copula = Gumbel(theta)
    return [getattr(copula, method)(u, v) for method in METHODS]


UNIT = st.floats(0, 1)


@settings(max_examples=300, deadline=None)
@given(theta=st.floats(1, 100), u=UNIT, v=UNIT)
def test_frechet_bounds(theta, u, v):
    cdf, h, inverse, conditional, _ = (float(x) for x in everything(theta, u, v))
    assert max(u + v - 1, 0) - 1e-14 <= cdf <= min(u, v) + 1e-14
    assert u * v <= cdf * (1 + 1e-12) + 1e-300  # positive dependence
    # The exponent theta - 1 magnifies the rounding of a logarithm.
    for share in (h, inverse, conditional):
        assert 0 <= share <= 1 + 1e-12
    if u > 0:
        assert abs(u * conditional - cdf) <= 1e-14


@settings(max_examples=200, deadline=None)
@given(theta=st.floats(1, 100), u=st.floats(1e-9, 1 - 1e-9), p=st.floats(1e-9, 1 - 1e-9))
def test_inverse_h_function_round_trip_anywhere(theta, u, p):
    v = float(everything(theta, u, p)[2])
    # In probability where v can tell, else within a rounding of v.
    around = [float(everything(theta, u, min(max(w, 0.0), 1.0))[1]) for w in
              (v * (1 - 4e-16), v, v * (1 + 4e-16))]  # fmt: skip
    assert min(around) - 1e-7 <= p <= max(around) + 1e-7


def exact_gumbel(theta, u, v):
    """C, dC/du and log c, by differentiating A(x, y) = (x^theta + y^theta)^(1/theta)."""
    theta, u, v = mp.mpf(theta), mp.mpf(u), mp.mpf(v)
    x, y = -mp.log(u), -mp.log(v)
    a = (x**theta + y**theta) ** (1 / theta)
    a_x, a_y = (x / a) ** (theta - 1), (y / a) ** (theta - 1)
    a_xy = (1 - theta) * x ** (theta - 1) * a ** (-theta) * a_y
    cdf = mp.exp(-a)
    return cdf, cdf / u * a_x, mp.log(cdf / (u * v) * (a_x * a_y - a_xy)), cdf / u


def test_the_reference_is_the_derivative_of_its_cdf():
    """An oracle that is checked in turn: numerical differentiation in 50 digits."""
    with mp.workdps(50):
        cdf, h, log_density, _ = exact_gumbel(3, 0.3, 0.6)
        slope = mp.diff(lambda u: exact_gumbel(3, u, 0.6)[0], mp.mpf(0.3))
        assert abs(slope - h) < 1e-15
        mixed = mp.diff(lambda u, v: exact_gumbel(3, u, v)[0], (mp.mpf(0.3), mp.mpf(0.6)), (1, 1))
        assert abs(mp.log(mixed) - log_density) < 1e-12
        assert abs(cdf - exact_gumbel(3, 0.6, 0.3)[0]) < 1e-40


@SAME
def test_gumbel_matches_arbitrary_precision_at_hard_points(theta):
    points = list(itertools.product(HARD, HARD))
    with mp.workdps(80):
        exact = np.array([[float(x) for x in exact_gumbel(theta, u, v)] for u, v in points])
    u, v = jnp.asarray(points).T
    cdf, h, _, conditional, log_density = (np.asarray(x) for x in everything(theta, u, v))
    np.testing.assert_allclose(cdf, exact[:, 0], atol=4e-16)
    np.testing.assert_allclose(conditional, exact[:, 3], atol=2e-13)
    np.testing.assert_allclose(h, exact[:, 1], atol=5e-12)
    np.testing.assert_allclose(log_density, exact[:, 2], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("theta", [1.2, 2.0, 6.0])
def test_gumbel_matches_statsmodels(theta):
    pairs = np.column_stack([U, V])
    theirs, ours = GumbelCopula(theta), Gumbel(jnp.array(theta))
    np.testing.assert_allclose(call(ours, "cdf", U, V), theirs.cdf(pairs), rtol=1e-12)
    np.testing.assert_allclose(
        call(ours, "log_prob", U, V), theirs.logpdf(pairs), rtol=1e-10, atol=1e-10
    )
    np.testing.assert_allclose(ours.tau, theirs.tau())


@pytest.mark.parametrize("method", ["cdf", "h_function", "lower_conditional", "log_prob"])
def test_gradients_match_finite_differences(method):
    theta = jnp.array([1.3, 2.5, 9.0])[:, None]
    f = jax.jit(lambda t, u, v: getattr(Gumbel(t), method)(u, v))
    arguments = (theta, U[None], V[None])
    for at in range(3):
        tangents = tuple(jnp.ones_like(a) * (i == at) for i, a in enumerate(arguments))
        slope = jax.jvp(f, arguments, tangents)[1]
        up = f(*(a + 1e-6 * t for a, t in zip(arguments, tangents, strict=True)))
        down = f(*(a - 1e-6 * t for a, t in zip(arguments, tangents, strict=True)))
        np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=3e-6, atol=3e-7)


CORNERS = [0.0, 1e-300, 1e-9, 0.5, 1 - 1e-9, 1 - 2**-53, 1.0]


@pytest.mark.parametrize("method", ["cdf", "h_function", "lower_conditional", "log_prob"])
def test_gradients_are_finite_at_independence_and_in_the_corners(method):
    # At 1 itself the log density of a dependent pair has an infinite slope, and rightly so.
    corners = CORNERS[:-1] if method == "log_prob" else CORNERS
    points = itertools.product([1.0, 1 + 1e-12, 2.0, 100.0], corners, corners)
    theta, u, v = (jnp.asarray(column) for column in zip(*points, strict=True))
    f = lambda t, u, v: getattr(Gumbel(t), method)(u, v)  # noqa: E731
    slopes = jax.jit(jax.vmap(jax.grad(f, argnums=(0, 1, 2))))(theta, u, v)
    for name, slope in zip(("theta", "u", "v"), slopes, strict=True):
        bad = ~np.isfinite(np.asarray(slope))
        worst = np.stack([theta, u, v], 1)[bad][:4].tolist()
        assert not bad.any(), f"d/d{name}: {bad.sum()} of {bad.size}, first at {worst}"


def test_density_of_independence_is_one_up_to_the_corner():
    u, v = (jnp.asarray(c) for c in zip(*itertools.product(CORNERS, CORNERS), strict=True))
    np.testing.assert_allclose(call(Gumbel(jnp.array(1.0)), "log_prob", u, v), 0.0, atol=2e-12)


@pytest.mark.parametrize("method", ["cdf", "h_function", "lower_conditional", "log_prob"])
def test_second_derivatives_are_finite_on_the_diagonal(method):
    f = lambda x: getattr(Gumbel(x[0]), method)(x[1], x[2])  # noqa: E731
    hessian = jax.jit(jax.hessian(f))
    for theta in (1.0, 3.0):
        assert np.all(np.isfinite(hessian(jnp.array([theta, 0.4, 0.4]))))
