"""The best thresholds against finer grids, a local optimiser, other integrals and re-optimising."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jaxcascade.cascade import PolicyArrays, expected_outcomes, grid_edges, threshold_tables
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning import (
    Chains,
    Path,
    best_thresholds,
    differentiable_thresholds,
    optimal_thresholds,
    polished_thresholds,
    threshold_loss,
    thresholds_of_each,
)
from tests.cases import MARGINALS, stacked, toy_model

MODEL = toy_model()
ERROR = jnp.asarray(np.geomspace(0.01, 5.0, 24))
ALL = Chains.all_subcascades(4)
SMOOTH = ("two-atoms", "no-atoms", "u-shaped", "two-atoms")
NARROW = ("narrow-in-broad",) * 4
NO_ROOM = ("all-atoms", "one-point", "narrow-in-broad", "two-atoms")


def solve(model, allowed=ALL, error=ERROR, cost=MODEL.cost_usd):
    """In one shape for all tests, since most of their time is compilation."""
    return optimal_thresholds(model, cost, error, allowed, 48)


@functools.cache
def grid(num_cells=48):
    return threshold_tables(MODEL, grid_edges(MODEL, num_cells, 0.5))


@pytest.mark.slow
def test_is_the_optimum_of_a_finer_grid():
    """From 48 cells, whose own optimum is up to 6e-5 of the price of an error too high."""
    fine = optimal_thresholds(MODEL, MODEL.cost_usd, ERROR, ALL, 160)
    gap = np.asarray((solve(MODEL).loss - fine.loss) / ERROR)
    assert np.abs(gap).max() < 1e-8
    coarse = best_thresholds(grid(), MODEL.cost_usd, ERROR, ALL)
    assert np.asarray((coarse.loss - fine.loss) / ERROR).max() > 1e-5


@pytest.mark.parametrize("names", [SMOOTH, NARROW, NO_ROOM], ids=["smooth", "narrow", "no room"])
def test_grid_is_never_better(names):
    """Nor where so few cells are a bad guide, or where thresholds have nowhere to move."""
    model = eqx.tree_at(lambda m: m.marginal, MODEL, stacked([MARGINALS[n] for n in names]))
    tables = threshold_tables(model, grid_edges(model, 7))
    before = best_thresholds(tables, model.cost_usd, ERROR, ALL)
    after = polished_thresholds(model, tables, model.cost_usd, ERROR, before)
    gain = np.asarray((before.loss - after.loss) / ERROR)
    assert gain.min() >= -1e-8  # the certified error of the grid's own integrals


@pytest.mark.slow
def test_each_chain_is_polished():
    chains = [(0, 1, 2, 3), (0, 3), (1, 2, 3)]
    each = thresholds_of_each(grid(), MODEL.cost_usd, ERROR, Chains.each(chains))
    found = polished_thresholds(MODEL, grid(), MODEL.cost_usd, ERROR, each)
    gain = np.asarray((each.loss - found.loss) / ERROR)
    assert gain.min() >= -1e-10
    assert gain.max() > 1e-6
    alone = solve(MODEL, Chains.each(chains[:1]))
    np.testing.assert_allclose(found.loss[0], alone.loss, rtol=1e-10)
    np.testing.assert_array_equal(found.policies.start[:, 0], [0, 0, 1])


def test_loss_is_what_is_expected_of_the_policy():
    found = solve(MODEL)
    outcome = jax.vmap(lambda policy: expected_outcomes(MODEL, policy))(found.policies)
    np.testing.assert_allclose(outcome.cost_usd + ERROR * outcome.error, found.loss, rtol=1e-10)


def test_no_local_optimum_is_better_and_some_are_much_worse():
    """L-BFGS-B from the midpoint, as published: it ends up in another valley at some prices."""
    models = jnp.array([0, 1, 2, 3])
    lowest, highest = (np.asarray(part)[:3] for part in (MODEL.marginal.low, MODEL.marginal.high))

    @jax.jit
    def loss_and_slope(thresholds, price):
        def loss(free):
            path = Path(models, jnp.append(free, -jnp.inf))
            return threshold_loss(MODEL, MODEL.cost_usd, price, path) / price

        return jax.value_and_grad(loss)(thresholds)

    worse = []
    full = solve(MODEL, Chains.each([range(4)]))
    for price, loss in zip(np.asarray(ERROR)[::3], np.asarray(full.loss)[::3], strict=True):
        local = minimize(
            lambda t, price=price: [np.asarray(x) for x in loss_and_slope(t, price)],
            0.5 * (lowest + highest),
            jac=True,
            bounds=list(zip(lowest + 1e-3, highest - 1e-3, strict=True)),
        )
        worse.append(local.fun - loss / price)
    assert min(worse) > -1e-9
    assert max(worse) > 1e-4


@pytest.mark.slow
def test_draws_of_a_model_are_a_batch():
    theta = MODEL.copula.theta * jnp.array([1.0, 1.2])[:, None, None]
    models = [eqx.tree_at(lambda m: m.copula.theta, MODEL, one) for one in theta]
    draws = eqx.filter_vmap(solve)(stacked(models))
    for draw, model in enumerate(models):
        np.testing.assert_allclose(draws.loss[draw], solve(model).loss, rtol=1e-10)


def test_too_few_cells_are_refused():
    tables = threshold_tables(MODEL, grid_edges(MODEL, 6))
    found = best_thresholds(tables, MODEL.cost_usd, ERROR, ALL)
    with pytest.raises(InvalidInputError, match=r"at least 8 edges, 7 cells.* they have 7"):
        polished_thresholds(MODEL, tables, MODEL.cost_usd, ERROR, found)


# --- Derivatives -------------------------------------------------------------------------------


def moved(change):
    """Cost, price of an error, one copula, one shape and one atom, each changed a little."""
    where = lambda m: (  # noqa: E731
        m.copula.theta,
        m.marginal.interior.concentration1,
        m.marginal.atom_low,
    )
    theta, shape, atom = where(MODEL)
    leaves = (
        theta.at[0, 2].add(change[0]),
        shape.at[2, 1].add(change[1]),
        atom.at[3].add(change[2]),
    )
    return (
        eqx.tree_at(where, MODEL, leaves),
        MODEL.cost_usd.at[2].add(change[3]),
        0.2 + change[4],
    )


STEPS = np.array([1e-4, 1e-4, 1e-4, 1e-6, 1e-4])


@pytest.mark.slow
def test_derivatives_are_those_of_optimising_again():
    """Of the loss by the envelope theorem, of the thresholds by the implicit function theorem."""

    def optimum(change, policy):
        one = differentiable_thresholds(*moved(change), policy)
        both = jnp.append(one.policies.breakpoints[jnp.array([0, 2]), 0], one.loss)
        return both, both

    optimum_and_slopes = jax.jit(jax.jacfwd(optimum, has_aux=True))

    def policy(change):
        model, cost, price = moved(change)
        found = solve(model, Chains.each([(0, 2, 3)]), jnp.full_like(ERROR, price), cost)
        return PolicyArrays(*(part[0] for part in found.policies))

    here = policy(np.zeros(5))
    assert np.all(np.isfinite(here.breakpoints[jnp.array([0, 2]), 0]))
    slopes, _ = optimum_and_slopes(jnp.zeros(5), here)
    for i, step in enumerate(STEPS):
        change = step * np.eye(5)[i]
        up, down = (optimum_and_slopes(jnp.asarray(c), policy(c))[1] for c in (change, -change))
        # Central differences: of the second order in the step, which is 1e-4 of a scale.
        np.testing.assert_allclose(slopes[:, i], (up - down) / (2 * step), rtol=1e-4, atol=1e-6)
