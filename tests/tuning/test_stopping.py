"""Backward induction against every policy there is on a tiny grid."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.cascade import (
    Outcome,
    Policy,
    PolicyArrays,
    Prices,
    chain_outcomes,
    loss,
    markov_chain,
)
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning import optimal_stopping
from tests.cases import toy_model

MODEL = toy_model()
THREE = MODEL.select(["a", "b", "d"])
TINY = markov_chain(THREE, 4)
FINE = markov_chain(MODEL, 64)
PRICES = {
    "errors": Prices(np.array([1e-3, 0.02, 0.1, 0.5, 3.0])),
    "latency": Prices(np.array([0.02, 0.1, 3.0]), np.full(3, 0.02)),
    "abstention": Prices(np.array([0.02, 0.1, 3.0]), np.zeros(3), np.array([5e-3, 0.02, 0.05])),
    "everything": Prices(np.array([0.1, 0.1]), np.array([0.0, 0.01]), np.array([0.03, np.inf])),
}


def per_cell(*options):
    """Every way of taking one of the options in each cell: (options ^ cells) x ... x cells."""
    options = np.broadcast_arrays(*options)
    cells = range(options[0].shape[-1])
    choices = itertools.product(range(len(options)), repeat=len(cells))
    return np.stack(
        [np.stack([options[c][..., g] for g, c in zip(cells, choice, strict=True)], axis=-1)
         for choice in choices]
    )  # fmt: skip


def best_of_all_policies(chain, asking, error, abstention):
    """Enumerates an action for every cell of every model: 256 x 81 x 16 policies, three starts."""
    kernel, mass = np.asarray(chain.kernel), np.asarray(chain.mass)
    stop = error * (1 - np.asarray(chain.confidence))
    give_up = np.full(stop.shape[1], min(abstention, 1e9))  # zero times infinity would be NaN
    last = per_cell(stop[2], give_up)
    second = per_cell(stop[1], give_up, asking[2] + last @ kernel[1, 2].T)
    first = per_cell(
        stop[0], give_up, asking[1] + second @ kernel[0, 1].T, asking[2] + last @ kernel[0, 2].T
    )
    assert first.shape == (256, 81, 16, 4)
    values = (first, second, last)
    return min(asking[j] + (value @ mass[j]).min() for j, value in enumerate(values))


@pytest.mark.parametrize("name", PRICES)
def test_value_is_that_of_the_best_of_all_policies(name):
    prices = PRICES[name]
    found = optimal_stopping(TINY, THREE.cost_usd, THREE.latency_s, prices)
    error, latency, abstention = np.broadcast_arrays(*prices)
    for p in range(error.size):
        asking = np.asarray(THREE.cost_usd) + latency[p] * np.asarray(THREE.latency_s)
        best = best_of_all_policies(TINY, asking, error[p], abstention[p])
        np.testing.assert_allclose(found.loss[p], best, rtol=1e-12)


def test_skips_a_model_that_is_not_worth_asking_on_the_way():
    """The middle one costs nearly as much as the last: hard queries go straight to the last."""
    cost = np.array([1e-3, 2.4e-2, 2.5e-2])
    prices = Prices(np.array([0.3]))
    found = optimal_stopping(TINY, jnp.asarray(cost), THREE.latency_s, prices)
    assert np.any(found.policies.actions[0, 0] == 2)
    np.testing.assert_allclose(
        found.loss[0], best_of_all_policies(TINY, cost, 0.3, np.inf), rtol=1e-12
    )


@pytest.mark.parametrize("name", PRICES)
def test_value_is_that_of_its_own_policy(name):
    prices = PRICES[name]
    found = optimal_stopping(FINE, MODEL.cost_usd, MODEL.latency_s, prices)
    outcome = chain_outcomes(MODEL, FINE, found.policies)
    np.testing.assert_allclose(loss(outcome, prices), found.loss, rtol=1e-12)


def test_is_never_worse_than_a_cascade_or_a_single_model():
    prices = PRICES["errors"]
    found = optimal_stopping(FINE, MODEL.cost_usd, MODEL.latency_s, prices).loss
    edges = np.asarray(FINE.edges)
    rivals = [Policy.single(name) for name in MODEL.models]
    rivals += [Policy.threshold_cascade(["a", "d"], [edges[0, g]]) for g in (10, 30, 50)]
    arrays = PolicyArrays(
        *(np.stack(p) for p in zip(*(r.to_arrays(MODEL.models, 2) for r in rivals), strict=True))
    )
    outcome = chain_outcomes(MODEL, FINE, arrays)
    losses = loss(Outcome(*(part[:, None] for part in outcome)), prices)
    assert np.all(found <= np.asarray(losses).min(axis=0) + 1e-12)


def test_loss_falls_when_a_price_falls():
    grid = np.geomspace(1e-3, 10, 25)
    by_error = optimal_stopping(FINE, MODEL.cost_usd, MODEL.latency_s, Prices(grid)).loss
    assert np.all(np.diff(by_error) >= 0)
    by_latency = optimal_stopping(FINE, MODEL.cost_usd, MODEL.latency_s, Prices(0.5, grid)).loss
    assert np.all(np.diff(by_latency) >= -1e-12)
    by_person = optimal_stopping(FINE, MODEL.cost_usd, MODEL.latency_s, Prices(0.5, 0.0, grid)).loss
    assert np.all(np.diff(by_person) >= -1e-12)
    # Concave in the price of an error: a minimum of straight lines.
    slopes = np.diff(by_error) / np.diff(grid)
    assert np.all(np.diff(slopes) <= 1e-9)


def test_seconds_without_a_price_may_be_unknown():
    prices = PRICES["errors"]
    found = optimal_stopping(FINE, MODEL.cost_usd, jnp.full(4, jnp.nan), prices)
    assert np.all(np.isfinite(found.loss))


def test_policies_are_valid_and_never_abstain_unless_priced():
    found = optimal_stopping(FINE, MODEL.cost_usd, MODEL.latency_s, PRICES["errors"]).policies
    for p in range(5):
        policy = Policy.from_arrays(PolicyArrays(*(np.asarray(x[p]) for x in found)), MODEL.models)
        assert not any("abstain" in rule.actions for rule in policy.rules.values())


def test_a_person_for_nothing_answers_everything():
    found = optimal_stopping(FINE, MODEL.cost_usd, MODEL.latency_s, Prices(1.0, 0.0, 0.0))
    np.testing.assert_allclose(found.loss, MODEL.cost_usd.min(), rtol=1e-12)


@pytest.mark.parametrize("width", [0.0, 1e-16, 1e-12, 1e-8])
def test_a_narrow_law_still_gives_policies(width):
    """Cells narrower than the distance of two floats must not become equal breakpoints."""
    law = MODEL.marginal
    atoms = (law.atom_low, law.atom_high)
    if width == 0:
        atoms = (law.atom_low.at[0].set(0.0), law.atom_high.at[0].set(1.0))
    law = eqx.tree_at(
        lambda m: (m.high, m.atom_low, m.atom_high), law, (law.high.at[0].set(0.2 + width), *atoms)
    )
    model = eqx.tree_at(lambda m: m.marginal, MODEL, law)
    prices = Prices(np.geomspace(1e-3, 3, 20))
    found = optimal_stopping(markov_chain(model, 64), model.cost_usd, model.latency_s, prices)
    assert np.all(np.isfinite(found.loss))
    for p in range(20):
        arrays = PolicyArrays(*(np.asarray(part[p]) for part in found.policies))
        Policy.from_arrays(arrays, model.models)


def test_value_has_the_derivatives_of_the_optimum():
    """In costs, prices and the model: the policy may be held fixed (envelope theorem)."""

    @jax.jit
    def value(change):
        def where(m):
            return m.copula.theta, m.marginal.interior.concentration1

        theta, shape = where(MODEL)
        leaves = theta * (1.0 + change[0]), shape * (1.0 + change[1])
        chain = markov_chain(eqx.tree_at(where, MODEL, leaves), 24)
        prices = Prices(0.3 + change[2:3], 0.01, 0.05 + change[3:4])
        cost = MODEL.cost_usd * (1.0 + change[4])
        return optimal_stopping(chain, cost, MODEL.latency_s, prices).loss[0]

    slopes = jax.grad(value)(jnp.zeros(5))
    assert np.all(slopes != 0)
    for i, slope in enumerate(slopes):
        step = 1e-6 * jnp.eye(5)[i]
        np.testing.assert_allclose(slope, (value(step) - value(-step)) / 2e-6, rtol=1e-5, atol=1e-8)


def test_a_pool_of_64_is_no_worse_for_60_models_too_dear_to_ask():
    prices = PRICES["everything"]
    cost = jnp.append(MODEL.cost_usd, jnp.full(60, 1e3))
    pool = MODEL.select([*MODEL.models, *(["d"] * 60)])
    found = optimal_stopping(markov_chain(pool, 16), cost, pool.latency_s, prices)
    few = optimal_stopping(markov_chain(MODEL, 16), MODEL.cost_usd, MODEL.latency_s, prices)
    np.testing.assert_allclose(found.loss, few.loss, rtol=1e-12)
    np.testing.assert_array_equal(found.policies.actions[:, :4], few.policies.actions)


def test_a_pool_too_large_for_memory_is_refused():
    with pytest.raises(InvalidInputError, match=r"takes 19 GB for 6 pairs of 4 models.* most 9128"):
        markov_chain(MODEL, 20_000)
