"""Frontiers by draw, the Bayes-optimal one, and bands, against brute force."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.cascade import PolicyArrays, Prices, loss
from jaxcascade.errors import UnknownModelError
from jaxcascade.posterior import (
    bayes_frontier,
    frontier_draws,
    pointwise_band,
    policy_draws,
    shared_grid,
    simultaneous_band,
    with_bands,
)
from jaxcascade.tuning import Chains, subcascades, tune

PRICES = Prices(np.array([1e-4, 2e-3, 2e-2, 1.0]))
CELLS = 16


@pytest.fixture(scope="module")
def few(posterior):
    return posterior.thin(40)


@pytest.fixture(scope="module")
def losses(few):
    """Of every single model and every pair at every edge of the grid: [draw, policy, price]."""
    edges = np.asarray(shared_grid(few, CELLS).edges)
    rows = [(j, np.full((3, 1), np.inf), np.full((3, 2), -1)) for j in range(3)]
    for j, after in subcascades(3)[:3]:
        for edge in edges[j, 1:-1]:
            breakpoints, actions = np.full((3, 1), np.inf), np.full((3, 2), -1)
            breakpoints[j, 0], actions[j, 0] = edge, after
            rows.append((j, breakpoints, actions))
    policies = PolicyArrays(*(np.stack(part) for part in zip(*rows, strict=True)))
    outcome = policy_draws(few, policies, num_cells=CELLS)
    every = jax.tree.map(lambda leaf: leaf[..., None], outcome)
    return np.asarray(loss(every, PRICES))


@pytest.mark.slow
def test_each_draws_best_is_that_of_all_policies(few, losses):
    found = frontier_draws(few, PRICES, num_cells=CELLS)
    np.testing.assert_allclose(found.loss, losses.min(axis=1), rtol=1e-9)
    np.testing.assert_allclose(found.single_loss, np.moveaxis(losses[:, :3], 1, 2), rtol=1e-9)
    asks_another = ~np.isnan(np.asarray(found.thresholds)).all(axis=2)
    assert asks_another.any()
    assert not asks_another.all()


@pytest.mark.slow
def test_bayes_policies_lose_the_least_on_average(few, losses):
    found = bayes_frontier(few, PRICES, num_cells=CELLS)
    np.testing.assert_allclose(found.loss.mean(axis=0), losses.mean(axis=0).min(axis=0), rtol=1e-6)
    # Whoever knew the draw would lose less.
    assert np.all(losses.min(axis=1).mean(axis=0) <= np.asarray(found.loss.mean(axis=0)) + 1e-12)


def test_more_chains_never_seem_worse(few):
    pairs = frontier_draws(few, PRICES, num_cells=CELLS)
    every = frontier_draws(few, PRICES, num_cells=CELLS, chains=Chains.all_subcascades(3))
    assert np.all(np.asarray(every.loss) <= np.asarray(pairs.loss) * (1 + 1e-12))


@pytest.mark.slow
def test_models_of_draws_go_where_a_single_one_goes(few):
    """`models()` is a pytree with a leading axis: its marginals give each draw's own accuracy."""
    found = frontier_draws(few, PRICES, num_cells=96)
    accuracy = jax.vmap(jax.vmap(lambda law: law.mean()))(few.models().marginal)
    cost = np.asarray(few.sites["cost_usd"])
    expected = cost + (1 - np.asarray(accuracy)) * PRICES.error[-1]
    np.testing.assert_allclose(found.single_loss[:, -1], expected, rtol=1e-3)


def test_bands():
    rng = np.random.default_rng(0)
    draws = np.cumsum(rng.normal(size=(500, 30)), axis=1)
    band, whole = pointwise_band(draws, 0.8), simultaneous_band(draws, 0.8)
    np.testing.assert_allclose(band.low, np.quantile(draws, 0.1, axis=0))
    np.testing.assert_allclose(band.middle, np.median(draws, axis=0))
    inside = np.all((draws >= whole.low) & (draws <= whole.high), axis=1).mean()
    assert 0.8 <= inside < 0.85
    assert np.all(whole.low <= band.low)
    assert np.all(whole.high >= band.high)


def test_bands_of_a_frontier(posterior, few_records):
    tuned = tune(jax.random.key(0), few_records, num_prices=5)
    frontier = with_bands(tuned.frontier, posterior, level=0.8)
    bands = frontier.bands
    assert bands.level == 0.8
    assert bands.error.shape == (5, 3)
    for values in (bands.error, bands.cost_usd, bands.loss, bands.whole_loss):
        assert np.all(np.diff(values, axis=1) >= 0)
    assert np.all(bands.whole_loss[:, 0] <= bands.loss[:, 0])
    for p, point in enumerate(frontier.points):
        alone = len(point.policy.rules) == 1
        assert np.isnan(bands.beats_single[p]) == (alone and point.kind == "single")
        # The plug-in prediction is one of the probable ones.
        assert bands.error[p, 0] - 0.05 < float(point.expected.error) < bands.error[p, 2] + 0.05
    other = dataclasses.replace(
        posterior, frame=dataclasses.replace(posterior.frame, models=("x", "y", "z"))
    )
    with pytest.raises(UnknownModelError, match="of the frontier's models"):
        with_bands(tuned.frontier, other)


def test_prices_of_seconds_count(few):
    free, dear = (
        frontier_draws(few, Prices(0.01, latency), num_cells=CELLS) for latency in (0.0, 0.01)
    )
    seconds = np.asarray(few.sites["latency_s"])
    expected = np.asarray(free.single_loss[:, 0]) + 0.01 * seconds
    np.testing.assert_allclose(dear.single_loss[:, 0], expected, rtol=1e-9)
    assert np.all(np.asarray(jnp.isfinite(dear.loss)))
