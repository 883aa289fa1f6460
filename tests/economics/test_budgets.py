"""Budgets: exact on the hull, monotone in every limit, and infeasible requests that teach."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.optimize import linprog

from jaxcascade.cascade import Outcome, Prices, loss
from jaxcascade.economics import (
    Ledger,
    Limits,
    best_within,
    budget_hull,
    late_share,
)
from jaxcascade.errors import InfeasibleError, InvalidInputError

NAMES = tuple("abcdefghijkl")


def made_outcome(seed=0, count=12, draws=()):
    rng = np.random.default_rng(seed)
    shape = (*draws, count)
    abstention = np.where(rng.random(shape) < 0.5, 0.0, 0.3 * rng.random(shape))
    error = (1 - abstention) * 0.5 * rng.random(shape)
    shares = rng.dirichlet(np.ones(3), size=shape) * (1 - abstention)[..., None]
    return Outcome(error, abstention, 0.01 * rng.random(shape), 20 * rng.random(shape), shares)


def made_ledger(seed=0, systems=4, queries=50):
    rng = np.random.default_rng(seed)
    shape = (systems, queries)
    gives_up = rng.random(shape) < 0.2
    wrong = ~gives_up & (rng.random(shape) < np.linspace(0.4, 0.1, systems)[:, None])
    cost = np.linspace(0.001, 0.01, systems)[:, None] * rng.uniform(0.5, 1.5, shape)
    by = np.where(gives_up, -1, 0)
    return Ledger(
        NAMES[:systems], ("m",), np.arange(queries), wrong.astype(float),
        gives_up.astype(float), cost, rng.exponential(np.linspace(2, 9, systems)[:, None], shape),
        by,
    )  # fmt: skip


MANY = Limits(error=0.2, cost_usd=0.006, latency_s=12.0, abstention=0.1)


@pytest.mark.parametrize("minimise", ["error", "cost_usd", "latency_s", "abstention", "loss"])
@pytest.mark.parametrize("seed", range(5))
def test_any_combination_of_limits_is_a_linear_program(minimise, seed):
    outcome = made_outcome(seed)
    late = np.random.default_rng(seed).random(12)
    limits = MANY._replace(late=0.5, error_given_answered=0.22)
    prices = Prices(0.03, 0.0001, 0.01)
    goal = prices if minimise == "loss" else minimise
    objective = loss(outcome, prices) if minimise == "loss" else getattr(outcome, minimise)
    # The conditional error as a ratio: wrong answers less 0.22 of the answered ones.
    ratio = outcome.error - 0.22 * (1 - outcome.abstention)
    rows = [outcome.error, outcome.cost_usd, outcome.latency_s, outcome.abstention, late, ratio]
    bounds = [*limits[:5], 0.0]
    scale = np.abs(rows).max(axis=1)
    expected = linprog(
        objective, rows / scale[:, None], bounds / scale, np.ones((1, 12)), [1.0], method="highs"
    )
    if expected.status == 2:
        with pytest.raises(InfeasibleError, match="No mixture of the systems is within"):
            best_within(NAMES, outcome, limits, goal, late)
        return
    found = best_within(NAMES, outcome, limits, goal, late)
    assert found.value == pytest.approx(expected.fun, rel=1e-9, abs=1e-12)
    shares = np.zeros(12)
    shares[[NAMES.index(name) for name in found.mixture.systems]] = found.mixture.shares
    assert np.all(rows @ shares <= bounds + 1e-9 * scale)
    assert float(found.outcome.error) == pytest.approx(outcome.error @ shares, abs=1e-15)
    np.testing.assert_allclose(found.outcome.answered_by, shares @ outcome.answered_by)
    assert found.late == pytest.approx(late @ shares)
    assert found.kind == ("mixture" if len(found.mixture.systems) > 1 else found.kind)


def test_one_limit_by_hand():
    """Between (1, 0.4) and (3, 0.2): a budget of 1.5 buys a quarter of the dear one."""
    zero, two = np.zeros(3), np.zeros((3, 1))
    outcome = Outcome(np.array([0.4, 0.35, 0.2]), zero, np.array([1.0, 2.0, 3.0]), zero, two)
    found = best_within("xyz", outcome, Limits(cost_usd=1.5), "error")
    assert found.mixture.systems == ("x", "z")
    np.testing.assert_allclose(found.mixture.shares, [0.75, 0.25])
    assert found.value == pytest.approx(0.35)
    assert found.shadow_prices.cost_usd == pytest.approx(0.1)
    assert found.binding == ("cost_usd",)
    assert found.kind == "mixture"
    assert found.mixture.describe() == "75.0% [x] + 25.0% [z]"
    # The other way round, the price of an error is the inverse.
    other = best_within("xyz", outcome, Limits(error=0.35))
    assert other.value == pytest.approx(1.5)
    assert other.shadow_prices.error == pytest.approx(10.0)
    single = best_within("xyz", outcome, Limits(error=0.5))
    assert (single.kind, single.mixture.systems, single.binding) == ("single", ("x",), ())
    assert single.shadow_prices == Limits(0, 0, 0, 0, 0, 0)
    assert best_within("xyz", outcome, Limits(error=0.4)).kind == "corner"


@pytest.mark.parametrize("seed", range(4))
def test_the_hull_is_the_program_at_all_budgets(seed):
    outcome = made_outcome(seed)
    hull = budget_hull(NAMES, outcome)
    budgets = np.linspace(outcome.cost_usd.min(), outcome.cost_usd.max(), 23)
    for budget, value in zip(budgets, hull.at(budgets), strict=True):
        found = best_within(NAMES, outcome, Limits(cost_usd=budget), "error")
        assert found.value == pytest.approx(value, abs=1e-12)
        price = found.shadow_prices.cost_usd
        if found.kind == "mixture":
            segment = np.searchsorted(hull.budget, budget) - 1
            assert price == pytest.approx(hull.shadow_price[segment], rel=1e-8)
            assert set(found.mixture.systems) == set(hull.systems[segment : segment + 2])
    assert np.isnan(hull.at(0.5 * outcome.cost_usd.min()))
    # Corners are the best systems at some price of an error, and none is dominated by a system.
    for s in (NAMES.index(name) for name in hull.systems):
        cheaper = (outcome.cost_usd <= outcome.cost_usd[s]) & (outcome.error <= outcome.error[s])
        assert np.flatnonzero(cheaper).tolist() == [s]


@hypothesis.given(
    st.integers(0, 10**6),
    st.sampled_from(["error", "cost_usd", "latency_s", "abstention"]),
    st.floats(0.3, 1.0),
)
@hypothesis.settings(max_examples=60)
def test_tightening_a_limit_never_helps(seed, name, factor):
    outcome = made_outcome(seed)
    limits = Limits(error=0.4, cost_usd=0.009, latency_s=15.0, abstention=0.2)
    tight = limits._replace(**{name: factor * getattr(limits, name)})
    try:
        loose = best_within(NAMES, outcome, limits, Prices(0.02, 0.0, 0.01))
        found = best_within(NAMES, outcome, tight, Prices(0.02, 0.0, 0.01))
    except InfeasibleError:
        return
    assert found.value >= loose.value - 1e-12
    # Shadow prices bound what tightening costs from below: the least value is convex in limits.
    cost = getattr(loose.shadow_prices, name) * (getattr(limits, name) - getattr(tight, name))
    assert found.value >= loose.value + cost - 1e-9


@hypothesis.given(st.integers(0, 10**6), st.floats(0.0, 1.0))
@hypothesis.settings(max_examples=60)
def test_loss_falls_with_every_price_and_best_systems_are_not_dominated(seed, share):
    """Theorems 3 and 4: what is best at some prices lies on the Pareto surface, and its hull."""
    outcome = made_outcome(seed)
    high = Prices(*np.random.default_rng(seed).uniform(0.001, 0.1, 3))
    for name in Prices._fields:
        low = high._replace(**{name: share * getattr(high, name)})
        dear, cheap = (best_within(NAMES, outcome, Limits(), at) for at in (high, low))
        assert cheap.value <= dear.value + 1e-15
    best = best_within(NAMES, outcome, Limits(), high)
    assert best.value == pytest.approx(float(np.min(loss(outcome, high))), rel=1e-12)
    parts = np.stack(outcome[:4])
    mine = parts[:, NAMES.index(best.mixture.systems[0])][:, None]
    assert not np.any(np.all(parts <= mine, axis=0) & np.any(parts < mine, axis=0))


@pytest.mark.parametrize("seed", range(3))
def test_optima_at_several_budgets_do_not_dominate_each_other(seed):
    outcome = made_outcome(seed)
    # The cheapest, where nothing is limited, may be several: none that another dominates.
    outcome = outcome._replace(cost_usd=np.round(300 * outcome.cost_usd) / 300)
    budgets = np.linspace(outcome.cost_usd.min(), outcome.cost_usd.max(), 9)
    found = [best_within(NAMES, outcome, Limits(cost_usd=b), "error").outcome for b in budgets]
    points = np.array([[float(o.cost_usd), float(o.error)] for o in found])
    for point in points:
        below = np.all(points <= point + 1e-12, axis=1) & np.any(points < point - 1e-9, axis=1)
        assert not below.any()
    for system in range(12):
        mine = np.array([outcome.cost_usd[system], outcome.error[system]])
        assert not np.any(np.all(mine <= points - 1e-9, axis=1))


def test_means_over_draws_are_what_is_limited():
    draws = made_outcome(3, draws=(7,))
    found = best_within(NAMES, draws, MANY)
    means = Outcome(*(np.asarray(part).mean(axis=0) for part in draws))
    again = best_within(NAMES, means, MANY)
    assert found.mixture.systems == again.mixture.systems
    np.testing.assert_allclose(found.mixture.shares, again.mixture.shares)


def test_a_latency_quantile_is_a_share_of_late_queries():
    """Drawing the system for each query, the mixture's quantile is at the limit, as it was put."""
    ledger = made_ledger(queries=400)
    seconds, level = 8.0, 0.8
    late = late_share(ledger, seconds)
    np.testing.assert_allclose(late, (ledger.latency_s > seconds).mean(axis=1))
    limits = Limits(late=1 - level)
    found = best_within(ledger.systems, ledger.outcomes(), limits, "error", late)
    assert "late" in found.binding
    shares = [dict(zip(*found.mixture, strict=True)).get(name, 0.0) for name in ledger.systems]
    drawn = np.random.default_rng(0).choice(4, p=shares, size=200_000)
    queries = np.random.default_rng(1).integers(0, 400, size=200_000)
    assert np.mean(ledger.latency_s[drawn, queries] <= seconds) == pytest.approx(level, abs=5e-3)
    counted = found.mixture.outcome(ledger)
    assert float(counted.error) == pytest.approx(found.value, abs=1e-12)
    weight = np.random.default_rng(2).dirichlet(np.ones(400), size=3)
    assert late_share(ledger, seconds, weight).shape == (3, 4)


def test_what_is_attainable_is_said_and_attainable():
    outcome = made_outcome(1)
    with pytest.raises(InfeasibleError, match=r"The least cost in dollars is 0\.00\d+\.$"):
        best_within(NAMES, outcome, Limits(cost_usd=1e-6))
    limits = Limits(error=0.01, cost_usd=0.002)
    with pytest.raises(
        InfeasibleError, match=r"The least error with cost in dollars at most 0\.002 is"
    ) as raised:
        best_within(NAMES, outcome, limits)
    least = float(str(raised.value).split("at most 0.002 is ")[1].split(" ")[0].rstrip("."))
    found = best_within(NAMES, outcome, limits._replace(error=least), "error")
    assert found.value <= least <= found.value * 1.01
    with pytest.raises(InfeasibleError, match="The least error of what is answered is") as raised:
        best_within(NAMES, outcome, Limits(error_given_answered=1e-5))
    least = float(str(raised.value).split("answered is ")[1].rstrip("."))
    assert least == pytest.approx(np.min(outcome.error / (1 - outcome.abstention)), rel=2e-3)


def test_the_least_conditional_error_within_other_limits():
    """A ratio of means, against a search over its value."""
    outcome = made_outcome(1)
    limits = Limits(cost_usd=0.002, error_given_answered=1e-5)
    with pytest.raises(InfeasibleError, match="least error of what is answered with") as raised:
        best_within(NAMES, outcome, limits)
    said = str(raised.value).split("at most 0.002 is ")[1].rstrip(".")

    def possible(limit):
        try:
            best_within(NAMES, outcome, limits._replace(error_given_answered=limit))
        except InfeasibleError:
            return False
        return True

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if possible(middle) else (middle, high)
    assert float(said) == pytest.approx(high, rel=2e-3)


def test_bad_requests_are_refused():
    outcome = made_outcome()
    with pytest.raises(InvalidInputError, match="`minimise` must be one of error, cost_usd"):
        best_within(NAMES, outcome, MANY, "carbon")
    with pytest.raises(InvalidInputError, match=r"`limits.error` must be at least 0; got -0.1"):
        best_within(NAMES, outcome, Limits(error=-0.1))
    with pytest.raises(InvalidInputError, match=r"`limits.late` needs `late`"):
        best_within(NAMES, outcome, Limits(late=0.1))
    unknown = outcome._replace(latency_s=np.where(np.arange(12) < 3, np.nan, 1.0))
    with pytest.raises(InvalidInputError, match="`latency_s` is unknown for 3 of 12 systems"):
        best_within(NAMES, unknown, Limits(latency_s=5.0))
    assert best_within(NAMES, unknown, Limits(error=0.5)).value > 0
    gives_up = outcome._replace(abstention=np.full(12, 0.1))
    with pytest.raises(InvalidInputError, match="no price of abstention"):
        best_within(NAMES, gives_up, Limits(), Prices(1.0))
    with pytest.raises(InvalidInputError, match="`budget` must be one of"):
        budget_hull(NAMES, outcome, "late")
    silent = made_ledger()
    silent.latency_s[:] = np.nan
    with pytest.raises(InvalidInputError, match="latency quantile needs the seconds"):
        late_share(silent, 5.0)
