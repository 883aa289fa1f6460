"""Bounds on the least loss against finer grids, simulation, quadrature and what they rest on."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from jaxcascade.cascade import Policy, Prices, expected_outcome, markov_chain
from jaxcascade.copulas import Clayton, Frank, Gaussian, StudentT, SurvivalGumbel, rotated
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning import certified_stopping, optimal_stopping, prospects, stopping_bounds
from jaxcascade.tuning.certificate import _INCREASING, _ask, _best, _increasing, _Values
from tests.cascade.oracle import Law
from tests.cases import COPULAS, MARGINALS, over, stacked, toy_model

MODEL = toy_model()
GRID = np.geomspace(0.01, 3.0, 8)
PRICES = {
    "errors": Prices(GRID, np.zeros(8), np.full(8, np.inf)),
    "everything": Prices(GRID, np.full(8, 0.02), np.full(8, 0.03)),
}
TAU = MODEL.copula.tau


@functools.cache
def gridded(num_cells):
    return markov_chain(MODEL, num_cells)


def solved(prices, num_cells):
    return optimal_stopping(gridded(num_cells), MODEL.cost_usd, MODEL.latency_s, prices)


@pytest.mark.parametrize("name", PRICES)
def test_bounds_bracket_the_value_of_a_finer_grid(name):
    bounds = stopping_bounds(MODEL, PRICES[name], 64)
    value = np.asarray(solved(PRICES[name], 256).loss)
    # The finer grid's own error: 1e-6 of the loss, by comparison with yet finer ones.
    assert np.all(bounds.lower <= value * (1 + 1e-6))
    assert np.all(value * (1 - 1e-6) <= bounds.upper)
    assert np.all(bounds.lower > 0.94 * bounds.upper)


def test_prospects_compare_with_single_models():
    found = prospects(MODEL, PRICES["errors"], 64)
    outcomes = [expected_outcome(MODEL, Policy.single(name)) for name in MODEL.models]
    losses = [outcome.cost_usd + GRID * outcome.error for outcome in outcomes]
    np.testing.assert_allclose(found.single_loss, np.min(losses, axis=0), rtol=1e-8)
    np.testing.assert_array_equal(found.best_single, np.argmin(losses, axis=0))
    value = np.asarray(solved(PRICES["errors"], 256).loss)
    saved = 1.0 - value / found.single_loss
    assert np.all(found.most_saved >= saved - 1e-6)
    assert saved.max() > 0.1
    np.testing.assert_allclose(found.most_saved, saved, atol=0.06)


def test_gap_falls_with_the_square_of_the_cells():
    """Where actions differ clearly. With a dear person, two models are nearly as good."""
    gaps = []
    for num_cells in (16, 64):  # the sizes of other tests: most of the time is compilation
        bounds = stopping_bounds(MODEL, PRICES["everything"], num_cells)
        gaps.append(np.max((bounds.upper - bounds.lower) / bounds.upper))
    assert gaps[0] / gaps[1] > 12
    assert gaps[1] < 2e-3


@pytest.mark.parametrize("law", ["two-atoms", "u-shaped", "no-atoms", "one-point", "all-atoms"])
def test_one_model_and_a_person_by_quadrature(law):
    """Of min(price (1 - phi), price of a person) over the law of phi, atoms apart."""
    case = MARGINALS[law]
    one = MODEL.select(["a"])
    model = eqx.tree_at(lambda m: m.marginal, one, stacked([case]))
    bounds = stopping_bounds(model, Prices(np.array([1.0]), np.zeros(1), np.array([0.4])), 64)
    low, high = float(case.low), float(case.high)
    # By parts: minus the integral of the slope, times the distribution function.
    expected = min(1 - high, 0.4) + (
        integrate.quad(lambda x: float(case.cdf(jnp.array(x))), max(low, 0.6), high, limit=200)[0]
        if high > 0.6
        else 0.0
    )
    expected += 1e-3
    assert float(bounds.lower[0]) <= expected + 1e-9
    assert float(bounds.upper[0]) >= expected - 1e-9
    assert float(bounds.upper[0] - bounds.lower[0]) < 2e-4


def test_no_draw_of_the_continuous_chain_beats_the_bounds():
    """The grid's policy on a million queries, each confidence drawn given the last one."""
    prices = jax.tree.map(lambda leaf: leaf[4:5], PRICES["everything"])
    bounds = stopping_bounds(MODEL, PRICES["everything"], 64)
    found = solved(prices, 64)
    mean, error = simulated_loss(found.policies, prices, 1_000_000)
    assert abs(mean - float(found.loss[0])) < 5 * error
    assert mean > float(bounds.lower[4]) - 5 * error
    assert 5 * error < 0.01 * mean


def simulated_loss(policies, prices, n):
    """An atom is one state: the level that its successor depends on is drawn afresh."""
    start, breakpoints, actions = (np.asarray(part)[0] for part in policies)
    price, second, person = (float(part[0]) for part in prices)
    rng = np.random.default_rng(0)
    inverse = jax.jit(lambda copula, u, p: copula.inverse_h_function(u, p))
    at = np.full(n, start)
    level, total = rng.random(n), np.zeros(n)
    for j in range(4):
        law = Law(MODEL, j)
        here = at == j
        low, high = level <= law.atom_low, level > 1 - law.atom_high
        u = np.where(low, law.atom_low * rng.random(n), level)
        u = np.where(high, 1 - law.atom_high * rng.random(n), u)
        phi = law.icdf(u)
        action = actions[j][np.searchsorted(breakpoints[j], phi, side="left")]
        asking = float(MODEL.cost_usd[j] + second * MODEL.latency_s[j])
        stops = np.where(action == -1, price * (rng.random(n) > phi), person)
        total += here * (asking + np.where(action < 0, stops, 0.0))
        for later in range(j + 1, 4):
            going = here & (action == later)
            copula = jax.tree.map(lambda leaf, j=j, m=later: leaf[j, m], MODEL.copula)
            drawn = np.asarray(inverse(copula, u, rng.random(n)))
            level, at = np.where(going, drawn, level), np.where(going, later, at)
    return total.mean(), total.std() / n**0.5


# --- One step of the recursion, on functions that are known --------------------------------------

EDGES = jnp.concatenate([jnp.array([0.0, 0.1]), jnp.linspace(0.15, 0.8, 8), jnp.array([0.9, 1.0])])
FINE = np.linspace(0.0, 1.0, 90_001)  # all edges are among its points


def running(values):
    """Integral from 0 up to each edge, by trapezia."""
    steps = 0.5 * (values[1:] + values[:-1]) * np.diff(FINE)
    return np.interp(EDGES, FINE, np.append(0.0, np.cumsum(steps)))


def ends(function):
    """A falling function's largest and smallest value in each cell."""
    return tuple(jnp.asarray(function(part))[:, None] for part in (EDGES[:-1], EDGES[1:]))


def test_asking_a_model_is_bounded():
    """A later model whose further loss is e^(-3 v) between its atoms, by plain trapezia."""
    copula = COPULAS["gumbel-1.5"]
    own = EDGES**0.7

    def loss(v):
        return np.exp(-3 * np.clip(v, 0.1, 0.9))

    known = jnp.asarray(running(loss(FINE)))[:, None]
    found = _ask(copula, own, EDGES, _Values(*ends(loss), known, known), jnp.array(0.25))
    turned = np.asarray(copula.h_function(jnp.asarray(FINE), own[:, None]))
    asked = 0.25 * own + np.trapezoid(loss(FINE) * turned, FINE)
    assert np.all(found.integral_lower[:, 0] <= asked + 1e-8)
    assert np.all(found.integral_upper[:, 0] >= asked - 1e-8)
    assert np.all(found.integral_upper - found.integral_lower < 0.02)
    law = np.asarray(copula.h_function(own[:, None], jnp.asarray(FINE)))
    falls = np.where((FINE > 0.1) & (FINE < 0.9), 3 * loss(FINE), 0.0)
    ahead = 0.25 + loss(1.0) + np.trapezoid(falls * law, FINE)
    # Between the atoms, the largest at the lower end of a cell and the smallest at the upper.
    assert np.all(found.upper[1:-1, 0] >= ahead[1:-2] - 1e-8)
    assert np.all(found.lower[1:-1, 0] <= ahead[2:-1] + 1e-8)
    assert np.all(found.upper[1:-1, 0] - ahead[1:-2] < 0.1)


def test_the_best_of_two_actions_is_bounded():
    """Two actions that cross twice, their integrals known up to noise of either sign."""
    rng = np.random.default_rng(0)
    functions = [lambda u: 1 - 0.6 * u, lambda u: 0.9 - 0.6 * u + 0.12 * jnp.cos(5 * u)]
    smallest = running(np.minimum(*(f(FINE) for f in functions)))
    for _ in range(50):
        noise = [0.01 * rng.random((2, EDGES.size)) * (EDGES > 0) for _ in range(2)]
        whole = [running(f(FINE)) for f in functions]
        options = [
            _Values(*ends(f), (i + up)[:, None], (i - down)[:, None])
            for f, i, (up, down) in zip(functions, whole, noise, strict=True)
        ]
        best = _best(stacked(options), EDGES)
        assert np.all(best.integral_lower[:, 0] <= smallest + 1e-9)
        assert np.all(best.integral_upper[:, 0] >= smallest - 1e-9)


# --- What the bounds rest on --------------------------------------------------------------------


@over({name: c for name, c in COPULAS.items() if isinstance(c, _INCREASING) and float(c.tau) >= 0})
def test_a_surer_model_makes_another_surer(case):
    """What the bounds rest on: h-functions fall in the level that they are given."""
    u = jnp.concatenate([jnp.array([1e-12, 1e-6]), jnp.linspace(0.001, 0.999, 97), 1 - u_tail()])
    for copula in (case, case.transpose()):
        h = np.asarray(copula.h_function(u[:, None], u))
        # Rounding: the Gaussian h-function loses 1 / sqrt(1 - rho^2) of it, Gumbel 1e-12.
        assert np.diff(h, axis=0).max() < 1e-11


def u_tail():
    return jnp.array([1e-6, 1e-12])


@pytest.mark.parametrize(
    "copula",
    [
        StudentT.from_tau(TAU),
        rotated(Clayton, 90).from_tau(-TAU),
        Frank.from_tau(TAU.at[1, 2].set(-0.1)),
    ],
    ids=["t", "quarter turn", "one pair falls"],
)
def test_other_copulas_are_not_taken_to_be_increasing(copula):
    assert not np.all(_increasing(copula, 4))
    assert np.all(_increasing(Frank.from_tau(TAU), 4))


def test_nothing_is_claimed_where_nothing_is_known():
    theta = MODEL.copula.theta.at[0, 3].set(0.9)  # outside the family: tau is -0.1
    model = eqx.tree_at(lambda m: m.copula.theta, MODEL, theta)
    bounds = stopping_bounds(model, PRICES["errors"], 64)
    assert np.all(np.isnan(bounds))


@pytest.mark.slow
@pytest.mark.parametrize(
    "family", [SurvivalGumbel, Clayton, Frank, Gaussian], ids=lambda f: f.__name__
)
def test_bounds_of_other_families_bracket_finer_grids(family):
    model = eqx.tree_at(lambda m: m.copula, MODEL, family.from_tau(TAU))
    for prices in PRICES.values():
        bounds = stopping_bounds(model, prices, 64)
        chain = markov_chain(model, 256)
        value = np.asarray(optimal_stopping(chain, model.cost_usd, model.latency_s, prices).loss)
        assert np.all(bounds.lower <= value * (1 + 1e-6))
        assert np.all(value * (1 - 1e-6) <= bounds.upper)


def test_atoms_and_narrow_laws_are_bracketed():
    names = ["all-atoms", "one-point", "narrow-in-broad", "extreme"]
    model = eqx.tree_at(lambda m: m.marginal, MODEL, stacked([MARGINALS[n] for n in names]))
    bounds = stopping_bounds(model, PRICES["everything"], 64)
    chain = markov_chain(model, 256)
    prices = PRICES["everything"]
    value = np.asarray(optimal_stopping(chain, model.cost_usd, model.latency_s, prices).loss)
    assert np.all(bounds.lower <= value * (1 + 1e-6))
    assert np.all(value * (1 - 1e-6) <= bounds.upper)


def test_refines_until_the_bounds_are_close_or_the_cells_are_spent():
    prices = PRICES["everything"]
    close = certified_stopping(MODEL, prices, relative_gap=5e-3, num_cells=16, max_cells=64)
    assert (close.num_cells, close.gap <= 5e-3) == (64, True)
    np.testing.assert_array_equal(close.solution.loss, solved(prices, 64).loss)
    spent = certified_stopping(MODEL, prices, relative_gap=1e-6, num_cells=16, max_cells=31)
    assert (spent.num_cells, spent.gap > 1e-3) == (16, True)


def test_unusable_cells_are_refused():
    with pytest.raises(InvalidInputError, match="between 4 and `max_cells`, 8; got 9"):
        certified_stopping(MODEL, PRICES["errors"], num_cells=9, max_cells=8)
