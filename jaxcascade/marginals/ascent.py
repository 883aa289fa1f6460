"""The likelihood of a mixture of two betas to second order, and steps that climb it.

A component's log density is linear in the features `(1, log z, log(1 - z))`. All that a step needs
of the data are therefore sums of the three and of their products, weighted by the probability that
a value belongs to the first component: one exponential and one logarithm per value and step.

References:
    Louis (1982), Journal of the Royal Statistical Society B 44(2): the information of incomplete
    data is that of the complete data less that of what is missing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxcascade.numerics.beta_tail import STIRLING_SHIFT, log_gamma, stirling_remainder

SMALLEST, LARGEST = 0.05, 1000.0

# Factors of the damping after a step that helps and after one that does not. On 26 recorded columns
# bolder factors (0.1 and 8) lost more to steps in vain than they saved.
_RELAX, _TIGHTEN = 0.3, 3.0
_FIRST_DAMPING = 3.0
_LONGEST_STEP = 2.0  # in the log odds of the weights

_SAME_COMPONENT = np.kron(np.eye(2), np.ones((2, 2)))
_ODDS = np.diag([1.0, 0.0, 0.0, 0.0, 0.0])
_SIGN = np.array([1.0, 1.0, -1.0, -1.0])
_CONSTANT_FEATURE = np.array([1.0, 0.0, 0.0])
_OWN_FEATURE = np.concatenate([np.eye(3), -np.eye(3)[1:]])


class MixtureData(NamedTuple):
    """Values in (0, 1) as the likelihood needs them.

    Attributes:
        features: 1, log z and log(1 - z).
        weight: How much each value counts.
        prior_strength: Values of a flat law that each component is given in advance.
    """

    features: Float[Array, "3 n"]
    weight: Float[Array, " n"]
    prior_strength: Float[Array, ""]


class Expansion(NamedTuple):
    """Penalised log-likelihood at some parameters to second order.

    Attributes:
        value: The log-likelihood.
        gradient: Its gradient.
        complete: Information of the data if every value told its component; positive definite.
        missing: What of it is lost because they do not; the Hessian is `missing - complete`.
    """

    value: Float[Array, ""]
    gradient: Float[Array, "5"]
    complete: Float[Array, "5 5"]
    missing: Float[Array, "5 5"]


class Climb(NamedTuple):
    """Where a climb has got to.

    Attributes:
        parameters: Log odds of the first component, then both shapes of either component.
        expansion: The likelihood there.
        candidate: Parameters to try next.
        damping: How much shorter than Newton's step the one to the candidate is.
        moving: Whether that step promises more than the threshold.
        num_steps: Candidates tried.
    """

    parameters: Float[Array, "5"]
    expansion: Expansion
    candidate: Float[Array, "5"]
    damping: Float[Array, ""]
    moving: Bool[Array, ""]
    num_steps: Int[Array, ""]


def mixture_data(
    z: Float[Array, " n"], weight: Float[Array, " n"], prior_strength: Float[Array, ""]
) -> MixtureData:
    """Prepares values in (0, 1); rows of weight 0 do not count."""
    features = jnp.stack([jnp.ones_like(z), jnp.log(z), jnp.log1p(-z)])
    # With less than this, a component that has lost its values has no information of its own.
    return MixtureData(features, weight, jnp.maximum(prior_strength, 1e-12))


def expand(data: MixtureData, parameters: Float[Array, "5"]) -> Expansion:
    """Expands the penalised log-likelihood to second order.

    Args:
        data: The values.
        parameters: As in `Climb`; shapes in [0.05, 1000].

    Returns:
        Value and derivatives, exact up to rounding: 1e-14 of the sum of absolute log densities.
    """
    log_odds, shapes = parameters[0], parameters[1:].reshape(2, 2)
    joined = jnp.concatenate([shapes, shapes.sum(axis=1, keepdims=True)], axis=1)
    logs, slope, curvature = log_gamma_with_slopes(joined)
    log_beta = logs[:, 0] + logs[:, 1] - logs[:, 2]
    log_beta_slope = slope[:, :2] - slope[:, 2:]
    log_weights = jax.nn.log_sigmoid(jnp.stack([log_odds, -log_odds]))
    coefficients = jnp.concatenate([(log_weights - log_beta)[:, None], shapes - 1.0], axis=1)

    difference = (coefficients[0] - coefficients[1]) @ data.features
    ratio = jnp.exp(-jnp.abs(difference))
    first = jnp.where(difference > 0, 1.0, ratio) / (1.0 + ratio)
    log_sum = jnp.maximum(difference, 0.0) + jnp.log(1.0 + ratio)
    # The expected log of a uniform and of its complement is -1: the flat pseudo-data.
    flat = data.prior_strength * jnp.array([1.0, -1.0, -1.0])
    weighted = data.weight * data.features
    total, inner = weighted.sum(axis=1), weighted @ first
    sums = jnp.stack([inner, total - inner]) + flat
    value = coefficients[1] @ total + data.weight @ log_sum + jnp.sum(coefficients @ flat)

    count, share = sums[:, 0], jax.nn.sigmoid(log_odds)
    odds_slope = count[0] - share * count.sum()
    gradient = sums[:, 1:] - count[:, None] * log_beta_slope
    gradient = jnp.concatenate([odds_slope[None], gradient.ravel()])
    shared = _SAME_COMPONENT * jnp.repeat(curvature[:, 2], 2)
    information = curvature[:, :2].ravel() * jnp.eye(4) - shared
    complete = jnp.pad(information * jnp.repeat(count, 2), ((1, 0), (1, 0)))
    complete = complete + _ODDS * share * (1.0 - share) * count.sum()

    # How the log odds of a value's components move with the parameters: linear in its features.
    constant = jnp.pad(-_SIGN * log_beta_slope.ravel(), (1, 0))
    moves = constant[:, None] * _CONSTANT_FEATURE + _OWN_FEATURE
    products = (weighted[:, None] * data.features).reshape(9, -1)
    spread = (products @ (first * (1.0 - first))).reshape(3, 3)
    return Expansion(value, gradient, complete, moves @ spread @ moves.T)


def begin(parameters: Float[Array, "5"]) -> Climb:
    """A climb whose first candidate is `parameters`; any candidate beats nothing."""
    nothing = jnp.zeros((5, 5))
    expansion = Expansion(jnp.array(-jnp.inf), jnp.zeros(5), nothing, nothing)
    steps = jnp.array(0)
    return Climb(parameters, expansion, parameters, jnp.array(_FIRST_DAMPING), steps == 0, steps)


def climb(
    data: MixtureData, state: Climb, threshold: Float[Array, ""], max_steps: Int[Array, ""]
) -> Climb:
    """Climbs until a step promises no more than `threshold`, or for `max_steps` in all.

    The matrix of a step is `(1 + damping) complete - missing`: Newton's without damping, and with
    much of it a short step of expectation maximisation, which is uphill wherever one stands.

    Args:
        data: The values.
        state: Where to start from.
        threshold: Least gain in log-likelihood worth a step.
        max_steps: Most steps.
    """

    def unfinished(state: Climb) -> Bool[Array, ""]:
        return state.moving & (state.num_steps < max_steps)

    def step(state: Climb) -> Climb:
        there = expand(data, state.candidate)
        better = there.value > state.expansion.value
        parameters, expansion = jax.tree.map(
            lambda new, old: jnp.where(better, new, old),
            (state.candidate, there),
            (state.parameters, state.expansion),
        )
        damping = state.damping * jnp.where(better, _RELAX, _TIGHTEN)
        move, promised = _move(parameters, expansion, damping)
        # Where there is no step, it is too early to stop: more damping will make one.
        moving = (promised > threshold) | jnp.isnan(promised)
        candidate = jnp.where(jnp.isnan(promised), parameters, _within_bounds(parameters, move))
        return Climb(parameters, expansion, candidate, damping, moving, state.num_steps + 1)

    return jax.lax.while_loop(unfinished, step, state)


def _move(
    parameters: Float[Array, "5"], expansion: Expansion, damping: Float[Array, ""]
) -> tuple[Float[Array, "5"], Float[Array, ""]]:
    """The damped step, and the gain it promises; NaN where its matrix is not positive definite."""
    shapes, slope = parameters[1:], expansion.gradient[1:]
    held = ((shapes <= SMALLEST) & (slope < 0)) | ((shapes >= LARGEST) & (slope > 0))
    free = jnp.concatenate([jnp.ones(1), jnp.where(held, 0.0, 1.0)])
    matrix = (1.0 + damping) * expansion.complete - expansion.missing
    matrix = jnp.where(free * free[:, None] > 0, matrix, jnp.eye(5))
    gradient = free * expansion.gradient
    move = jax.scipy.linalg.cho_solve((jax.lax.linalg.cholesky(matrix), True), gradient)
    return move, move @ gradient


def _within_bounds(parameters: Float[Array, "5"], move: Float[Array, "5"]) -> Float[Array, "5"]:
    """Takes the step, but never more than a factor of three in a shape."""
    shapes = parameters[1:]
    new = jnp.clip(shapes + move[1:], shapes / 3.0, 3.0 * shapes)
    log_odds = parameters[:1] + jnp.clip(move[:1], -_LONGEST_STEP, _LONGEST_STEP)
    return jnp.concatenate([log_odds, jnp.clip(new, SMALLEST, LARGEST)])


def log_gamma_with_slopes(z: Float[Array, "..."]) -> tuple[Array, Array, Array]:
    """The logarithm of Γ and its first two derivatives, by the remainder of Stirling's formula.

    A third of the time that JAX takes for `gammaln`, `digamma` and `polygamma`.

    Args:
        z: In [0.05, 2000].

    Returns:
        Three arrays, each with an error below 1e-14 of its size or of 1.
    """
    g = STIRLING_SHIFT

    def digamma(z: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.log(z + g) + (0.5 - g) / (z + g) - 1.0 / z + stirling_remainder(z)[1]

    slope, curvature = jax.jvp(digamma, (z,), (jnp.ones_like(z),))
    return log_gamma(z), slope, curvature
