import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.numerics import arcsine_rule, betainc, gauss_legendre, panel_rule


@pytest.mark.parametrize("rule", [gauss_legendre, arcsine_rule])
@pytest.mark.parametrize(("lower", "upper"), [(0.0, 1.0), (0.2, 0.9), (0.7, 0.1), (0.4, 0.4)])
def test_integrates_a_smooth_function(rule, lower, upper):
    nodes, weights = rule(lower, upper, 30)
    np.testing.assert_allclose(weights @ jnp.exp(nodes), np.exp(upper) - np.exp(lower), atol=1e-13)


def test_gauss_legendre_is_exact_to_degree_2n_minus_1():
    nodes, weights = gauss_legendre(-1.0, 3.0, 5)
    np.testing.assert_allclose(weights @ nodes**9, (3.0**10 - 1) / 10, rtol=1e-14)


@pytest.mark.parametrize("power", [0.25, -0.3])
def test_arcsine_rule_tames_powers_at_both_ends(power):
    lower, upper = 0.1, 0.9

    def error(rule):
        integrand = ((rule.nodes - lower) * (upper - rule.nodes)) ** power
        beta = np.exp(2 * jax.scipy.special.gammaln(1 + power))
        beta /= np.exp(jax.scipy.special.gammaln(2 + 2 * power))
        return abs(rule.weights @ integrand - beta * (upper - lower) ** (1 + 2 * power))

    mapped = error(arcsine_rule(lower, upper, 64, lower, upper))
    assert mapped < 1e-3
    assert mapped < error(gauss_legendre(lower, upper, 64)) / 5


def test_mean_of_a_beta_variable_from_its_distribution_function():
    a, b, lower, upper = 0.4, 6.0, 0.15, 0.95
    nodes, weights = arcsine_rule(lower, upper, 64, lower, upper)
    integral = weights @ betainc(a, b, (nodes - lower) / (upper - lower))
    mean = upper - integral
    np.testing.assert_allclose(mean, lower + (upper - lower) * a / (a + b), rtol=1e-8)


def test_parts_add_up_and_limits_broadcast():
    cuts = jnp.array([0.0, 0.3, 0.35, 1.0])
    nodes, weights = arcsine_rule(cuts[:-1], cuts[1:], 16)
    assert nodes.shape == weights.shape == (3, 16)
    np.testing.assert_allclose(jnp.sum(weights * nodes**2), 1 / 3, rtol=1e-14)


def test_limits_are_cut_to_the_support():
    nodes, weights = arcsine_rule(-1.0, 2.0, 8, 0.2, 0.6)
    assert jnp.all((nodes >= 0.2) & (nodes <= 0.6))
    np.testing.assert_allclose(weights.sum(), 0.4, rtol=1e-10)


def test_derivative_in_a_limit():
    def integral(lower):
        nodes, weights = arcsine_rule(lower, 1.0, 24)
        return weights @ jnp.cos(nodes)

    np.testing.assert_allclose(jax.grad(integral)(0.3), -np.cos(0.3), rtol=1e-12)
    assert jax.grad(integral)(0.0) == 0


@pytest.mark.parametrize("rule", [gauss_legendre, arcsine_rule])
def test_type_is_that_of_the_limits(rule):
    nodes, weights = rule(jnp.float32(0.1), 0.5, 12)
    assert nodes.dtype == weights.dtype == jnp.float32
    assert rule(0, 1, 3).nodes.dtype == jnp.float64


def test_works_under_jit_and_vmap():
    lower = jnp.linspace(0.0, 0.5, 4)
    mapped = jax.jit(jax.vmap(lambda low: arcsine_rule(low, 1.0, 6).nodes))(lower)
    np.testing.assert_allclose(mapped, arcsine_rule(lower, 1.0, 6).nodes, rtol=1e-14)


def running(function, points, breaks=(), num_nodes=12, lower=0.0, upper=1.0):
    points, breaks = (jnp.asarray(places, float) for places in (points, breaks))
    return compiled(function, points, breaks, num_nodes, lower, upper)


@functools.partial(jax.jit, static_argnames=("function", "num_nodes"))
def compiled(function, points, breaks, num_nodes, lower, upper):
    rule = panel_rule(points, breaks, num_nodes, lower, upper)
    return rule.integrals(function(rule.nodes), function(points))


@pytest.mark.parametrize("breaks", [(), (0.3, 0.9), (0.7, 0.2, 0.2, 0.5), (-3.0, 7.0, 0.4)])
def test_panels_give_the_integral_up_to_each_point(breaks):
    points = np.array([0.2, 0.2, 0.5, 0.95, 0.95])
    found = running(jnp.exp, points, breaks, lower=0.1, upper=1.1)
    np.testing.assert_allclose(found, np.exp(points) - np.exp(0.2), atol=1e-14)


def test_points_may_come_in_any_order():
    found = running(jnp.cos, [0.9, 0.1, 0.4], [0.3])
    np.testing.assert_allclose(found, np.sin([0.9, 0.1, 0.4]) - np.sin(0.1), atol=1e-14)


def test_breaks_find_what_a_smooth_map_misses():
    """A step of width 1e-4 in the middle of the support."""

    def integral(breaks, num_nodes):
        step = lambda x: jax.nn.sigmoid((x - 0.37) * 1e4)  # noqa: E731
        return running(step, [0.0, 1.0], breaks, num_nodes)[1]

    around = 0.37 + 1e-4 * np.array([-32, -16, -8, -4, 0, 4, 8, 16, 32])
    exact = 1 - 0.37
    assert abs(integral(around, 12) - exact) < 1e-11
    assert abs(integral((), 120) - exact) > 1e-5


def test_derivatives_of_a_running_integral_at_the_ends_too():
    """Leibniz' rule holds, to rounding, where the angle of the arcsine rule has no slope."""
    points = jnp.array([0.2, 0.21, 0.5, 0.8])
    jacobian = jax.jacfwd(lambda t: running(jnp.cos, t, [0.3, 0.5], 4, 0.2, 0.8))(points)
    expected = np.diag(np.cos(points))
    np.testing.assert_allclose(jacobian, expected, rtol=1e-15)
    reverse = jax.jacrev(lambda t: running(jnp.cos, t, [0.3, 0.5], 4, 0.2, 0.8))(points)
    np.testing.assert_array_equal(reverse, jacobian)


def test_second_derivatives_of_a_running_integral():
    found = jax.hessian(lambda t: running(jnp.cos, jnp.stack([0.0, t]), [0.3])[1])(0.7)
    np.testing.assert_allclose(found, -np.sin(0.7), rtol=1e-14)


def test_panels_move_with_the_support():
    def integral(lower, upper):
        rule = panel_rule(jnp.stack([lower, upper]), 0.5 * (lower + upper)[None], 12, lower, upper)
        return rule.integrals(jnp.exp(rule.nodes), jnp.exp(jnp.stack([lower, upper])))[1]

    found = jax.grad(integral, (0, 1))(jnp.array(0.3), jnp.array(1.2))
    np.testing.assert_allclose(found, [-np.exp(0.3), np.exp(1.2)], rtol=1e-12)
