"""Modes, draws and their diagnosis on densities whose truth is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# Re-exported without an `__all__`, which pyright takes for private.
from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]
from scipy import stats

from jaxcascade.posterior.density import Density
from jaxcascade.posterior.laplace import Guide, find_mode, pareto_k, sample

MEAN = jnp.array([[1.0, -2.0], [0.5, 3.0]])
COVARIANCE = jnp.array([[[2.0, 0.9], [0.9, 1.0]], [[0.5, -0.2], [-0.2, 0.3]]])


def density(log_prob, log_prior=lambda v: jnp.zeros(v.shape[:-1])):
    return Density(log_prob, lambda v: {}, lambda s: jnp.zeros(()), lambda v: {}, log_prior)


def normal(v):
    apart = v - MEAN
    return -0.5 * jnp.einsum("...i,...ij,...j", apart, jnp.linalg.inv(COVARIANCE), apart)


def log_gamma(v):
    """Logarithms of gamma variables with shapes 1.5 and 4: skewed, one number a block."""
    shape = jnp.array([1.5, 4.0])
    return jnp.sum(shape[:, None] * v - jnp.exp(v), axis=-1)


def test_mode_and_precision_of_a_normal_law_are_exact():
    prior = lambda v: -0.5 * jnp.sum(v**2, axis=-1)  # noqa: E731
    mode = find_mode(density(normal, prior), jnp.zeros((2, 2)))
    np.testing.assert_allclose(mode.vector, MEAN, atol=1e-9)
    np.testing.assert_allclose(mode.precision, jnp.linalg.inv(COVARIANCE), rtol=1e-8)
    np.testing.assert_allclose(mode.prior_precision, np.broadcast_to(np.eye(2), (2, 2, 2)))
    total = mode.prior_precision + mode.data_precision
    np.testing.assert_allclose(total, jnp.linalg.inv(COVARIANCE), rtol=1e-8)
    assert np.all(mode.gradient_norm < 1e-8)


def test_mode_is_found_from_far_away_and_without_concavity():
    # A t law is not concave far out: Newton's own step would lead away.
    heavy = density(lambda v: -2.5 * jnp.sum(jnp.log1p((v - 3.0) ** 2), axis=-1))
    mode = find_mode(heavy, jnp.array([30.0, -12.0]))
    np.testing.assert_allclose(mode.vector, 3.0, atol=1e-6)


def test_draws_of_a_normal_law_have_its_moments():
    d = density(normal)
    draws = np.asarray(sample(jax.random.key(0), d, find_mode(d, MEAN + 1.0).guide, 4000).vectors)
    for block in range(2):
        spread = np.sqrt(np.diag(COVARIANCE[block]))
        # Five standard errors of 4,000 draws.
        assert np.all(np.abs(draws[:, block].mean(axis=0) - MEAN[block]) < 0.08 * spread)
        found = np.cov(draws[:, block].T)
        np.testing.assert_allclose(found, COVARIANCE[block], atol=0.12 * spread.max() ** 2)


def test_draws_of_a_skewed_law_have_its_quantiles():
    d = density(log_gamma)
    guide = find_mode(d, jnp.zeros((2, 1))).guide
    draws = np.asarray(sample(jax.random.key(1), d, guide, 4000).vectors)
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    for block, shape in enumerate((1.5, 4.0)):
        below = stats.gamma(shape).cdf(np.exp(np.quantile(draws[:, block, 0], levels)))
        # Five standard errors of 4,000 draws: 5 sqrt(0.25 / 4000).
        np.testing.assert_allclose(below, levels, atol=0.04)


def test_a_guide_in_other_coordinates_has_the_covariance_of_the_delta_method():
    bend = lambda v: jnp.stack([jnp.exp(v[..., 0]), v[..., 0] * v[..., 1]], axis=-1)  # noqa: E731
    found = Guide(MEAN, COVARIANCE).carried(bend)
    np.testing.assert_allclose(found.center, bend(MEAN))
    for block, (a, b) in enumerate(np.asarray(MEAN)):
        slope = np.array([[np.exp(a), 0.0], [b, a]])
        expected = slope @ COVARIANCE[block] @ slope.T
        np.testing.assert_allclose(found.covariance[block], expected, rtol=1e-12)


@pytest.mark.parametrize("degrees", [1.5, 3.0, 30.0])
def test_pareto_k_is_arvizs(degrees):
    rng = np.random.default_rng(int(degrees))
    log_weight = np.log(np.abs(stats.t(degrees).rvs(2000, random_state=rng)))
    _, expected = array_stats.psislw(-log_weight)
    assert float(pareto_k(jnp.asarray(log_weight))) == pytest.approx(float(expected), abs=2e-3)


def test_weights_that_are_alike_have_no_tail():
    assert float(pareto_k(jnp.zeros(500))) == 0.0
