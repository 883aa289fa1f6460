"""How far raters of one item are apart, and whether that is reason enough to ask further.

Disagreement is not doubt: raters that agree on an even chance do not disagree, and raters that
err together agree. What asking is worth knows of both; disagreement is a sieve before it.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import entr
from jaxtyping import Array, Bool, Float

from jaxcascade.decisions.costs import Costs
from jaxcascade.decisions.sequential import Sources, value_of_asking
from jaxcascade.errors import InvalidInputError


def ratio_spread(
    log_likelihood: Float[Array, "*batch m s"], known: Bool[Array, "*batch m"] | None = None
) -> Float[Array, "*batch"]:
    """Returns the standard deviation over raters of log-likelihood ratios of two states.

    Args:
        log_likelihood: Of each rater in each state, known up to a constant; finite.
        known: Which raters there are; by default all.

    Returns:
        Nats: of the raters that there are, not of a population that they stand for; 0 with less
        than two of them.

    Raises:
        InvalidInputError: There are not two states.
    """
    if log_likelihood.shape[-1] != 2:
        raise InvalidInputError(
            f"`log_likelihood` must be of two states; there are {log_likelihood.shape[-1]}. With "
            "more, see `posterior_divergence`."
        )
    ratio = log_likelihood[..., 1] - log_likelihood[..., 0]
    known = jnp.ones(ratio.shape, bool) if known is None else known
    away = ratio - _mean_of_known(ratio, known)[..., None]
    return jnp.sqrt(_mean_of_known(away**2, known))


def posterior_divergence(
    log_prior: Float[Array, "*#batch s"],
    log_likelihood: Float[Array, "*batch m s"],
    known: Bool[Array, "*batch m"] | None = None,
) -> Float[Array, "*batch"]:
    """Returns the Jensen-Shannon divergence of what each rater alone makes of the prior.

    Args:
        log_prior: Of each state.
        log_likelihood: Of each rater in each state, known up to a constant.
        known: Which raters there are; by default all.

    Returns:
        Nats, from 0 to the logarithm of the number of raters or of states; 0 with less than two
        raters.

    References:
        Lin (1991), Divergence measures based on the Shannon entropy, IEEE Transactions on
        Information Theory 37, 145-151, section V.
    """
    posterior = jax.nn.softmax(log_prior[..., None, :] + log_likelihood, axis=-1)
    known = jnp.ones(posterior.shape[:-1], bool) if known is None else known
    middle = _mean_of_known(jnp.moveaxis(posterior, -1, 0), known)
    apart = entr(middle).sum(axis=0) - _mean_of_known(entr(posterior).sum(axis=-1), known)
    # Rounding may leave less than nothing.
    return jnp.maximum(apart, 0.0)


def pays_to_ask(
    probability: Float[Array, "*batch s"],
    costs: Costs,
    sources: Sources,
    *,
    disagreement: Float[Array, "*batch"] | None = None,
    threshold: float | None = None,
) -> Bool[Array, "*batch m"]:
    """Says of each source whether one answer is worth more than its price.

    Args:
        probability: Of each state, given what raters said.
        costs: Of actions.
        sources: What may be asked.
        disagreement: Of the raters of each item; by default it does not matter.
        threshold: Disagreement above which asking is considered at all, in its unit.

    Raises:
        InvalidInputError: There is a disagreement and no threshold, or the reverse.

    References:
        arXiv:2601.01522: the value of information as a gate, and disagreement as a trigger.
    """
    if (disagreement is None) != (threshold is None):
        raise InvalidInputError(
            "`disagreement` and `threshold` must be given both or neither; there is only "
            f"`{'threshold' if disagreement is None else 'disagreement'}`."
        )
    pays = value_of_asking(probability, costs, sources) > sources.price_usd
    if disagreement is None or threshold is None:
        return pays
    return pays & (disagreement > threshold)[..., None]


def _mean_of_known(
    values: Float[Array, "*more m"], known: Bool[Array, "*#more m"]
) -> Float[Array, "*more"]:
    """Mean over the last axis; 0 of nothing."""
    count = jnp.maximum(known.sum(axis=-1), 1)
    return jnp.where(known, values, 0.0).sum(axis=-1) / count
