"""The incomplete beta function against sums of positive terms in forty digits."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcascade.numerics import (
    betainc,
    betaincc,
    betainccinv,
    betaincinv,
    log_betainc,
    log_betaincc,
)

FUNCTIONS = [betainc, betaincc, log_betainc, log_betaincc]
INVERSES = [betaincinv, betainccinv]


# --- Oracle ---------------------------------------------------------------------------------------


def direct_tail(a, b, x, y):
    """log I_x(a, b) and its derivatives in a and b: the 2F1 series, term by term."""
    term = total = mpmath.mpf(1)
    log_term_a = log_term_b = total_a = total_b = mpmath.mpf(0)
    for k in itertools.count():
        term *= (a + b + k) / (a + 1 + k) * x
        log_term_b += 1 / (a + b + k)
        log_term_a += 1 / (a + b + k) - 1 / (a + 1 + k)
        total += term
        total_a += term * log_term_a
        total_b += term * log_term_b
        if term < total * mpmath.mpf(10) ** -38:
            break
    psi, n = mpmath.digamma, a + b
    log_front = a * mpmath.log(x) + b * mpmath.log(y) - mpmath.log(a)
    log_front += mpmath.loggamma(n) - mpmath.loggamma(a) - mpmath.loggamma(b)
    slope_a = mpmath.log(x) - 1 / a + psi(n) - psi(a) + total_a / total
    slope_b = mpmath.log(y) + psi(n) - psi(b) + total_b / total
    return log_front + mpmath.log(total), slope_a, slope_b


def oracle(a, b, x):
    """Lower tail, upper tail, and the derivatives of the lower one, in forty digits."""
    a, b, x = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(x)
    y = 1 - x
    if x * (a + b + 2) <= a + 1:
        log_lower, log_a, log_b = direct_tail(a, b, x, y)
        lower = mpmath.exp(log_lower)
        upper, slope_a, slope_b = 1 - lower, lower * log_a, lower * log_b
    else:
        log_upper, log_b, log_a = direct_tail(b, a, y, x)
        upper = mpmath.exp(log_upper)
        lower, slope_a, slope_b = 1 - upper, -upper * log_a, -upper * log_b
    density = mpmath.exp(
        (a - 1) * mpmath.log(x)
        + (b - 1) * mpmath.log(y)
        + mpmath.loggamma(a + b)
        - mpmath.loggamma(a)
        - mpmath.loggamma(b)
    )
    return lower, upper, slope_a, slope_b, density


SHAPES = (0.05, 0.6, 1.0, 7.5, 90.0, 1e3)
OFFSETS = (-8, -2, -0.3, 0.4, 2, 8)


def hard_points(shapes, offsets):
    """All pairs of shapes, at the mean, many deviations from it and next to both ends.

    Numbers that single precision can hold, so that one table of references serves both.
    """
    points = []
    for a, b in itertools.product(shapes, repeat=2):
        mean = a / (a + b)
        deviation = math.sqrt(mean * (1 - mean) / (a + b + 1))
        inner = [mean + offset * deviation for offset in offsets]
        points += [(a, b, x) for x in [1e-12, *inner, 1 - 1e-7] if 0 < x < 1]
    points = np.array(points, np.float32)
    points[:, 2] = points[:, 2].clip(None, 1 - np.finfo(np.float32).epsneg)
    return points.T


@functools.cache
def reference(shapes=SHAPES, offsets=OFFSETS):
    points = hard_points(shapes, offsets).astype(np.float64)
    with mpmath.workdps(40):
        rows = [oracle(*map(float, point)) for point in points.T]
        logs = [[mpmath.log(row[0]), mpmath.log(row[1])] for row in rows]
        relative = [[s / row[0] for s in row[2:]] + [-s / row[1] for s in row[2:]] for row in rows]
    return points, np.array(rows, float).T, np.array(logs, float).T, np.array(relative, float).T


def partials(function, points):
    return jax.jit(jax.vmap(jax.grad(function, argnums=(0, 1, 2))))(*map(jnp.asarray, points))


def relative_error(found, expected, floor):
    return np.max(np.abs(found - expected) / np.maximum(np.abs(expected), floor))


# --- Accuracy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "row"), [(betainc, 0), (betaincc, 1)])
def test_both_tails_keep_their_relative_digits(function, row):
    points, values, _, _ = reference()
    found = np.asarray(function(*points))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, values[row], rtol=0, atol=2e-14)
    assert relative_error(found, values[row], 1e-290) < 2e-12


@pytest.mark.parametrize(("function", "row"), [(log_betainc, 0), (log_betaincc, 1)])
def test_logarithms(function, row):
    points, _, logs, _ = reference()
    np.testing.assert_allclose(function(*points), logs[row], rtol=3e-12, atol=1e-38)


@pytest.mark.parametrize(("function", "sign"), [(betainc, 1), (betaincc, -1)])
def test_partial_derivatives(function, sign):
    points, values, _, _ = reference()
    for found, expected in zip(partials(function, points), values[2:], strict=True):
        assert relative_error(found, sign * expected, 1e-280) < 1e-11


@pytest.mark.parametrize(
    ("function", "rows"), [(log_betainc, [0, 1, 2]), (log_betaincc, [3, 4, 5])]
)
def test_partial_derivatives_of_logarithms(function, rows):
    points, _, _, relative = reference()
    for found, expected in zip(partials(function, points), relative[rows], strict=True):
        assert relative_error(found, expected, 1e-280) < 1e-11


def test_single_precision():
    points, values, _, _ = reference()
    points = points.astype(np.float32)
    lower, upper = betainc(*points), betaincc(*points)
    assert lower.dtype == upper.dtype == jnp.float32
    np.testing.assert_allclose(lower, values[0], rtol=0, atol=5e-6)
    np.testing.assert_allclose(upper, values[1], rtol=0, atol=5e-6)
    for found, expected in zip(partials(betainc, points), values[2:], strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_whole_domain(dtype):
    points, values, logs, _ = reference(
        (0.01, 0.2, 1.0, 3.0, 40.0, 600.0, 1e4), (-20, -6, -2, -0.7, -0.1, 0.3, 1, 3, 9, 20)
    )
    points = points.astype(dtype)
    wide = dtype == np.float32
    np.testing.assert_allclose(betainc(*points), values[0], rtol=0, atol=1e-5 if wide else 1e-13)
    np.testing.assert_allclose(
        log_betaincc(*points), logs[1], rtol=1e-3 if wide else 1e-11, atol=1e-36
    )
    for found, expected in zip(partials(betainc, points), values[2:], strict=True):
        assert relative_error(found, expected, 1e-3 if wide else 1e-12) < (2e-3 if wide else 1e-10)


@pytest.mark.parametrize("point", [(0.3, 2.0, 0.2), (5.0, 1.0, 0.9), (900.0, 800.0, 0.52)])
@pytest.mark.parametrize(
    "nest", [jax.hessian, lambda f, args: jax.jacrev(jax.jacrev(f, args), args)]
)
def test_second_derivatives(point, nest):
    found = np.array(jax.jit(nest(betainc, (0, 1, 2)))(*point))
    expected = np.empty((3, 3))
    with mpmath.workdps(40):
        for j, value in enumerate(point):
            h = value * mpmath.mpf(10) ** -12
            low, high = (
                oracle(*(mpmath.mpf(z) + (s * h if i == j else 0) for i, z in enumerate(point)))
                for s in (-1, 1)
            )
            expected[:, j] = [(u - v) / (2 * h) for u, v in zip(high[2:], low[2:], strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("function", [*FUNCTIONS, *INVERSES])
@pytest.mark.parametrize("point", [(0.4, 3.0, 0.3), (60.0, 25.0, 0.7)])
def test_gradients_match_finite_differences(function, point):
    found = jax.grad(function, argnums=(0, 1, 2))(*point)
    for index, value in enumerate(point):
        step = 1e-5 * value
        low, high = (
            function(*(z + s * step if i == index else z for i, z in enumerate(point)))
            for s in (-1, 1)
        )
        np.testing.assert_allclose(found[index], (high - low) / (2 * step), rtol=1e-6, atol=1e-9)


# --- Edges and domain -----------------------------------------------------------------------------


def edge_points(dtype):
    tiny, below_one = float(np.finfo(dtype).tiny), 1 - float(np.finfo(dtype).epsneg)
    points = itertools.product(
        (0.01, 0.5, 1.0, 2.0, 1e4), (0.01, 1.0, 30.0), (0, tiny, below_one, 1)
    )
    return np.array(list(points), dtype).T


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("function", [*FUNCTIONS, *INVERSES])
def test_no_nan_on_the_edges(function, dtype):
    points = edge_points(dtype)
    values, slopes = jax.vmap(jax.value_and_grad(function, argnums=(0, 1, 2)))(
        *map(jnp.asarray, points)
    )
    assert not np.isnan(values).any()
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("function", [betainc, log_betaincc])
def test_no_nan_in_second_derivatives_on_the_edges(function):
    hessian = jax.vmap(jax.hessian(function, argnums=(0, 1, 2)))
    assert np.isfinite(hessian(*map(jnp.asarray, edge_points(np.float64)))).all()


def test_values_on_the_edges():
    a, b, x = edge_points(np.float64)
    np.testing.assert_array_equal(betainc(a, b, x)[x == 0], 0)
    np.testing.assert_array_equal(betainc(a, b, x)[x == 1], 1)
    np.testing.assert_array_equal(betaincc(a, b, x)[x == 1], 0)
    np.testing.assert_array_equal(log_betainc(a, b, x)[x == 0], -np.inf)
    np.testing.assert_array_equal(betaincinv(a, b, x)[x == 0], 0)
    np.testing.assert_array_equal(betainccinv(a, b, x)[x == 0], 1)


@pytest.mark.parametrize(
    ("a", "b", "x", "expected"),
    [(1.0, 3.0, 0.0, 3.0), (3.0, 1.0, 1.0, 3.0), (2.0, 3.0, 0.0, 0.0), (3.0, 2.0, 1.0, 0.0)],
)
def test_density_at_the_ends(a, b, x, expected):
    assert jax.grad(betainc, argnums=2)(a, b, x) == pytest.approx(expected, rel=1e-14)
    # The same through the rule for all three arguments.
    assert jax.grad(betainc, argnums=(0, 1, 2))(a, b, x)[2] == pytest.approx(expected, rel=1e-14)


def test_infinite_density_is_cut_and_survives_a_zero():
    assert jax.grad(betainc, argnums=2)(0.5, 2.0, 0.0) > 1e290
    slope = jax.grad(lambda s: 7 * betainc(0.5, 2.0, s**2))(0.0)
    assert np.isfinite(slope)


def test_gradient_passes_through_where():
    def guarded(x):
        return jnp.where(x > 0, betainc(0.5, 2.0, x), 0.0)

    assert jax.vmap(jax.grad(guarded))(jnp.array([0.0, 0.25]))[0] == 0


@pytest.mark.parametrize("function", [*FUNCTIONS, *INVERSES])
def test_outside_the_domain_is_nan(function):
    a = jnp.array([-1.0, 2.0, 2.0, 2.0, math.nan, math.inf])
    b = jnp.array([2.0, 0.0, 2.0, 2.0, 2.0, 2.0])
    x = jnp.array([0.5, 0.5, -0.1, 1.1, 0.5, 0.5])
    assert np.isnan(function(a, b, x)).all()


# --- Inverse --------------------------------------------------------------------------------------


def quantile_points(dtype):
    points = itertools.product(SHAPES, SHAPES, (1e-20, 1e-3, 0.5, 0.9))
    return np.array(list(points), dtype).T


@pytest.mark.parametrize(("inverse", "row"), [(betaincinv, 0), (betainccinv, 1)])
def test_inverse_solves_its_equation(inverse, row):
    a, b, p = quantile_points(np.float64)
    x = np.asarray(inverse(a, b, p))
    # Subnormal roots, and roots that round to 1, have lost the digits to check.
    rows = np.flatnonzero((x > 1e-300) & (x < 1 - 1e-12))
    assert rows.size > 0.8 * x.size
    with mpmath.workdps(40):
        values = [oracle(*map(float, point)) for point in np.stack([a, b, x])[:, rows].T]
        errors = [
            abs(value[row] - float(target)) / (value[4] * min(float(root), 1 - float(root)))
            for value, target, root in zip(values, p[rows], x[rows], strict=True)
        ]
    # Where x is near 1, its own rounding bounds what can be had.
    allowed = 1e-12 + np.where(x[rows] > 0.5, 4e-16 / (1 - x[rows]), 0)
    assert np.all(np.array(errors, float) < allowed)


def test_round_trip():
    a, b, p = quantile_points(np.float64)
    p = np.where(p > 0.5, 0.4, p)
    x = betaincinv(a, b, p)
    inner = (x > 1e-300) & (x < 0.999)
    np.testing.assert_allclose(betainc(a, b, x)[inner], p[inner], rtol=1e-11)


def test_inverse_in_single_precision():
    a, b, p = quantile_points(np.float32)
    x = betaincinv(a, b, p)
    assert x.dtype == jnp.float32
    expected = scipy.special.betaincinv(*(z.astype(float) for z in (a, b, p)))
    normal = expected > 1e-30
    np.testing.assert_allclose(x[normal], expected[normal], rtol=3e-4)


def test_inverse_saturates_where_the_root_underflows():
    assert betaincinv(0.01, 1.0, 1e-10) == 0
    assert betainccinv(1.0, 0.01, 1e-10) == 1
    assert jax.grad(betaincinv, argnums=(0, 1, 2))(0.01, 1.0, 1e-10) == (0, 0, pytest.approx(0))


def test_inverse_derivatives_are_those_of_the_implicit_function():
    point = (6.0, 2.5, 0.3)
    x = betaincinv(*point)
    slope_a, slope_b, density = jax.grad(betainc, argnums=(0, 1, 2))(*point[:2], x)
    expected = np.array([-slope_a, -slope_b, 1.0]) / density
    found = jax.grad(betaincinv, argnums=(0, 1, 2))(*point)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    hessian = jax.hessian(betaincinv, argnums=(0, 1, 2))(*point)
    np.testing.assert_allclose(hessian, np.transpose(hessian), rtol=1e-11)
    step = 1e-5
    low, high = (
        np.array(jax.grad(betaincinv, argnums=(0, 1, 2))(*point[:2], point[2] + s * step))
        for s in (-1, 1)
    )
    np.testing.assert_allclose(np.array(hessian)[:, 2], (high - low) / (2 * step), rtol=1e-7)


# --- Transformations ------------------------------------------------------------------------------


def random_points(size, seed=0):
    generator = np.random.default_rng(seed)
    a, b = 10 ** generator.uniform(-1, 3, (2, size))
    return a, b, generator.random(size)


def test_vmap_is_one_flat_evaluation():
    a, b, x = random_points(12)
    mapped = jax.vmap(jax.vmap(betainc, (0, None, None)), (None, 0, 0))(a, b, x)
    np.testing.assert_array_equal(mapped, betainc(a, b[:, None], x[:, None]))
    # A batched number of levels would show as a loop whose condition reduces over the batch.
    text = str(jax.make_jaxpr(jax.vmap(betainc))(a, b, x))
    assert "reduce_or" not in text


def test_blocks_of_a_large_array_agree_with_small_calls():
    points = random_points(23_456)
    whole = betainc(*points)
    assert whole.shape == (23_456,)
    parts = [betainc(*part) for part in zip(*(np.array_split(z, 5) for z in points), strict=True)]
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-12)
    gradient = jax.grad(lambda *z: betainc(*z).sum(), argnums=0)(*map(jnp.asarray, points))
    pointwise = jax.vmap(jax.grad(betainc))(*(jnp.asarray(z[-9:]) for z in points))
    np.testing.assert_allclose(gradient[-9:], pointwise, rtol=1e-10)


def test_density_alone_needs_no_loop():
    derivative = jax.jit(jax.grad(betainc, argnums=2))
    assert "while" not in str(derivative.lower(2.0, 3.0, 0.4).compile().as_text())


def test_scan_checkpoint_and_grad_compose():
    a, b, x = (jnp.asarray(z) for z in random_points(6))

    def total(a):
        step = jax.checkpoint(lambda sums, z: (sums + betainc(a, *z), None))
        return jax.lax.scan(step, 0.0, (b, x))[0]

    expected = sum(jax.grad(betainc)(a[0], *z) for z in zip(b, x, strict=True))
    np.testing.assert_allclose(jax.grad(total)(a[0]), expected, rtol=1e-12)


def test_forward_and_reverse_mode_agree():
    points = (3.0, 4.0, 0.3)
    for function in [*FUNCTIONS, *INVERSES]:
        forward = jax.jacfwd(function, argnums=(0, 1, 2))(*points)
        reverse = jax.jacrev(function, argnums=(0, 1, 2))(*points)
        np.testing.assert_allclose(forward, reverse, rtol=1e-14)


def test_types_and_shapes():
    assert betainc(2, 3, 0.5).dtype == jnp.float64
    assert betainc(jnp.float32(2), 3, 0.5).dtype == jnp.float32
    assert betaincinv(jnp.float32(2), 3, 0.5).dtype == jnp.float32
    assert betainc(jnp.bfloat16(2), 3, 0.5).dtype == jnp.float32
    assert betainc(jnp.ones((3, 1)), jnp.ones(4), 0.5).shape == (3, 4)
    assert betainc(jnp.ones((0,)), 2.0, 0.5).shape == (0,)


@settings(deadline=None, max_examples=50)
@given(
    st.floats(0.01, 1e4),
    st.floats(0.01, 1e4),
    st.floats(0, 1, allow_subnormal=False),
    st.floats(0, 1),
)
def test_properties(a, b, x, other):
    lower, upper = betainc(a, b, x), betaincc(a, b, x)
    assert 0 <= lower <= 1
    assert abs(lower + upper - 1) < 1e-15
    # 1 − x rounds, and the density there may be large.
    slack = 1e-13 + 2e-16 * jax.grad(betainc, argnums=2)(a, b, x)
    assert abs(betaincc(b, a, 1 - x) - lower) <= slack
    assert (betainc(a, b, other) - lower) * (other - x) >= -1e-13
