"""Bets against their fairness, and their growth against a direct computation."""

import itertools

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from jaxcascade.economics.betting import (
    calibration_bets,
    conformal_levels,
    log_wealth,
    smooth_bets,
)


def test_levels_are_ranks_among_everything_before():
    rng = np.random.default_rng(0)
    reference, new = np.sort(rng.normal(size=7)), rng.normal(size=20)
    new[4] = np.nan
    levels = conformal_levels(jax.random.key(0), reference, new)
    for t in range(20):
        if t == 4:
            assert np.isnan(levels[t])
            continue
        pool = np.concatenate([reference, new[:t][~np.isnan(new[:t])]])
        rank = np.sum(pool < new[t])
        assert rank / (pool.size + 1) <= levels[t] <= (rank + 1) / (pool.size + 1)


@pytest.mark.parametrize("num_values", [2, 1000])
def test_levels_are_uniform_and_independent_with_ties_or_without(num_values):
    rng = np.random.default_rng(1)
    rows = []
    for seed in range(400):
        values = rng.integers(num_values, size=20).astype(float)
        rows.append(conformal_levels(jax.random.key(seed), np.sort(values[:10]), values[10:]))
    levels = np.array(rows)
    assert kstest(levels.ravel(), "uniform").pvalue > 0.01
    correlation = np.corrcoef(levels.T)[~np.eye(10, dtype=bool)]
    assert np.abs(correlation).max() < 4 / np.sqrt(400)


def test_every_smooth_bet_is_fair_and_never_ruinous():
    for b in range(smooth_bets(np.array([0.5])).shape[-1]):
        mean = quad(lambda u, b=b: smooth_bets(np.array([u]))[0, b], 0, 1)[0]
        assert mean == pytest.approx(1.0, abs=1e-9)
    bets = smooth_bets(np.linspace(0, 1, 1001))
    assert bets.min() > 0
    assert np.all(smooth_bets(np.array([np.nan])) == 1)


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.4])
def test_no_calibration_bet_gains_within_the_margin(margin):
    confidence = np.linspace(0.01, 0.99, 50)
    for middle in (0.1, 0.6):
        right, wrong = (
            calibration_bets(confidence, np.full(50, y), np.full(50, middle), margin)
            for y in (1.0, 0.0)
        )
        for truth in (confidence - margin, confidence, confidence + margin):
            p = np.clip(truth, 0, 1)[:, None]
            assert np.all(p * right + (1 - p) * wrong <= 1 + 1e-12)
    # Beyond the margin some bet gains; at its end the best bet is fair, not worse.
    low = np.clip(confidence - margin - 0.1, 0, 1)[:, None]
    gains = (low * np.log(right) + (1 - low) * np.log(wrong)).max(axis=1)
    assert np.all(gains[confidence > margin + 0.15] > 0)
    assert np.all(calibration_bets(confidence, np.full(50, np.nan), confidence, margin) == 1)


def test_wealth_is_what_all_ways_of_betting_make_together():
    """The mixture that never deals anew is a mean; the other a sum over all paths of bets."""
    bets = np.random.default_rng(2).uniform(0.2, 2.0, size=(4, 3))
    constant = bets.prod(axis=0).mean()
    renewing = 0.0
    for path in itertools.product(range(3), repeat=4):
        chance = 1 / 3
        for one, other in itertools.pairwise(path):
            chance *= 0.99 * (one == other) + 0.01 / 3
        renewing += chance * np.prod(bets[np.arange(4), path])
    found = log_wealth(bets)
    assert found[-1] == pytest.approx(np.log((constant + renewing) / 2), rel=1e-12)
    assert found[0] == pytest.approx(np.log(bets[0].mean()), rel=1e-12)
    np.testing.assert_allclose(log_wealth(np.stack([bets, 1 / bets]))[0], found, rtol=1e-14)


def test_wealth_does_not_overflow():
    assert log_wealth(np.full((2000, 2), 1.9))[-1] == pytest.approx(2000 * np.log(1.9), rel=1e-9)
