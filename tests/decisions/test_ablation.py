"""Contributions of parts: against all orders, Shapley's axioms, and shares that sum to 114 %."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcascade.decisions.ablation import leave_one_out, shapley, subsets
from jaxcascade.errors import InvalidInputError

NAMES = tuple("abcdefghijklm")


def values_of(seed, k, *lead):
    return np.random.default_rng(seed).normal(0, 100, (*lead, 2**k))


def by_orders(values, k):
    """What each part adds to those before it, averaged over all orders."""
    orders = list(permutations(range(k)))
    added = np.zeros(k)
    for order in orders:
        there = 0
        for part in order:
            added[part] += values[there | 1 << part] - values[there]
            there |= 1 << part
    return added / len(orders)


seeds = st.integers(0, 10_000)
counts = st.integers(1, 5)


def test_subsets_are_in_the_order_of_bitmasks():
    assert subsets(["x", "y", "z"]) == (
        (), ("x",), ("y",), ("x", "y"), ("z",), ("x", "z"), ("y", "z"), ("x", "y", "z"),
    )  # fmt: skip
    assert len(subsets(NAMES[:12])) == 4096


def test_a_game_of_three_by_hand():
    # A left glove and two right ones: a pair is worth 6.
    worth = {("l", "r"): 6.0, ("l", "s"): 6.0, ("l", "r", "s"): 6.0}
    values = np.array([worth.get(chosen, 0.0) for chosen in subsets(["l", "r", "s"])])
    found = shapley(values, ["l", "r", "s"])
    np.testing.assert_allclose(found.contribution_usd, [4.0, 1.0, 1.0], rtol=1e-14)
    np.testing.assert_allclose(found.share_percent, [200 / 3, 50 / 3, 50 / 3], rtol=1e-14)
    out = leave_one_out(values, ["l", "r", "s"])
    np.testing.assert_array_equal(out.contribution_usd, [6.0, 0.0, 0.0])
    assert float(found.total_usd) == float(out.total_usd) == 6.0


def test_shares_left_out_one_by_one_may_sum_to_114_and_shapley_shares_never_do():
    """The three shares of arXiv:2601.01522: 51, 43 and 20 percent of 294,000 dollars."""
    parts = ["aggregation", "sequential", "disagreement"]
    saved = 2940.0 * np.array([0.0, 40.0, 30.0, 80.0, 0.0, 57.0, 49.0, 100.0]) + 5.0
    out = leave_one_out(saved, parts)
    np.testing.assert_allclose(out.share_percent, [51.0, 43.0, 20.0], rtol=1e-12)
    assert float(out.share_percent.sum()) == pytest.approx(114.0, rel=1e-12)
    fair = shapley(saved, parts)
    assert float(fair.share_percent.sum()) == pytest.approx(100.0, rel=1e-14)
    assert float(fair.contribution_usd.sum()) == pytest.approx(294_000.0, rel=1e-14)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_shapley_values_against_all_orders(k):
    values = values_of(k, k, 4)
    found = shapley(values, NAMES[:k])
    expected = [by_orders(row, k) for row in values]
    np.testing.assert_allclose(found.contribution_usd, expected, rtol=1e-12, atol=1e-11)


@given(seeds, st.integers(1, 7))
def test_left_out_one_by_one_against_names(seed, k):
    values = values_of(seed, k)
    worth = dict(zip(subsets(NAMES[:k]), values, strict=True))
    whole = NAMES[:k]
    expected = [worth[whole] - worth[tuple(n for n in whole if n != part)] for part in whole]
    np.testing.assert_array_equal(leave_one_out(values, whole).contribution_usd, expected)


@given(seeds, st.integers(1, 7))
def test_all_that_is_saved_is_shared_out(seed, k):
    values = values_of(seed, k, 3)
    values[..., -1] = values.max() + 1
    found = shapley(values, NAMES[:k])
    total = values[..., -1] - values[..., 0]
    np.testing.assert_allclose(found.contribution_usd.sum(axis=-1), total, rtol=1e-11)
    np.testing.assert_allclose(found.share_percent.sum(axis=-1), 100.0, rtol=1e-11)


@given(seeds, st.integers(2, 5), st.data())
def test_parts_that_do_the_same_get_the_same(seed, k, data):
    one, other = data.draw(st.permutations(range(k)))[:2]
    values = values_of(seed, k)
    for number in range(2**k):
        first, second = number >> one & 1, number >> other & 1
        swapped = number & ~(1 << one | 1 << other) | second << one | first << other
        values[swapped] = values[number]
    found = shapley(values, NAMES[:k]).contribution_usd
    assert float(found[one]) == pytest.approx(float(found[other]), rel=1e-11, abs=1e-10)


@given(seeds, counts, st.data(), st.sampled_from([0.0, 17.5]))
def test_a_part_that_adds_the_same_to_everything_gets_just_that(seed, k, data, worth):
    dummy = data.draw(st.integers(0, k - 1))
    values = values_of(seed, k)
    has = np.arange(2**k) >> dummy & 1 == 1
    values[has] = values[np.flatnonzero(has) ^ 1 << dummy] + worth
    for method in (shapley, leave_one_out):
        found = float(method(values, NAMES[:k]).contribution_usd[dummy])
        assert found == 0.0 if worth == 0.0 else found == pytest.approx(worth, rel=1e-12)


@given(seeds, seeds, counts, st.floats(-3, 3))
def test_savings_that_add_up_have_contributions_that_add_up(seed, other, k, scale):
    one, two = values_of(seed, k), values_of(other + 10_001, k)
    for method in (shapley, leave_one_out):
        both = method(one + scale * two, NAMES[:k]).contribution_usd
        apart = [method(x, NAMES[:k]).contribution_usd for x in (one, two)]
        np.testing.assert_allclose(both, apart[0] + scale * apart[1], rtol=1e-10, atol=1e-10)


@given(seeds, st.integers(2, 5), st.data())
def test_parts_have_no_order(seed, k, data):
    order = data.draw(st.permutations(range(k)))
    values = values_of(seed, k)
    worth = dict(zip(map(frozenset, subsets(NAMES[:k])), values, strict=True))
    names = tuple(NAMES[j] for j in order)
    turned = np.array([worth[frozenset(chosen)] for chosen in subsets(names)])
    for method in (shapley, leave_one_out):
        found = method(turned, names).contribution_usd
        expected = method(values, NAMES[:k]).contribution_usd[np.array(order)]
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-10)


def test_where_nothing_is_saved_there_are_no_shares():
    values = np.array([[5.0, 8.0, 1.0, 5.0], [5.0, 0.0, 0.0, 4.0], [0.0, 1.0, 0.0, 2.0]])
    for method in (shapley, leave_one_out):
        found = method(values, ["a", "b"])
        assert np.isnan(found.share_percent[:2]).all()
        assert np.isfinite(found.share_percent[2]).all()
        assert np.isfinite(found.contribution_usd).all()
        np.testing.assert_array_equal(found.total_usd, [0.0, -1.0, 2.0])


def test_twelve_parts_in_draws_under_jit_and_grad():
    parts = NAMES[:12]
    size = np.array([len(chosen) for chosen in subsets(parts)], float)
    values = jnp.asarray(size * np.arange(1.0, 4.0)[:, None])
    found = jax.jit(lambda x: shapley(x, parts))(values)
    expected = np.tile(np.arange(1.0, 4.0)[:, None], 12)
    np.testing.assert_allclose(found.contribution_usd, expected, rtol=1e-12)
    each = jax.vmap(lambda x: shapley(x, parts))(values)
    np.testing.assert_allclose(each.share_percent, found.share_percent, rtol=1e-12)
    slope = jax.grad(lambda x: shapley(x, ["a", "b"]).contribution_usd[0])(jnp.zeros(4))
    np.testing.assert_allclose(slope, [-0.5, 0.5, -0.5, 0.5], rtol=1e-14)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "`parts` must be 1 to 12 names, .* got 0"),
        (NAMES, "must be 1 to 12 names, .* got 13. Group parts that belong together"),
        ("pool", 'got the text "pool"'),
        (["a", "a"], "`parts` must be distinct; got a, a"),
    ],
)
def test_what_are_no_parts(parts, words):
    for asked in (
        subsets,
        lambda p: shapley(np.zeros(4), p),
        lambda p: leave_one_out(np.zeros(4), p),
    ):
        with pytest.raises(InvalidInputError, match=words):
            asked(parts)


def test_each_subset_has_a_value():
    for method in (shapley, leave_one_out):
        with pytest.raises(InvalidInputError, match=r"8 columns, .* of 3 parts .* shape \(2, 4\)"):
            method(np.zeros((2, 4)), ["a", "b", "c"])
