"""Drawn data sets beside recorded ones; what is expected before any data."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior.evidence import Evidence
from jaxcascade.posterior.predictive import (
    answer_log_odds,
    marginal_check,
    pair_check,
    posterior_predictive,
    prior_predictive,
    reliability_check,
    traits,
)


@pytest.fixture(scope="module")
def replicated(posterior):
    return posterior_predictive(jax.random.key(2), posterior)


@pytest.fixture(scope="module")
def expected_before(posterior):
    return traits(posterior.frame, prior_predictive(jax.random.key(3), posterior))


@pytest.mark.slow
def test_priors_span_what_models_are_like(expected_before):
    """Nine tenths of models are right between a tenth and 98 % of the time, and some at each."""
    low, high = np.quantile(expected_before.accuracy, [0.05, 0.95])
    assert 0.02 < low < 0.25
    assert 0.8 < high < 0.99
    # Confidence is on a scale fitted to three good models: its mean lies all over it.
    low, high = np.quantile(expected_before.confidence, [0.05, 0.95])
    assert high - low > 0.3


@pytest.mark.slow
def test_priors_put_little_mass_at_the_ends(expected_before):
    """Point masses of every size, and what lies between is seldom all drawn to the ends.

    Of 53 recorded columns, half have 1 % of what is not at the ends within a hundredth of them,
    and the greatest share is 38 %. The prior is wider than that: it must not be much wider.
    """
    at_ends = np.asarray(expected_before.at_low + expected_before.at_high)
    assert 0.3 < np.median(at_ends) < 0.7
    assert np.quantile(at_ends, 0.05) < 0.1
    near = np.asarray(expected_before.near_ends)
    # Of 53 recorded columns, half have less than .013 there and one in twenty more than .225.
    assert np.median(near) < 0.06
    assert np.quantile(near, 0.9) < 0.4


def test_draws_are_like_the_records(posterior, replicated):
    seen = traits(posterior.frame, posterior.evidence)
    drawn = traits(posterior.frame, replicated)
    for name in ("accuracy", "confidence", "at_high"):
        values, one = np.asarray(getattr(drawn, name)), np.asarray(getattr(seen, name))
        assert np.all(np.abs(values.mean(axis=0) - one) < 3.0 * values.std(axis=0)), name


def test_traits_by_hand(posterior):
    k = 3
    blank = jnp.zeros((4, k))
    hand = Evidence(
        signal=blank,
        place=jnp.array([0.5, 0.005, 0.3, 0.5])[:, None] + blank,
        end=jnp.array([0, 1, 1, 2])[:, None] + blank.astype(int),
        asked=blank + 1.0,
        labelled=(blank + 1.0).at[0].set(0.0),
        correct=jnp.array([1.0, 1.0, 0.0, 0.0])[:, None] + blank,
        cost_usd=blank,
        latency_s=blank,
    )
    found = traits(posterior.frame, hand)
    np.testing.assert_allclose(found.accuracy, 1 / 3)
    np.testing.assert_allclose(found.at_low, 0.25)
    np.testing.assert_allclose(found.at_high, 0.25)
    np.testing.assert_allclose(found.near_ends, 0.5)


def test_histograms_hold_every_confidence(posterior, replicated):
    found = marginal_check(posterior, replicated, num_bins=8)
    whole = found.inside.observed.sum(axis=1) + found.ends.observed.sum(axis=1)
    np.testing.assert_allclose(whole, 1.0)
    confidence = np.asarray(posterior.frame.confidence(posterior.evidence.signal))[:, 0]
    inside = np.asarray(posterior.evidence.inside)[:, 0]
    counts, _ = np.histogram(confidence[inside], bins=found.edges[0])
    np.testing.assert_allclose(found.inside.observed[0], counts / 120, atol=1e-12)
    held = (found.inside.band.low <= found.inside.observed) & (
        found.inside.observed <= found.inside.band.high
    )
    assert held.mean() > 0.75


def test_tau_of_pairs_is_scipys(posterior, replicated):
    found = pair_check(posterior, replicated)
    signal = np.asarray(posterior.evidence.signal)
    for number, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        tau = stats.kendalltau(signal[:, i], signal[:, j]).statistic
        assert found.observed[number] == pytest.approx(tau, abs=1e-12)
    neighbours = [0, 2]
    assert np.all(np.abs(found.above[neighbours] - 0.5) < 0.49)


def test_a_model_without_dependence_is_found_out(posterior):
    loose = eqx.tree_at(lambda p: p.sites["tau"], posterior, jnp.full((200, 3), 1e-6))
    found = pair_check(posterior, posterior_predictive(jax.random.key(5), loose))
    assert np.all(found.above == 0.0)
    assert np.all(found.band.high < found.observed)


def test_reliability_counts_answers(posterior):
    found = reliability_check(jax.random.key(4), posterior, num_bins=5)
    correct = np.asarray(posterior.evidence.correct)
    np.testing.assert_array_equal(found.count.sum(axis=1), 120)
    share = np.nansum(found.right.observed * found.count, axis=1) / 120
    np.testing.assert_allclose(share, correct.mean(axis=0))
    used = found.count > 0
    assert np.all(np.isnan(found.right.observed) == ~used)
    low, high = found.right.band.low, found.right.band.high
    observed = found.right.observed
    assert np.mean(((low <= observed) & (observed <= high))[used]) > 0.7
    # Noise of labels makes the band of shares wider than that of the curve.
    assert np.all((high - low)[used] >= (found.curve.high - found.curve.low)[used])


def test_a_calibrator_turned_over_is_found_out(posterior):
    flat = posterior.sites | {"slope": 0.0 * posterior.sites["slope"]}
    found = reliability_check(
        jax.random.key(4), dataclasses.replace(posterior, sites=flat), num_bins=4
    )
    low_bin, high_bin = found.right.above[1][[0, -1]]
    assert low_bin > 0.95
    assert high_bin < 0.2


def test_history_shifts_labels_of_the_joint_model_only(posterior):
    one = {name: values[0] for name, values in posterior.sites.items()}
    apart = answer_log_odds(posterior, one)
    told = answer_log_odds(posterior, one | {"tau_share": one["tau"]})
    np.testing.assert_array_equal(apart[:, 0], told[:, 0])
    assert np.abs(np.asarray(told - apart)[:, 1:]).max() > 1e-3


def test_more_data_sets_than_draws(posterior):
    with pytest.raises(InvalidInputError, match="num_draws"):
        posterior_predictive(jax.random.key(0), posterior, 201)
