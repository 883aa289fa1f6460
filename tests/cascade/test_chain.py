"""The Markov chain on a grid against simulation from the chain itself, and against integrals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.cascade import (
    Policy,
    Rule,
    chain_outcomes,
    expected_outcome,
    markov_chain,
    stack_policies,
)
from tests.cascade.oracle import Law
from tests.cases import toy_model

MODEL = toy_model()
THREE = MODEL.select(["a", "b", "d"])
N = 400_000

SKIPS = Policy(
    "a",
    {
        "a": Rule((0.35, 0.6, 0.8), ("abstain", "d", "b", "accept")),
        "b": Rule((0.5, 0.8), ("d", "accept", "abstain")),
        "d": Rule((0.4,), ("abstain", "accept")),
    },
)
CHAIN = Policy.threshold_cascade(["a", "b", "d"], [0.7, 0.75])


@functools.cache
def chain(num_cells):
    return markov_chain(MODEL, num_cells)


def predicted(policies, num_cells=256):
    arrays = stack_policies(policies, MODEL.models)
    return chain_outcomes(MODEL, chain(num_cells), arrays)


def simulate(policy, seed=0):
    """Draws each confidence given the last one only, through the inverse h-function."""
    names = THREE.models
    laws = [Law(THREE, j) for j in range(3)]
    key = jax.random.key(seed)
    at = np.full(N, names.index(policy.start))
    uniform = np.asarray(jax.random.uniform(key, (N,)))
    columns = {n: np.zeros(N) for n in ("error", "abstention", "cost_usd", "latency_s")}
    luck = np.random.default_rng(seed).random(N)
    for step in range(3):
        fresh = np.asarray(jax.random.uniform(jax.random.fold_in(key, step), (N,)))
        following = np.full(N, -1)
        moved = uniform.copy()
        for j, name in enumerate(names):
            here = at == j
            phi = laws[j].icdf(uniform)
            rule = policy.rules[name]
            action = np.array(rule.actions)[np.searchsorted(rule.breakpoints, phi, side="left")]
            columns["cost_usd"] += here * float(THREE.cost_usd[j])
            columns["latency_s"] += here * float(THREE.latency_s[j])
            columns["error"] += here & (action == "accept") & (luck > phi)
            columns["abstention"] += here & (action == "abstain")
            for later in range(j + 1, 3):
                going = here & (action == names[later])
                copula = jax.tree.map(lambda leaf, j=j, m=later: leaf[j, m], THREE.copula)
                v = np.asarray(copula.inverse_h_function(jnp.asarray(uniform), jnp.asarray(fresh)))
                moved = np.where(going, v, moved)
                following = np.where(going, later, following)
        at, uniform = following, moved
    return {n: (c.mean(), c.std() / N**0.5) for n, c in columns.items()}


@pytest.mark.parametrize("policy", [CHAIN, SKIPS], ids=["chain", "skips"])
def test_matches_simulation_from_the_chain(policy):
    found = predicted([policy])
    for member, (mean, error) in simulate(policy).items():
        # Five standard errors: one seed in two million.
        assert abs(float(getattr(found, member)[0]) - mean) <= 5 * error + 1e-12, member


def test_converges_with_the_square_of_the_cells():
    # Breakpoints where cells are narrow; see the next test for those in a thin tail.
    rules = SKIPS.rules | {"d": Rule((0.7,), ("abstain", "accept"))}
    policies = [Policy("a", rules), CHAIN]
    values = [np.asarray(predicted(policies, m).cost_usd) for m in (32, 64, 128, 512)]
    errors = [np.abs(v - values[-1]).max() for v in values[:-1]]
    assert errors[-1] < 1e-6
    assert errors[0] / errors[-1] > 6  # 16 in the limit; a breakpoint's place in its cell varies


def test_a_breakpoint_inside_a_cell_splits_its_mass_by_the_distribution_function():
    """In the thin tail below model d's first inner edge, where a cell is wide."""
    policy = Policy("d", {"d": Rule((0.45,), ("abstain", "accept"))})
    law = jax.tree.map(lambda leaf: leaf[3], MODEL.marginal)
    found = predicted([policy], 32).abstention[0]
    np.testing.assert_allclose(found, law.cdf(jnp.array(0.45)), atol=1e-5)


def test_one_and_two_models_agree_with_exact_integrals():
    policies = [
        Policy.single("b"),
        Policy.threshold_cascade(["a", "c"], [0.6]),
        Policy("b", {"b": Rule((0.5, 0.7), ("d", "abstain", "d")), "d": Rule((), ("accept",))}),
    ]
    found = predicted(policies)
    for at, policy in enumerate(policies):
        exact = expected_outcome(MODEL, policy)
        for member in ("error", "abstention", "cost_usd", "latency_s", "answered_by"):
            np.testing.assert_allclose(
                getattr(found, member)[at], getattr(exact, member), atol=1e-5, err_msg=member
            )


@pytest.mark.parametrize("threshold", [0.2, 0.95, 1.0, 0.1], ids=["low", "high", "above", "below"])
def test_a_breakpoint_on_an_atom_or_beyond_includes_the_atom(threshold):
    """Closed on the right: confidence equal to the threshold is passed on. Model a: 0.2 to 0.95."""
    policy = Policy.threshold_cascade(["a", "c"], [threshold])
    found, exact = predicted([policy]), expected_outcome(MODEL, policy)
    np.testing.assert_allclose(found.cost_usd[0], exact.cost_usd, rtol=1e-4)
    np.testing.assert_allclose(found.error[0], exact.error, atol=1e-4)


def test_grid_is_a_law():
    grid = chain(64)
    mass = np.asarray(grid.mass)
    np.testing.assert_allclose(mass.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(mass[:, 0], MODEL.marginal.atom_low, atol=1e-3)
    np.testing.assert_allclose(mass[:, -1], MODEL.marginal.atom_high, atol=1e-3)
    np.testing.assert_allclose(np.asarray(grid.pair_kernel).sum(axis=-1), 1, rtol=1e-9)
    assert np.all(np.asarray(grid.pair_kernel) >= 0)
    means = np.sum(mass * np.asarray(grid.confidence), axis=1)
    expected = jax.vmap(lambda law: law.mean())(MODEL.marginal)
    np.testing.assert_allclose(means, expected, rtol=1e-9)
    assert np.all(np.diff(grid.edges, axis=1)[:, 1:-1] > 0)


def test_kernel_carries_one_law_to_the_other():
    """Whatever the copula, the marginal of j pushed through the kernel is the marginal of l."""
    grid = chain(64)
    for j in range(4):
        for later in range(j + 1, 4):
            pushed = np.asarray(grid.mass[j]) @ np.asarray(grid.kernel[j, later])
            np.testing.assert_allclose(pushed, grid.mass[later], atol=1e-9)


def test_cells_hold_equal_mass_between_the_atoms():
    mass = np.asarray(chain(64).mass)[:, 1:-1]
    assert np.all(mass.max(axis=1) / mass.min(axis=1) < 1.2)
