"""Several raters' likelihoods made into one, and Bayes' rule.

The rules of arXiv:2601.01522 and their kin. None learns from labels: raters that err together are
counted as often as they are, which `sum` does worst.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcascade.errors import InvalidInputError

MEDIAN_LIKELIHOOD, MEDIAN_RATIO, MEAN = "median_likelihood", "median_ratio", "mean"
TRIMMED, GEOMETRIC, SUM = "trimmed", "geometric", "sum"
RULES = (MEDIAN_LIKELIHOOD, MEDIAN_RATIO, MEAN, TRIMMED, GEOMETRIC, SUM)
FLOOR = 0.5
HIGHEST_RATING = 10.0


def log_likelihood_of_ratings(
    rating: Float[Array, "*batch r"],
    known: Bool[Array, "*batch r"] | None = None,
    *,
    floor: float = FLOOR,
) -> Float[Array, "*batch"]:
    """Returns the logarithm of each rater's mean rating, up to a constant that ratios do without.

    Args:
        rating: From 0, inconsistent with the state, to 10, typical of it; last axis: repeats.
        known: Which repeats there are; by default all.
        floor: Added to the mean, so that one rating of 0 excludes nothing.

    Returns:
        0 where there is no repeat: evidence of nothing, if that holds for every state.

    Raises:
        InvalidInputError: The floor is not above 0.
    """
    if not floor > 0:
        raise InvalidInputError(
            f"`floor` must be above 0, or a rating of 0 excludes a state for good; got {floor}."
        )
    known = jnp.ones(rating.shape, bool) if known is None else known
    count = known.sum(axis=-1)
    mean = jnp.where(known, rating, 0.0).sum(axis=-1) / jnp.maximum(count, 1)
    return jnp.where(count > 0, jnp.log(mean + floor), 0.0)


def pooled(
    log_likelihood: Float[Array, "*batch m s"],
    known: Bool[Array, "*batch m"] | None = None,
    *,
    rule: str = MEDIAN_RATIO,
    trim: float = 0.2,
) -> Float[Array, "*batch s"]:
    """Makes one log-likelihood of several raters', each known up to a constant.

    Args:
        log_likelihood: Of each rater (second to last axis) in each state.
        known: Which raters there are; by default all. Without any, the result is 0 everywhere.
        rule: "median_likelihood", "mean" and "trimmed" are averages of likelihoods, so that the
            scale of each rater matters; "median_ratio" is the median of log-ratios to the first
            state; "geometric" the mean of logarithms; "sum" takes raters for independent (naive
            Bayes).
        trim: Share that "trimmed" leaves out at either end, below one half.

    Raises:
        InvalidInputError: The rule is unknown, or `trim` is out of its range.
    """
    if rule not in RULES:
        raise InvalidInputError(f'`rule` must be one of {", ".join(RULES)}; got "{rule}".')
    if not 0 <= trim < 0.5:
        raise InvalidInputError(f"`trim` must be at least 0 and below one half; got {trim}.")
    known = jnp.ones(log_likelihood.shape[:-1], bool) if known is None else known
    there = known[..., None]
    count = jnp.maximum(there.sum(axis=-2), 1)
    if rule in (SUM, GEOMETRIC):
        total = jnp.where(there, log_likelihood, 0.0).sum(axis=-2)
        return total if rule == SUM else total / count
    if rule == MEDIAN_RATIO:
        ratio = log_likelihood - log_likelihood[..., :1]
        return _median(ratio, there)
    if rule == MEDIAN_LIKELIHOOD:
        middle = _median(jnp.exp(log_likelihood), there)
    else:
        middle = _trimmed_mean(jnp.exp(log_likelihood), there, trim if rule == TRIMMED else 0.0)
    return jnp.where(there.any(axis=-2), jnp.log(middle), 0.0)


def belief(
    log_prior: Float[Array, "*#batch s"], log_likelihood: Float[Array, "*#batch s"]
) -> Float[Array, "*batch s"]:
    """Returns the probability of each state by Bayes' rule."""
    return jax.nn.softmax(log_prior + log_likelihood, axis=-1)


def _median(values: Float[Array, "*batch m s"], there: Bool[Array, "*batch m 1"]) -> Array:
    middle = jnp.nanmedian(jnp.where(there, values, jnp.nan), axis=-2)
    return jnp.where(there.any(axis=-2), middle, 0.0)


def _trimmed_mean(
    values: Float[Array, "*batch m s"], there: Bool[Array, "*batch m 1"], trim: float
) -> Array:
    """Mean of what is left without the lowest and highest `trim * count`, rounded down."""
    ordered = jnp.sort(jnp.where(there, values, jnp.inf), axis=-2)
    count = there.sum(axis=-2)[..., None, :]
    cut = jnp.floor(trim * count)
    rank = jnp.arange(values.shape[-2])[:, None]
    kept = (rank >= cut) & (rank < count - cut)
    total = jnp.where(kept, ordered, 0.0).sum(axis=-2)
    return total / jnp.maximum(kept.sum(axis=-2), 1)
