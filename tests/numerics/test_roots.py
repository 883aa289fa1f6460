import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.numerics.roots import invert_increasing

TARGETS = jnp.asarray(np.linspace(0.01, 0.99, 25))
CURVES = {
    "straight": (lambda x, a: x, lambda x, a: jnp.ones_like(x), lambda y: y),
    "cubic": (lambda x, a: x**3, lambda x, a: 3 * x**2, np.cbrt),
    "root": (
        lambda x, a: jnp.sqrt(x),
        lambda x, a: 0.5 / jnp.sqrt(jnp.maximum(x, 1e-300)),
        np.square,
    ),
    "steep": (
        lambda x, a: jax.nn.sigmoid(200 * (x - 0.7)),
        lambda x, a: 200 * jax.nn.sigmoid(200 * (x - 0.7)) * jax.nn.sigmoid(-200 * (x - 0.7)),
        lambda y: 0.7 + np.log(y / (1 - y)) / 200,
    ),
    # The slope that is given may be useless: bisection then does the work.
    "no-slope": (lambda x, a: x**2, lambda x, a: jnp.zeros_like(x), np.sqrt),
    "wrong-slope": (lambda x, a: x**2, lambda x, a: jnp.full_like(x, 1e-3), np.sqrt),
}


def solve(name, target, lower=0.0, upper=1.0, **settings):
    f, slope, _ = CURVES[name]
    return invert_increasing(lambda x: (f(x, 1.0), slope(x, 1.0)), target, lower, upper, **settings)


@pytest.mark.parametrize("name", [n for n in CURVES if n != "wrong-slope"])
def test_reaches_the_target(name):
    expected = CURVES[name][2](np.asarray(TARGETS))
    np.testing.assert_allclose(solve(name, TARGETS), expected, rtol=1e-12, atol=1e-13)


def test_a_flat_stretch_gives_some_point_of_it():
    def flat(x):
        return jnp.clip(x, 0.3, 0.6), jnp.where((x > 0.3) & (x < 0.6), 1.0, 0.0)

    found = invert_increasing(flat, jnp.array([0.3, 0.45, 0.6]), 0.0, 1.0)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(flat(found)[0], [0.3, 0.45, 0.6], atol=1e-12)


def test_targets_out_of_reach_give_the_nearer_end():
    found = solve("cubic", jnp.array([-1.0, 0.0, 1.0, 2.0]))
    np.testing.assert_allclose(found, [0, 0, 1, 1], atol=1e-5)


def test_scalars_and_higher_shapes():
    assert solve("straight", jnp.array(0.3)).shape == ()
    assert solve("straight", jnp.full((2, 3), 0.3)).shape == (2, 3)


def power(parameter, target):
    """Root of x^parameter = target, whose derivative is known."""

    def value_and_slope(x):
        safe = jnp.maximum(x, 1e-12)
        return safe**parameter, parameter * safe ** (parameter - 1)

    return invert_increasing(value_and_slope, target, 0.0, 1.0)


@pytest.mark.parametrize("parameter", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("target", [0.1, 0.6])
def test_derivatives_are_those_of_the_implicit_function(parameter, target):
    found = jax.grad(power, argnums=(0, 1))(parameter, jnp.array(target))
    root = target ** (1 / parameter)
    expected = [-root * np.log(target) / parameter**2, root / (parameter * target)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    forward = jax.jacfwd(power, argnums=(0, 1))(parameter, jnp.array(target))
    np.testing.assert_allclose(forward, expected, rtol=1e-9)


def test_survives_jit_and_vmap():
    plain = solve("steep", TARGETS)
    np.testing.assert_allclose(jax.jit(lambda t: solve("steep", t))(TARGETS), plain, rtol=1e-14)
    mapped = jax.vmap(lambda t: solve("steep", t))(TARGETS)
    np.testing.assert_allclose(mapped, plain, rtol=1e-12)


def test_stops_when_told():
    rough = solve("no-slope", TARGETS, num_steps=3)
    assert np.abs(rough - np.sqrt(TARGETS)).max() > 1e-3
