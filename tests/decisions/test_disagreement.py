"""Disagreement by hand, against SciPy, with gaps; and what it and the value of asking decide."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from jaxcascade.decisions.costs import cost_matrix
from jaxcascade.decisions.disagreement import pays_to_ask, posterior_divergence, ratio_spread
from jaxcascade.decisions.sequential import screening_tests
from jaxcascade.errors import InvalidInputError

HIRING = cost_matrix({"reject": {"unfit": 0, "fit": 40e3}, "meet": {"unfit": 2500, "fit": 0}})
SCREEN = screening_tests(np.array([0.9]), np.array([0.85]), np.array([150.0]))
# Raters, some of them missing, of three states.
RNG = np.random.default_rng(0)
LOG_LIKELIHOOD, KNOWN = RNG.normal(size=(30, 5, 3)), RNG.random((30, 5)) < 0.6
KNOWN[0], KNOWN[1] = False, np.arange(5) == 2
LOG_PRIOR = np.log([0.5, 0.3, 0.2])


def test_the_spread_of_ratios_by_hand():
    rating = np.log([[4.0, 8.0], [5.0, 5.0], [8.0, 4.0]])
    # Ratios of log 2, 0 and -log 2.
    spread = float(ratio_spread(jnp.asarray(rating)))
    assert spread == pytest.approx(np.log(2) * np.sqrt(2 / 3), rel=1e-12)
    pair = ratio_spread(jnp.asarray(rating), jnp.array([True, True, False]))
    assert float(pair) == pytest.approx(np.log(2) / 2, rel=1e-12)


def test_the_spread_of_ratios_where_raters_are_missing():
    two = LOG_LIKELIHOOD[..., :2]
    found = jax.jit(ratio_spread)(two, KNOWN)
    ratio = two[..., 1] - two[..., 0]
    expected = [np.std(row[k]) if k.any() else 0.0 for row, k in zip(ratio, KNOWN, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    assert float(found[0]) == float(found[1]) == 0.0


def test_the_divergence_of_two_raters_is_that_of_scipy():
    posterior = np.exp(LOG_PRIOR + LOG_LIKELIHOOD[:, :2])
    found = posterior_divergence(jnp.asarray(LOG_PRIOR), jnp.asarray(LOG_LIKELIHOOD[:, :2]))
    expected = jensenshannon(posterior[:, 0], posterior[:, 1], axis=-1) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_divergence_of_several_raters_is_their_mean_distance_from_the_mean():
    """By another formula than the code's: Kullback-Leibler divergences from the mixture."""
    found = jax.jit(posterior_divergence)(jnp.asarray(LOG_PRIOR), LOG_LIKELIHOOD, KNOWN)
    for i in range(2, len(KNOWN)):
        posterior = np.exp(LOG_PRIOR + LOG_LIKELIHOOD[i, KNOWN[i]])
        posterior /= posterior.sum(axis=-1, keepdims=True)
        apart = (posterior * np.log(posterior / posterior.mean(axis=0))).sum(axis=-1).mean()
        assert float(found[i]) == pytest.approx(apart, rel=1e-9, abs=1e-15)
    # Nobody, and one rater alone, disagree with nobody.
    assert float(found[0]) == 0.0
    assert float(found[1]) == pytest.approx(0.0, abs=1e-15)


def test_certain_raters_are_as_far_apart_as_there_are_bits():
    certain = jnp.where(jnp.eye(4, dtype=bool), 0.0, -jnp.inf)
    apart = posterior_divergence(jnp.log(jnp.full(4, 0.25)), certain)
    assert float(apart) == pytest.approx(np.log(4), rel=1e-12)
    alike = posterior_divergence(jnp.log(jnp.full(4, 0.25)), jnp.tile(certain[:1], (3, 1)))
    assert float(alike) == 0.0


def test_a_screen_is_bought_where_it_is_worth_its_price():
    """The specification's interval of beliefs at which the screen pays."""
    p = jnp.array([0.0140, 0.0146, 0.2, 0.3223, 0.3225])
    belief = jnp.stack([1 - p, p], axis=-1)
    assert pays_to_ask(belief, HIRING, SCREEN)[:, 0].tolist() == [False, True, True, True, False]


def test_a_trigger_buys_only_where_raters_disagree_as_well():
    p = jnp.array([0.001, 0.001, 0.2, 0.2, 0.2])
    belief = jnp.stack([1 - p, p], axis=-1)
    apart = jnp.array([0.1, 2.0, 0.1, 0.5, 2.0])
    found = pays_to_ask(belief, HIRING, SCREEN, disagreement=apart, threshold=0.5)
    assert found[:, 0].tolist() == [False, False, False, False, True]


def test_what_disagreement_cannot_be():
    with pytest.raises(InvalidInputError, match="must be of two states; there are 3"):
        ratio_spread(jnp.asarray(LOG_LIKELIHOOD))
    belief = jnp.array([0.8, 0.2])
    with pytest.raises(InvalidInputError, match="there is only `threshold`"):
        pays_to_ask(belief, HIRING, SCREEN, threshold=0.5)
    with pytest.raises(InvalidInputError, match="there is only `disagreement`"):
        pays_to_ask(belief, HIRING, SCREEN, disagreement=jnp.array(1.0))
