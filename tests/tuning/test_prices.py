import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcascade.tuning import break_even_prices, price_grid

MONEY = st.one_of(st.sampled_from([0.0, 1.0, 2.0]), st.floats(1e-6, 10))
SHARE = st.integers(0, 300).map(lambda wrong: wrong / 300)  # of 300 labels


@st.composite
def pools(draw):
    k = draw(st.integers(1, 6))
    cost = draw(st.lists(MONEY, min_size=k, max_size=k))
    error = draw(st.lists(SHARE, min_size=k, max_size=k))
    return np.array(cost), np.array(error)


@settings(max_examples=300, deadline=None)
@given(pools())
def test_break_even_prices_are_the_corners_of_the_lower_envelope(pool):
    cost, error = pool
    steps = break_even_prices(cost, error)
    prices = [price for price, _, _ in steps]
    assert prices == sorted(prices)
    assert all(step[2] == following[1] for step, following in itertools.pairwise(steps))
    # Between two corners the named model is as good as any.
    bounds = [0.0, *prices, max([*prices, 1.0]) * 10]
    named = [step[1] for step in steps] + [steps[-1][2]] if steps else None
    for at, (low, high) in enumerate(itertools.pairwise(bounds)):
        middle = 0.5 * (low + high)
        losses = cost + middle * error
        if named is not None:
            assert losses[named[at]] <= losses.min() * (1 + 1e-9) + 1e-12
    for price, below, above in steps:
        assert error[above] < error[below]
        losses = cost + price * error
        np.testing.assert_allclose(losses[[below, above]], losses.min(), rtol=1e-9, atol=1e-12)
    if not steps:
        cheapest = np.flatnonzero(cost == cost.min())
        assert error[cheapest].min() == error.min()


@settings(max_examples=200, deadline=None)
@given(pools(), st.integers(2, 40))
def test_grid_spans_the_prices_that_matter(pool, count):
    cost, error = pool
    grid = price_grid(cost, error, count)
    assert grid.shape == (count,)
    assert np.all(np.isfinite(grid))
    assert np.all(grid > 0)
    assert np.all(np.diff(grid) > 0)
    np.testing.assert_allclose(grid[1:] / grid[:-1], (grid[-1] / grid[0]) ** (1 / (count - 1)))
    corners = [
        price
        for price, below, above in break_even_prices(cost, error)
        if cost[above] > 1.01 * cost[below]  # models of nearly one cost stretch no grid
    ]
    if corners:
        np.testing.assert_allclose([grid[0], grid[-1]], [corners[0] / 3, corners[-1] * 3])


def test_models_of_nearly_one_cost_do_not_stretch_the_grid():
    cost, error = np.array([1.0, 1.005, 2.0]), np.array([0.5, 0.3, 0.1])
    assert [price for price, _, _ in break_even_prices(cost, error)] == pytest.approx(
        [0.025, 0.995 / 0.2]
    )
    grid = price_grid(cost, error, 3)
    assert [grid[0], grid[-1]] == pytest.approx([0.995 / 0.2 / 3, 0.995 / 0.2 * 3])


def test_free_models_without_a_corner_still_have_a_grid():
    grid = price_grid(np.zeros(2), np.array([0.1, 0.1]), 3)
    assert grid.tolist() == pytest.approx([1e-3, 1e-3 * 1000**0.5, 1.0])
