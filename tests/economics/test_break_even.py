"""Break-even prices against the specification's table, and their intervals against simulation."""

import itertools

import jax
import numpy as np
import pytest
from scipy.stats import norm

from jaxcascade.cascade import Outcome, Prices
from jaxcascade.economics import (
    Ledger,
    base_cost,
    break_even,
    break_even_of_draws,
    break_even_price,
    break_even_steps,
    check_priceable,
    fieller_interval,
    policy_ledger,
    single_ledger,
)
from jaxcascade.errors import InvalidInputError
from tests.economics.test_ledger import POLICIES, made_records

KEY = jax.random.key(0)
# Error, seconds and dollars per query: Zellinger and Thomson, thesis, table 4.1.
TABLE = {
    "qwen3": (0.028, 125.9, 0.0095),
    "r1": (0.058, 89.7, 0.079),
    "o3": (0.038, 67.6, 0.019),
    "llama405": (0.306, 12.4, 0.0036),
}
PER_MINUTE = 1 / 60


def outcome_of(*systems):
    error, latency, cost = np.array([TABLE[name] for name in systems]).T
    return Outcome(error, 0 * error, cost, latency, np.ones((len(systems), 1)))


def price_between(first, second, dollars_a_minute):
    one, other = (jax.tree.map(lambda p: p[0], outcome_of(name)) for name in (first, second))
    return float(break_even_price(one, other, latency_price=dollars_a_minute * PER_MINUTE))


@pytest.mark.parametrize(
    ("dollars_a_minute", "digits", "expected"),
    [(0.0, 4, (0.0212, 0.0575, 0.3040)), (0.5, 4, (3.4235, 1.7739, 2.9015)),
     (10.0, 2, (68.07, 34.39, 52.25))],
)  # fmt: skip
def test_the_printed_break_even_prices_of_the_small_model(dollars_a_minute, digits, expected):
    found = [price_between("llama405", big, dollars_a_minute) for big in ("qwen3", "o3", "r1")]
    assert tuple(round(price, digits) for price in found) == expected


def test_the_printed_prices_of_the_two_best():
    assert round(price_between("qwen3", "o3", 0.5), 2) == 47.63
    assert round(price_between("qwen3", "o3", 10.0), 2) == 970.72
    for worse in ("o3", "r1"):  # dominated where seconds cost nothing
        assert price_between("qwen3", worse, 0.0) < 0
        both = jax.tree.map(lambda part: part[None], outcome_of(worse, "qwen3"))
        assert break_even_of_draws(both, [worse, "qwen3"]).dominant == "qwen3"


def test_order_does_not_matter_and_equal_errors_have_no_price():
    assert price_between("o3", "r1", 0.5) == price_between("r1", "o3", 0.5)
    assert np.isnan(price_between("o3", "o3", 0.5))


@pytest.mark.parametrize("first", ["alone", "chain"])
def test_losses_are_equal_at_the_price_and_cross_there(first):
    """Abstentions priced too."""
    records = made_records()
    ledger = policy_ledger(records, records.confidence, POLICIES).select([first, "careful"])
    given_up, second = 0.9, 0.03
    prices = {"latency_price": second, "abstention_price": given_up}
    found = break_even(KEY, ledger, first, "careful", **prices)
    assert found.price > 0
    for factor, sign in ((0.9, 1), (1.0, 0), (1.1, -1)):
        losses = ledger.losses(Prices(factor * found.price, second, given_up)).mean(axis=1)
        by_name = dict(zip(ledger.systems, losses, strict=True))
        difference = by_name[found.accurate] - by_name[found.other]
        assert np.sign(np.round(difference, 12)) == sign
    swapped = break_even(KEY, ledger, "careful", first, **prices)
    assert swapped._replace(fieller=None) == found._replace(fieller=None)
    assert swapped.fieller == found.fieller


def test_draws_fall_into_four_cases():
    """A price of 2; one draw of each kind of dominance; one with the roles exchanged."""
    gain = np.array([0.1, 0.1, 0.1, -0.1, -0.1, 0.1, 0.2, 0.2])
    dearer = np.array([0.2, 0.2, -0.1, 0.1, -0.1, 0.3, 0.2, 0.2])
    error, cost = np.stack([0.5 + 0 * gain, 0.5 - gain], 1), np.stack([1 + 0 * gain, 1 + dearer], 1)
    draws = Outcome(error, 0 * error, cost, np.nan * error, np.ones((8, 2, 1)))
    found = break_even_of_draws(draws, ["a", "b"], level=0.5)
    shares = (found.p_price, found.p_accurate_dominates, found.p_other_dominates, found.p_exchanged)
    assert shares == (5 / 8, 1 / 8, 1 / 8, 1 / 8)
    assert found.price == pytest.approx(dearer.mean() / gain.mean())
    # On the line with both ends: 0, 1, 1, 2, 2, 3, inf.
    assert found.median == pytest.approx(2)
    # With the exchanged draw at an end: 0, 0, 1, 1, ... and ..., 2, 3, inf, inf.
    assert (found.low, found.high) == pytest.approx((0.0, 3.0))


def test_fieller_keeps_exactly_what_the_test_does_not_reject():
    rng = np.random.default_rng(0)
    for shift in (1.0, 0.05):
        x = rng.normal(0.5, 1.0, 60)
        y = rng.normal(shift, 1.0, 60) + 0.3 * x
        found = fieller_interval(x, y, 0.9)
        grid = np.linspace(-30, 30, 4001)
        rest = x - grid[:, None] * y
        score = rest.mean(axis=1) / (rest.std(axis=1, ddof=1) / np.sqrt(60))
        kept = np.abs(score) <= norm.ppf(0.95)
        within = (grid >= found.low) & (grid <= found.high)
        assert found.kind == ("inside" if shift == 1.0 else "outside")
        np.testing.assert_array_equal(kept, within if shift == 1.0 else ~within)
    assert fieller_interval(rng.normal(0, 1, 40), rng.normal(0, 1, 40) - 0.0).kind == "everything"
    same = fieller_interval(np.array([1.0, 2.0, 1.5]), np.zeros(3))
    assert same == (-np.inf, np.inf, "outside")


def test_draws_and_fieller_agree_where_errors_differ_clearly():
    records = made_records(num_queries=800)
    middle = records.model_index("middle")
    records.correct[:, middle] = np.random.default_rng(1).uniform(size=800) < 0.9
    found = break_even(KEY, single_ledger(records), "large", "middle")
    assert found.dominant == "middle"
    assert (found.median, found.high, found.p_accurate_dominates) == (0.0, 0.0, 1.0)
    records.cost_usd[:, middle] += 2.0
    found = break_even(KEY, single_ledger(records), "large", "middle", level=0.95)
    assert found.p_price == 1.0
    assert found.fieller is not None
    assert found.fieller.kind == "inside"
    np.testing.assert_allclose((found.low, found.high), found.fieller[:2], rtol=0.04)
    assert found.median == pytest.approx(found.price, rel=0.01)


def test_intervals_cover_the_price():
    """About 90 of 100 samples, by draws and by Fieller alike."""
    rng = np.random.default_rng(5)
    price, covered = 0.4 / 0.2, np.zeros(2)
    for _ in range(100):
        hard = rng.uniform(size=120)
        wrong = np.stack([hard < 0.4, hard < 0.2]).astype(float)
        cost = np.stack([rng.exponential(0.2, 120), rng.exponential(0.6, 120)])
        nothing, by = np.zeros((2, 120)), np.array([[0] * 120, [1] * 120])
        names = ("a", "b")
        ledger = Ledger(names, names, np.arange(120), wrong, nothing, cost, nothing, by)
        found = break_even(KEY, ledger, *names, num_draws=400)
        assert found.fieller is not None
        ends = ((found.low, found.high), found.fieller[:2])
        covered += [low <= price <= high for low, high in ends]
    assert np.all((covered >= 81) & (covered <= 97))


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 2), (0.1, 1)])
def test_steps_are_the_changes_of_the_best_system(seconds, expected):
    """The middle model is slow: where seconds are dear, no price of an error prefers it."""
    records = made_records(num_queries=300)
    rng = np.random.default_rng(7)
    for name, right in (("small", 0.5), ("middle", 0.7), ("large", 0.9)):
        records.correct[:, records.model_index(name)] = rng.uniform(size=300) < right
    assert records.latency_s is not None
    records.latency_s[:, records.model_index("middle")] += 20.0
    ledger = single_ledger(records)
    steps = break_even_steps(KEY, ledger, latency_price=seconds)
    prices = [step.price for step in steps]
    assert prices == sorted(prices)
    assert len(prices) == expected
    assert [a.accurate for a in steps[:-1]] == [b.other for b in steps[1:]]
    ends = [0.0, *prices, 2 * prices[-1]]
    owners = [steps[0].other, *(step.accurate for step in steps)]
    for (low, high), owner in zip(itertools.pairwise(ends), owners, strict=True):
        losses = ledger.losses(Prices((low + high) / 2, seconds)).mean(axis=1)
        assert ledger.systems[losses.argmin()] == owner
    pair = break_even(KEY, ledger, steps[0].other, steps[0].accurate, latency_price=seconds)
    np.testing.assert_allclose([pair.low, pair.high], [steps[0].low, steps[0].high])


def test_what_has_no_price_is_said():
    records = made_records(seconds=False)
    ledger = policy_ledger(records, records.confidence, POLICIES)
    mean = ledger.outcomes()
    with pytest.raises(InvalidInputError, match=r"`latency_price` is 0\.1, but the seconds"):
        base_cost(mean, 0.1, 1.0)
    with pytest.raises(InvalidInputError, match="Pass `abstention_price`"):
        break_even(KEY, ledger, "alone", "careful")
    for prices, name in (((-1.0,), "latency_price"), ((0.0, np.nan), "abstention_price")):
        with pytest.raises(InvalidInputError, match=f"`{name}` must be at least 0"):
            check_priceable(mean, *prices)
    with pytest.raises(InvalidInputError, match="`latency_price` must be finite"):
        check_priceable(mean, np.inf, 1.0)
    with pytest.raises(InvalidInputError, match="two systems; got 3 names and 3"):
        break_even_of_draws(jax.tree.map(lambda p: p[None], mean), ledger.systems)
    with pytest.raises(InvalidInputError, match="`level` must lie between 0 and 1; got 1"):
        break_even(KEY, ledger, "alone", "chain", level=1.0)
    with pytest.raises(InvalidInputError, match="at least two queries; got 1"):
        fieller_interval(np.ones(1), np.ones(1))
