"""The identity of theorem 5, to the last digits, and the parts against their definitions."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcascade.cascade import Policy
from jaxcascade.economics import (
    bootstrap_weights,
    cascade_error,
    cascade_error_draws,
    policy_ledger,
    single_ledger,
)
from jaxcascade.errors import InvalidInputError
from tests.economics.test_ledger import POLICIES, made_records

KEY = jax.random.key(0)
PAIR = Policy.threshold_cascade(["small", "large"], [0.6])


@given(st.integers(0, 10_000), st.integers(1, 400))
def test_the_parts_add_up_to_the_error(seed, n):
    rng = np.random.default_rng(seed)
    deferred, small, big = (rng.uniform(size=n) < rate for rate in rng.uniform(size=3))
    parts = cascade_error(deferred, small, big)
    total = (
        (1 - parts.deferral) * parts.small_error
        + parts.deferral * parts.big_error
        + parts.covariance_big
        - parts.covariance_small
    )
    assert parts.error == pytest.approx(np.where(deferred, big, small).mean(), abs=1e-12)
    assert parts.error == pytest.approx(total, abs=1e-12)
    for found, wrong in ((parts.covariance_small, small), (parts.covariance_big, big)):
        assert found == pytest.approx(np.cov(deferred, wrong, ddof=0)[0, 1], abs=1e-12)
    if deferred.any():
        lifted = parts.deferral * (small[deferred].mean() - small.mean())
        assert parts.reduction == pytest.approx(lifted, abs=1e-12)


def test_weights_stand_for_repeated_queries():
    rng = np.random.default_rng(1)
    times = rng.integers(1, 4, 50)
    columns = [rng.uniform(size=50) < 0.4 for _ in range(3)]
    whole = cascade_error(*(np.repeat(column, times) for column in columns))
    found = cascade_error(*columns, np.stack([times / times.sum()] * 2))
    for one, other in zip(whole, found, strict=True):
        np.testing.assert_allclose(other, [one, one], atol=1e-14)


def test_a_cascade_of_a_ledger():
    records = made_records(num_queries=200, missing=0.2)
    alone = single_ledger(records)
    ledger = alone.join(policy_ledger(records, records.confidence, {"pair": PAIR}))
    found, draws = cascade_error_draws(KEY, ledger, "pair", "small", "large", 4000)
    known = ledger.select(["pair", "small", "large"]).known
    sure = np.exp(records.log_confidence[known, records.model_index("small")])
    wrong = {name: ledger.wrong[ledger.position(name), known] for name in ledger.systems}
    np.testing.assert_allclose(found.deferral, np.mean(sure <= 0.6), rtol=1e-12)
    np.testing.assert_allclose(found.error, wrong["pair"].mean(), rtol=1e-12)
    # Draws lie around what was counted, as far as the covariance's own standard error says.
    centred = ((sure <= 0.6) - found.deferral) * (wrong["small"] - found.small_error)
    expected = centred.std() / np.sqrt(known.sum() + 1)
    assert draws.reduction.std() == pytest.approx(expected, rel=0.1)
    assert draws.reduction.mean() == pytest.approx(found.reduction, abs=0.1 * expected)
    weight = bootstrap_weights(KEY, int(known.sum()), 4000)
    np.testing.assert_allclose(draws.error, weight @ wrong["pair"], rtol=1e-10)


def test_what_is_no_cascade_of_two_is_said():
    records = made_records()
    ledger = single_ledger(records).join(policy_ledger(records, records.confidence, POLICIES))
    for name in ("chain", "careful"):
        with pytest.raises(InvalidInputError, match=f'"{name}" must answer every query by "small"'):
            cascade_error_draws(KEY, ledger, name, "small", "large")
    with pytest.raises(InvalidInputError, match="`big_wrong` must hold one number in"):
        cascade_error(np.ones(2), np.zeros(2), np.array([0.0, np.nan]))
    with pytest.raises(InvalidInputError, match="`deferred` must hold"):
        cascade_error(np.ones(0), np.zeros(0), np.zeros(0))
