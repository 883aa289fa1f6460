"""The goodness-of-fit test: its statistic by hand, its level, its power."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kendalltau, ks_2samp

from jaxcascade.copulas import (
    CensoredPairs,
    Clayton,
    Frank,
    Gaussian,
    Gumbel,
    Joe,
    StudentT,
    goodness_of_fit,
)
from jaxcascade.copulas.goodness import _pairs_below, _pairs_below_in_order
from jaxcascade.errors import InvalidInputError

N = 200


def draw(copula, seed, n=N):
    return copula.sample(jax.random.key(seed), (n,) if isinstance(n, int) else n)


def test_statistic_is_the_integral_it_says():
    pairs = np.asarray(draw(Gumbel(jnp.array(2.0)), 0, 40))
    found = goodness_of_fit(jax.random.key(0), Gumbel, jnp.asarray(pairs), 9)
    below = np.array([np.mean((pairs <= row).all(axis=1)) for row in pairs])
    theta = float(found.copula.theta)
    square = lambda t: (np.mean(below <= t + 1e-12) - t + t * np.log(t) / theta) ** 2  # noqa: E731
    weighted = lambda t: square(t) * (1 - (np.log(t) + 1) / theta)  # noqa: E731
    cells = [quad(weighted, j / 40 + 1e-14, (j + 1) / 40 - 1e-14)[0] for j in range(40)]
    np.testing.assert_allclose(found.statistic, 40 * sum(cells), rtol=1e-6)


@pytest.mark.parametrize("family", [Gumbel, Clayton, Frank, Joe])
def test_closed_forms_agree_with_draws(family):
    copula = family.from_tau(jnp.array(0.4))
    u, v = draw(copula, 3, 20_000).T
    values = np.sort(copula.cdf(u, v))
    t = np.linspace(0, 1, 21)
    empirical = np.searchsorted(values, t, side="right") / len(values)
    np.testing.assert_allclose(copula.kendall_distribution(jnp.asarray(t)), empirical, atol=0.014)


@pytest.mark.parametrize(
    ("family", "theta"), [(Frank, -60.0), (Frank, 1e-8), (Frank, 90.0), (Joe, 1.0), (Joe, 50.0)]
)
def test_closed_forms_match_arbitrary_precision(family, theta):
    t = [0.0, 1e-9, 0.01, 0.5, 0.99, 1.0]
    frank = lambda z: -mp.log(mp.expm1(-theta * z) / mp.expm1(-theta))  # noqa: E731
    joe = lambda z: -mp.log(1 - (1 - z) ** theta)  # noqa: E731
    generator = frank if family is Frank else joe
    with mp.workdps(200):
        inner = [float(z - generator(z) / mp.diff(generator, z)) for z in map(mp.mpf, t[1:-1])]
    found = family(jnp.array(theta)).kendall_distribution(jnp.array(t))
    np.testing.assert_allclose(found, [0.0, *inner, 1.0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("n", [10, 200])
def test_pairs_in_order_are_counted_alike(n):
    u, v = draw(Clayton(jnp.array(1.0)), 4, (3, n)).T
    single = jnp.asarray(v, jnp.float32)
    order = jnp.argsort(u, axis=0)
    found = _pairs_below_in_order(jnp.take_along_axis(single, order, axis=0))
    for at in range(3):
        expected = _pairs_below(u[:, at], single[:, at])[order[:, at]]
        np.testing.assert_array_equal(found[:, at], expected)


def plain_statistic(family, pairs, reference):
    """The same test without any shortcut; Kendall's distribution from draws of its own."""
    n = len(pairs)
    fitted = family.from_tau(jnp.array(kendalltau(*pairs.T).statistic))
    below = np.sort([np.mean((pairs <= row).all(axis=1)) for row in pairs])
    grid = np.arange(n + 1) / n
    values = np.sort(reference(fitted.tau))
    curve = np.searchsorted(values, grid, side="right") / len(values)
    empirical = np.searchsorted(below, grid[:-1] + 1e-12, side="right") / n
    return n * np.sum((curve[1:] - empirical) ** 3 - (curve[:-1] - empirical) ** 3) / 3.0


@pytest.mark.parametrize("family", [Gumbel, pytest.param(StudentT, marks=pytest.mark.slow)])
def test_replicates_follow_the_law_of_the_plain_test(family):
    copula, n, rounds = family.from_tau(jnp.array(0.4)), 50, 400
    data = draw(copula, 11, n)
    found = goodness_of_fit(jax.random.key(12), family, data, rounds)

    @jax.jit
    def reference(tau):
        u, v = family.from_tau(tau).sample(jax.random.key(13), (20_000,)).T
        return family.from_tau(tau).cdf(u, v)

    samples = np.asarray(found.copula.sample(jax.random.key(14), (rounds, n)))
    plain = [plain_statistic(family, sample, reference) for sample in samples]
    expected = plain_statistic(family, np.asarray(data), reference)
    # Roots of mean squared distances; 4096 draws leave 0.008 in a distribution function.
    np.testing.assert_allclose((found.statistic / n) ** 0.5, (expected / n) ** 0.5, atol=0.008)
    assert ks_2samp(found.replicates, plain).pvalue > 1e-4  # fails for one seed in ten thousand


def test_p_values_are_uniform_under_the_family():
    found = [
        float(
            goodness_of_fit(jax.random.key(s), Gumbel, draw(Gumbel(jnp.array(1.7)), s), 99).p_value
        )
        for s in range(60)
    ]
    gap = np.abs(np.sort(found) - (np.arange(60) + 0.5) / 60).max()
    assert gap < np.sqrt(np.log(2e4) / 120)  # fails for one set of seeds in ten thousand


@pytest.mark.parametrize(
    "family",
    [Clayton, *(pytest.param(family, marks=pytest.mark.slow) for family in (Gaussian, Joe))],
)
def test_rejects_another_family(family):
    data = draw(Gumbel(jnp.array(3.0)), 5, 600)
    if family is Joe:
        data = 1.0 - data
    assert goodness_of_fit(jax.random.key(1), family, data, 99).p_value < 0.05


def atoms(data):
    u, v = data.T
    weight = jnp.ones(len(u))
    return CensoredPairs(
        jnp.where(u > 0.7, 0.7, u), jnp.where(u > 0.7, 1.0, u),
        jnp.where(v < 0.3, 0.0, v), jnp.where(v < 0.3, 0.3, v), weight,
    )  # fmt: skip


def test_pairs_on_atoms():
    keys = jax.random.key(2), jax.random.key(3)
    kept = goodness_of_fit(keys[0], Gumbel, atoms(draw(Gumbel(jnp.array(2.0)), 8, 400)), 99)
    assert kept.p_value > 0.005  # fails for one seed in two hundred
    clayton = Clayton.from_tau(jnp.array(0.6))
    assert goodness_of_fit(keys[1], Gumbel, atoms(draw(clayton, 8, 400)), 99).p_value < 0.05


def test_pairs_without_weight_do_not_count():
    data = atoms(draw(Gumbel(jnp.array(2.0)), 8, 100))
    more = CensoredPairs(*(jnp.concatenate([column, column[:20]]) for column in data))
    more = more._replace(weight=more.weight.at[100:].set(0.0))
    one, other = (goodness_of_fit(jax.random.key(0), Gumbel, d, 9) for d in (data, more))
    np.testing.assert_array_equal(one.replicates, other.replicates)


def test_too_few_pairs():
    with pytest.raises(InvalidInputError, match="at least 10 pairs; found 5"):
        goodness_of_fit(jax.random.key(0), Gumbel, jnp.ones((5, 2)))
