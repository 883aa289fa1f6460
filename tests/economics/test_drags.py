"""Drags against sums written out, and their identity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcascade.cascade import Policy, Rule
from jaxcascade.economics import cost_drag, latency_drag
from jaxcascade.economics.drags import drag_of
from jaxcascade.errors import InvalidInputError, PolicyError, RecordsError
from jaxcascade.records import Records

POLICY = Policy(
    "small",
    {
        "small": Rule((0.2, 0.7), ("abstain", "large", "accept")),
        "large": Rule((0.4,), ("abstain", "accept")),
    },
)


def made_records(seconds: bool = True) -> Records:
    rng = np.random.default_rng(5)
    shape = (50, 2)
    confidence = rng.choice([0.1, 0.2, 0.5, 0.7, 0.9], shape)
    confidence[3] = np.nan
    latency = rng.uniform(1.0, 9.0, shape)
    return Records(
        np.arange(50),
        ("large", "small"),
        np.log(confidence),
        np.ones(shape),
        rng.uniform(0.1, 0.2, shape),
        latency if seconds else None,
    )


@pytest.mark.parametrize("measure", [latency_drag, cost_drag])
def test_parts_are_what_sums_over_queries_give(measure):
    """Confidences on a breakpoint belong below it."""
    records = made_records()
    found = measure(records, records.confidence, POLICY)
    cells = np.asarray(records.latency_s if measure is latency_drag else records.cost_usd)
    sure = np.delete(records.confidence[:, 1], 3)
    amount = np.delete(cells[:, 0], 3)
    # 0.2 and 0.7 come back from their logarithms as they were, or a rounding below.
    failed, not_easy = sure < 0.3, sure < 0.8
    passed = not_easy & ~failed
    share = passed.mean()
    assert found.share == pytest.approx(share)
    assert found.naive == pytest.approx(share * amount.mean())
    assert found.actual == pytest.approx((amount * passed).mean())
    assert found.no_easy == pytest.approx(share * (amount[not_easy].mean() - amount.mean()))
    assert found.no_hardest == pytest.approx(
        share * (amount[passed].mean() - amount[not_easy].mean())
    )


@given(seed=st.integers(0, 10_000), num_draws=st.integers(1, 3))
def test_the_drag_is_a_covariance(seed, num_draws):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, 12)
    amount, weight = rng.exponential(size=12), rng.dirichlet(np.ones(12), num_draws)
    found = drag_of(amount, kind == 0, kind == 1, weight)
    mean = weight @ amount
    covariance = weight @ ((kind == 0) * amount) - (weight @ (kind == 0)) * mean
    np.testing.assert_allclose(found.total, covariance, atol=1e-12)
    np.testing.assert_allclose(found.actual, weight @ ((kind == 0) * amount), atol=1e-12)


def test_what_cannot_be_measured_is_said():
    records = made_records()
    three = Policy.threshold_cascade(["small", "middle", "large"], [0.5, 0.5])
    with pytest.raises(PolicyError, match="second of two models; the policy asks 3"):
        latency_drag(records, records.confidence, three)
    with pytest.raises(RecordsError, match="needs `latency_s`"):
        latency_drag(made_records(seconds=False), records.confidence, POLICY)
    with pytest.raises(RecordsError, match='No query has runs of both "small" and "large"'):
        cost_drag(records, np.full((50, 2), np.nan), POLICY)
    both = np.ones(3, bool)
    with pytest.raises(InvalidInputError, match="both passed on and failed"):
        drag_of(np.ones(3), both, both, np.ones(3))
