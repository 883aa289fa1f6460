"""Choosing a family: the truth wins, the criteria are what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.copulas import (
    CensoredPairs,
    Clayton,
    Frank,
    Gumbel,
    Independence,
    compare_families,
    rotated,
)
from jaxcascade.errors import InvalidInputError

N = 600


def points(copula, seed=0):
    u, v = copula.sample(jax.random.key(seed), (N,)).T
    return CensoredPairs(u, u, v, v, jnp.ones(N))


def with_atoms(copula, seed=0):
    """The largest fifth of U and the smallest of V are atoms."""
    u, v = copula.sample(jax.random.key(seed), (N,)).T
    return CensoredPairs(
        jnp.where(u > 0.8, 0.8, u), jnp.where(u > 0.8, 1.0, u),
        jnp.where(v < 0.2, 0.0, v), jnp.where(v < 0.2, 0.2, v), jnp.ones(N),
    )  # fmt: skip


FAMILIES = [Independence, Gumbel, Clayton, Frank]


@pytest.mark.parametrize("build", [points, with_atoms])
@pytest.mark.parametrize("family", [Gumbel, Clayton, Frank])
def test_the_family_that_made_the_pairs_wins(family, build):
    found = compare_families(jax.random.key(1), FAMILIES, build(family.from_tau(jnp.array(0.5))))
    assert found.best == family.__name__
    at = FAMILIES.index(family)
    assert int(jnp.argmin(found.aic)) == int(jnp.argmin(found.bic)) == at
    np.testing.assert_allclose(found.tau[at], 0.5, atol=0.07)


def test_criteria_count_parameters_and_folds_see_less():
    pairs = points(Gumbel.from_tau(jnp.array(0.4)))
    found = compare_families(jax.random.key(1), FAMILIES, pairs)
    free = np.array([0, 1, 1, 1])
    np.testing.assert_allclose(found.aic, 2 * free - 2 * found.log_likelihood)
    np.testing.assert_allclose(found.bic, np.log(N) * free - 2 * found.log_likelihood)
    assert np.all(found.cross_validated <= found.log_likelihood + 1e-9)
    assert found.families == ("Independence", "Gumbel", "Clayton", "Frank")


def test_negative_dependence_needs_a_family_that_has_it():
    falling = rotated(Gumbel, 90)
    pairs = points(falling.from_tau(jnp.array(-0.4)))
    found = compare_families(jax.random.key(1), [Gumbel, Frank, falling], pairs)
    assert found.best == "Gumbel90"
    np.testing.assert_allclose(found.tau, [0, -0.4, -0.4], atol=0.08)


def test_what_cannot_be_compared():
    pairs = points(Gumbel.from_tau(jnp.array(0.4)))
    with pytest.raises(InvalidInputError, match="1 folds"):
        compare_families(jax.random.key(1), [Gumbel], pairs, num_folds=1)
    with pytest.raises(InvalidInputError, match="0 families"):
        compare_families(jax.random.key(1), [], pairs)
