"""Tables of draws against exact integrals, against simulation, and in policies."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.cascade import (
    Policy,
    Rule,
    expected_outcome,
    observations,
    replay,
    stack_policies,
    threshold_tables,
)
from jaxcascade.posterior import draw_tables, policy_draws, shared_grid
from tests.posterior.conftest import MODELS


def one_draw(posterior, number):
    sites = jax.tree.map(lambda leaf: leaf[number], posterior.sites)
    return sites, jax.tree.map(lambda leaf: leaf[number], posterior.models())


def own_confidence(posterior, sites, reference):
    """What a draw calls the confidences that the reference calls `reference`, a row per model."""
    inside = (reference > 0) & (reference < 1)
    signal = posterior.frame.signal_of(jnp.where(inside, reference, 0.5).T).T
    own = jax.nn.sigmoid(sites["intercept"][:, None] + sites["slope"][:, None] * signal)
    return jnp.where(inside, own, reference)


def errors(posterior, sites, model, num_cells):
    grid = shared_grid(posterior, num_cells)
    found = draw_tables(posterior, grid, sites, history=False)
    exact = threshold_tables(model, own_confidence(posterior, sites, grid.edges))
    # Above the first edge: below it there is nothing to condition on.
    return {
        name: float(jnp.max(jnp.abs(getattr(found, name) - getattr(exact, name))[..., 1:, :]))
        for name in ("levels", "wrong", "levels_given", "wrong_given")
    }


@pytest.mark.slow
def test_tables_are_the_exact_integrals_but_for_the_grid(posterior):
    sites, model = one_draw(posterior, 4)
    coarse, fine = (errors(posterior, sites, model, n) for n in (24, 96))
    assert fine["levels"] < 1e-9
    assert fine["levels_given"] < 1e-9
    # The rule in a cell is of second order: four times the cells, a sixteenth of the error.
    for name in ("wrong", "wrong_given"):
        assert fine[name] < 1e-3
        assert fine[name] < coarse[name] / 4


def test_history_of_zero_changes_nothing(posterior):
    sites, _ = one_draw(posterior, 2)
    grid = shared_grid(posterior, 24)
    without = draw_tables(posterior, grid, sites, history=False)
    blank = sites | {"history": jnp.zeros_like(sites["history"])}
    zero = draw_tables(posterior, grid, blank, history=True)
    # Cells below an edge that nothing lies under have no law of their own.
    for a, b in zip(without, zero, strict=True):
        np.testing.assert_allclose(a[..., 1:, :], b[..., 1:, :], atol=1e-12)
    told = draw_tables(posterior, grid, sites | {"history": jnp.ones(3)}, history=True)
    assert float(jnp.max(jnp.abs(told.wrong_given - without.wrong_given))) > 0.01


@pytest.mark.slow
def test_history_is_that_of_simulated_queries(posterior):
    """Queries drawn from one draw's laws, with labels that know the model asked before."""
    sites, model = one_draw(posterior, 6)
    sites = sites | {"history": jnp.array([0.6, -0.4, 0.5])}
    grid = shared_grid(posterior, 48)
    tables = draw_tables(posterior, grid, sites)
    pair, label = jax.random.split(jax.random.key(0))
    count, (j, after) = 400_000, (0, 1)
    copula = jax.tree.map(lambda leaf: leaf[j, after], model.copula)
    levels = copula.sample(pair, (count,)).T
    own = [
        jax.tree.map(lambda leaf, m=m: leaf[m], model.marginal).icdf(level)
        for m, level in zip((j, after), levels, strict=True)
    ]
    signal = [
        (jnp.log(x) - jnp.log1p(-x) - sites["intercept"][m]) / sites["slope"][m]
        for m, x in zip((j, after), own, strict=True)
    ]
    shift, slope = (matrix[j, after] for matrix in posterior.history_of(sites))
    log_odds = sites["intercept"][after] + sites["slope"][after] * signal[1]
    log_odds = log_odds + shift * (signal[0] - slope * signal[1])
    wrong = jax.random.uniform(label, (count,)) > jax.nn.sigmoid(log_odds)
    for g, h in ((12, 20), (30, 10), (40, 35)):
        edges = own_confidence(posterior, sites, grid.edges)
        below = np.asarray(own[0] <= edges[j, g])
        hit = np.asarray((own[1] > edges[after, h]) & wrong)
        expected = hit[below].mean()
        noise = np.sqrt(expected * (1 - expected) / below.sum())
        assert abs(float(tables.wrong_given[j, after, g, h]) - expected) < 5 * noise + 1e-3


@pytest.mark.slow
def test_policies_are_predicted_as_the_exact_recursion_does(posterior, few_records):
    models = posterior.frame.models
    policies = [
        Policy.single(models[1]),
        Policy.threshold_cascade(list(models[:2]), [0.6]),
        Policy.threshold_cascade(list(models), [0.55, 0.72]),
    ]
    found = policy_draws(posterior.thin(3), stack_policies(policies, models), history=False)
    for row, number in enumerate((0, 100, 199)):
        sites, model = one_draw(posterior, number)
        for column, policy in enumerate(policies):
            moved = translated(posterior, sites, policy)
            exact = expected_outcome(model, moved)
            assert float(found.error[row, column]) == pytest.approx(float(exact.error), abs=1e-3)
            assert float(found.cost_usd[row, column]) == pytest.approx(
                float(exact.cost_usd), rel=1e-6
            )


def translated(posterior, sites, policy):
    """The same policy, its breakpoints on a draw's own confidences."""
    rules = {}
    for name, rule in policy.rules.items():
        at = posterior.frame.models.index(name)
        edges = np.full((3, len(rule.breakpoints)), 0.5)
        edges[at] = rule.breakpoints
        own = own_confidence(posterior, sites, jnp.asarray(edges))[at]
        rules[name] = Rule(tuple(np.asarray(own).tolist()), rule.actions)
    return Policy(policy.start, rules)


def test_policies_that_give_up_are_predicted_too(posterior):
    models = posterior.frame.models
    first, second = models[:2]
    policy = Policy(
        first,
        {
            first: Rule((0.45, 0.7), ("abstain", second, "accept")),
            second: Rule((0.5,), ("abstain", "accept")),
        },
    )
    found = policy_draws(posterior.thin(2), stack_policies([policy], models))
    for row, number in enumerate((0, 199)):
        sites, model = one_draw(posterior, number)
        exact = expected_outcome(model, translated(posterior, sites, policy))
        for name in ("error", "abstention"):
            value = float(getattr(found, name)[row, 0])
            assert value == pytest.approx(float(getattr(exact, name)), abs=2e-3)


def test_translated_policies_take_the_same_ways(posterior, few_records):
    """A policy on a frontier's own calibrators and on the reference treats every query alike."""
    records = few_records.select(posterior.frame.models)
    data, models = observations(records), posterior.frame.models
    calibrator = posterior.frame.calibrator(jnp.array([0.3, -0.2, 1.0]), jnp.array([0.8, 2.0, 0.5]))
    policy = Policy.threshold_cascade(list(models), [0.5, 0.7])
    arrays = stack_policies([policy], models)
    own = jax.vmap(lambda one, x: one(x), (0, 1), 1)(calibrator, data.log_confidence)
    moved = posterior.frame.translate(jax.tree.map(jnp.asarray, arrays), calibrator)
    reference = posterior.frame.confidence(posterior.frame.signal(data.log_confidence))
    one, other = replay(arrays, own, data), replay(moved, reference, data)
    np.testing.assert_array_equal(one.route.ended_by, other.route.ended_by)
    np.testing.assert_array_equal(one.cost_usd, other.cost_usd)


def test_a_constant_confidence_is_on_one_side_of_any_threshold(posterior):
    frame = posterior.frame
    flat = dataclasses.replace(
        frame, lowest=frame.lowest.at[0].set(1.0), highest=frame.highest.at[0].set(1.0)
    )
    constant = dataclasses.replace(posterior, frame=flat)
    grid = shared_grid(constant, 16)
    sites, _ = one_draw(posterior, 0)
    tables = draw_tables(constant, grid, sites)
    np.testing.assert_array_equal(tables.levels[0, 0], 0.0)
    np.testing.assert_allclose(tables.levels[0, -1], 1.0)
    assert set(np.unique(np.round(np.asarray(tables.levels[0]), 12))) <= {0.0, 1.0}
    assert MODELS[0] in posterior.frame.models
