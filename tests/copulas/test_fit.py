"""Fitting to pairs on and off atoms; the likelihood against a derivation by differentiation."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy import stats

from jaxcascade.copulas import (
    CensoredPairs,
    Gumbel,
    Independence,
    censored_log_likelihood,
    censored_log_prob,
    fit_by_likelihood,
    fit_by_tau,
)

N = 2000
LOW, HIGH = 0.25, 0.7  # atoms below and above


def gumbel_pairs(rng, tau, n):
    """Marshall and Olkin: a positive stable frailty (Chambers, Mallows, Stuck) over two clocks."""
    if tau == 0:
        return rng.random((n, 2))
    alpha = 1 - tau
    angle, clock = np.pi * rng.random(n), rng.exponential(size=n)
    frailty = np.sin(alpha * angle) / np.sin(angle) ** (1 / alpha)
    frailty *= (np.sin((1 - alpha) * angle) / clock) ** ((1 - alpha) / alpha)
    return np.exp(-((rng.exponential(size=(n, 2)) / frailty[:, None]) ** alpha))


def censored(pairs, atoms=(True, True), weight=None):
    columns = []
    for column, atom in zip(pairs.T, atoms, strict=True):
        left, right = column.copy(), column.copy()
        if atom:
            left[column <= LOW], right[column <= LOW] = 0.0, LOW
            left[column > HIGH], right[column > HIGH] = HIGH, 1.0
        columns += [jnp.asarray(left), jnp.asarray(right)]
    weight = np.ones(len(pairs)) if weight is None else weight
    return CensoredPairs(*columns, jnp.asarray(weight))


fit = jax.jit(lambda pairs: fit_by_likelihood(Gumbel, pairs))


@pytest.mark.parametrize("atoms", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("tau", [0.0, 0.2, 0.5, 0.8])
def test_recovers_tau(tau, atoms):
    found = [
        float(fit(censored(gumbel_pairs(np.random.default_rng(seed), tau, N), atoms)).copula.tau)
        for seed in range(3)
    ]
    # The standard error of tau is at most 0.017 at 2000 pairs.
    np.testing.assert_allclose(found, tau, atol=0.07)
    np.testing.assert_allclose(np.mean(found), tau, atol=0.04)


def test_by_tau_takes_the_tau_of_the_ranks():
    pairs = gumbel_pairs(np.random.default_rng(0), 0.5, 300)
    weight = np.repeat([1.0, 0.0], 150)
    found = jax.jit(lambda data: fit_by_tau(Gumbel, data))(censored(pairs, weight=weight))
    kept = np.minimum(pairs[:150], 1.0)
    kept = np.where(kept <= LOW, LOW, np.where(kept > HIGH, 1.0, kept))
    tau = stats.kendalltau(*kept.T).statistic
    np.testing.assert_allclose(found.copula.tau, tau, rtol=1e-12)
    best = fit(censored(pairs, weight=weight))
    assert float(best.log_likelihood) - 5 < float(found.log_likelihood) <= best.log_likelihood


def test_negative_dependence_gives_independence():
    pairs = gumbel_pairs(np.random.default_rng(0), 0.5, N)
    pairs[:, 1] = 1 - pairs[:, 1]
    found = fit(censored(pairs, (False, False)))
    assert found.copula.tau == 0
    np.testing.assert_allclose(found.log_likelihood, 0.0, atol=1e-9)


def test_comonotone_pairs_give_the_upper_end():
    u = np.random.default_rng(0).random(N)
    assert fit(censored(np.column_stack([u, u]))).copula.tau > 0.95


def test_weight_zero_equals_leaving_out():
    pairs = gumbel_pairs(np.random.default_rng(4), 0.4, N)
    weight = (np.arange(N) % 3 > 0).astype(float)
    spoilt = np.where(weight[:, None] > 0, pairs, 0.0)
    one = fit(censored(pairs, weight=weight))
    other = fit(censored(spoilt, weight=weight))
    few = fit(censored(pairs[weight > 0]))
    np.testing.assert_array_equal(one.copula.theta, other.copula.theta)
    np.testing.assert_allclose(one.copula.theta, few.copula.theta, rtol=1e-6)
    np.testing.assert_allclose(one.log_likelihood, few.log_likelihood, rtol=1e-10)


def test_no_weight_gives_independence():
    found = fit(censored(gumbel_pairs(np.random.default_rng(4), 0.4, N), weight=np.zeros(N)))
    assert found.copula.tau == 0
    assert found.log_likelihood == 0


def test_finds_the_optimum_of_its_own_likelihood():
    pairs = censored(gumbel_pairs(np.random.default_rng(7), 0.35, N))
    found = fit(pairs)
    values = jax.jit(jax.vmap(lambda t: censored_log_likelihood(Gumbel.from_tau(t), pairs)))
    scan = values(jnp.linspace(0.0, 0.97, 200))
    assert found.log_likelihood >= scan.max()


def exact_cdf(theta, u, v):
    if u == 0 or v == 0:
        return mp.mpf(0)
    return mp.exp(-(((-mp.log(u)) ** theta + (-mp.log(v)) ** theta) ** (1 / theta)))


def brute_force(theta, pairs):
    """Probability elements from the cdf alone: differences over atoms, derivatives elsewhere."""
    total = mp.mpf(0)
    for row in zip(*(np.asarray(column).tolist() for column in pairs), strict=True):
        u_left, u, v_left, v, weight = (mp.mpf(x) for x in row)
        c = lambda a, b: exact_cdf(theta, a, b)  # noqa: E731
        if u_left == u and v_left == v:
            element = mp.diff(c, (u, v), (1, 1))
        elif u_left == u:
            element = mp.diff(lambda a: c(a, v) - c(a, v_left), u)  # noqa: B023
        elif v_left == v:
            element = mp.diff(lambda b: c(u, b) - c(u_left, b), v)  # noqa: B023
        else:
            element = c(u, v) - c(u_left, v) - c(u, v_left) + c(u_left, v_left)
        total += weight * mp.log(element)
    return float(total)


@pytest.mark.parametrize("theta", [1.0, 1.4, 3.0, 12.0])
def test_likelihood_matches_differences_and_derivatives_of_the_cdf(theta):
    rng = np.random.default_rng(1)
    pairs = censored(gumbel_pairs(rng, 0.4, 40), weight=rng.exponential(size=40))
    u_atom, v_atom = pairs.u > pairs.u_left, pairs.v > pairs.v_left
    kinds = {(bool(a), bool(b)) for a, b in zip(u_atom, v_atom, strict=True)}
    assert len(kinds) == 4  # densities, both strips, rectangles
    with mp.workdps(50):
        expected = brute_force(theta, pairs)
    found = censored_log_likelihood(Gumbel(jnp.array(theta)), pairs)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_independence_needs_no_likelihood_of_its_own():
    pairs = censored(gumbel_pairs(np.random.default_rng(1), 0.4, 50))
    atoms = [(pairs.u, pairs.u_left), (pairs.v, pairs.v_left)]
    expected = sum(
        float(np.log(np.where(right > left, right - left, 1.0)).sum()) for right, left in atoms
    )
    found = censored_log_likelihood(Independence(jnp.zeros(())), pairs)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_one_number_computed_twice_is_no_atom():
    """Off the atoms both limits of F may come out a rounding apart."""
    u, v = Gumbel.from_tau(jnp.array(0.5)).sample(jax.random.key(0), (50,)).T
    apart = CensoredPairs(jnp.nextafter(u, 0.0), u, v, v, jnp.ones(50))
    same = CensoredPairs(u, u, v, v, jnp.ones(50))
    copula = Gumbel.from_tau(jnp.array(0.3))
    np.testing.assert_array_equal(censored_log_prob(copula, apart), censored_log_prob(copula, same))
