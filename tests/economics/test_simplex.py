"""Linear programs over mixtures, against HiGHS and against their own duals."""

import numpy as np
import pytest
from scipy.optimize import linprog

from jaxcascade.economics.simplex import best_shares


def instance(rng, kind):
    systems, limits = int(rng.integers(1, 50)), int(rng.integers(0, 6))
    objective, quantities = rng.random(systems), rng.random((limits, systems))
    if kind == "tied":  # few values: many systems alike, many corners at once
        objective, quantities = np.round(3 * objective) / 3, np.round(3 * quantities) / 3
    elif kind == "uneven":
        objective = np.exp(rng.normal(size=systems))
        quantities = 1e-4 * np.exp(rng.normal(size=(limits, systems)))
    elif kind == "trade-off" and limits:
        objective = 1.0 / (quantities.sum(axis=0) + 0.1)
    levels = rng.random(limits)
    bounds = np.array([np.quantile(*pair) for pair in zip(quantities, levels, strict=True)])
    return objective, quantities, np.round(3 * bounds) / 3 if kind == "tied" else bounds


@pytest.mark.parametrize("kind", ["random", "tied", "uneven", "trade-off"])
def test_the_optimum_is_that_of_highs_and_of_the_dual(kind):
    rng, feasible = np.random.default_rng(11), 0
    for _ in range(150):
        objective, quantities, bounds = instance(rng, kind)
        found = best_shares(objective, quantities, bounds, then=quantities.sum(axis=0))
        scale = np.abs(quantities).max(axis=1, initial=1e-6)
        expected = linprog(
            objective,
            A_ub=quantities / scale[:, None] if bounds.size else None,
            b_ub=bounds / scale if bounds.size else None,
            A_eq=np.ones((1, objective.size)),
            b_eq=[1.0],
        )
        assert (found is None) == (expected.status == 2)
        if found is None:
            continue
        feasible += 1
        value = objective @ found.shares
        assert value == pytest.approx(expected.fun, abs=1e-9 * np.abs(objective).max() + 1e-12)
        assert np.all(quantities @ found.shares <= bounds + 1e-9 * scale)
        assert found.shares.sum() == pytest.approx(1.0, abs=1e-12)
        assert np.count_nonzero(found.shares) <= bounds.size + 1
        # Weak duality: no mixture within the limits is below this, whatever the prices are.
        assert np.all(found.prices >= 0)
        dual = np.min(objective + found.prices @ (quantities - bounds[:, None]))
        assert dual == pytest.approx(value, abs=1e-8)
    assert feasible > 60


def test_five_thousand_systems_and_five_limits():
    rng = np.random.default_rng(0)
    objective, quantities, bounds = rng.random(5000), rng.random((5, 5000)), np.full(5, 0.2)
    found = best_shares(objective, quantities, bounds)
    expected = linprog(objective, quantities, bounds, np.ones((1, 5000)), [1.0])
    assert objective @ found.shares == pytest.approx(expected.fun, abs=1e-9)


def test_a_limit_at_the_least_value_is_within_reach():
    cost = 1e-4 * np.array([3.3, 1.1, 1.1, 9.9])
    error = np.array([0.1, 0.3, 0.2, 0.05])
    found = best_shares(error, cost[None], np.array([1.1e-4 * (1 - 1e-15)]))
    np.testing.assert_allclose(found.shares, [0, 0, 1, 0])
    assert best_shares(error, cost[None], np.array([1.0999e-4])) is None


def test_of_several_optima_the_second_objective_decides():
    found = best_shares(np.ones(3), np.zeros((1, 3)), np.ones(1), then=np.array([2.0, 1.0, 3.0]))
    np.testing.assert_allclose(found.shares, [0, 1, 0])
    assert found.prices == 0.0
