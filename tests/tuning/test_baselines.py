"""Competitors against brute force over the same policies."""

import itertools
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.cascade import (
    Observations,
    Policy,
    Prices,
    loss,
    replayed_outcomes,
    stack_policies,
)
from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.tuning import (
    BEST_SINGLE,
    BayesianOptimisation,
    Chosen,
    GridSearch,
    SingleMixtures,
    bayesian_minimum,
)
from jaxcascade.tuning.baselines import _chain_loss, _complete_cells
from tests.cases import toy_model

MODEL = toy_model()
NUM_QUERIES = 60
WEIGHT = np.arange(NUM_QUERIES) % 3 / 2.0  # a third left out, the others unlike
ERROR = np.array([1e-4, 3e-3, 0.02, 0.1, 0.5, 5.0])
PRICES = Prices(ERROR, 0.0, np.inf)


def runs(k=4):
    """Recorded runs that know nothing of the model's laws."""
    rng = np.random.default_rng(1)
    shape = (NUM_QUERIES, k)
    correct = (rng.uniform(size=shape) < np.linspace(0.4, 0.9, k)).astype(float)
    confidence = np.clip(rng.beta(2.0 + 2 * correct, 2.0), 0.3, 0.999)
    cost = np.asarray(MODEL.cost_usd)[:k] * rng.uniform(0.5, 1.5, shape)
    parts = (np.log(confidence), correct, cost, rng.uniform(0.1, 1.0, shape))
    return Observations(*(jnp.asarray(part) for part in parts))


def pool(k):
    return MODEL.select(MODEL.models[:k])


def counted(model, policies, data, weight=WEIGHT):
    arrays = stack_policies(policies, model.models)
    confidence = model.calibrate(data.log_confidence)
    return replayed_outcomes(arrays, confidence, data, jnp.asarray(weight))


def losses(model, policies, data, prices=PRICES, weight=WEIGHT):
    return np.asarray(loss(counted(model, policies, data, weight), prices))


COARSE = GridSearch(step=0.125)


def all_candidates(model, data):
    """Every cascade of the coarse grid, as policies."""
    confidence = np.asarray(model.calibrate(data.log_confidence))[WEIGHT > 0]
    grid = np.quantile(confidence[:, :-1], np.arange(0, 1, COARSE.step), axis=0).T
    return [Policy.threshold_cascade(model.models, row) for row in itertools.product(*grid)]


@pytest.mark.parametrize("k", [2, 3, 4])
def test_grid_search_keeps_the_pareto_front_of_all_candidates(k):
    model, data = pool(k), runs(k)
    outcome = counted(model, all_candidates(model, data), data)
    cost, error = np.asarray(outcome.cost_usd), np.asarray(outcome.error)
    as_cheap = cost <= cost[:, None] * (1 + 1e-12)
    as_good = error <= error[:, None] + 1e-12
    better = (cost < cost[:, None] * (1 - 1e-12)) | (error < error[:, None] - 1e-12)
    undominated = ~(as_cheap & as_good & better).any(axis=1)
    # Candidates that do the same to every query are one point.
    points = np.unique(np.round([cost[undominated], error[undominated]], 12), axis=1)
    found = COARSE.front(model, data, jnp.asarray(WEIGHT))
    np.testing.assert_allclose([found.cost_usd, found.error], points, rtol=0, atol=1e-11)
    assert len(found.policies) > 3


def test_grid_search_reports_what_its_policies_do():
    data = runs()
    found = COARSE.front(MODEL, data, jnp.asarray(WEIGHT), latency_price=0.01)
    outcome = counted(MODEL, found.policies, data)
    np.testing.assert_allclose(found.error, outcome.error, rtol=1e-12)
    cost = np.asarray(outcome.cost_usd) + 0.01 * np.asarray(outcome.latency_s)
    np.testing.assert_allclose(found.cost_usd, cost, rtol=1e-12)
    assert np.all(np.diff(found.cost_usd) > 0)
    assert np.all(np.diff(found.error) < 0)


def test_grid_search_picks_the_best_candidate_at_each_price():
    model, data = pool(3), runs(3)
    every = all_candidates(model, data)
    best = np.min([losses(model, [policy] * ERROR.size, data) for policy in every], axis=0)
    picked = COARSE.policies(model, data, jnp.asarray(WEIGHT), PRICES)
    np.testing.assert_allclose(losses(model, picked, data), best, rtol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    data = runs()
    whole = COARSE.front(MODEL, data, jnp.asarray(WEIGHT))
    monkeypatch.setattr("jaxcascade.tuning.baselines._BLOCK", 8)
    blocks = COARSE.front(MODEL, data, jnp.asarray(WEIGHT))
    assert blocks.policies == whole.policies


def test_counting_leaves_out_queries_that_lack_a_model():
    data, model = runs(3), pool(3)
    gap = np.arange(NUM_QUERIES) % 5 == 0
    holes = data._replace(correct=data.correct.at[gap, 1].set(jnp.nan))
    found = COARSE.front(model, holes, jnp.asarray(WEIGHT))
    without = COARSE.front(model, data, jnp.asarray(np.where(gap, 0.0, WEIGHT)))
    assert found.policies == without.policies
    nothing = data._replace(correct=data.correct.at[:, 1].set(jnp.nan))
    with pytest.raises(RecordsError, match="all of its 3 models"):
        COARSE.front(model, nothing, jnp.asarray(WEIGHT))


def test_a_mixture_of_singles_never_beats_the_better_single_at_a_price():
    data = runs()
    mixed = SingleMixtures().policies(MODEL, data, jnp.asarray(WEIGHT), PRICES)
    single = Chosen(BEST_SINGLE).policies(MODEL, data, jnp.asarray(WEIGHT), PRICES)
    assert mixed == single
    assert len({policy.start for policy in mixed}) > 1


def test_the_hull_lies_below_every_single_model_and_is_convex():
    data = runs()
    hull = SingleMixtures().front(MODEL, data, jnp.asarray(WEIGHT))
    singles = counted(MODEL, [Policy.single(name) for name in MODEL.models], data)
    below = np.interp(singles.cost_usd, hull.cost_usd, hull.error)
    assert np.all(below <= np.asarray(singles.error) + 1e-15)
    slopes = np.diff(hull.error) / np.diff(hull.cost_usd)
    assert np.all(slopes < 0)
    assert np.all(np.diff(slopes) > 0)
    assert len(hull.policies) > 2


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0, 1.5])
def test_a_mixture_spends_its_budget(share):
    mixtures = SingleMixtures()
    hull = mixtures.front(MODEL, runs(), jnp.asarray(WEIGHT))
    budget = hull.cost_usd[0] + share * (hull.cost_usd[1] - hull.cost_usd[0])
    found = mixtures.within(hull, budget)
    at = {policy.start: cost for policy, cost in zip(hull.policies, hull.cost_usd, strict=True)}
    spent = (1 - found.share) * at[found.cheap.start] + found.share * at[found.dear.start]
    assert spent == pytest.approx(budget, rel=1e-12)


def test_a_budget_beyond_the_dearest_or_below_the_cheapest():
    mixtures = SingleMixtures()
    hull = mixtures.front(MODEL, runs(), jnp.asarray(WEIGHT))
    found = mixtures.within(hull, 1e6)
    assert found.cheap == found.dear == hull.policies[-1]
    with pytest.raises(InvalidInputError, match=r"budget_usd.*cover the cheapest"):
        mixtures.within(hull, 0.5 * hull.cost_usd[0])


def test_the_hull_prices_seconds_and_judges_models_where_they_were_asked():
    data = runs()
    holes = data._replace(
        log_confidence=data.log_confidence.at[::2, 3].set(jnp.nan),
        cost_usd=data.cost_usd.at[::2, 3].set(jnp.nan),
    )
    prices = Prices(ERROR, 0.02, np.inf)
    found = SingleMixtures().policies(MODEL, holes, jnp.asarray(WEIGHT), prices)
    every = [Policy.single(name) for name in MODEL.models]
    best = np.min([losses(MODEL, [p] * ERROR.size, holes, prices) for p in every], axis=0)
    np.testing.assert_allclose(losses(MODEL, found, holes, prices), best, rtol=1e-12)


@pytest.mark.parametrize("thresholds", [(0.5, 0.6, 0.7), (0.0, 0.6, 0.7), (1.0, 1.0, 1.0)])
def test_the_loss_that_is_searched_is_that_of_a_replay(thresholds):
    data = runs()
    policy = Policy.threshold_cascade(MODEL.models, thresholds)
    cells = _complete_cells(MODEL, data, jnp.asarray(WEIGHT), 0.02)
    prices = Prices(ERROR, 0.02, np.inf)
    found = [_chain_loss(cells, np.array(thresholds), price) for price in ERROR]
    np.testing.assert_allclose(
        found, losses(MODEL, [policy] * ERROR.size, data, prices), rtol=1e-12
    )


def test_bayesian_optimisation_comes_near_the_grid():
    """Same training loss, same quantiles: with trials it falls towards the grid's best."""
    pytest.importorskip("optuna", reason="Optuna is not installed")
    data, model = runs(3), pool(3)
    weight = jnp.asarray(WEIGHT)
    best = losses(model, GridSearch().policies(model, data, weight, PRICES), data)
    few, many = (
        losses(model, BayesianOptimisation(0, count).policies(model, data, weight, PRICES), data)
        for count in (4, 60)
    )
    assert np.mean(many / best) < 1.03
    assert np.mean(many / best) < np.mean(few / best)


def test_bayesian_minimum_is_the_same_for_a_seed_and_near_the_true_one():
    pytest.importorskip("optuna", reason="Optuna is not installed")

    def bowl(x):
        return float(np.sum((x - [0.3, 0.7]) ** 2))

    found = bayesian_minimum(bowl, 2, 60, seed=3)
    np.testing.assert_array_equal(found, bayesian_minimum(bowl, 2, 60, seed=3))
    # 60 random points of the square come within 0.073 on average.
    np.testing.assert_allclose(found, [0.3, 0.7], atol=0.05)
    assert not np.array_equal(found, bayesian_minimum(bowl, 2, 60, seed=4))


def test_without_optuna_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxcascade\[bench\]'"):
        bayesian_minimum(lambda x: 0.0, 1, 1, seed=0)


def test_a_grid_search_of_too_many_models_or_none_is_refused():
    with pytest.raises(InvalidInputError, match=r"2 to 5 models.*has 1"):
        COARSE.front(pool(1), runs(1), jnp.asarray(WEIGHT))
    six = [MODEL.models[0]] * 6
    with pytest.raises(InvalidInputError, match=r"2 to 5 models.*has 6"):
        COARSE.front(MODEL.select(six), runs(), jnp.asarray(WEIGHT))
    with pytest.raises(InvalidInputError, match=r"`step` must lie in \(0, 1\); got 0"):
        GridSearch(0.0).front(MODEL, runs(), jnp.asarray(WEIGHT))


@pytest.mark.parametrize("rival", [SingleMixtures(), COARSE, BayesianOptimisation(0, 1)])
def test_several_prices_of_a_second_are_refused(rival):
    prices = Prices(ERROR, np.linspace(0, 1, 6), np.inf)
    with pytest.raises(InvalidInputError, match=r"prices.latency.*6 different"):
        rival.policies(MODEL, runs(), jnp.asarray(WEIGHT), prices)
