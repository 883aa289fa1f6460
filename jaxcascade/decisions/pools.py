"""Several raters' likelihoods made into one, and Bayes' rule.

The rules of arXiv:2601.01522 and their kin. None learns from labels: raters that err together are
counted as often as they are, which `sum` does worst.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jaxcascade.errors import InvalidInputError

MEDIAN_LIKELIHOOD, MEDIAN_RATIO, MEAN = "median_likelihood", "median_ratio", "mean"
TRIMMED, GEOMETRIC, SUM = "trimmed", "geometric", "sum"
RULES = (MEDIAN_LIKELIHOOD, MEDIAN_RATIO, MEAN, TRIMMED, GEOMETRIC, SUM)
# Above, comparing rows pair by pair compiles slowly; sorting takes over.
_MOST_COMPARED = 16


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


def linear_pool(
    probability: Float[Array, "*batch m s"],
    weight: Float[Array, "*#batch m"],
) -> Float[Array, "*batch s"]:
    """Returns the weighted mean of raters' probabilities of the states.

    Args:
        probability: Of each rater (second to last axis); sums to 1 over states.
        weight: At least 0, and above 0 for one rater or more; need not sum to 1. A rater that says
            nothing has the weight 0.

    References:
        Stone (1961), The opinion pool.
    """
    share = weight / weight.sum(axis=-1, keepdims=True)
    return jnp.einsum("...m,...ms->...s", share, probability)


def log_linear_pool(
    probability: Float[Array, "*batch m s"],
    weight: Float[Array, "*#batch m"],
) -> Float[Array, "*batch s"]:
    """Returns the normalised product of raters' probabilities, each to the power of its weight.

    Weights that sum to 1 make the geometric mean, weights of 1 each naive Bayes under a uniform
    prior; see `TemperedPool` for weights that are learnt.

    Args:
        probability: Of each rater (second to last axis); above 0 where the weight is, for at least
            one state.
        weight: At least 0. A rater that says nothing has the weight 0.

    References:
        Genest and Zidek (1986), Combining probability distributions.
    """
    weight = weight[..., None]
    # A weight of 0 silences a rater that excludes a state, too.
    log_power = jnp.where(
        weight > 0, weight * jnp.log(jnp.where(weight > 0, probability, 1.0)), 0.0
    )
    return jax.nn.softmax(log_power.sum(axis=-2), axis=-1)


def belief(
    log_prior: Float[Array, "*#batch s"], log_likelihood: Float[Array, "*#batch s"]
) -> Float[Array, "*batch s"]:
    """Returns the probability of each state by Bayes' rule."""
    return jax.nn.softmax(log_prior + log_likelihood, axis=-1)


def _median(values: Float[Array, "*batch m s"], there: Bool[Array, "*batch m 1"]) -> Array:
    """As `jnp.nanmedian` where there is anything, 0 elsewhere."""
    # A rater that excludes two states alike has a ratio of no number: it says nothing.
    number = there & ~jnp.isnan(values)
    count = number.sum(axis=-2)
    middle = _mean_without(values, number, (count - 1) // 2)
    middle = jnp.where(count > 0, middle, jnp.nan)
    return jnp.where(there.any(axis=-2), middle, 0.0)


def _trimmed_mean(
    values: Float[Array, "*batch m s"], there: Bool[Array, "*batch m 1"], trim: float
) -> Array:
    """Mean of what is left without the lowest and highest `trim * count`, rounded down."""
    return _mean_without(values, there, jnp.floor(trim * there.sum(axis=-2)))


def _mean_without(
    values: Float[Array, "*batch m s"],
    there: Bool[Array, "*batch m #s"],
    cut: Num[Array, "*batch #s"],
) -> Float[Array, "*batch s"]:
    """Mean of what is left without the `cut` lowest and highest of what there is, or 0."""
    m = values.shape[-2]
    values = jnp.where(there, values, jnp.inf)
    above = there.sum(axis=-2) - cut
    if m <= _MOST_COMPARED:
        # Row by row, it is one pass over memory: a tenth of the time of `jnp.sort`.
        rows = enumerate(_in_order([values[..., j, :] for j in range(m)]))
        total = sum(jnp.where((cut <= rank) & (rank < above), row, 0.0) for rank, row in rows)
    else:
        rank = jnp.arange(m)[:, None]
        kept = (cut[..., None, :] <= rank) & (rank < above[..., None, :])
        total = jnp.where(kept, jnp.sort(values, axis=-2), 0.0).sum(axis=-2)
    return total / jnp.maximum(above - cut, 1)


def _in_order(rows: list[Array]) -> list[Array]:
    """Sorts arrays elementwise, each after the ones below it."""
    for low, high in _comparators(len(rows)):
        rows[low], rows[high] = (
            jnp.minimum(rows[low], rows[high]),
            jnp.maximum(rows[low], rows[high]),
        )
    return rows


def _comparators(m: int) -> list[tuple[int, int]]:
    """Batcher's merge exchange: pairs to compare in turn, whatever the values are.

    References:
        Knuth (1998), The Art of Computer Programming, volume 3, section 5.2.2, algorithm M.
    """
    pairs, highest = [], (1 << (m - 1).bit_length()) // 2
    p = highest
    while p > 0:
        q, r, d = highest, 0, p
        while d > 0:
            pairs += [(i, i + d) for i in range(m - d) if i & p == r]
            d, q, r = q - p, q // 2, p
        p //= 2
    return pairs
