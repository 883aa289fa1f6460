"""Numbers of reviewers against SciPy's Poisson law and a simulated year."""

import numpy as np
import pytest
from scipy import stats

from jaxcascade.economics import affordable_share, reviewers_needed
from jaxcascade.economics.staffing import poisson_quantile
from jaxcascade.errors import InvalidInputError


@pytest.mark.parametrize("mean", [0.01, 0.7, 5.0, 83.2, 4_000.0, 1e6])
@pytest.mark.parametrize("level", [0.01, 0.5, 0.95, 0.999])
def test_the_poisson_quantile_is_scipys(mean, level):
    assert poisson_quantile(mean, level) == stats.poisson.ppf(level, mean)


def test_nobody_is_deferred():
    assert reviewers_needed(1000, 0.0, 5.0).reviewers == 0


def test_on_the_stated_share_of_days_they_suffice():
    found = reviewers_needed(3000, 0.08, 7.0, minutes_per_day=420, occupancy=0.75, level=0.9)
    counts = np.random.default_rng(0).poisson(3000 * 0.08, 100_000)
    minutes = 420 * 0.75
    enough = np.mean(counts * 7.0 <= found.reviewers * minutes)
    one_less = np.mean(counts * 7.0 <= (found.reviewers - 1) * minutes)
    assert one_less < 0.9 <= enough
    assert np.mean(counts <= found.busy_deferred) == pytest.approx(0.9, abs=0.03)
    assert found.mean_reviewers == pytest.approx(240 * 7.0 / minutes)
    assert "240 queries a day" in found.text
    assert "queueing model" in found.text


@pytest.mark.parametrize("capacity", [0, 10, 500, 9_000])
def test_the_affordable_share_just_fits(capacity):
    share = affordable_share(capacity, 10_000, level=0.95)
    assert poisson_quantile(10_000 * share, 0.95) <= capacity
    assert poisson_quantile(10_000 * (share + 1e-6) + 1e-3, 0.95) >= capacity
    assert 0 <= share < 1


def test_ample_capacity_affords_everything():
    assert affordable_share(np.inf, 10_000) == 1.0


def test_bad_numbers_are_refused():
    for name, numbers in (
        ("arrivals_per_day", (-1.0, 0.1, 5.0)),
        ("deferred_share", (100.0, 1.1, 5.0)),
        ("minutes_per_query", (100.0, 0.1, 0.0)),
    ):
        with pytest.raises(InvalidInputError, match=f"`{name}`"):
            reviewers_needed(*numbers)
    with pytest.raises(InvalidInputError, match="`occupancy`"):
        reviewers_needed(100.0, 0.1, 5.0, occupancy=1.1)
    with pytest.raises(InvalidInputError, match="`minutes_per_day`"):
        reviewers_needed(100.0, 0.1, 5.0, minutes_per_day=0.0)
    with pytest.raises(InvalidInputError, match="`level`"):
        reviewers_needed(100.0, 0.1, 5.0, level=1.0)
    with pytest.raises(InvalidInputError, match="`arrivals_per_day`"):
        affordable_share(5, 0.0)
