"""Dynamic programming over chains against exhaustive search."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.cascade import (
    Policy,
    PolicyArrays,
    ThresholdTables,
    expected_outcome,
    expected_outcomes,
    grid_edges,
    threshold_tables,
)
from jaxcascade.tuning import Chains, best_thresholds, rational_tuning
from tests.cases import toy_model

MODEL = toy_model()
COARSE = threshold_tables(MODEL, grid_edges(MODEL, 6))
FINE = threshold_tables(MODEL, grid_edges(MODEL, 128))
COST = np.asarray(MODEL.cost_usd)
ERROR = np.array([1e-3, 0.01, 0.05, 0.2, 1.0, 5.0])


def chain_loss(tables, models, thresholds, price):
    """Cost + price x P(wrong) of one threshold cascade, model by model (eq. 5 to 11)."""
    reach, total, last = 1.0, 0.0, None
    for j, e in zip(models, [*thresholds, 0], strict=True):
        if last is None:
            level, wrong = tables.levels[j, e], tables.wrong[j, e]
        else:
            before, edge = last
            level = tables.levels_given[before, j, edge, e]
            wrong = tables.wrong_given[before, j, edge, e]
        total += reach * (COST[j] + price * wrong)
        reach, last = reach * level, (j, e)
    return total


def exhaustive(grid, chains, price):
    edges = range(grid.edges.shape[1])
    tables = ThresholdTables(*map(np.asarray, grid))
    return min(
        chain_loss(tables, models, thresholds, price)
        for models in chains
        for thresholds in itertools.product(edges, repeat=len(models) - 1)
    )


def subcascades(k):
    return [c for size in range(1, k + 1) for c in itertools.combinations(range(k), size)]


def solve(grid, allowed, error=ERROR):
    return best_thresholds(grid, MODEL.cost_usd, jnp.asarray(error), allowed)


def test_all_subcascades_match_exhaustive_search():
    found = solve(COARSE, Chains.all_subcascades(4))
    for price, value in zip(ERROR, found.loss, strict=True):
        np.testing.assert_allclose(value, exhaustive(COARSE, subcascades(4), price), rtol=1e-12)


@pytest.mark.parametrize("models", [(0, 1, 2, 3), (0, 3), (1, 2, 3), (2,)])
def test_one_chain_matches_exhaustive_search(models):
    found = solve(COARSE, Chains.only(models, 4))
    for price, value in zip(ERROR, found.loss, strict=True):
        np.testing.assert_allclose(value, exhaustive(COARSE, [models], price), rtol=1e-12)


@pytest.mark.parametrize("allowed", [Chains.all_subcascades(4), Chains.only(range(4), 4)])
def test_trace_is_the_policy_of_the_value(allowed):
    found = solve(COARSE, allowed)
    edges = np.asarray(COARSE.edges)
    for p, price in enumerate(ERROR):
        start, breakpoints, actions = (np.asarray(part[p]) for part in found.policies)
        models, thresholds = [int(start)], []
        while actions[models[-1], 0] >= 0:
            j = models[-1]
            thresholds.append(int(np.searchsorted(edges[j], breakpoints[j, 0])))
            models.append(int(actions[j, 0]))
        np.testing.assert_allclose(
            chain_loss(COARSE, models, thresholds, price), found.loss[p], rtol=1e-12
        )


def test_value_is_the_continuous_objective_of_its_policy():
    found = solve(FINE, Chains.all_subcascades(4))
    for p, price in enumerate(ERROR):
        arrays = PolicyArrays(*(np.asarray(part[p]) for part in found.policies))
        # Not by way of a Policy, which would leave out a model that passes everything on.
        outcome = expected_outcomes(MODEL, arrays)
        value = outcome.cost_usd + price * outcome.error
        # The rule's errors, of the order of 1e-12 here, times the price.
        np.testing.assert_allclose(value, found.loss[p], rtol=0, atol=1e-10 * price + 1e-15)


def test_loss_falls_with_the_price_and_with_freedom():
    grid = np.geomspace(1e-3, 10, 6)
    free = np.asarray(solve(FINE, Chains.all_subcascades(4), grid).loss)
    bound = np.asarray(solve(FINE, Chains.only(range(4), 4), grid).loss)
    assert np.all(np.diff(free) > 0)
    assert np.all(free <= bound + 1e-15)


LAMBDAS = np.geomspace(0.05, 50, 6)


def test_in_filling_inserts_geometric_means_where_thresholds_jump():
    plain = rational_tuning(MODEL, LAMBDAS, max_rounds=0)
    np.testing.assert_array_equal(plain.lambdas, LAMBDAS)
    expected = plain
    for _ in range(2):
        lambdas = []
        for p in range(len(expected.lambdas)):
            lambdas.append(expected.lambdas[p])
            if p + 1 < len(expected.lambdas):
                jump = np.abs(expected.levels[p + 1] - expected.levels[p]).max()
                if jump > 0.1:
                    lambdas.append(np.sqrt(expected.lambdas[p] * expected.lambdas[p + 1]))
        expected = rational_tuning(MODEL, np.array(lambdas), max_rounds=0)
    found = rational_tuning(MODEL, LAMBDAS, max_rounds=2)
    assert len(found.lambdas) > len(LAMBDAS)
    np.testing.assert_allclose(found.lambdas, expected.lambdas, rtol=1e-12)
    np.testing.assert_array_equal(found.thresholds, expected.thresholds)


def test_no_jump_no_insertion():
    found = rational_tuning(MODEL, LAMBDAS, largest_gap=1.1)
    np.testing.assert_array_equal(found.lambdas, LAMBDAS)


def test_levels_are_the_distribution_function_of_the_thresholds():
    found = rational_tuning(MODEL, LAMBDAS[::-1], max_rounds=0)
    assert np.all(np.diff(found.lambdas) > 0)
    for j in range(3):
        law = [np.asarray(x) for x in (FINE.edges[j], FINE.levels[j])]
        expected = [law[1][np.searchsorted(law[0], t)] for t in found.thresholds[:, j]]
        np.testing.assert_allclose(found.levels[:, j], expected)
    # The dearer a call against an error, the fewer queries the first model passes on.
    assert found.levels[0, 0] > found.levels[-1, 0]


def test_thresholds_beat_any_others():
    """The grid's answer against random thresholds of the continuous objective."""
    rng = np.random.default_rng(0)
    price = 0.2
    best = float(rational_tuning_loss(price))
    for _ in range(30):
        thresholds = rng.uniform([0.2, 0.25, 0.3], [0.95, 0.97, 0.99])
        outcome = expected_outcome(MODEL, Policy.threshold_cascade(MODEL.models, thresholds))
        assert best <= float(outcome.cost_usd + price * outcome.error) + 1e-4


def rational_tuning_loss(price):
    return solve(FINE, Chains.only(range(4), 4), np.full(6, price)).loss[0]
