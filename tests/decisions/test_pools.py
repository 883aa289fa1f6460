"""Rules of pooling: the worked example of the specification, and by hand with gaps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.decisions import RULES, belief, linear_pool, log_linear_pool, pooled
from jaxcascade.errors import InvalidInputError

# Five raters, of two states: how typical the evidence is of the second, and of the first.
RATINGS = jnp.array([(8, 4), (7, 5), (9, 3), (6, 6), (8, 8)], float)[:, ::-1]
LOG_PRIOR = jnp.log(jnp.array([0.8, 0.2]))


def ratio(rule, floor=0.5):
    found = pooled(jnp.log(RATINGS + floor), rule=rule)
    return float(found[1] - found[0])


def test_the_worked_example():
    without_floor = pooled(jnp.log(RATINGS), rule="median_likelihood")
    assert float(without_floor[1] - without_floor[0]) == pytest.approx(0.4700, abs=5e-5)
    assert float(belief(LOG_PRIOR, without_floor)[1]) == pytest.approx(0.285714, abs=5e-7)
    assert ratio("median_ratio") == pytest.approx(0.3102, abs=5e-5)
    assert ratio("sum") == pytest.approx(1.9447, abs=5e-5)
    together = pooled(jnp.log(RATINGS + 0.5), rule="sum")
    assert float(belief(LOG_PRIOR, together)[1]) == pytest.approx(0.636077, abs=5e-7)
    assert float(belief(LOG_PRIOR, 0.2 * together)[1]) == pytest.approx(0.269461, abs=5e-7)
    assert ratio("geometric") == pytest.approx(ratio("sum") / 5, rel=1e-12)


def by_hand(rule, rows, trim):
    likelihood = np.exp(rows)
    if rule == "sum":
        return rows.sum(axis=0)
    if rule == "geometric":
        return rows.mean(axis=0)
    if rule == "median_ratio":
        return np.median(rows - rows[:, :1], axis=0)
    if rule == "median_likelihood":
        return np.log(np.median(likelihood, axis=0))
    cut = int(trim * len(rows)) if rule == "trimmed" else 0
    return np.log(np.sort(likelihood, axis=0)[cut : len(rows) - cut].mean(axis=0))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("trim", [0.2, 0.4])
def test_rules_by_hand_where_raters_are_missing(rule, trim):
    rng = np.random.default_rng(1)
    rows, known = rng.normal(size=(40, 7, 3)), rng.random((40, 7)) < 0.6
    known[0], known[1] = False, np.arange(7) == 3
    found = jax.jit(lambda x, k: pooled(x, k, rule=rule, trim=trim))(rows, known)
    for i in range(40):
        expected = by_hand(rule, rows[i, known[i]], trim) if known[i].any() else np.zeros(3)
        np.testing.assert_allclose(found[i], expected, rtol=1e-12, atol=1e-12)
    # Nobody says anything: the prior stays.
    np.testing.assert_allclose(
        belief(jnp.log(jnp.array([0.5, 0.3, 0.2])), found[0]), [0.5, 0.3, 0.2]
    )


@pytest.mark.parametrize("rule", RULES)
def test_raters_have_no_order(rule):
    rows = jnp.asarray(np.random.default_rng(2).normal(size=(6, 2)))
    np.testing.assert_allclose(pooled(rows[::-1], rule=rule), pooled(rows, rule=rule), rtol=1e-12)


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"sum"}))
def test_a_rater_copied_many_times_adds_nothing_but_to_a_sum(rule):
    rows = jnp.tile(jnp.log(jnp.array([[0.2, 0.6]])), (9, 1))
    np.testing.assert_allclose(
        belief(LOG_PRIOR, pooled(rows, rule=rule)), belief(LOG_PRIOR, rows[0]), rtol=1e-12
    )


def test_opinion_pools_by_hand():
    said = jnp.array([[0.2, 0.8], [0.6, 0.4], [1.0, 0.0]])
    weight = jnp.array([3.0, 1.0, 0.0])
    np.testing.assert_allclose(linear_pool(said, weight), [0.3, 0.7], rtol=1e-12)
    odds = (0.8 / 0.2) ** 0.75 * (0.4 / 0.6) ** 0.25
    found = log_linear_pool(said, weight / 4.0)
    np.testing.assert_allclose(found, [1 / (1 + odds), odds / (1 + odds)], rtol=1e-12)
    naive = belief(jnp.zeros(2), pooled(jnp.log(said[:2]), rule="sum"))
    np.testing.assert_allclose(log_linear_pool(said[:2], jnp.ones(2)), naive, rtol=1e-12)
    geometric = belief(jnp.zeros(2), pooled(jnp.log(said[:2]), rule="geometric"))
    np.testing.assert_allclose(log_linear_pool(said[:2], jnp.full(2, 0.5)), geometric, rtol=1e-12)


def test_one_rater_that_excludes_a_state_excludes_it_from_a_product_and_not_from_a_mean():
    said = jnp.array([[0.5, 0.5], [1.0, 0.0]])
    assert log_linear_pool(said, jnp.ones(2)).tolist() == [1.0, 0.0]
    assert linear_pool(said, jnp.ones(2)).tolist() == [0.75, 0.25]


def test_what_pools_do_not_take():
    with pytest.raises(InvalidInputError, match='; got "mode"'):
        pooled(jnp.zeros((2, 2)), rule="mode")
    with pytest.raises(InvalidInputError, match="`trim` must be at least 0 and below one half"):
        pooled(jnp.zeros((2, 2)), rule="trimmed", trim=0.5)


@pytest.mark.parametrize("m", [1, 2, 3, 8, 11, 16, 17, 40])
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_medians_are_those_of_sorting_for_any_number_of_raters(m, dtype):
    """Exactly: with ties, gaps, what is excluded for certain and what is no number."""
    rng = np.random.default_rng(m)
    rows, known = rng.integers(-3, 4, (300, m, 2)).astype(dtype), rng.random((300, m)) < 0.7
    rows[..., 1] /= 7
    rows[:100][rng.random((100, m, 2)) < 0.1] = -np.inf
    rows, known = jnp.asarray(rows), jnp.asarray(known)
    ratio = jnp.where(known[..., None], rows - rows[..., :1], jnp.nan)
    expected = jnp.where(known.any(axis=-1)[:, None], jnp.nanmedian(ratio, axis=-2), 0.0)
    found = pooled(rows, known)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    likelihood = jnp.where(known[..., None], jnp.exp(rows), jnp.nan)
    expected = jnp.where(
        known.any(axis=-1)[:, None], jnp.log(jnp.nanmedian(likelihood, axis=-2)), 0.0
    )
    np.testing.assert_array_equal(pooled(rows, known, rule="median_likelihood"), expected)
