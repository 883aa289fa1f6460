"""The likelihood's expansion against SciPy and differentiation, and that climbs only climb."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxcascade.marginals.ascent import (
    LARGEST,
    SMALLEST,
    begin,
    climb,
    expand,
    log_gamma_with_slopes,
    mixture_data,
)

Z = np.random.default_rng(0).beta(1.3, 0.8, 80)
WEIGHT = np.where(np.arange(80) % 5 == 0, 0.0, 1.0 + np.arange(80) % 3)
STRENGTH = 0.7
POINTS = {
    "nearly-alike": [0.0, 2.0, 3.0, 2.0, 3.001],
    "apart": [-1.0, 9.0, 2.0, 0.4, 6.0],
    "corners": [3.0, SMALLEST, LARGEST, LARGEST, SMALLEST],
    "narrow": [-3.0, 700.0, 300.0, 1.0, 1.0],
    "one-sided": [25.0, 1.3, 0.8, 5.0, 5.0],
}
expanded, climbed = jax.jit(expand), jax.jit(climb)


def data_of(z, weight, strength):
    return mixture_data(jnp.asarray(z), jnp.asarray(weight), jnp.asarray(strength))


DATA = data_of(Z, WEIGHT, STRENGTH)


def climb_for(steps, data, start, threshold=1e-9):
    start = begin(jnp.asarray(start))
    return climbed(data, start, jnp.asarray(threshold), jnp.asarray(steps))


def test_log_gamma_is_scipys():
    z = np.geomspace(SMALLEST, 2 * LARGEST, 500)
    expected = special.gammaln(z), special.digamma(z), special.polygamma(1, z)
    for ours, theirs in zip(log_gamma_with_slopes(jnp.asarray(z)), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_value_is_the_penalised_log_likelihood(point):
    share, shapes = special.expit(point[0]), np.reshape(point[1:], (2, 2))
    weights = np.array([share, special.expit(-point[0])])
    parts = stats.beta.logpdf(Z[:, None], *shapes.T) + np.log(weights)
    # A flat law's log z and log(1 - z) are -1 on average.
    flat = 2.0 - shapes.sum(axis=1) - special.betaln(*shapes.T) + np.log(weights)
    expected = WEIGHT @ special.logsumexp(parts, axis=1) + STRENGTH * flat.sum()
    value = expanded(DATA, jnp.array(point)).value
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_derivatives_are_those_of_the_value(point):
    point = jnp.array(point)
    found = expanded(DATA, point)
    value = lambda parameters: expand(DATA, parameters).value  # noqa: E731
    gradient, hessian = jax.jit(jax.grad(value))(point), jax.jit(jax.hessian(value))(point)
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-9, atol=1e-9)
    ours = found.missing - found.complete
    np.testing.assert_allclose(ours, hessian, rtol=1e-8, atol=1e-9)
    assert np.all(np.linalg.eigvalsh(found.complete) > 0)


def test_no_step_is_downhill_and_the_last_ones_are_newtons():
    start = [0.0, 0.5, 5.0, 5.0, 0.5]
    values, gradients = [], []
    for steps in range(1, 40):
        at = climb_for(steps, DATA, start).expansion
        values.append(float(at.value))
        gradients.append(float(jnp.abs(at.gradient).max()))
    assert np.all(np.diff(values) >= 0)
    done = climb_for(100, DATA, start)
    assert not done.moving
    assert done.num_steps < 40
    # From 1e-3 on, quadratic convergence takes a handful of steps.
    near = int(np.argmax(np.array(gradients) < 1e-3))
    assert done.num_steps - near < 8
    hessian = done.expansion.missing - done.expansion.complete
    assert np.all(np.linalg.eigvalsh(hessian) < 0)


@pytest.mark.parametrize("spread", [0.0, 1e-9])
def test_shapes_stay_within_their_bounds(spread):
    z = 0.3 + spread * np.linspace(-1, 1, 80)
    done = climb_for(100, data_of(z, np.ones(80), 0.0), [0.0, 2.0, 3.0, 3.0, 2.0])
    shapes = np.asarray(done.parameters[1:])
    assert np.all((shapes >= SMALLEST) & (shapes <= LARGEST))
    assert np.all(np.isfinite(done.parameters))
    # Beta(a, 1000) with its mode at 0.3; the other bound is free.
    wide = shapes.reshape(2, 2)[int(done.parameters[0] < 0)]
    np.testing.assert_allclose(wide, [1 + 999 * 3 / 7, LARGEST], rtol=1e-3)


def test_stops_where_nothing_is_left_to_gain():
    done = climb_for(100, DATA, [0.0, 0.5, 5.0, 5.0, 0.5])
    again = climb_for(100, DATA, done.parameters)
    assert again.num_steps <= 4
    np.testing.assert_allclose(again.expansion.value, done.expansion.value, atol=1e-8)
