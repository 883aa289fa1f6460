"""Choices among systems against a loop over draws and prices."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcascade.cascade import Outcome, Prices, loss
from jaxcascade.economics import best_system, price_map
from jaxcascade.errors import InvalidInputError


def made_draws(num_draws=70, num_systems=4, seed=0, seconds=True, abstention=0.1):
    rng = np.random.default_rng(seed)
    shape = (num_draws, num_systems)
    error = rng.dirichlet(np.ones(2 * num_systems), num_draws)[:, :num_systems]
    latency = rng.uniform(0, 3, shape) if seconds else np.full(shape, np.nan)
    given_up = abstention * rng.uniform(size=shape)
    return Outcome(error, given_up, rng.uniform(size=shape), latency, np.ones((*shape, 1)))


def by_hand(outcome, prices, tail):
    losses = np.asarray(loss(outcome, prices))
    expected = losses.mean(axis=0)
    first, second = np.argsort(expected)[:2]
    wins, regret, other = np.zeros(losses.shape[1]), [], []
    for row in losses:
        tied = np.flatnonzero(row == row.min())
        wins[tied] += 1 / len(tied) / len(losses)
        regret.append(row[first] - row.min())
        other.append(row[second] - row.min())
    worst = sorted(regret)[-int(np.ceil(tail * len(losses))) :]
    return first, second, expected, wins, np.mean(regret), np.mean(other), np.mean(worst)


def test_a_map_is_a_loop_over_draws_and_prices():
    outcome = made_draws()
    outcome.error[:, 3], outcome.cost_usd[:, 3] = outcome.error[:, 2], outcome.cost_usd[:, 2]
    outcome.latency_s[:, 3], outcome.abstention[:, 3] = (
        outcome.latency_s[:, 2],
        outcome.abstention[:, 2],
    )  # a tie in every draw
    error_prices, latency_prices = np.geomspace(0.1, 30, 5), np.array([0.0, 0.3, 2.0])
    found = price_map(outcome, error_prices, latency_prices, abstention_price=0.7, tail=0.1)
    for e, error in enumerate(error_prices):
        for j, latency in enumerate(latency_prices):
            expected = by_hand(outcome, Prices(error, latency, 0.7), 0.1)
            assert found.choice.best[e, j] in (expected[0], expected[1])
            for name, value in zip(found.choice._fields[2:], expected[2:], strict=True):
                np.testing.assert_allclose(
                    getattr(found.choice, name)[e, j], value, rtol=1e-9, atol=1e-12
                )
    np.testing.assert_allclose(found.choice.probability.sum(axis=-1), 1.0)
    one = best_system(outcome, error_prices[3], 0.3, 0.7, tail=0.1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[3, 1], rtol=1e-12), one, found.choice)


@given(st.integers(0, 10_000), st.floats(0.01, 10.0))
def test_properties_of_a_choice(seed, error_price):
    outcome = made_draws(30, 3, seed)
    now, dearer = (best_system(outcome, p, 0.1, 0.5) for p in (error_price, 1.5 * error_price))
    assert 0 <= now.regret <= now.runner_up_regret <= now.regret + np.ptp(now.expected_loss)
    assert now.regret <= now.tail_regret
    assert now.expected_loss[now.best] == now.expected_loss.min()
    # A dearer error never pays, and the choice never errs more.
    assert dearer.expected_loss.min() >= now.expected_loss.min()
    mean_error = outcome.error.mean(axis=0)
    assert mean_error[dearer.best] <= mean_error[now.best] + 1e-12


def test_one_system_and_one_draw():
    alone = best_system(made_draws(1, 1, abstention=0.0), 1.0)
    assert (alone.best, alone.runner_up, alone.regret, alone.tail_regret) == (0, 0, 0, 0)
    assert alone.probability.tolist() == [1.0]


def test_unknown_seconds_matter_only_where_they_are_priced():
    outcome = made_draws(seconds=False, abstention=0.0)
    assert np.isfinite(best_system(outcome, 1.0).expected_loss).all()
    with pytest.raises(InvalidInputError, match="seconds of some system were not"):
        best_system(outcome, 1.0, latency_price=0.1)


def test_what_cannot_be_mapped_is_said():
    outcome = made_draws()
    with pytest.raises(InvalidInputError, match="two axes, draws and systems; it has 1"):
        best_system(Outcome(*(part[0] for part in outcome)), 1.0, 0.0, 1.0)
    with pytest.raises(InvalidInputError, match="`tail` must be a share"):
        best_system(outcome, 1.0, 0.0, 1.0, tail=0.0)
    with pytest.raises(InvalidInputError, match="Pass `abstention_price`"):
        best_system(outcome, 1.0)
    for grids, name in (
        ((np.array([-1.0]), np.zeros(1)), "error_prices"),
        ((np.array([np.inf]), np.zeros(1)), "error_prices"),
        ((np.ones(1), np.zeros(0)), "latency_prices"),
        ((np.ones(1), np.array([np.nan])), "latency_prices"),
    ):
        with pytest.raises(InvalidInputError, match=f"`{name}` must be a row of finite prices"):
            price_map(outcome, *grids, abstention_price=1.0)
