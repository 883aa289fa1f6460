"""The Bayesian bootstrap against the moments of the Dirichlet law."""

import jax
import numpy as np
import pytest

from jaxcascade.economics import bootstrap, bootstrap_outcomes, bootstrap_weights, single_ledger
from jaxcascade.errors import InvalidInputError, RecordsError
from tests.economics.test_ledger import made_records

KEY = jax.random.key(4)


def test_weights_have_the_moments_of_a_flat_dirichlet_law():
    n, d = 7, 40_000
    weight = bootstrap_weights(KEY, n, d)
    np.testing.assert_allclose(weight.sum(axis=1), 1.0, rtol=1e-12)
    assert weight.min() > 0
    variance = (n - 1) / (n**2 * (n + 1))
    np.testing.assert_allclose(weight.mean(axis=0), 1 / n, atol=4 * np.sqrt(variance / d))
    np.testing.assert_allclose(weight.var(axis=0), variance, rtol=0.05)
    np.testing.assert_allclose(np.cov(weight[:, 0], weight[:, 1])[0, 1], -variance / 6, rtol=0.2)


def test_systems_are_drawn_together():
    """Means have the covariance of the queries, divided by n + 1."""
    ledger = single_ledger(made_records(num_queries=50))
    draws = bootstrap_outcomes(KEY, ledger, 20_000)
    expected = np.cov(ledger.cost_usd, ddof=0) / 51
    np.testing.assert_allclose(np.cov(draws.cost_usd.T), expected, atol=0.04 * expected.max())
    np.testing.assert_allclose(draws.error.var(axis=0), ledger.wrong.var(axis=1) / 51, rtol=0.05)
    np.testing.assert_allclose(draws.error.mean(axis=0), ledger.wrong.mean(axis=1), atol=0.003)


def test_outcomes_are_those_of_the_weights_however_many_are_held_at_once(monkeypatch):
    ledger = single_ledger(made_records(missing=0.3))
    weight = np.zeros((11, 80))
    weight[:, ledger.known] = bootstrap_weights(KEY, int(ledger.known.sum()), 11)
    for block in (1 << 20, 100, 1):
        monkeypatch.setattr(bootstrap, "_BLOCK", block)
        draws = bootstrap_outcomes(KEY, ledger, 11)
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-12),
            draws,
            ledger.outcomes(weight),
        )


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(InvalidInputError, match="`num_draws` must be at least 1; got 0"):
        bootstrap_weights(KEY, 5, 0)
    with pytest.raises(InvalidInputError, match="`num_queries` must be at least 1; got -1"):
        bootstrap_weights(KEY, -1)
    blank = made_records(num_queries=3)
    blank.correct[:] = np.nan
    with pytest.raises(RecordsError, match="No query can be compared"):
        bootstrap_outcomes(KEY, single_ledger(blank))
