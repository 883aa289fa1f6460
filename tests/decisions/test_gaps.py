"""Intervals over all pairs, partial pooling against quadrature, and ratios of nothing."""

import numpy as np
import pytest

from jaxcascade.decisions.gaps import (
    check_settings,
    divided,
    equal_tails,
    gap_interval,
    lowest_over_highest,
    partially_pooled,
    pooled_draws,
    ratio_interval,
    widened,
)
from jaxcascade.errors import InvalidInputError


def test_intervals_of_pairs_hold_the_extremes():
    rng = np.random.default_rng(6)
    draws = np.array([0.2, 0.5, 0.9]) + 1e-3 * rng.standard_normal((4000, 3))
    assert gap_interval([draws], 0.9) == pytest.approx((0.7, 0.7), abs=0.01)
    assert gap_interval([draws, 2 * draws], 0.9) == pytest.approx((1.4, 1.4), abs=0.02)
    assert ratio_interval(draws, 0.9) == pytest.approx((2 / 9, 2 / 9), abs=0.01)
    same = 0.5 + 0.1 * rng.standard_normal((4000, 3))
    assert gap_interval([same], 0.9)[0] == 0
    assert ratio_interval(np.clip(same, 0.01, 1), 0.9)[1] == 1


def test_each_interval_by_itself_has_equal_tails_and_holds_what_was_counted():
    ends = equal_tails(np.linspace(0.0, 1.0, 101)[:, None] * [1.0, 2.0], 0.8)
    np.testing.assert_allclose(ends, [[0.1, 0.2], [0.9, 1.8]])
    np.testing.assert_allclose(widened(ends, np.array([0.0, 2.0])), [[0.0, 0.2], [0.9, 2.0]])


def test_ratios_where_rates_are_none_or_beyond_their_bounds():
    rates = np.array([[0.2, 0.4], [0.0, 0.0], [-0.1, 0.5], [0.5, 1.2]])
    np.testing.assert_equal(lowest_over_highest(rates), [0.5, np.nan, 0.0, 0.5])
    np.testing.assert_equal(divided(np.array([1, 0]), np.array([4, 0])), [0.25, np.nan])


def test_pooling_matches_quadrature():
    """Mean of each true value, by a sum over the standard deviation and the common mean."""
    mean, spread, scale = np.array([0.2, 0.3, 0.6]), np.array([0.1, 0.05, 0.1]), 0.3
    tau = np.linspace(1e-4, 9, 6000)[:, None]
    common = np.linspace(-3, 4, 701)
    log_p = -np.log1p((tau / scale) ** 2) * np.ones_like(common)
    trust = tau**2 / (tau**2 + spread**2)
    for m, s in zip(mean, spread, strict=True):
        variance = s**2 + tau**2
        log_p = log_p - 0.5 * (m - common) ** 2 / variance - 0.5 * np.log(variance)
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    exact = [
        (weight * (t[:, None] * m + (1 - t[:, None]) * common)).sum()
        for m, t in zip(mean, trust.T, strict=True)
    ]
    drawn = partially_pooled(np.random.default_rng(7), mean, spread, scale, 200_000)
    np.testing.assert_allclose(drawn.mean(axis=0), exact, atol=2e-3)


def test_pooling_brings_equal_groups_together_and_leaves_different_ones():
    rng = np.random.default_rng(8)
    noisy = np.array([0.45, 0.5, 0.55]) + 0.05 * rng.standard_normal((4000, 3))
    count = np.full(3, 100)
    assert np.ptp(pooled_draws(rng, noisy, count).mean(axis=0)) < 0.08
    apart = np.array([0.1, 0.5, 0.9]) + 0.01 * rng.standard_normal((4000, 3))
    pooled = pooled_draws(rng, apart, np.full(3, 2500))
    np.testing.assert_allclose(pooled.mean(axis=0), [0.1, 0.5, 0.9], atol=5e-3)


@pytest.mark.parametrize(
    ("level", "number", "words"), [(0.0, 1, "`level`"), (1.0, 1, "`level`"), (0.9, 0, "`top`")]
)
def test_settings_out_of_range(level, number, words):
    with pytest.raises(InvalidInputError, match=words):
        check_settings(level, top=number)
