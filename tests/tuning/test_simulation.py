"""What policies are expected to bring, against a million queries drawn from the model itself.

Confidences are drawn in NumPy and SciPy: each given the last one, by inverting the law of the
pair in closed form. Two models by exact integrals against Gumbel dependence are in
`tests/cascade/test_expectation.py`, the grid of three against its own sampler in
`tests/cascade/test_chain.py`, and bounds on optimal stopping in `test_certificate.py`.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr, ndtri, wrightomega

from jaxcascade.cascade import (
    Outcome,
    Policy,
    PolicyArrays,
    Prices,
    Rule,
    chain_outcomes,
    expected_outcome,
    loss,
    markov_chain,
    stack_policies,
)
from jaxcascade.copulas import Clayton, Gumbel
from jaxcascade.marginals import BetaMixture, Marginal
from jaxcascade.tuning import Chains, optimal_stopping, optimal_thresholds
from tests.cascade.oracle import Law
from tests.cases import stacked, toy_model

N = 1_000_000
MODELS = {
    family.__name__: eqx.tree_at(
        lambda m: m.copula, toy_model(), family.from_tau(toy_model().copula.tau)
    )
    for family in (Gumbel, Clayton)
}
TAU = np.asarray(toy_model().copula.tau)
LAWS = [Law(toy_model(), j) for j in range(4)]
NAMES = toy_model().models

# Means of a policy agree with a simulation within five standard errors: one seed in two million.
MOST_ERRORS = 5
# Of 256 cells, by comparison with 1024; the standard errors below are twenty times as large.
GRID_ERROR = 1e-5

PAIRS = {
    "pair": Policy.threshold_cascade(["a", "c"], [0.6]),
    "atoms-alone": Policy.threshold_cascade(["a", "b"], [0.2]),
    "all-but-an-atom": Policy("b", {"b": Rule((0.3, 0.96), ("abstain", "d", "accept")),
                                    "d": Rule((0.5,), ("abstain", "accept"))}),
}  # fmt: skip
CHAINS = {
    "three": Policy.threshold_cascade(["a", "b", "d"], [0.7, 0.8]),
    "four": Policy.threshold_cascade(NAMES, [0.8, 0.75, 0.9]),
    "skips": Policy(
        "a",
        {
            "a": Rule((0.2, 0.4, 0.6, 0.8), ("abstain", "d", "c", "b", "accept")),
            "b": Rule((0.5, 0.9), ("d", "c", "accept")),
            "c": Rule((0.45, 0.8), ("abstain", "d", "accept")),
            "d": Rule((0.5,), ("abstain", "accept")),
        },
    ),
}


def next_level(family, tau, u, p):
    """The v at which P(V <= v | U = u) is p, in closed form."""
    if family == "Gaussian":
        rho = np.sin(0.5 * np.pi * tau)
        return ndtr(rho * ndtri(u) + np.sqrt(1 - rho**2) * ndtri(p))
    if family == "Clayton":
        theta = 2 * tau / (1 - tau)
        return (1 + u**-theta * (p ** (-theta / (1 + theta)) - 1)) ** (-1 / theta)
    # Gumbel, with x = -log u and s = (x^theta + y^theta)^(1/theta): the equation
    # s + (theta - 1) log s = x + (theta - 1) log x - log p is solved by Wright's omega.
    theta = 1 / (1 - tau)
    x, power = -np.log(u), theta - 1
    s = power * wrightomega((x - np.log(p)) / power + np.log(x / power))
    y = x * np.maximum(np.expm1(theta * np.log(s / x)), 0) ** (1 / theta)
    return np.exp(-y)


class Drawn(NamedTuple):
    """One row per query; `wrong` is the probability of it, which has less noise than a coin."""

    wrong: np.ndarray
    abstained: np.ndarray
    cost_usd: np.ndarray
    latency_s: np.ndarray
    answered_by: np.ndarray


def simulate(family, policy, seed=0, forgetful=False, n=N):
    """Follows a policy query by query.

    Args:
        family: Name of the dependence.
        policy: Models in the order of `NAMES`.
        seed: Of the queries.
        forgetful: Whether all that a model leaves behind is the interval of its rule, rather
            than its confidence: the level is then drawn anew, uniformly within the interval.
        n: Number of queries.
    """
    rng = np.random.default_rng(seed)
    cost, latency = (np.asarray(part) for part in (toy_model().cost_usd, toy_model().latency_s))
    at, level = np.full(n, NAMES.index(policy.start)), rng.random(n)
    wrong, dollars, seconds = np.zeros((3, n))
    abstained, answered = np.zeros(n), np.zeros((n, 4))
    for j, (name, law) in enumerate(zip(NAMES, LAWS, strict=True)):
        here = np.flatnonzero(at == j)
        if here.size == 0:
            continue
        phi, rule = law.icdf(level[here]), policy.rules[name]
        interval = np.searchsorted(rule.breakpoints, phi, side="left")
        dollars[here] += cost[j]
        seconds[here] += latency[j]
        edges = np.array([0.0, *law.cdf(np.array(rule.breakpoints)), 1.0])
        for i, action in enumerate(rule.actions):
            queries = here[interval == i]
            if action == "accept":
                wrong[queries] = 1 - phi[interval == i]
                answered[queries, j] = 1
            elif action == "abstain":
                abstained[queries] = 1
            else:
                u = level[queries]
                if forgetful:
                    u = edges[i] + (edges[i + 1] - edges[i]) * rng.random(queries.size)
                following = NAMES.index(action)
                fresh = rng.random(queries.size)
                level[queries] = next_level(family, TAU[j, following], u, fresh)
                at[queries] = following
    return Drawn(wrong, abstained, dollars, seconds, answered)


def agrees(outcome, drawn, slack=1e-12):
    for member, column in zip(Outcome._fields, drawn, strict=True):
        error = column.std(axis=0) / len(column) ** 0.5
        difference = np.abs(np.asarray(getattr(outcome, member)) - column.mean(axis=0))
        assert np.all(difference <= MOST_ERRORS * error + slack), member


def losses(drawn, prices):
    error, second, person = (float(np.asarray(part).squeeze()) for part in prices)
    given_up = np.where(drawn.abstained > 0, person, 0.0)
    return drawn.cost_usd + error * drawn.wrong + second * drawn.latency_s + given_up


@functools.cache
def chain(family):
    return markov_chain(MODELS[family], 256)


@pytest.mark.parametrize("family", MODELS)
def test_the_sampler_draws_uniform_levels_with_the_right_tau(family):
    """Kendall's tau is 4 E[C(U, V)] - 1, and both levels are uniform."""
    rng = np.random.default_rng(3)
    u = rng.random(N)
    v = next_level(family, 0.45, u, rng.random(N))
    np.testing.assert_allclose(np.quantile(v, [0.05, 0.5, 0.95]), [0.05, 0.5, 0.95], atol=2e-3)
    values = np.asarray(MODELS[family].copula.from_tau(jnp.array(0.45)).cdf(u, v))
    assert abs(4 * values.mean() - 1 - 0.45) < MOST_ERRORS * 4 * values.std() / N**0.5


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("name", PAIRS)
def test_pairs(family, name):
    """Exact under any dependence: what comes before the last model is nothing."""
    agrees(expected_outcome(MODELS[family], PAIRS[name]), simulate(family, PAIRS[name]))


@pytest.mark.parametrize("name", CHAINS)
def test_chains_that_remember_the_last_interval(name):
    """The law that the threshold-Markov approximation is exact for, whatever the length."""
    found = expected_outcome(MODELS["Gumbel"], CHAINS[name])
    agrees(found, simulate("Gumbel", CHAINS[name], forgetful=True))


@pytest.mark.parametrize("family", MODELS)
def test_chains_that_remember_the_last_confidence(family):
    policies = list(CHAINS.values())
    arrays = stack_policies(policies, NAMES)
    found = chain_outcomes(MODELS[family], chain(family), arrays)
    for at, policy in enumerate(policies):
        row = Outcome(*(part[at] for part in found))
        agrees(row, simulate(family, policy), GRID_ERROR)


PRICES = Prices(np.array([0.05, 0.3, 2.0]), np.full(3, 0.01), np.array([0.02, 0.06, 0.2]))


@pytest.mark.parametrize("family", MODELS)
def test_optimal_stopping_loses_what_it_says_and_others_lose_more(family):
    """The others are the same policy with its breakpoints moved, on the same queries."""
    model = MODELS[family]
    found = optimal_stopping(chain(family), model.cost_usd, model.latency_s, PRICES)
    for p in range(3):
        prices = Prices(*(part[p] for part in PRICES))
        best = Policy.from_arrays(
            PolicyArrays(*(np.asarray(part[p]) for part in found.policies)), NAMES
        )
        drawn = losses(simulate(family, best), prices)
        tolerance = MOST_ERRORS * drawn.std() / N**0.5 + GRID_ERROR * prices.error
        assert abs(drawn.mean() - float(found.loss[p])) < tolerance
        for shift in (-0.1, 0.1):
            other = losses(simulate(family, moved(best, shift)), prices)
            assert other.mean() > drawn.mean()


def moved(policy, shift):
    """The policy with all breakpoints moved towards 0 or 1 by a share of the way."""
    target = 1.0 if shift > 0 else 0.0

    def edge(x):
        return x + abs(shift) * (target - x)

    return Policy(
        policy.start,
        {
            name: Rule(tuple(edge(x) for x in rule.breakpoints), rule.actions)
            for name, rule in policy.rules.items()
        },
    )


# --- The claims of docs/theory.md, and its figures -----------------------------------------------


def test_what_the_approximation_forgets():
    """Levels 0.3 and 0.9 were passed on; how often is the third confidence at most at 0.3?"""
    rng = np.random.default_rng(2)
    first = 0.3 * rng.random(N)
    second = next_level("Gumbel", 0.5, first, rng.random(N))
    second = second[second <= 0.9]
    third = next_level("Gumbel", 0.5, second, rng.random(second.size)) <= 0.3
    copula = Gumbel.from_tau(jnp.array(0.5))
    np.testing.assert_allclose(third.mean(), 0.487, atol=MOST_ERRORS * 0.5 / second.size**0.5)
    np.testing.assert_allclose(copula.lower_conditional(0.9, 0.3), 0.332, atol=5e-4)


def test_what_comes_third_is_harder_and_what_comes_fourth_is_more():
    """Than the approximation says: it knows how many come third, and not how hard they are."""
    three = Policy.threshold_cascade(["a", "b", "d"], [0.5, 0.9])
    promised, drawn = expected_outcome(MODELS["Gumbel"], three), simulate("Gumbel", three)
    noise = [MOST_ERRORS * column.std() / N**0.5 for column in drawn[:3]]
    assert abs(float(promised.cost_usd) - drawn.cost_usd.mean()) < noise[2]
    assert float(promised.error) < drawn.wrong.mean() - noise[0]
    four = Policy.threshold_cascade(NAMES, [0.5, 0.9, 0.9])
    promised, drawn = expected_outcome(MODELS["Gumbel"], four), simulate("Gumbel", four)
    noise = MOST_ERRORS * drawn.cost_usd.std() / N**0.5
    assert float(promised.cost_usd) < drawn.cost_usd.mean() - noise


@pytest.mark.slow
def test_rational_tuning_promises_too_much():
    """And passes everything on at the second model, whose level is then all that is remembered."""
    model, error = MODELS["Gumbel"], np.array([0.05, 0.3, 1.0])
    allowed = Chains.each([range(4)])
    found = optimal_thresholds(model, model.cost_usd, jnp.asarray(error), allowed).policies
    pairs = []
    for p, price in enumerate(error):
        # Not by way of `from_arrays`, which leaves out a model that passes everything on.
        passes = np.asarray(found.actions)[p, :3, 0] >= 0
        thresholds = np.where(passes, np.asarray(found.breakpoints)[p, :3, 0], -np.inf)
        policy = Policy.threshold_cascade(NAMES, thresholds)
        promised = float(loss(expected_outcome(model, policy), Prices(price)))
        lost = losses(simulate("Gumbel", policy), Prices(price))
        assert promised < lost.mean() - MOST_ERRORS * lost.std() / N**0.5
        assert thresholds[1] == np.inf
        pairs.append((promised, lost.mean()))
    np.testing.assert_allclose(pairs[-1], [0.122, 0.145], atol=1e-3)


def pair_on_a_grid(first, second):
    """Two models under a strong Gumbel copula, each a symmetric beta between two ends."""
    laws = [
        Marginal(
            *map(jnp.array, (low, high, 0.0, 0.0)),
            BetaMixture(jnp.ones(1), jnp.array([shape]), jnp.array([shape])),
        )
        for low, high, shape in (first, second)
    ]
    parts = stacked(laws), Gumbel.from_tau(jnp.full((2, 2), 0.7)), jnp.array([1e-3, 0.05])
    return eqx.tree_at(
        lambda m: (m.marginal, m.copula, m.cost_usd), toy_model().select(["a", "d"]), parts
    )


@pytest.mark.parametrize(
    ("first", "second", "contracting"),
    [
        ((0.3, 1.0, 1.0), (0.55, 0.65, 2.0), True),
        ((0.4, 0.8, 2.0), (0.3, 1.0, 1.0), False),
    ],
    ids=["wide first", "narrow first"],
)
def test_one_threshold_is_best_where_a_later_model_follows_by_no_more(first, second, contracting):
    """Where it follows by more, the best policy may accept what is in doubt and ask the rest."""
    model = pair_on_a_grid(first, second)
    grid = markov_chain(model, 128)
    inner = slice(1, -1)  # there are no point masses, and the cells for them are empty
    follows = np.diff(np.asarray(grid.pair_kernel[0] @ grid.confidence[1])[inner])
    moves = np.diff(np.asarray(grid.confidence[0])[inner])
    assert np.all(follows >= -1e-12)
    assert np.all(follows <= moves + 1e-9) == contracting
    prices = Prices(np.array([0.5, 1.0, 2.0]))
    found = optimal_stopping(grid, model.cost_usd, model.latency_s, prices).policies
    rules = [
        Policy.from_arrays(PolicyArrays(*(np.asarray(part[p]) for part in found)), "ad").rules["a"]
        for p in range(3)
    ]
    if contracting:
        assert rules[2].actions == ("d", "accept")
        assert all(rule.actions in (("accept",), ("d", "accept")) for rule in rules)
    else:
        assert all(rule.actions[:2] == ("accept", "d") for rule in rules)
        np.testing.assert_allclose(rules[1].breakpoints[0], 0.61, atol=5e-3)
