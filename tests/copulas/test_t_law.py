"""The t law against arbitrary precision, from one degree of freedom to a thousand."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxcascade.copulas.t_law import t_cdf, t_quantile

DEGREES = pytest.mark.parametrize("degrees", [1.0, 1.7, 4.0, 30.0, 1000.0])
LEVELS = [1e-100, 1e-40, 1e-9, 0.01, 0.3, 0.5 - 1e-9, 0.5, 0.5 + 1e-12, 0.6, 0.999]


def exact_cdf(x, n):
    share = n / (n + x**2)
    tail = mp.betainc(n / 2, mp.mpf(1) / 2, 0, share, regularized=True) / 2
    return tail if x < 0 else 1 - tail


@DEGREES
@pytest.mark.parametrize("shape", [(), (1,)], ids=["series", "exact"])
def test_quantile_inverts_the_cdf(degrees, shape):
    x = np.asarray(t_quantile(jnp.array(LEVELS), jnp.full(shape, degrees)))
    with mp.workdps(60):
        n = mp.mpf(degrees)
        back = [exact_cdf(mp.mpf(value), n) for value in x]
        for level, found, value in zip(LEVELS, back, x, strict=True):
            # A relative error of 1e-12 in x moves a level by |x| times the density as much.
            moved = abs(value) * mp.diff(lambda s: exact_cdf(s, n), mp.mpf(value)) if value else 0
            assert abs(found - mp.mpf(level)) <= 1e-12 * moved + 2e-16, (level, value)


@DEGREES
@pytest.mark.parametrize("shape", [(), (1,)], ids=["series", "exact"])
def test_cdf_keeps_its_tails(degrees, shape):
    x = -np.abs(np.asarray(t_quantile(jnp.array(LEVELS), jnp.array(degrees))))
    x = np.concatenate([x, [-1e-9, 1e-9, 0.2, 3.0]])
    found = np.asarray(t_cdf(jnp.asarray(x), jnp.full(shape, degrees)))
    with mp.workdps(40):
        exact = [float(exact_cdf(mp.mpf(value), mp.mpf(degrees))) for value in x]
    np.testing.assert_allclose(found, exact, rtol=1e-11)
    np.testing.assert_allclose(found[3:], exact[3:], rtol=3e-13)


@DEGREES
def test_derivatives(degrees):
    x = jnp.array([-20.0, -2.0, -0.3, -1e-6, 0.7])
    n = jnp.array(degrees)
    by_x, by_degrees = jax.vmap(jax.grad(t_cdf, (0, 1)), (0, None))(x, n)
    with mp.workdps(40):
        for at, value in enumerate(np.asarray(x)):
            s, m = mp.mpf(value), mp.mpf(degrees)
            slope = mp.diff(lambda z, m=m: exact_cdf(z, m), s)
            np.testing.assert_allclose(by_x[at], float(slope), rtol=1e-11)
            change = float(mp.diff(lambda k, s=s: exact_cdf(s, k), m))
            # Differences of betas near 500 lose three digits.
            np.testing.assert_allclose(by_degrees[at], change, rtol=1e-9)
    u = t_cdf(x, n)
    by_u, other = jax.vmap(jax.grad(t_quantile, (0, 1)), (0, None))(u, n)
    np.testing.assert_allclose(by_u * by_x, 1.0, rtol=1e-10)
    np.testing.assert_allclose(other, -by_degrees * by_u, rtol=1e-7, atol=1e-13)


def test_beyond_the_series_the_cdf_is_its_least_tail():
    found = t_cdf(jnp.array([-1e20, 1e20]), jnp.array(9.0))
    np.testing.assert_allclose(found, [1e-150, 1.0], rtol=1e-9)
