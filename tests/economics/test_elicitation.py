"""Beliefs about prices against SciPy's laws and numerical integration."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import linregress, lognorm, norm

from jaxcascade.cascade import Outcome
from jaxcascade.economics import (
    LogNormalPrice,
    PriceBelief,
    best_under_belief,
    lognormal_from_quantiles,
    price_of_error_by_bayes,
)
from jaxcascade.errors import InvalidInputError

OUTCOME = Outcome(
    np.array([0.3, 0.15, 0.16, 0.05]),
    np.array([0.0, 0.0, 0.1, 0.0]),
    np.array([0.001, 0.01, 0.009, 0.08]),
    np.array([1.0, 4.0, 2.0, 30.0]),
    np.ones((4, 1)),
)
ERROR = LogNormalPrice(np.log(0.3), 1.1)


def scipy_law(price):
    return lognorm(s=price.sd_log, scale=np.exp(price.mean_log))


def losses(error_price, latency_price, abstention_price):
    error, given_up, cost, latency, _ = OUTCOME
    return cost + error_price * error + latency_price * latency + abstention_price * given_up


def test_two_quantiles_are_met_exactly():
    price = lognormal_from_quantiles([0.1, 0.8], [2.0, 50.0])
    np.testing.assert_allclose(scipy_law(price).ppf([0.1, 0.8]), [2.0, 50.0], rtol=1e-10)
    np.testing.assert_allclose(price.quantile(0.1), 2.0, rtol=1e-12)


def test_more_quantiles_are_met_by_least_squares():
    levels, values = [0.05, 0.3, 0.5, 0.95], [1.0, 4.0, 9.0, 60.0]
    price = lognormal_from_quantiles(levels, values)
    line = linregress(norm.ppf(levels), np.log(values))
    assert (price.sd_log, price.mean_log) == pytest.approx((line.slope, line.intercept), rel=1e-9)


def test_moments_are_those_of_scipy():
    law = scipy_law(ERROR)
    assert ERROR.mean == pytest.approx(law.mean(), rel=1e-12)
    for price in (0.05, 0.4, 7.0):
        assert ERROR.probability_below(price) == pytest.approx(law.cdf(price), rel=1e-9)
        partial = quad(lambda x: x * law.pdf(x), 0, price, epsabs=1e-13)[0]
        assert ERROR.mean_below(price) == pytest.approx(partial, rel=1e-8)
    assert (ERROR.probability_below(0.0), ERROR.mean_below(np.inf)) == (0.0, ERROR.mean)


def test_the_choice_and_the_worth_of_the_price_against_integration():
    """At a known price of a second: exact."""
    law = scipy_law(ERROR)
    found = best_under_belief(OUTCOME, PriceBelief(ERROR, 0.0005, 0.02))
    z = np.linspace(-9, 9, 400_001)
    weight = norm.pdf(z) / norm.pdf(z).sum()
    every = losses(np.exp(ERROR.mean_log + ERROR.sd_log * z)[:, None], 0.0005, 0.02)
    expected = weight @ every
    np.testing.assert_allclose(found.expected_loss, expected, rtol=1e-8)
    assert found.best == expected.argmin()
    worth = expected.min() - weight @ every.min(axis=1)
    assert worth > 0
    assert found.perfect_information == pytest.approx(worth, rel=1e-7)
    shares = np.bincount(every.argmin(axis=1), weight, minlength=4)
    np.testing.assert_allclose(found.probability, shares, atol=1e-5)
    assert law.mean() == pytest.approx(ERROR.mean)


def test_an_uncertain_price_of_a_second_against_simulation():
    second = LogNormalPrice(np.log(0.002), 0.8)
    found = best_under_belief(OUTCOME, PriceBelief(ERROR, second, 0.02))
    rng = np.random.default_rng(0)
    prices = [
        np.exp(price.mean_log + price.sd_log * rng.normal(size=(400_000, 1)))
        for price in (ERROR, second)
    ]
    every = losses(*prices, 0.02)
    regret = every[:, found.best] - every.min(axis=1)
    error = 4 * regret.std() / np.sqrt(len(regret))
    assert found.best == every.mean(axis=0).argmin()
    assert found.perfect_information == pytest.approx(regret.mean(), abs=error)
    shares = np.bincount(every.argmin(axis=1), minlength=4) / len(every)
    np.testing.assert_allclose(found.probability, shares, atol=0.01)


def test_a_price_known_for_sure_leaves_nothing_to_learn():
    found = best_under_belief(OUTCOME, PriceBelief(LogNormalPrice(np.log(0.3), 0.0), 0, 0.02))
    assert found.perfect_information == 0.0
    assert found.probability[found.best] == 1.0
    draws = Outcome(*(np.stack([0.5 * part, 1.5 * part]) for part in OUTCOME))
    again = best_under_belief(draws, PriceBelief(ERROR, 0.0005, 0.02))
    one = best_under_belief(OUTCOME, PriceBelief(ERROR, 0.0005, 0.02))
    np.testing.assert_allclose(again.expected_loss, one.expected_loss, rtol=1e-12)


def test_the_medical_example():
    assert round(price_of_error_by_bayes(500_000, 2 / 3, 1e-5, 0.01), 2) == 333.33
    # Simulated: one query in fifty has the cause, which triples the chance of an error.
    rng = np.random.default_rng(0)
    cause = rng.uniform(size=1_000_000) < 0.02
    wrong = rng.uniform(size=cause.size) < np.where(cause, 0.3, 0.1)
    price = price_of_error_by_bayes(70.0, 0.3, 0.02, 0.3 * 0.02 + 0.1 * 0.98)
    assert price == pytest.approx(70.0 * cause[wrong].mean(), rel=0.03)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: lognormal_from_quantiles([0.5], [1.0]), "`levels` must be at least two"),
        (lambda: lognormal_from_quantiles([0.5, 0.4], [1.0, 2.0]), "`levels` .* increasing"),
        (lambda: lognormal_from_quantiles([0.5, 1.0], [1.0, 2.0]), "below 1; got"),
        (lambda: lognormal_from_quantiles([0.1, 0.9], [0.0, 2.0]), "`values` must be"),
        (lambda: lognormal_from_quantiles([0.1, 0.9], [1.0, 2.0, 3.0]), "one price per level, 2"),
        (lambda: LogNormalPrice(0.0, -1.0), "`sd_log` at least 0"),
        (lambda: LogNormalPrice(np.nan, 1.0), "must be finite"),
        (lambda: price_of_error_by_bayes(1.0, 1.2, 0.1, 0.5), "`p_error_given_cause` .* in"),
        (lambda: price_of_error_by_bayes(1.0, 0.2, 0.1, 0.0), "`p_error` .* above 0"),
        (lambda: price_of_error_by_bayes(-1.0, 0.2, 0.1, 0.5), "`cost_given_cause`"),
        (lambda: price_of_error_by_bayes(1.0, 0.9, 0.5, 0.1), "`p_error` must be at least"),
        (lambda: best_under_belief(OUTCOME, PriceBelief(ERROR)), "Pass `abstention_price`"),
        (lambda: best_under_belief(OUTCOME, PriceBelief(ERROR, -1.0, 1.0)), "`latency_price`"),
    ],
)  # fmt: skip
def test_what_cannot_be_believed_is_said(call, told):
    with pytest.raises(InvalidInputError, match=told):
        call()
