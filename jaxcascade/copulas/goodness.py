"""Goodness of fit: Cramer and von Mises on Kendall's transform, by parametric bootstrap."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.copulas.base import Copula
from jaxcascade.copulas.fit import CensoredPairs, fit_by_likelihood
from jaxcascade.errors import InvalidInputError

_NUM_REFERENCE_DRAWS = 4096


class GoodnessOfFit(NamedTuple):
    """A test of one family.

    Attributes:
        copula: The fit to the data.
        statistic: n times the squared distance of Kendall's distribution functions.
        p_value: Share of replicates with a statistic as large, the data among them.
        replicates: Statistics of the replicates.
    """

    copula: Copula
    statistic: Float[Array, ""]
    p_value: Float[Array, ""]
    replicates: Float[Array, " r"]


class _Atoms(NamedTuple):
    """Intervals of one margin that are a single value, in order; empty if it is continuous."""

    left: Float[Array, " a"]
    right: Float[Array, " a"]


def goodness_of_fit(
    key: PRNGKeyArray,
    family: type[Copula],
    data: CensoredPairs | Float[Array, "n 2"],
    num_replicates: int = 1000,
) -> GoodnessOfFit:
    """Tests whether pairs come from some member of a family.

    Kendall's distribution function, that of C(U, V), is estimated from the data by counting the
    pairs below each pair, and compared with that of the fitted member. Each replicate is drawn
    from the fit and fitted anew. With atoms it passes through the same atoms, and fits are by
    likelihood; without, fits invert Kendall's tau, which the counts give for nothing.

    Args:
        key: For the replicates.
        family: A copula class.
        data: Pairs with atoms, those without weight left out, or pairs of continuous values of
            which only the order counts.
        num_replicates: Size of the bootstrap; 1000 resolve p-values near 0.05 to 0.007.

    Raises:
        InvalidInputError: There are fewer than 10 pairs.

    References:
        Genest, Quessy and Remillard (2006), Goodness-of-fit procedures for copula models based on
        the probability integral transformation, Scandinavian Journal of Statistics 33(2).
    """
    rows, atoms = _prepare(data)
    if len(rows) < 10:
        raise InvalidInputError(f"`data` must hold at least 10 pairs; found {len(rows)}.")
    if any(len(side.left) for side in atoms):
        columns = (rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3])
        pairs = CensoredPairs(*columns, jnp.ones(len(rows)))
        return _bootstrap(key, family, pairs, atoms, num_replicates)
    u, v = rows[:, 1], rows[:, 3]
    pairs = CensoredPairs(u, u, v, v, jnp.ones(len(rows)))
    return _bootstrap(key, family, pairs, None, num_replicates)


def _prepare(data: CensoredPairs | Array) -> tuple[Array, tuple[_Atoms, _Atoms]]:
    """Rows (u_left, u, v_left, v) with weight, and the atoms among them."""
    if not isinstance(data, CensoredPairs):
        u, v = data[:, 0], data[:, 1]
        data = CensoredPairs(u, u, v, v, jnp.ones(len(u)))
    rows = np.stack([np.asarray(column) for column in data[:4]], axis=1)
    rows = rows[np.asarray(data.weight) > 0]
    sides = []
    for at in (0, 2):
        ends = rows[:, at : at + 2]
        ends = np.unique(ends[ends[:, 1] > ends[:, 0]], axis=0)
        sides.append(_Atoms(jnp.asarray(ends[:, 0]), jnp.asarray(ends[:, 1])))
    return jnp.asarray(rows), (sides[0], sides[1])


@eqx.filter_jit
def _bootstrap(
    key: PRNGKeyArray,
    family: type[Copula],
    pairs: CensoredPairs,
    atoms: tuple[_Atoms, _Atoms] | None,
    num_replicates: int,
) -> GoodnessOfFit:
    draw_key, reference_key = jax.random.split(key)
    n = pairs.u.shape[0]

    def assess(sample: CensoredPairs) -> tuple[Copula, Array]:
        below = _pairs_below(sample.u, sample.v)
        if atoms is None:
            fitted = family.from_tau(4.0 * jnp.sum(below - 1) / (n * (n - 1.0)) - 1.0)
        else:
            fitted = fit_by_likelihood(family, sample).copula
        # One set of reference draws for the data and all replicates: its noise is common to them.
        reference = _kendall_distribution(reference_key, fitted, atoms, n)
        return fitted, _distance(below, reference)

    copula, statistic = assess(pairs)

    def replicate(at: Array) -> Array:
        drawn = copula.sample(jax.random.fold_in(draw_key, at), (n,))
        return assess(_through_atoms(drawn, atoms))[1]

    replicates = jax.lax.map(replicate, jnp.arange(num_replicates))
    p_value = (1.0 + jnp.sum(replicates >= statistic)) / (num_replicates + 1.0)
    return GoodnessOfFit(copula, statistic, p_value, replicates)


def _pairs_below(u: Array, v: Array) -> Array:
    """How many pairs are at or below each pair in both coordinates, itself among them."""
    return jnp.sum((u <= u[:, None]) & (v <= v[:, None]), axis=1, dtype=jnp.int32)


def _kendall_distribution(
    key: PRNGKeyArray, copula: Copula, atoms: tuple[_Atoms, _Atoms] | None, n: int
) -> Array:
    """P(C(U, V) <= j / n) for j = 0 to n: in closed form where there is one, else from draws."""
    grid = jnp.arange(n + 1) / n
    closed = getattr(copula, "kendall_distribution", None)
    if atoms is None and closed is not None:
        return closed(grid)
    drawn = _through_atoms(copula.sample(key, (_NUM_REFERENCE_DRAWS,)), atoms)
    values = jnp.sort(copula.cdf(drawn.u, drawn.v))
    below = jnp.searchsorted(values, grid, side="right").astype(values.dtype)
    return below / _NUM_REFERENCE_DRAWS


def _distance(below: Array, reference: Array) -> Array:
    """N times the integral of (K_n - K)^2 dK, K_n constant between multiples of 1 / n."""
    n = below.shape[0]
    counts = jnp.zeros(n + 1, reference.dtype).at[below].add(1.0)
    empirical = jnp.cumsum(counts)[:-1] / n  # K_n on [j / n, (j + 1) / n)
    low, high = reference[:-1] - empirical, reference[1:] - empirical
    return n * jnp.sum((high**3 - low**3) / 3.0)


def _through_atoms(drawn: Array, atoms: tuple[_Atoms, _Atoms] | None) -> CensoredPairs:
    """What is seen of draws from a copula: intervals where they fall into atoms."""
    u, v = drawn[..., 0], drawn[..., 1]
    weight = jnp.ones_like(u)
    if atoms is None:
        return CensoredPairs(u, u, v, v, weight)
    return CensoredPairs(*_ends(u, atoms[0]), *_ends(v, atoms[1]), weight)


def _ends(u: Array, atoms: _Atoms) -> tuple[Array, Array]:
    if not atoms.left.shape[0]:
        return u, u
    # The few atoms of a margin are compared with one by one.
    inside = (u[:, None] > atoms.left) & (u[:, None] <= atoms.right)
    any_inside, which = inside.any(axis=1), jnp.argmax(inside, axis=1)
    left = jnp.where(any_inside, atoms.left[which], u)
    return left, jnp.where(any_inside, atoms.right[which], u)
