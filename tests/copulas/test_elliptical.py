"""The bivariate t integral against a plain rule of many panels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import t as t_law

from jaxcascade.copulas.elliptical import t_orthant


def plain_integral(x, y, rho, n):
    """Plackett's integral over the angle, 120 panels that shrink towards its start."""
    y = np.sign(rho) * y
    end = np.arccos(abs(rho))
    node, weight = np.polynomial.legendre.leggauss(20)
    cuts = end * np.concatenate([[0.0], np.geomspace(1e-22, 1.0, 120)])
    low, width = cuts[:-1, None], np.diff(cuts)[:, None]
    angle, weight = (low + width * (node + 1.0) / 2.0).ravel(), (width * weight / 2.0).ravel()
    gap, product = ((x - y) ** 2)[:, None], (x * y)[:, None]
    form = gap / np.sin(angle) ** 2 + 2.0 * product / (1.0 + np.cos(angle))
    return (1.0 + form / n) ** (-n / 2.0) @ weight / (2.0 * np.pi)


@pytest.mark.parametrize("n", [1.0, 1.3, 4.0, 15.0, 60.0, 1000.0])
def test_t_orthants_match_a_plain_rule(n):
    rng = np.random.default_rng(0)
    u = np.concatenate([rng.random(150), 10.0 ** rng.uniform(-12, -1, 150)])
    # A third of the pairs far from each other, a third nearby, a third all but tied.
    apart = 10.0 ** rng.choice([0.0, -3.0, -9.0], 300) * rng.uniform(0.1, 1.0, 300)
    v = np.where(apart > 0.1, rng.permutation(u), u * (1.0 - 0.9 * apart))
    x, y = t_law.ppf(u, n), t_law.ppf(v, n)
    smaller, excess = np.minimum(u, v), np.maximum(u + v - 1.0, 0.0)
    rule = jax.jit(t_orthant)
    for rho in (0.001, 0.4, -0.6, 0.95, 0.9998):
        found = rule(
            *(jnp.asarray(z) for z in (x, y, smaller, excess)), jnp.array(rho), jnp.array(n)
        )
        integral = plain_integral(x, y, rho, n)
        expected = excess + integral if rho < 0 else smaller - integral
        np.testing.assert_allclose(found, np.clip(expected, excess, smaller), rtol=0, atol=1e-12)
        relative = np.abs(found - expected)[150:] / smaller[150:]
        assert relative.max() < (1e-9 if n < 9 else 1e-6), rho
