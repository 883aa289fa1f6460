"""Draws of a posterior take the same ways as draws from records."""

import jax
import numpy as np
import pytest

from jaxcascade.cascade import Outcome, Policy, stack_policies
from jaxcascade.economics import (
    LogNormalPrice,
    PriceBelief,
    best_under_belief,
    break_even_of_draws,
    price_map,
)
from jaxcascade.posterior import Laplace, infer, policy_draws
from jaxcascade.records import example_records

# The fit of the posterior takes longer than all else here.
pytestmark = pytest.mark.slow

MODELS = ("llama3.1-8b", "llama3.1-70b", "gpt-4o")
SYSTEMS = ("small", "cascade", "large")
NUM_DRAWS = 60


@pytest.fixture(scope="module")
def draws() -> Outcome:
    records = example_records("train").select(MODELS).take(np.arange(120))
    posterior = infer(jax.random.key(0), records, method=Laplace(num_draws=NUM_DRAWS))
    cascade = Policy.threshold_cascade(MODELS, [0.6, 0.6])
    policies = [Policy.single(MODELS[0]), cascade, Policy.single(MODELS[2])]
    return policy_draws(posterior, stack_policies(policies, MODELS), num_cells=16)


def losses(draws: Outcome, error_price, latency_price):
    """Dollars per query: [draw, system]."""
    error, _, cost, latency, _ = (np.asarray(part) for part in draws)
    return cost + error_price * error + latency_price * latency


def test_break_even_price_of_posterior_draws(draws):
    pair = Outcome(*(np.asarray(part)[:, :2] for part in draws))
    found = break_even_of_draws(pair, SYSTEMS[:2], level=0.8)
    assert (found.other, found.accurate) == ("small", "cascade")
    prices = []
    for d in range(NUM_DRAWS):
        dearer = float(pair.cost_usd[d, 1] - pair.cost_usd[d, 0])
        better = float(pair.error[d, 0] - pair.error[d, 1])
        assert dearer > 0
        assert better > 0
        price = dearer / better
        np.testing.assert_allclose(*losses(pair, price, 0.0)[d])
        prices.append(price)
    ordered = np.sort(prices)
    # The least values that 10, 50 and 90 % of 60 draws do not exceed.
    np.testing.assert_allclose([found.low, found.median, found.high], ordered[[5, 29, 53]])
    means = np.mean(pair.cost_usd, axis=0), np.mean(pair.error, axis=0)
    assert found.price == pytest.approx(-np.diff(means[0])[0] / np.diff(means[1])[0])
    assert (found.p_price, found.p_exchanged) == (1.0, 0.0)


def test_price_map_of_posterior_draws(draws):
    errors, seconds = np.array([1e-5, 1e-3, 3e-3, 1.0]), np.array([0.0, 1e-4])
    choice = price_map(draws, errors, seconds).choice
    for e, error_price in enumerate(errors):
        for s, latency_price in enumerate(seconds):
            loss = losses(draws, error_price, latency_price)
            np.testing.assert_allclose(choice.expected_loss[e, s], loss.mean(axis=0), rtol=1e-9)
            assert choice.best[e, s] == loss.mean(axis=0).argmin()
            share = np.bincount(loss.argmin(axis=1), minlength=3) / NUM_DRAWS
            np.testing.assert_allclose(choice.probability[e, s], share, atol=1e-12)
            regret = loss[:, choice.best[e, s]] - loss.min(axis=1)
            np.testing.assert_allclose(choice.regret[e, s], regret.mean(), rtol=1e-6, atol=1e-15)
    assert len(np.unique(choice.best)) > 1
    assert np.any((choice.probability > 0.02) & (choice.probability < 0.98))


def test_choice_under_belief_from_posterior_draws(draws):
    price = LogNormalPrice(np.log(2e-3), 1.0)
    found = best_under_belief(draws, PriceBelief(price, latency=1e-5))
    levels = (np.arange(4000) + 0.5) / 4000
    prices = np.array([price.quantile(level) for level in levels])
    mean = Outcome(*(np.asarray(part).mean(axis=0) for part in draws))
    loss = losses(mean, prices[:, None], 1e-5)
    np.testing.assert_allclose(found.expected_loss, loss.mean(axis=0), rtol=2e-3)
    assert found.best == loss.mean(axis=0).argmin()
    share = np.bincount(loss.argmin(axis=1), minlength=3) / levels.size
    np.testing.assert_allclose(found.probability, share, atol=1e-3)
    assert np.sum(share > 0.05) > 1
    known = loss.mean(axis=0).min() - loss.min(axis=1).mean()
    assert found.perfect_information == pytest.approx(known, rel=0.02)
