"""The O(k) expectation against integration, simulation and a slow second implementation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats
from scipy.integrate import quad

from jaxcascade.cascade import (
    ABSTAIN,
    Outcome,
    Policy,
    PolicyArrays,
    Prices,
    Rule,
    expected_outcome,
    expected_outcomes,
    loss,
)
from jaxcascade.errors import UnknownModelError
from tests.cascade.oracle import Law, agrees_with, gumbel_sample, threshold_markov
from tests.cases import toy_model

MODEL = toy_model()

SINGLE = Policy.single("b")
PAIR = Policy.threshold_cascade(["a", "c"], [0.6])
POLICIES = {
    "single": SINGLE,
    "single-abstains": Policy("b", {"b": Rule((0.4, 0.8), ("abstain", "accept", "abstain"))}),
    "pair": PAIR,
    "pair-of-distant": Policy.threshold_cascade(["b", "d"], [0.85]),
    "fail-fast": Policy(
        "a",
        {
            "a": Rule((0.4, 0.7), ("abstain", "c", "accept")),
            "c": Rule((0.5,), ("abstain", "accept")),
        },
    ),
    "chain-of-3": Policy.threshold_cascade(["a", "b", "d"], [0.7, 0.8]),
    "chain-of-4": Policy.threshold_cascade(["a", "b", "c", "d"], [0.8, 0.75, 0.9]),
    "skips": Policy(
        "a",
        {
            "a": Rule((0.35, 0.6, 0.8), ("d", "c", "b", "accept")),
            "b": Rule((0.5,), ("d", "accept")),
            "c": Rule((0.45, 0.8), ("abstain", "d", "accept")),
            "d": Rule((0.4,), ("abstain", "accept")),
        },
    ),
    "accepts-in-the-middle": Policy(
        "b", {"b": Rule((0.5, 0.7), ("d", "accept", "d")), "d": Rule((), ("accept",))}
    ),
    "breakpoints-on-atoms": Policy.threshold_cascade(["a", "b", "c"], [0.2, 0.97]),
    "breakpoints-beyond": Policy.threshold_cascade(["a", "b", "c"], [1.0, 0.1]),
}  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_matches_the_slow_second_implementation(name):
    found = expected_outcome(MODEL, POLICIES[name])
    expected = threshold_markov(MODEL, POLICIES[name])
    agrees_with(found, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.answered_by.sum() + found.abstention, 1.0, rtol=1e-10)


def test_one_model_is_an_integral_of_its_density():
    law = Law(MODEL, 1)
    mass = 1 - law.atom_low - law.atom_high

    def density(z):
        return sum(w * stats.beta.pdf(z, a, b) for w, a, b in law.parts)

    width = law.high - law.low
    error, _ = quad(lambda z: (1 - law.low - width * z) * mass * density(z), 0, 1, epsabs=1e-12)
    error += law.atom_low * (1 - law.low) + law.atom_high * (1 - law.high)
    np.testing.assert_allclose(expected_outcome(MODEL, SINGLE).error, error, rtol=1e-9)


def simulate_pair(policy, i, j, n=1_000_000):
    """Mean and standard error of error, abstention, cost and latency over n draws."""
    rng = np.random.default_rng(1)
    tau = float(MODEL.copula.tau[i, j])
    phi = [Law(MODEL, m).icdf(u) for m, u in zip((i, j), gumbel_sample(rng, tau, n).T, strict=True)]
    names = (MODEL.models[i], MODEL.models[j])

    def actions(name, confidence):
        rule = policy.rules[name]
        return np.array(rule.actions)[np.searchsorted(rule.breakpoints, confidence, side="left")]

    first, second = (actions(name, x) for name, x in zip(names, phi, strict=True))
    asked = first == names[1]
    final = np.where(asked, second, first)
    confidence = np.where(asked, phi[1], phi[0])
    wrong = (final == "accept") * (rng.random(n) > confidence)
    cost = float(MODEL.cost_usd[i]) + asked * float(MODEL.cost_usd[j])
    latency = float(MODEL.latency_s[i]) + asked * float(MODEL.latency_s[j])
    columns = {
        "error": wrong,
        "abstention": final == "abstain",
        "cost_usd": cost,
        "latency_s": latency,
    }
    return {k: (v.mean(), v.std() / n**0.5) for k, v in columns.items()}


@pytest.mark.parametrize(
    ("name", "i", "j"), [("pair", 0, 2), ("fail-fast", 0, 2), ("accepts-in-the-middle", 1, 3)]
)
def test_two_models_match_a_simulation(name, i, j):
    found = expected_outcome(MODEL, POLICIES[name])
    for member, (mean, error) in simulate_pair(POLICIES[name], i, j).items():
        # Five standard errors: one seed in two million.
        assert abs(float(getattr(found, member)) - mean) <= 5 * error + 1e-12, member


def test_answers_are_counted_in_the_order_of_the_model():
    found = expected_outcome(MODEL, Policy.single("c"))
    np.testing.assert_allclose(found.answered_by, [0, 0, 1, 0])


def test_unknown_latency_of_a_model_that_is_not_asked_does_not_matter():
    model = eqx.tree_at(lambda m: m.latency_s, MODEL, MODEL.latency_s.at[3].set(jnp.nan))
    arrays = PAIR.to_arrays(model.models)
    assert np.isfinite(expected_outcomes(model, arrays).latency_s)
    asks = Policy.threshold_cascade(["a", "d"], [0.5]).to_arrays(model.models)
    assert np.isnan(expected_outcomes(model, asks).latency_s)


def test_unknown_model_is_refused():
    with pytest.raises(UnknownModelError, match='No model "z" was fitted; the fitted ones are "a"'):
        expected_outcome(MODEL, Policy.single("z"))


def test_a_model_at_one_point():
    point = jax.tree.map(lambda leaf: leaf, MODEL.marginal)
    point = eqx.tree_at(
        lambda m: (m.low, m.high, m.atom_low, m.atom_high),
        point,
        (
            point.low.at[0].set(0.6),
            point.high.at[0].set(0.6),
            point.atom_low.at[0].set(0.0),
            point.atom_high.at[0].set(1.0),
        ),
    )
    model = eqx.tree_at(lambda m: m.marginal, MODEL, point)
    kept = expected_outcome(model, Policy.threshold_cascade(["a", "c"], [0.5]))
    np.testing.assert_allclose([kept.error, kept.cost_usd], [0.4, 1e-3], rtol=1e-10)
    passed = expected_outcome(model, Policy.threshold_cascade(["a", "c"], [0.6]))
    alone = expected_outcome(model, Policy.single("c"))
    np.testing.assert_allclose(passed.error, alone.error, rtol=1e-8)


ARRAYS = POLICIES["skips"].to_arrays(MODEL.models)


def summary(outcome):
    return jnp.concatenate([jnp.stack(outcome[:4]), outcome.answered_by])


def test_gradients_in_thresholds_match_finite_differences():
    inner = np.isfinite(ARRAYS.breakpoints)

    def f(moved):
        breakpoints = jnp.asarray(ARRAYS.breakpoints).at[np.nonzero(inner)].set(moved)
        return summary(expected_outcomes(MODEL, ARRAYS._replace(breakpoints=breakpoints)))

    at = jnp.asarray(ARRAYS.breakpoints[inner])
    jacobian = jax.jacfwd(f)(at)
    h = 1e-6
    differences = [(f(at + h * e) - f(at - h * e)) / (2 * h) for e in jnp.eye(at.size)]
    np.testing.assert_allclose(jacobian.T, differences, rtol=1e-5, atol=1e-7)


def test_gradients_in_every_parameter_match_finite_differences():
    parts = (MODEL.marginal, MODEL.copula, MODEL.cost_usd, MODEL.latency_s)
    flat, unravel = ravel_pytree(parts)

    @jax.jit
    def f(parameters):
        marginal, copula, cost, latency = unravel(parameters)
        where = lambda m: (m.marginal, m.copula, m.cost_usd, m.latency_s)  # noqa: E731
        model = eqx.tree_at(where, MODEL, (marginal, copula, cost, latency))
        return summary(expected_outcomes(model, ARRAYS))

    jacobian = np.asarray(jax.jit(jax.jacfwd(f))(flat)).T
    assert np.all(np.isfinite(jacobian)), f"{(~np.isfinite(jacobian)).sum()} entries are not finite"
    h = 1e-6
    for i in np.flatnonzero(np.abs(jacobian).max(axis=1) > 0):
        step = jnp.zeros_like(flat).at[i].set(h)
        difference = np.asarray((f(flat + step) - f(flat - step)) / (2 * h))
        if float(flat[i]) == 0.0:  # an atom of mass zero: one-sided
            difference = np.asarray((f(flat + step) - f(flat)) / h)
            np.testing.assert_allclose(jacobian[i], difference, rtol=1e-3, atol=1e-5)
        else:
            np.testing.assert_allclose(jacobian[i], difference, rtol=1e-4, atol=1e-6)


def test_reverse_mode_gives_the_gradient_of_forward_mode():
    """A policy's outer intervals are unbounded: infinity times zero must not reach a gradient."""
    parts = (MODEL.marginal, MODEL.copula, jnp.asarray(POLICIES["pair"].rules["a"].breakpoints))
    flat, unravel = ravel_pytree(parts)

    def error(parameters):
        marginal, copula, threshold = unravel(parameters)
        model = eqx.tree_at(lambda m: (m.marginal, m.copula), MODEL, (marginal, copula))
        arrays = PAIR.to_arrays(model.models)
        breakpoints = jnp.asarray(arrays.breakpoints).at[0, 0].set(threshold[0])
        return expected_outcomes(model, arrays._replace(breakpoints=breakpoints)).error

    forward, reverse = jax.jit(jax.jacfwd(error))(flat), jax.jit(jax.grad(error))(flat)
    np.testing.assert_allclose(reverse, forward, rtol=1e-8, atol=1e-12)


def test_vmap_over_policies_and_models():
    models = MODEL.models
    stacked = [POLICIES[n].to_arrays(models, 4) for n in ("pair", "skips")]
    both = PolicyArrays(*(jnp.stack(p) for p in zip(*stacked, strict=True)))
    found = jax.vmap(expected_outcomes, in_axes=(None, 0))(MODEL, both)
    for at, name in enumerate(("pair", "skips")):
        alone = expected_outcome(MODEL, POLICIES[name])
        np.testing.assert_allclose(found.error[at], alone.error, rtol=1e-9)
        np.testing.assert_allclose(found.answered_by[at], alone.answered_by, rtol=1e-9, atol=1e-12)


def test_loss_adds_up_in_dollars():
    outcome = Outcome(*map(jnp.array, (0.2, 0.1, 0.003, 1.5)), jnp.array([0.9]))
    priced = loss(outcome, Prices(2.0, 0.01, 0.5))
    np.testing.assert_allclose(priced, 0.003 + 2.0 * 0.2 + 0.01 * 1.5 + 0.5 * 0.1)
    assert loss(outcome, Prices(2.0)) == np.inf
    none = outcome._replace(abstention=jnp.array(0.0), latency_s=jnp.array(jnp.nan))
    np.testing.assert_allclose(loss(none, Prices(2.0)), 0.403)
    grid = loss(none, Prices(jnp.array([1.0, 2.0])))
    np.testing.assert_allclose(grid, [0.203, 0.403])


def test_everything_abstained_is_no_error():
    policy = PolicyArrays(np.array(0), np.full((4, 1), np.inf), np.full((4, 2), ABSTAIN))
    found = expected_outcomes(MODEL, policy)
    np.testing.assert_allclose([found.error, found.abstention], [0, 1], atol=1e-15)
