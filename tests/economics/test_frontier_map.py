"""Maps of recommendations against losses counted on the records."""

import jax
import numpy as np
import pytest

from jaxcascade.cascade import Policy
from jaxcascade.economics import RECOMMENDED, frontier_map
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning import replay_policies
from tests.reports.conftest import make_frontier, make_records

KEY = jax.random.key(0)
NAMES = ("small", "large", "unused")
SECONDS = (0.0, 2e-5, 1e-3)


def frontier_at(latency_price):
    """A single model and two cascades, at one price of a second."""
    chains = [Policy.threshold_cascade(NAMES[:2], [edge]) for edge in (0.5, 0.6)]
    frontier = make_frontier(NAMES, [Policy.single("small"), *chains])
    points = tuple(
        point._replace(prices=point.prices._replace(latency=latency_price))
        for point in frontier.points
    )
    return frontier._replace(points=points)


@pytest.fixture(scope="module")
def records():
    return make_records(NAMES, n=300)


def test_expected_losses_are_those_counted(records):
    frontiers = [frontier_at(price) for price in SECONDS]
    found = frontier_map(KEY, frontiers, records, num_draws=1500)
    assert found.systems == (*NAMES, RECOMMENDED)
    choice = found.prices.choice
    np.testing.assert_array_equal(found.prices.latency_prices, SECONDS)
    for seconds, frontier in enumerate(frontiers):
        replayed = replay_policies(frontier, records)
        for p, point in enumerate(frontier.points):
            wrong = 1.0 - np.asarray(replayed.correct)[p]
            prices = point.prices
            losses = replayed.cost_usd[p] + prices.error * wrong
            losses = losses + prices.latency * replayed.latency_s[p]
            expected = choice.expected_loss[p, seconds, -1]
            if len(point.policy.rules) == 1:
                assert np.isnan(expected)
                assert choice.probability[p, seconds, -1] == 0.0
            else:
                assert expected == pytest.approx(float(np.mean(losses)), rel=0.02)
            alone = 1.0 - records.correct.mean(axis=0)
            singles = records.cost_usd.mean(axis=0) + prices.error * alone + prices.latency * 0.5
            np.testing.assert_allclose(choice.expected_loss[p, seconds, :-1], singles, rtol=0.02)
    np.testing.assert_allclose(choice.probability.sum(axis=-1), 1.0)


def test_what_cannot_be_mapped_is_said(records):
    with pytest.raises(InvalidInputError, match="at least one frontier"):
        frontier_map(KEY, [], records)
    with pytest.raises(InvalidInputError, match="at increasing prices of a second"):
        frontier_map(KEY, [frontier_at(0.1), frontier_at(0.1)], records)
    other = frontier_at(0.1)
    with pytest.raises(InvalidInputError, match="same `error_prices`"):
        frontier_map(KEY, [frontier_at(0.0), other._replace(points=other.points[:2])], records)
    with pytest.raises(InvalidInputError, match="seconds of some system"):
        frontier_map(KEY, [frontier_at(0.1)], make_records(NAMES, latency=False))
