"""How good a calibration is: one number each, and the curve behind them."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class ReliabilityCurve(NamedTuple):
    """Average confidence and accuracy per bin; bins of equal count, lowest confidence first."""

    confidence: Float[Array, " bins"]
    accuracy: Float[Array, " bins"]
    count: Float[Array, " bins"]


def reliability_curve(
    confidence: Float[Array, " n"], correct: Float[Array, " n"], num_bins: int = 10
) -> ReliabilityCurve:
    """Splits queries, sorted by confidence, into `num_bins` groups of equal size.

    Ties are broken by the order of the queries, so that point masses spread over bins, as in
    the adaptive estimate of arXiv:2501.09345, section 4. Bins differ in size by one at most.

    Example:
        >>> import jax.numpy as jnp
        >>> curve = reliability_curve(jnp.array([.2, .4, .6, .8]), jnp.array([0., 0., 1., 1.]), 2)
        >>> print(curve.confidence, curve.accuracy)
        [0.3 0.7] [0. 1.]
    """
    order = jnp.argsort(confidence, stable=True)
    bins = jnp.minimum(num_bins, confidence.size)
    which = (jnp.arange(confidence.size) * bins) // confidence.size
    count = jnp.zeros(num_bins).at[which].add(1.0)
    mean = jnp.maximum(count, 1.0)
    return ReliabilityCurve(
        confidence=jnp.zeros(num_bins).at[which].add(confidence[order]) / mean,
        accuracy=jnp.zeros(num_bins).at[which].add(correct[order]) / mean,
        count=count,
    )


def ece(
    confidence: Float[Array, " n"], correct: Float[Array, " n"], num_bins: int = 10
) -> Float[Array, ""]:
    """Expected calibration error, adaptive: mean |accuracy - confidence| over deciles.

    Example:
        >>> import jax.numpy as jnp
        >>> float(ece(jnp.array([.25, .75]), jnp.array([0., 1.]), num_bins=2))
        0.25
    """
    curve = reliability_curve(confidence, correct, num_bins)
    return jnp.sum(curve.count * jnp.abs(curve.accuracy - curve.confidence)) / confidence.size


def brier(confidence: Float[Array, " n"], correct: Float[Array, " n"]) -> Float[Array, ""]:
    """Mean squared error of the confidence; 0 is perfect, 0.25 a coin's."""
    return jnp.mean((confidence - correct) ** 2)


def log_loss(confidence: Float[Array, " n"], correct: Float[Array, " n"]) -> Float[Array, ""]:
    """Mean negative log-likelihood in nats; infinite when a certainty was wrong."""
    likelihood = jnp.where(correct > 0.5, confidence, 1.0 - confidence)
    return -jnp.mean(jnp.log(likelihood))


def auroc(confidence: Float[Array, " n"], correct: Float[Array, " n"]) -> Float[Array, ""]:
    """Probability that a right answer has more confidence than a wrong one, ties half.

    Returns NaN where all answers are right or all wrong: there is nothing to compare.

    Example:
        >>> import jax.numpy as jnp
        >>> float(auroc(jnp.array([.1, .4, .4, .8]), jnp.array([0., 0., 1., 1.])))
        0.875
    """
    sorted_confidence = jnp.sort(confidence)
    below = jnp.searchsorted(sorted_confidence, confidence, side="left")
    up_to = jnp.searchsorted(sorted_confidence, confidence, side="right")
    rank = 0.5 * (below + up_to + 1)
    right = correct.sum()
    wrong = confidence.size - right
    wins = correct @ rank - right * (right + 1) / 2
    return wins / (right * wrong)
