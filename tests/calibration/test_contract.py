"""What every calibrator promises."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tests.cases import CALIBRATORS, over, stacked

# From impossible to certain, with digits near 1 that only a logarithm keeps apart.
LOG_CONFIDENCE = jnp.concatenate(
    [
        jnp.array([-jnp.inf, -1e300, -800.0, -30.0]),
        jnp.log(jnp.linspace(1e-3, 0.999, 200)),
        -jnp.logspace(-4, -300, 40),
        jnp.zeros(1),
    ]
)


@over(CALIBRATORS)
def test_is_a_non_decreasing_map_into_the_unit_interval(case):
    values = np.asarray(case(LOG_CONFIDENCE))
    assert np.all(np.isfinite(values))
    assert values.min() >= 0
    assert values.max() <= 1
    assert np.all(np.diff(values) >= -1e-15)


@over(CALIBRATORS)
def test_extremes_give_finite_gradients_or_none(case):
    slopes = jax.vmap(jax.grad(case))(jnp.log(jnp.array([1e-12, 0.3, 0.6, 1 - 1e-12])))
    assert np.all(np.isfinite(slopes))


@over(CALIBRATORS)
def test_survives_jit_vmap_and_a_pytree_round_trip(case):
    plain = case(LOG_CONFIDENCE)
    leaves, structure = jax.tree.flatten(case)
    np.testing.assert_array_equal(jax.tree.unflatten(structure, leaves)(LOG_CONFIDENCE), plain)
    np.testing.assert_allclose(eqx.filter_jit(case)(LOG_CONFIDENCE), plain, rtol=1e-14)
    twice = jax.vmap(lambda one, x: one(x))(stacked([case, case]), jnp.stack([LOG_CONFIDENCE] * 2))
    np.testing.assert_allclose(twice, np.stack([plain, plain]), rtol=1e-14)


def test_certainty_and_near_certainty_differ_until_the_ceiling():
    values = CALIBRATORS["one-sided"](jnp.log1p(-jnp.array([1e-2, 1e-4, 1e-5])))
    assert np.all(np.diff(values) > 0)
    # Beyond the largest signal seen in training, all are alike.
    high = CALIBRATORS["one-sided"](jnp.array([-1e-8, -1e-30, 0.0]))
    assert np.ptp(high) == 0


def test_isotonic_is_constant_beyond_its_ends_and_linear_between():
    case = CALIBRATORS["isotonic"]
    found = case(jnp.log(jnp.array([0.1, 0.3, 0.4, 0.5, 0.65, 0.9, 1.0])))
    np.testing.assert_allclose(found, [0.2, 0.2, 0.3, 0.4, 0.55, 0.825, 0.95], rtol=1e-12)
