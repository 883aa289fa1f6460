import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from jaxcascade.calibration import IsotonicCalibration

N = 90


def data(seed, ties, zeros):
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 1, N)
    p = np.round(p, 1) if ties else p
    correct = (rng.random(N) < p).astype(float)
    weight = rng.exponential(size=N)
    return p, correct, np.where(rng.random(N) < 0.3, 0.0, weight) if zeros else weight


@eqx.filter_jit
def fit(method, p, correct, weight):
    return method.fit(jnp.log(p), correct, weight)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_without_a_prior_it_is_scikit_learns(seed, ties, zeros):
    p, correct, weight = data(seed, ties, zeros)
    used = weight > 0
    theirs = IsotonicRegression(out_of_bounds="clip")
    theirs.fit(p[used], correct[used], sample_weight=weight[used])
    ours = fit(IsotonicCalibration(0.0), *map(jnp.asarray, (p, correct, weight)))
    new = np.concatenate([p[used], np.linspace(0.001, 1, 301)])
    np.testing.assert_allclose(ours(jnp.log(new)), theirs.predict(new), atol=1e-10)


def test_prior_pulls_each_block_to_the_average():
    p = np.linspace(0.1, 0.9, N)
    correct = (p > 0.5).astype(float)
    ours = fit(IsotonicCalibration(3.0), *map(jnp.asarray, (p, correct, np.ones(N))))
    half = N / 2
    expected = [(3 * 0.5) / (half + 3), (half + 3 * 0.5) / (half + 3)]
    np.testing.assert_allclose(ours(jnp.log(jnp.array([0.2, 0.8]))), expected, rtol=1e-12)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_all_right_or_all_wrong_is_constant(label):
    p = data(0, False, False)[0]
    ours = fit(IsotonicCalibration(), *map(jnp.asarray, (p, np.full(N, label), np.ones(N))))
    np.testing.assert_allclose(ours(jnp.log(jnp.array([0.01, 0.5, 1.0]))), label, atol=1e-12)


def test_certain_and_impossible_confidences_are_knots_like_any_other():
    p = np.where(np.arange(N) % 2 == 0, 0.0, 1.0)
    ours = fit(IsotonicCalibration(0.0), *map(jnp.asarray, (p, p, np.ones(N))))
    np.testing.assert_allclose(ours(jnp.array([-jnp.inf, 0.0])), [0.0, 1.0])
