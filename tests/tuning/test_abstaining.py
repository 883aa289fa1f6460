"""Pairs that give up: their prediction against exact integrals, their thresholds by brute force."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.cascade import (
    Outcome,
    PolicyArrays,
    Prices,
    expected_outcomes,
    grid_edges,
    loss,
    threshold_tables,
)
from jaxcascade.tuning.abstaining import abstaining_pair_outcomes, best_abstaining_pairs
from tests.cases import toy_model

MODEL = toy_model()
ERROR, PERSON = np.array([0.05, 0.3, 2.0, 2.0]), np.array([0.02, 0.06, 0.2, np.inf])
FEW = 5


@pytest.fixture(scope="module")
def tables():
    return threshold_tables(MODEL, grid_edges(MODEL, 16))


@pytest.fixture(scope="module")
def found(tables):
    return best_abstaining_pairs(tables, MODEL.cost_usd, ERROR, PERSON, FEW)


def test_what_is_looked_up_is_what_is_integrated(tables, found):
    outcome = abstaining_pair_outcomes(MODEL, tables, found)
    assert float(outcome.abstention.max()) > 0.1
    for row in range(len(found.start)):
        exact = expected_outcomes(MODEL, PolicyArrays(*(jnp.asarray(p)[row] for p in found)))
        for name in Outcome._fields:
            np.testing.assert_allclose(
                getattr(outcome, name)[row], getattr(exact, name), atol=1e-9, err_msg=name
            )


def test_no_other_thresholds_on_the_grid_lose_less(tables, found):
    outcome = abstaining_pair_outcomes(MODEL, tables, found)
    k, p = len(MODEL.models), ERROR.size
    lost = loss(outcome, Prices(np.tile(ERROR, 6), 0.0, np.tile(PERSON, 6))).reshape(6, p)
    edges = np.asarray(tables.edges)
    inner = np.unique(np.linspace(1, edges.shape[1] - 2, FEW).astype(int))
    tried = [0, *inner, edges.shape[1] - 1]
    for number, (first, second) in enumerate(itertools.combinations(range(k), 2)):
        ways = [w for w in itertools.product(tried, repeat=3) if w[0] <= w[1]]
        a, b, c = np.array(ways).T
        low, high, last = edges[first, a], edges[first, b], edges[second, c]
        breakpoints = np.full((len(ways), k, 2), np.inf)
        actions = np.full((len(ways), k, 3), -1)
        breakpoints[:, first] = np.stack([low, high], axis=1)
        breakpoints[:, second, 0] = last
        actions[:, first], actions[:, second, 0] = (-2, second, -1), -2
        others = PolicyArrays(np.full(len(ways), first), breakpoints, actions)
        each = abstaining_pair_outcomes(MODEL, tables, others)
        columns = Outcome(*(jnp.asarray(part)[:, None] for part in each[:4]), each.answered_by)
        least = np.min(np.asarray(loss(columns, Prices(ERROR, 0.0, PERSON))), axis=0)
        # Asking the second alone, where the first would pass everything on, saves its call.
        assert np.all(lost[number] <= least + 1e-12)
        assert np.all(lost[number] >= least - float(MODEL.cost_usd[first]) - 1e-12)
    # Nobody gives up at an infinite price, and somebody gives up early at another.
    by_price = np.asarray(outcome.abstention).reshape(6, p)
    assert np.all(by_price[:, 3] == 0)
    start = np.asarray(found.start)
    assert np.isfinite(np.asarray(found.breakpoints)[np.arange(6 * p), start, 0]).any()
