"""Rows of groups and of their comparison: what is left out, what is certain, what is tolerable."""

import numpy as np
import pytest

from jaxcascade.decisions.comparison import Sheet, error_rows, gap_row, group_rows, ratio_row
from jaxcascade.decisions.group_measures import Measure, share
from jaxcascade.errors import PosteriorWarning


def sheet(size, minimum=10):
    return Sheet(tuple("abcd"[:size]), minimum, 0.9, np.random.default_rng(0), 2000)


def chosen(hits, counts):
    """Shares of groups of which so many are chosen of so many."""
    codes = np.repeat(np.arange(len(counts)), counts)
    good = np.concatenate([np.arange(n) < k for k, n in zip(hits, counts, strict=True)])
    member = codes == np.arange(len(counts))[:, None]
    return share(np.random.default_rng(1), "rate", member, good, 2000)


def test_small_groups_are_marked_and_left_out_of_comparisons():
    measure = chosen([20, 20, 0], [40, 40, 9])
    assert [row.enough for row in group_rows(sheet(3), measure)] == [True, True, False]
    gap = gap_row(sheet(3), "gap", [measure], 0.05)
    assert (gap.estimate, gap.enough, gap.count) == (0.0, False, 80)
    gap = gap_row(sheet(3, minimum=9), "gap", [measure], 0.05)
    assert (gap.estimate, gap.enough, gap.count) == (0.5, True, 89)


def test_a_group_without_items_is_not_zero_and_leaves_one_that_cannot_be_compared():
    measure = chosen([20, 0], [40, 0])
    with pytest.warns(PosteriorWarning, match=r"`rate` is NaN where no item is relevant: b\."):
        rows = group_rows(sheet(2), measure)
    assert np.isnan(rows[1][2:5]).all()
    for row in (gap_row(sheet(2), "gap", [measure], 0.05), ratio_row(sheet(2), measure)):
        assert np.isnan([row.estimate, row.lower, row.upper, row.by_chance, row.beyond]).all()
        assert (row.enough, row.count) == (False, 40)


def test_none_of_many_is_not_zero_for_certain():
    measure = chosen([0, 0], [20, 20])
    row = group_rows(sheet(2), measure)[0]
    assert row.estimate == row.lower == 0
    assert 0.05 < row.upper < 0.15
    assert np.isnan(ratio_row(sheet(2), measure).estimate)


def test_the_widest_gap_is_that_of_any_metric():
    near, far = chosen([20, 22], [40, 40]), chosen([10, 30], [40, 40])
    row = gap_row(sheet(2), "odds", [near, far], None)
    assert (row.estimate, row.count) == (0.5, 160)
    assert row.lower < 0.5 < row.upper
    assert np.isnan(row.beyond)
    assert ratio_row(sheet(2), far).estimate == pytest.approx(1 / 3)


def test_an_error_no_larger_than_noise_makes_it_may_be_zero():
    draws = np.linspace(0.08, 0.12, 101)[:, None] * np.ones(2)
    measure = Measure("ece", np.array([50, 50]), np.array([0.1, 0.2]), draws, 1.5 * draws)
    usual, large = error_rows(sheet(2), measure)
    assert (usual.lower, usual.by_chance) == (0.0, pytest.approx(0.15))
    assert (large.lower, large.upper) == pytest.approx((0.082, 0.118))
    assert large.estimate == 0.2
