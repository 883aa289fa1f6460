"""Draws from the normal law around a mode, made right by importance resampling.

Where a model falls into independent blocks, each is drawn and weighted on its own: what would be
hopeless in fifty dimensions is easy in seven.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.posterior.density import Density

_NUM_STEPS = 40
_STEP_LENGTHS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.003, 0.0)
_LONGEST = 2.0
_FLATTEST = 1e-3
_DEGREES = 8
_NUM_ROUNDS = 2
_PROPOSALS_PER_DRAW = 3
_FEW_PER_DIMENSION = 10.0
_NUM_MOVES = 8
_BATCH = 50
_TAIL_SHARE = 0.2


class Mode(NamedTuple):
    """A maximum of the posterior density, and the information there.

    Attributes:
        vector: Its place.
        value: Log density there.
        prior_precision: Negative Hessian of the prior.
        data_precision: Negative Hessian of the likelihood.
        gradient_norm: Length of the gradient in units of posterior standard deviations; near 0
            where the search has ended.
    """

    vector: Float[Array, "*blocks p"]
    value: Float[Array, "*blocks"]
    prior_precision: Float[Array, "*blocks p p"]
    data_precision: Float[Array, "*blocks p p"]
    gradient_norm: Float[Array, "*blocks"]

    @property
    def precision(self) -> Float[Array, "*blocks p p"]:
        """Negative Hessian, its flattest directions bent to a standard deviation of 30."""
        values, vectors = jnp.linalg.eigh(self.prior_precision + self.data_precision)
        bent = jnp.maximum(jnp.abs(values), _FLATTEST)
        return (vectors * bent[..., None, :]) @ jnp.swapaxes(vectors, -1, -2)


class Resampled(NamedTuple):
    """Draws of one density.

    Attributes:
        vectors: Equally likely draws.
        pareto_k: Shape of the tail of the importance weights, per block: above 0.7 the normal law
            is too unlike the posterior for the weights to make up for it.
    """

    vectors: Float[Array, "d *blocks p"]
    pareto_k: Float[Array, "*blocks"]


def find_mode(density: Density, start: Float[Array, "*blocks p"]) -> Mode:
    """Climbs by Newton steps, shortened until they go uphill, each block at its own pace."""

    def step(state: tuple, last: Array) -> tuple[tuple, None]:
        x, *_ = state
        gradient, hessian = _derivatives(density.log_prob, x)
        values, vectors = jnp.linalg.eigh(-hessian)
        # Concave or not, every direction is climbed, by the curvature it has.
        bent = jnp.maximum(jnp.abs(values), _FLATTEST)
        move = jnp.einsum("...ji,...j->...i", vectors, gradient) / bent
        move = jnp.einsum("...ij,...j->...i", vectors, move)
        move = move / jnp.maximum(jnp.max(jnp.abs(move), axis=-1, keepdims=True) / _LONGEST, 1.0)
        # The last step goes nowhere: it tells the derivatives where the others have ended.
        lengths = jnp.where(last, 0.0, jnp.array(_STEP_LENGTHS))
        trials = x + lengths.reshape(-1, *[1] * x.ndim) * move
        tried = jax.lax.map(density.log_prob, trials)
        best = jnp.argmax(jnp.where(jnp.isnan(tried), -jnp.inf, tried), axis=0)
        x = jnp.take_along_axis(trials, best[None, ..., None], axis=0)[0]
        return (x, jnp.max(tried, axis=0), gradient, hessian), None

    blank = jnp.zeros((*start.shape, start.shape[-1]))
    state = (start, jnp.zeros(start.shape[:-1]), jnp.zeros_like(start), blank)
    last = jnp.arange(_NUM_STEPS) == _NUM_STEPS - 1
    (x, value, gradient, hessian), _ = jax.lax.scan(step, state, last)
    _, of_prior = _derivatives(density.log_prior, x)
    found = Mode(x, value, -of_prior, of_prior - hessian, jnp.zeros(x.shape[:-1]))
    scaled = jnp.linalg.solve(found.precision, gradient[..., None])[..., 0]
    norm = jnp.sqrt(jnp.maximum(jnp.sum(scaled * gradient, axis=-1), 0.0))
    return found._replace(gradient_norm=norm)


def _derivatives(value, x: Float[Array, "*blocks p"]) -> tuple[Array, Array]:
    """Gradient and Hessian of every block, of which each depends on its own vector alone."""
    gradient = jax.grad(lambda at: jnp.sum(value(at)))

    def column(direction: Array) -> tuple[Array, Array]:
        return jax.jvp(gradient, (x,), (jnp.broadcast_to(direction, x.shape),))

    values, columns = jax.vmap(column)(jnp.eye(x.shape[-1]))
    return values[0], jnp.moveaxis(columns, 0, -1)


def resample(key: PRNGKeyArray, density: Density, mode: Mode, num_draws: int) -> Resampled:
    """Draws from a t law around the mode and resamples by Pareto-smoothed importance weights.

    Twice: the mean and covariance that the first round finds are those of the second round's law,
    which a posterior with a long tail needs.

    Args:
        key: Draws proposals and picks among them.
        density: What to draw from.
        mode: See `find_mode`.
        num_draws: Draws to return, out of three times as many proposals.

    References:
        Vehtari, Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling.
        Cappe, Guillin, Marin and Robert (2004), Population Monte Carlo.
    """
    rounds, pick, move = jax.random.split(key, 3)
    count = _PROPOSALS_PER_DRAW * num_draws
    blocks, p = mode.vector.shape[:-1], mode.vector.shape[-1]

    def propose(law: tuple[Array, Array], key: PRNGKeyArray) -> tuple[tuple, tuple]:
        center, covariance = law
        noise, tail = jax.random.split(key)
        # One factor for each block: their tails are independent.
        chi = jnp.mean(jax.random.normal(tail, (_DEGREES, count, *blocks)) ** 2, axis=0)
        student = jax.random.normal(noise, (count, *blocks, p)) / jnp.sqrt(chi)[..., None]
        root = jnp.linalg.cholesky(covariance)
        proposals = center + jnp.einsum("...ij,d...j->d...i", root, student)
        log_proposal = jnp.log1p(jnp.sum(student**2, axis=-1) / _DEGREES)
        log_proposal = -0.5 * (_DEGREES + p) * log_proposal
        log_target = jax.lax.map(density.log_prob, proposals, batch_size=_BATCH)
        log_weight = log_target - log_proposal
        log_weight = jnp.where(jnp.isnan(log_weight), -jnp.inf, log_weight)
        flat = log_weight.reshape(count, -1)
        weight, pareto_k = jax.vmap(_smoothed, in_axes=1, out_axes=(1, 0))(flat)
        weight = weight.reshape(count, *blocks)
        center = jnp.sum(weight[..., None] * proposals, axis=0)
        apart = proposals - center
        spread = jnp.einsum("d...,d...i,d...j->...ij", weight, apart, apart)
        # Where few proposals carry all the weight, the first law is the better one.
        size = (1.0 / jnp.sum(weight**2, axis=0))[..., None, None]
        trust = size / (size + _FEW_PER_DIMENSION * p)
        spread = trust * spread + (1.0 - trust) * covariance
        return (center, spread), (proposals, log_target, weight, pareto_k)

    first = (mode.vector, jnp.linalg.inv(mode.precision))
    (_, spread), found = jax.lax.scan(propose, first, jax.random.split(rounds, _NUM_ROUNDS))
    proposals, log_target, weight, pareto_k = (part[-1] for part in found)
    flat = weight.reshape(count, -1)
    keys = jax.random.split(pick, flat.shape[1])
    rows = jax.vmap(_systematic, in_axes=(0, 1, None), out_axes=1)(keys, flat, num_draws)
    rows = rows.reshape(num_draws, *blocks)
    vectors = jnp.take_along_axis(proposals, rows[..., None], axis=0)
    heights = jnp.take_along_axis(log_target, rows, axis=0)
    return Resampled(_moved(move, density, vectors, heights, spread), pareto_k.reshape(blocks))


def _moved(
    key: PRNGKeyArray, density: Density, vectors: Array, heights: Array, covariance: Array
) -> Float[Array, "d *blocks p"]:
    """Takes a few Metropolis steps from every draw, which sets apart those that are the same."""
    root = jnp.linalg.cholesky(covariance)
    p = vectors.shape[-1]

    def move(state: tuple[Array, Array], step: tuple[Array, Array]) -> tuple[tuple, None]:
        (at, height), (key, scale) = state, step
        noise, decide = jax.random.split(key)
        moves = jnp.einsum("...ij,d...j->d...i", root, jax.random.normal(noise, at.shape))
        trial = at + scale * 2.38 / p**0.5 * moves
        reached = jax.lax.map(density.log_prob, trial, batch_size=_BATCH)
        accepted = jnp.log(jax.random.uniform(decide, height.shape)) < reached - height
        at = jnp.where(accepted[..., None], trial, at)
        return (at, jnp.where(accepted, reached, height)), None

    # Alternately as far as is best where a posterior is normal, and less far.
    scales = jnp.tile(jnp.array([1.0, 0.3]), _NUM_MOVES // 2)
    steps = (jax.random.split(key, _NUM_MOVES), scales)
    return jax.lax.scan(move, (vectors, heights), steps)[0][0]


def _smoothed(log_weight: Float[Array, " s"]) -> tuple[Float[Array, " s"], Float[Array, ""]]:
    """Replaces the largest weights by the quantiles of a generalised Pareto law fitted to them."""
    count = log_weight.size
    size = int(min(_TAIL_SHARE * count, 3.0 * count**0.5))
    weight = jnp.exp(log_weight - jnp.max(log_weight))
    order = jnp.argsort(weight)
    largest = weight[order][-size:]
    cutoff = weight[order][-size - 1]
    shape, scale = _pareto(largest - cutoff)
    level = (jnp.arange(size) + 0.5) / size
    near_zero = jnp.abs(shape) < 1e-6
    safe = jnp.where(near_zero, 1.0, shape)
    quantile = jnp.where(near_zero, -jnp.log1p(-level), jnp.expm1(-safe * jnp.log1p(-level)) / safe)
    smooth = jnp.minimum(cutoff + scale * quantile, 1.0)
    # All weights alike, or a tail of nothing: there is nothing to smooth.
    usable = jnp.isfinite(shape) & jnp.isfinite(scale) & (scale > 0)
    smooth = jnp.where(usable, smooth, largest)
    weight = weight.at[order[-size:]].set(smooth)
    return weight / weight.sum(), jnp.where(usable, shape, 0.0)


def _pareto(excess: Float[Array, " m"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Shape and scale of a generalised Pareto law (Zhang and Stephens, 2009), as ArviZ fits it."""
    count = excess.size
    num_points = 30 + int(count**0.5)
    j = jnp.arange(1, num_points + 1)
    quartile = excess[int(count / 4 + 0.5) - 1]
    b = 1.0 / excess[-1] + (1.0 - jnp.sqrt(num_points / (j - 0.5))) / (3.0 * quartile)
    k = jnp.mean(jnp.log1p(-b[:, None] * excess), axis=1)
    score = count * (jnp.log(-b / k) - k - 1.0)
    weight = jax.nn.softmax(score)
    b = jnp.sum(b * weight)
    k = jnp.mean(jnp.log1p(-b * excess))
    scale = -k / b
    # A weak prior towards one half, worth ten values.
    return (count * k + 10.0 * 0.5) / (count + 10.0), scale


def _systematic(key: PRNGKeyArray, weight: Float[Array, " s"], num_draws: int) -> Array:
    """Picks rows in proportion to their weights, with one uniform number, in random order."""
    offset, shuffle = jax.random.split(key)
    ticks = (jnp.arange(num_draws) + jax.random.uniform(offset)) / num_draws
    rows = jnp.searchsorted(jnp.cumsum(weight), ticks)
    return jax.random.permutation(shuffle, jnp.clip(rows, 0, weight.size - 1))
