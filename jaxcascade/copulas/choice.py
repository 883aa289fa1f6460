"""Which family fits best: likelihood, information criteria and cross-validation."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.copulas.base import Copula
from jaxcascade.copulas.fit import CensoredPairs, censored_log_likelihood, fit_by_likelihood
from jaxcascade.errors import InvalidInputError


class FamilyComparison(NamedTuple):
    """One entry per family, in the order given.

    Attributes:
        families: Names of the classes.
        tau: Kendall's tau of each fit.
        log_likelihood: Of the fit to all pairs.
        aic: Akaike's criterion; smaller is better.
        bic: Schwarz's criterion; smaller is better.
        cross_validated: Sum of the log-likelihoods of pairs under fits that have not seen them;
            larger is better.
    """

    families: tuple[str, ...]
    tau: Float[Array, " f"]
    log_likelihood: Float[Array, " f"]
    aic: Float[Array, " f"]
    bic: Float[Array, " f"]
    cross_validated: Float[Array, " f"]

    @property
    def best(self) -> str:
        """The family with the largest cross-validated log-likelihood."""
        return self.families[int(jnp.argmax(self.cross_validated))]


def compare_families(
    key: PRNGKeyArray,
    families: Sequence[type[Copula]],
    pairs: CensoredPairs,
    *,
    num_folds: int = 5,
) -> FamilyComparison:
    """Fits each family by likelihood and compares them.

    Args:
        key: Deals the pairs out to folds, the same for all families.
        families: Copula classes, see `fit_by_likelihood`.
        pairs: Transformed observations.
        num_folds: At least 2.

    Raises:
        InvalidInputError: There is no family, or fewer than two folds.

    Example:
        >>> import jax
        >>> from jaxcascade.copulas import Clayton, Gumbel
        >>> u, v = Gumbel(jnp.array(2.0)).sample(jax.random.key(0), (500,)).T
        >>> pairs = CensoredPairs(u, u, v, v, jnp.ones(500))
        >>> compare_families(jax.random.key(1), [Clayton, Gumbel], pairs).best
        'Gumbel'
    """
    if not families or num_folds < 2:
        raise InvalidInputError(
            "`families` must name a family and `num_folds` be at least 2; found "
            f"{len(families)} families and {num_folds} folds."
        )
    n = pairs.u.shape[0]
    folds = jax.random.permutation(key, jnp.arange(n) % num_folds)
    rows = [_assess(family, pairs, folds, num_folds) for family in families]
    tau, log_likelihood, cross_validated = (jnp.stack(x) for x in zip(*rows, strict=True))
    free = jnp.array([float(f.tau_range[0] < f.tau_range[1]) for f in families])
    aic = 2.0 * free - 2.0 * log_likelihood
    bic = free * jnp.log(jnp.maximum(pairs.weight.sum(), 1.0)) - 2.0 * log_likelihood
    names = tuple(family.__name__ for family in families)
    return FamilyComparison(names, tau, log_likelihood, aic, bic, cross_validated)


@eqx.filter_jit
def _assess(
    family: type[Copula], pairs: CensoredPairs, folds: Array, num_folds: int
) -> tuple[Array, Array, Array]:
    """Kendall's tau, log-likelihood and cross-validated log-likelihood of one family."""

    def fit_without(fold: Array) -> tuple[Array, Array, Array]:
        seen = pairs._replace(weight=pairs.weight * (folds != fold))
        unseen = pairs._replace(weight=pairs.weight * (folds == fold))
        found = fit_by_likelihood(family, seen)
        unseen_value = censored_log_likelihood(found.copula, unseen)
        return jnp.asarray(found.copula.tau), found.log_likelihood, unseen_value

    # The last one is no fold: all pairs are seen.
    tau, seen, unseen = jax.lax.map(fit_without, jnp.arange(num_folds + 1))
    return tau[-1], seen[-1], unseen[:-1].sum()
