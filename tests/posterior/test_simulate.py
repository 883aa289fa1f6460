"""Simulated records against SciPy's laws, and parameters found again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from jaxcascade.calibration import LogisticCalibration
from jaxcascade.cascade import in_cost_order, observations
from jaxcascade.copulas import Gumbel
from jaxcascade.marginals import BetaMixture
from jaxcascade.posterior import Priors, look
from jaxcascade.posterior.evidence import pairs_of
from jaxcascade.posterior.model import pair_residuals
from jaxcascade.posterior.simulate import place_at, prior_draws, simulate
from jaxcascade.records import example_records

_MODELS = ("llama3.2-1b", "llama3.1-8b", "llama3.1-405b")
_PAIRS = pairs_of(3, neighbours=True)
_NUM_QUERIES = 6000
# Each test looks at a handful of numbers: four standard errors, or a p-value of 1e-4.
_SURELY, _RARELY = 4.0, 1e-4

_TRUTH = {
    "intercept": jnp.array([-0.4, 0.6, 1.5]),
    "slope": jnp.array([0.7, 1.2, 1.6]),
    "atoms": jnp.array([[0.05, 0.95, 0.0], [0.1, 0.6, 0.3], [0.0, 0.5, 0.5]]),
    "weight": jnp.array([0.3, 0.5, 0.8]),
    "low_center": jnp.array([-1.5, -0.5, 0.5]),
    "gap": jnp.array([2.0, 3.0, 1.0]),
    "concentration": jnp.array([[4.0, 9.0], [2.0, 60.0], [0.8, 0.5]]),
    "tau": jnp.array([0.3, 0.6]),
    "history": jnp.array([0.8, -0.5]),
    "cost_usd": jnp.array([1e-5, 4e-5, 2e-4]),
}


@pytest.fixture(scope="module")
def frame():
    records = in_cost_order(example_records("train").select(_MODELS))
    ones = jnp.ones(records.num_queries)
    return look(observations(records), ones, records.models, LogisticCalibration())[0]


@pytest.fixture(scope="module")
def drawn(frame):
    return simulate(jax.random.key(1), frame, _TRUTH, _NUM_QUERIES, Gumbel, _PAIRS)


def _betas(model):
    center = stats.logistic.cdf(
        float(_TRUTH["low_center"][model]) + float(_TRUTH["gap"][model]) * np.arange(2)
    )
    concentration = np.asarray(_TRUTH["concentration"][model])
    return stats.beta(concentration * center, concentration * (1 - center))


@pytest.mark.parametrize("model", range(3))
def test_places_follow_a_mixture_of_betas_between_atoms(drawn, model):
    end, place = (np.asarray(part[:, model]) for part in (drawn.end, drawn.place))
    atoms = np.asarray(_TRUTH["atoms"][model])
    expected = atoms * _NUM_QUERIES
    noise = np.sqrt(expected * (1 - atoms))
    assert np.all(np.abs(np.bincount(end, minlength=3) - expected) <= _SURELY * noise)
    weights = np.array([_TRUTH["weight"][model], 1 - _TRUTH["weight"][model]])

    def cdf(z):
        return _betas(model).cdf(np.asarray(z)[:, None]) @ weights

    assert stats.kstest(place[end == 1], cdf).pvalue > _RARELY


def test_a_signal_is_that_of_its_place(frame, drawn):
    lowest, highest = frame.signal_range
    signal, end = np.asarray(drawn.signal), np.asarray(drawn.end)
    assert np.all(np.where(end == 0, signal == lowest, True))
    assert np.all(np.where(end == 2, signal == highest, True))
    found = np.asarray(frame.place(drawn.signal))
    inside = end == 1
    np.testing.assert_allclose(found[inside], np.asarray(drawn.place)[inside], atol=1e-12)


def test_neighbours_have_the_tau_of_their_copula(frame):
    """Without atoms Kendall's tau of the signals is the copula's; models far apart follow."""
    between = jnp.tile(jnp.array([0.0, 1.0, 0.0]), (3, 1))
    smooth = _TRUTH | {"atoms": between, "concentration": jnp.full((3, 2), 5.0)}
    found = simulate(jax.random.key(2), frame, smooth, _NUM_QUERIES, Gumbel, _PAIRS)
    place = np.asarray(found.place)
    # The standard error of tau is at most that of independent variables times three halves.
    error = 1.5 * 2 / 3 / np.sqrt(_NUM_QUERIES)
    for (first, second), tau in zip(_PAIRS, (0.3, 0.6), strict=True):
        counted = stats.kendalltau(place[:, first], place[:, second]).statistic
        assert abs(counted - tau) < _SURELY * error
    far = stats.kendalltau(place[:, 0], place[:, 2]).statistic
    assert 0.1 < far < 0.3


def test_labels_depend_on_both_signals(drawn):
    """Maximum likelihood finds intercept, slope and history again."""
    signal, correct = np.asarray(drawn.signal), np.asarray(drawn.correct)
    for model in range(3):
        design = np.stack([np.ones(_NUM_QUERIES), signal[:, model]], axis=1)
        truth = [float(_TRUTH["intercept"][model]), float(_TRUTH["slope"][model])]
        if model:
            own, before = signal[:, model], signal[:, model - 1]
            slope = np.cov(own, before)[0, 1] / np.var(own, ddof=1)
            scale = (before - slope * own).std()
            design = np.column_stack([design, (before - slope * own) / scale])
            truth.append(float(_TRUTH["history"][model - 1]))

        def minus_log_likelihood(b, design=design, y=correct[:, model]):
            log_odds = design @ b
            return np.sum(np.logaddexp(0, log_odds) - y * log_odds)

        found = optimize.minimize(minus_log_likelihood, np.zeros(design.shape[1])).x
        chance = 1 / (1 + np.exp(-design @ found))
        covariance = np.linalg.inv((design.T * chance * (1 - chance)) @ design)
        assert np.all(np.abs(found - truth) < _SURELY * np.sqrt(np.diag(covariance)))


def test_without_history_labels_depend_on_their_own_signal_alone(frame, drawn):
    """The same key gives the same confidences, and the first model has no predecessor."""
    plain = {name: value for name, value in _TRUTH.items() if name != "history"}
    without = simulate(jax.random.key(1), frame, plain, _NUM_QUERIES, Gumbel, _PAIRS)
    np.testing.assert_array_equal(without.signal, drawn.signal)
    np.testing.assert_array_equal(without.correct[:, 0], drawn.correct[:, 0])
    for model in (1, 2):
        own, before = np.asarray(without.signal[:, model]), np.asarray(without.signal[:, model - 1])
        chance = 1 / (1 + np.exp(-(_TRUTH["intercept"][model] + _TRUTH["slope"][model] * own)))
        score = before * (np.asarray(without.correct[:, model]) - chance)
        assert abs(score.mean()) < _SURELY * score.std() / np.sqrt(_NUM_QUERIES)


def test_draws_map_and_only_neighbours_are_read(frame, drawn):
    """`vmap` over draws gives each draw's own records; all pairs give the chain's, too."""
    wide = _TRUTH | {"tau": jnp.array([0.3, 0.9, 0.6]), "history": jnp.array([0.8, 9.0, -0.5])}
    other = wide | {"intercept": wide["intercept"] + 0.3}
    sites = jax.tree.map(lambda *leaves: jnp.stack(leaves), wide, other)
    every = pairs_of(3)
    residuals = pair_residuals(drawn, every)
    key = jax.random.key(1)
    found = jax.vmap(
        lambda one: simulate(key, frame, one, _NUM_QUERIES, Gumbel, residuals=residuals)
    )(sites)
    np.testing.assert_allclose(found.signal[0], drawn.signal, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.correct[0], drawn.correct)
    np.testing.assert_array_equal(found.end[1], drawn.end)
    assert np.all(found.correct[1] >= drawn.correct)
    assert np.any(found.correct[1] > drawn.correct)


def test_cells_have_weight_one_and_mean_costs(drawn):
    np.testing.assert_array_equal(drawn.asked, 1.0)
    np.testing.assert_array_equal(drawn.labelled, 1.0)
    np.testing.assert_array_equal(drawn.cost_usd, np.tile(_TRUTH["cost_usd"], (_NUM_QUERIES, 1)))
    assert np.all(np.isnan(drawn.latency_s))


@pytest.mark.parametrize(("a", "b"), [(0.05, 3.0), (0.3, 0.2), (400.0, 600.0)])
def test_places_are_exact_where_they_are_tiny(a, b):
    rank = np.array([1e-9, 1e-3, 0.2, 0.5, 0.99])
    law = BetaMixture(*(jnp.full((1,), part) for part in (1.0, a, b)))
    np.testing.assert_allclose(
        place_at(law, jnp.asarray(rank)), stats.beta(a, b).ppf(rank), rtol=1e-9, atol=1e-300
    )


def _prior_laws(priors):
    center = priors.concentration_center
    return {
        "intercept_mean": stats.norm(0, priors.intercept_scale),
        "intercept_spread": stats.lognorm(priors.spread_scale, scale=priors.intercept_spread),
        "slope_mean": stats.norm(priors.slope_center, priors.slope_scale),
        "slope_spread": stats.lognorm(priors.spread_scale, scale=priors.slope_spread),
        "weight": stats.beta(priors.weight_strength, priors.weight_strength),
        "low_center": stats.norm(-1, priors.center_scale),
        "gap": stats.halfnorm(scale=priors.gap_scale),
        "concentration": stats.lognorm(priors.concentration_scale, scale=center),
        "tau": stats.beta(priors.tau_strength, priors.tau_strength, scale=0.99),
        "history": stats.norm(0, priors.history_scale),
    }


@pytest.mark.slow
def test_prior_draws_follow_the_priors():
    priors = Priors()
    found = prior_draws(jax.random.key(7), 3, priors, Gumbel, _PAIRS, 2000)
    for name, law in _prior_laws(priors).items():
        values = np.asarray(found[name]).reshape(2000, -1)[:, 0]
        assert stats.kstest(values, law.cdf).pvalue > _RARELY, name
    # A coordinate of a Dirichlet variable is a beta variable; models stand around their pool.
    low = np.asarray(found["atoms"])[:, 1, 0]
    assert stats.kstest(low, stats.beta(0.5, 1.5).cdf).pvalue > _RARELY
    apart = (found["intercept"] - found["intercept_mean"][:, None]) / found["intercept_spread"][
        :, None
    ]
    assert stats.kstest(np.asarray(apart).ravel(), stats.norm.cdf).pvalue > _RARELY
    np.testing.assert_allclose(found["slope"], np.logaddexp(0, found["steepness"]))
