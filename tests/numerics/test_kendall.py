import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxcascade.numerics import kendall_tau


def table(num_rows, seed=0):
    """Columns without ties, with some, with many, and one that is constant."""
    generator = np.random.default_rng(seed)
    first = generator.normal(size=num_rows)
    return np.column_stack(
        [
            first,
            np.round(2 * first + generator.normal(size=num_rows)),
            generator.integers(0, 2, num_rows).astype(float),
            np.full(num_rows, 0.3),
            np.exp(-first),
        ]
    )


def peer(x, present=None):
    present = np.ones_like(x, bool) if present is None else present
    size = x.shape[1]
    tau = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            rows = present[:, i] & present[:, j]
            if rows.sum() > 1 and np.ptp(x[rows, i]) > 0 and np.ptp(x[rows, j]) > 0:
                found = scipy.stats.kendalltau(x[rows, i], x[rows, j])
                tau[i, j] = np.asarray(found)[0]
    return tau


@pytest.mark.parametrize("num_rows", [2, 3, 40, 333])
def test_equals_scipy_with_ties(num_rows):
    x = table(num_rows)
    np.testing.assert_allclose(kendall_tau(jnp.asarray(x)), peer(x), rtol=0, atol=1e-12)


def test_missing_cells_are_left_out_pair_by_pair():
    x = table(120)
    present = np.random.default_rng(1).random(x.shape) < 0.6
    holes = jnp.where(present, x, jnp.nan)
    found = kendall_tau(holes, jnp.asarray(present))
    np.testing.assert_allclose(found, peer(x, present), rtol=0, atol=1e-12)


def test_infinities_are_ranks():
    x = table(80)
    x[:3, 0], x[3:5, 0], x[7:20, 4] = -np.inf, np.inf, -np.inf
    finite = np.clip(x, -1e300, 1e300)  # SciPy and NumPy warn of differences of infinities
    np.testing.assert_allclose(kendall_tau(jnp.asarray(x)), peer(finite), atol=1e-12)


def test_nan_in_a_present_cell_is_not_swallowed():
    x = table(40)
    x[5, 1] = np.nan
    tau = kendall_tau(jnp.asarray(x))
    assert jnp.isnan(tau[1]).all()
    assert jnp.isnan(tau[:, 1]).all()
    rest = [0, 2, 3, 4]
    np.testing.assert_allclose(tau[np.ix_(rest, rest)], peer(x[:, rest]), atol=1e-12)


def test_whole_weights_repeat_rows():
    x = table(60)
    repeats = np.random.default_rng(2).integers(0, 4, 60)
    weights = jnp.asarray(np.repeat(repeats[:, None], x.shape[1], axis=1))
    expected = kendall_tau(jnp.asarray(np.repeat(x, repeats, axis=0)))
    np.testing.assert_allclose(kendall_tau(jnp.asarray(x), weights), expected, atol=1e-12)


def test_constant_column_gives_zero():
    tau = kendall_tau(jnp.asarray(table(30)))
    np.testing.assert_array_equal(tau[3], 0)
    np.testing.assert_allclose(jnp.diag(tau), [1, 1, 1, 0, 1])
    assert tau[0, 4] == pytest.approx(-1)


def test_no_common_rows_gives_zero():
    x = jnp.asarray(table(10)[:, :2])
    present = jnp.column_stack([jnp.arange(10) < 5, jnp.arange(10) >= 5])
    assert kendall_tau(x, present)[0, 1] == 0


@pytest.mark.parametrize("num_rows", [0, 1])
def test_too_few_rows(num_rows):
    np.testing.assert_array_equal(kendall_tau(jnp.ones((num_rows, 2))), np.zeros((2, 2)))


def test_single_precision_jit_and_vmap():
    x = jnp.asarray(np.stack([table(50, seed) for seed in range(3)]), jnp.float32)
    tau = jax.jit(jax.vmap(kendall_tau))(x)
    assert tau.dtype == jnp.float32
    np.testing.assert_allclose(tau[2], peer(np.asarray(x[2])), atol=1e-6)
