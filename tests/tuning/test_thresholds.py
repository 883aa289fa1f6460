"""Dynamic programming over chains against exhaustive search."""

import itertools

import jax
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
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning import (
    Chains,
    best_thresholds,
    rational_tuning,
    subcascades,
    thresholds_of_each,
)
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


def solve(grid, allowed, error=ERROR):
    return best_thresholds(grid, MODEL.cost_usd, jnp.asarray(error), allowed)


def test_all_subcascades_match_exhaustive_search():
    found = solve(COARSE, Chains.all_subcascades(4))
    for price, value in zip(ERROR, found.loss, strict=True):
        np.testing.assert_allclose(value, exhaustive(COARSE, subcascades(4, 1), price), rtol=1e-12)


@pytest.mark.parametrize("models", [(0, 1, 2, 3), (0, 3), (1, 2, 3), (2,)])
def test_one_chain_matches_exhaustive_search(models):
    found = solve(COARSE, Chains.each([models]))
    for price, value in zip(ERROR, found.loss, strict=True):
        np.testing.assert_allclose(value, exhaustive(COARSE, [models], price), rtol=1e-12)


def test_each_chain_matches_exhaustive_search():
    # Not in the order of their nodes, one of them twice, and two that share no end.
    chains = [(0, 1, 2, 3), (2,), (0, 3), (1, 2, 3), (0, 2), (0, 3), (0, 1, 3)]
    found = thresholds_of_each(COARSE, MODEL.cost_usd, jnp.asarray(ERROR), Chains.each(chains))
    expected = [[exhaustive(COARSE, [chain], price) for price in ERROR] for chain in chains]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-12)
    starts = np.broadcast_to([[chain[0]] for chain in chains], (len(chains), len(ERROR)))
    np.testing.assert_array_equal(found.policies.start, starts)


def test_the_best_of_each_is_the_best_of_all():
    chains = subcascades(4, 1)
    each = thresholds_of_each(FINE, MODEL.cost_usd, jnp.asarray(ERROR), Chains.each(chains))
    best = solve(FINE, Chains.all_subcascades(4))
    at = np.argmin(each.loss, axis=0)
    np.testing.assert_allclose(each.loss.min(axis=0), best.loss, rtol=1e-12)
    breakpoints = np.asarray(each.policies.breakpoints)[at, np.arange(len(ERROR))]
    np.testing.assert_array_equal(breakpoints, best.policies.breakpoints)


def test_loss_has_the_derivatives_of_its_policy():
    """The envelope theorem: in the price, the probability of an error; in a call, of making it."""

    def loss(error, asking):
        return best_thresholds(FINE, asking, error[None], Chains.all_subcascades(4)).loss[0]

    for price in ERROR:
        error = jnp.asarray(price)
        slopes = jax.grad(loss, (0, 1))(error, MODEL.cost_usd)
        step = 1e-5 * price
        wrong = (loss(error + step, MODEL.cost_usd) - loss(error - step, MODEL.cost_usd)) / 2 / step
        np.testing.assert_allclose(slopes[0], wrong, rtol=1e-6)
        # Loss is linear in prices of one scale, so by Euler it is what its slopes add up to.
        total = slopes[0] * error + slopes[1] @ MODEL.cost_usd
        np.testing.assert_allclose(total, loss(error, MODEL.cost_usd), rtol=1e-12)


@pytest.mark.parametrize("chains", [[], [()], [(1, 0)], [(0, 0, 1)], [(-1, 2)]])
def test_chains_that_are_none(chains):
    with pytest.raises(InvalidInputError, match="chain"):
        Chains.each(chains)


@pytest.mark.parametrize("allowed", [Chains.all_subcascades(4), Chains.each([range(4)])])
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
    bound = np.asarray(solve(FINE, Chains.each([range(4)]), grid).loss)
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
    return solve(FINE, Chains.each([range(4)]), np.full(6, price)).loss[0]
