import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from jaxcascade.calibration import joint_probability


def draw(count=400, seed=0):
    """Three models; how hard a query is shows in all confidences, and the third is constant."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=count)
    signal = np.stack([ease + rng.normal(size=count), ease + 0.5 * rng.normal(size=count)], axis=1)
    confidence = np.column_stack([expit(signal), np.full(count, 0.8)])
    correct = (rng.random((count, 3)) < expit(1.5 * ease)[:, None]).astype(float)
    return confidence, correct, np.ones(count)


def peer(confidence, correct, weight, at):
    """The same posterior mode by SciPy."""
    x = logit(np.clip(confidence, 1e-6, 1 - 1e-6))
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-9] = 1.0
    design = np.column_stack([np.ones(len(x)), (x - mean) / scale])
    prior = np.r_[mean[at], scale * (np.arange(x.shape[1]) == at)]
    spread = np.r_[0.5, np.full(x.shape[1], 0.25)]

    def objective(w):
        odds = design @ w
        likelihood = weight @ (np.logaddexp(0, odds) - correct[:, at] * odds)
        return likelihood + 0.5 * np.sum(((w - prior) / spread) ** 2)

    return expit(design @ minimize(objective, prior, options={"gtol": 1e-10}).x)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_is_the_posterior_mode(at):
    confidence, correct, weight = draw()
    found = joint_probability(*map(jnp.asarray, (confidence, correct, weight)))
    expected = peer(confidence, correct, weight, at)
    np.testing.assert_allclose(found[:, at], expected, atol=2e-6)


def test_tells_more_than_a_models_own_confidence():
    confidence, correct, weight = draw(800)
    weight[400:] = 0.0
    found = joint_probability(*map(jnp.asarray, (confidence, correct, weight)))

    def log_loss(probability):
        p, y = np.asarray(probability)[400:, 0], correct[400:, 0]
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    assert log_loss(found) < log_loss(confidence) - 0.02


def test_without_weight_it_is_the_confidence_itself():
    confidence, correct, _ = draw(50)
    weight = np.full(50, 1e-9)
    found = joint_probability(*map(jnp.asarray, (confidence, correct, weight)))
    np.testing.assert_allclose(found, confidence, atol=1e-6)


def test_missing_labels_and_cells_do_not_count():
    confidence, correct, weight = draw(120)
    few = joint_probability(*(jnp.asarray(z[:80]) for z in (confidence, correct, weight)))
    unlabelled = correct.copy()
    unlabelled[80:] = np.nan
    absent = confidence.copy()
    absent[80:] = np.nan
    found = joint_probability(jnp.asarray(absent), jnp.asarray(unlabelled), jnp.asarray(weight))
    np.testing.assert_allclose(found[:80], few, atol=1e-9)
    assert np.isfinite(found).all()


def test_certainties_and_one_label_are_finite():
    confidence = jnp.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    correct = jnp.array([[1.0, jnp.nan], [jnp.nan, jnp.nan], [jnp.nan, jnp.nan]])
    found = joint_probability(confidence, correct, jnp.ones(3))
    assert np.isfinite(found).all()
    assert not jnp.isnan(
        jax.jacobian(lambda c: joint_probability(c, correct, jnp.ones(3)))(confidence)
    ).any()
