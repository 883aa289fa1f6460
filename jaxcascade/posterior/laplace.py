"""Draws from the normal law around a mode, made right by Metropolis and Hastings.

Where a model falls into independent blocks, each is drawn and judged on its own: what would be
hopeless in fifty dimensions is easy in seven.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.posterior.density import Density

_NUM_STEPS = 40
_STEP_LENGTHS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.003, 0.0)
_LONGEST = 2.0
_FLATTEST = 1e-3
DEGREES = 5
_NUM_TURNS = 20
_NUM_FIRST_TURNS = 8
_TAIL_SHARE = 0.2
_BATCH = 50


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

    @property
    def guide(self) -> "Guide":
        """The normal law of the same place and curvature."""
        return Guide(self.vector, jnp.linalg.inv(self.precision))


class Guide(NamedTuple):
    """The normal law that draws begin with.

    Attributes:
        center: Its mean.
        covariance: Its covariance.
    """

    center: Float[Array, "*blocks p"]
    covariance: Float[Array, "*blocks p p"]

    def carried(self, onto: Callable[[Array], Array]) -> "Guide":
        """Takes the law to other coordinates, to first order.

        Args:
            onto: From vectors here to vectors there, each block on its own.
        """

        def column(direction: Array) -> Array:
            along = jnp.broadcast_to(direction, self.center.shape)
            return jax.jvp(onto, (self.center,), (along,))[1]

        slope = jnp.moveaxis(jax.vmap(column)(jnp.eye(self.center.shape[-1])), 0, -1)
        covariance = slope @ self.covariance @ jnp.swapaxes(slope, -1, -2)
        return Guide(onto(self.center), covariance)


class Sampled(NamedTuple):
    """Draws of one density.

    Attributes:
        vectors: Equally likely draws.
        log_weight: Of density over that of the normal law's heavy-tailed cousin, at proposals from
            the latter; their tail tells how good a guide it was. See `pareto_k`.
    """

    vectors: Float[Array, "d *blocks p"]
    log_weight: Float[Array, "d *blocks"]


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


def sample(
    key: PRNGKeyArray, density: Density, guide: Guide, num_draws: int, degrees: int = DEGREES
) -> Sampled:
    """Draws from a t law around a center and moves the draws until they are of the density.

    Each draw is a chain of its own. In turn it is offered a fresh draw of the t law, and a short
    step, and takes either by the rule of Metropolis and Hastings. After the first
    turns, the law has the mean and covariance of all draws, which a long tail needs.

    Args:
        key: Draws proposals and decides on them.
        density: What to draw from.
        guide: Where to begin, see `Mode.guide`.
        num_draws: Draws to return.
        degrees: Of freedom of the t law; the more dimensions, the more it takes for its draws to
            lie where those of a normal law do.
    """
    blocks, p = guide.center.shape[:-1], guide.center.shape[-1]
    shape = (num_draws, *blocks)

    def turn(state: tuple, step: tuple[Array, Array]) -> tuple[tuple, Array]:
        at, height, center, covariance = state
        number, key = step
        fresh = number % 2 == 0
        root = jnp.linalg.cholesky(covariance)
        noise, tail, decide = jax.random.split(key, 3)
        normal = jax.random.normal(noise, (*shape, p))
        # One factor for each block: their tails are independent.
        chi = jnp.mean(jax.random.normal(tail, (degrees, *shape)) ** 2, axis=0)
        stretch = jnp.where(fresh, 1.0 / jnp.sqrt(chi), 2.38 / p**0.5 * _shortening(number))
        moves = jnp.einsum("...ij,d...j->d...i", root, stretch[..., None] * normal)
        trial = jnp.where(fresh, center, at) + moves
        reached = jax.lax.map(density.log_prob, trial, batch_size=_BATCH)
        reached = jnp.where(jnp.isnan(reached), -jnp.inf, reached)
        backward, forward = (
            jnp.where(fresh, _log_student(x - center, root, degrees), 0.0) for x in (at, trial)
        )
        log_ratio = reached - height + backward - forward
        taken = jnp.log(jax.random.uniform(decide, shape)) < log_ratio
        at = jnp.where(taken[..., None], trial, at)
        height = jnp.where(taken, reached, height)
        mean = at.mean(axis=0)
        spread = jnp.einsum("d...i,d...j->...ij", at - mean, at - mean) / num_draws
        # Of few draws, a spread may be singular: a hundredth of the first law keeps it round.
        settled = number == _NUM_FIRST_TURNS - 1
        center = jnp.where(settled, mean, center)
        covariance = jnp.where(settled, 0.99 * spread + 0.01 * covariance, covariance)
        return (at, height, center, covariance), jnp.where(fresh, reached - forward, -jnp.inf)

    # From nowhere, any place is better: the first turn takes what is offered.
    nowhere = jnp.full(shape, -jnp.inf)
    start = jnp.broadcast_to(guide.center, (*shape, p))
    steps = jnp.arange(_NUM_TURNS), jax.random.split(key, _NUM_TURNS)
    (at, *_), told = jax.lax.scan(turn, (start, nowhere, *guide), steps)
    return Sampled(at, told[-2])


def _shortening(number: Array) -> Array:
    """Alternately as far as is best where a posterior is normal, and less far."""
    return jnp.where(number % 4 == 1, 1.0, 0.3)


def _log_student(
    apart: Float[Array, "d *blocks p"], root: Float[Array, "*blocks p p"], degrees: int
) -> Float[Array, "d *blocks"]:
    """Log density of the t law but for a constant."""
    turned = jnp.moveaxis(apart, 0, -1)
    length = jnp.sum(jax.scipy.linalg.solve_triangular(root, turned, lower=True) ** 2, axis=-2)
    p = apart.shape[-1]
    return jnp.moveaxis(-0.5 * (degrees + p) * jnp.log1p(length / degrees), -1, 0)


def pareto_k(log_weight: Float[Array, " d"]) -> Float[Array, ""]:
    """Shape of the tail of importance weights: above 0.7, weights alone would not do.

    References:
        Vehtari, Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling.
        Zhang and Stephens (2009), for the fit of a generalised Pareto law.
    """
    count = log_weight.size
    size = int(min(_TAIL_SHARE * count, 3.0 * count**0.5))
    weight = jnp.sort(jnp.exp(log_weight - jnp.max(log_weight)))
    excess = weight[-size:] - weight[-size - 1]
    num_points = 30 + int(size**0.5)
    j = jnp.arange(1, num_points + 1)
    quartile = excess[int(size / 4 + 0.5) - 1]
    b = 1.0 / excess[-1] + (1.0 - jnp.sqrt(num_points / (j - 0.5))) / (3.0 * quartile)
    k = jnp.mean(jnp.log1p(-b[:, None] * excess), axis=1)
    b = jnp.sum(jax.nn.softmax(size * (jnp.log(-b / k) - k - 1.0)) * b)
    k = jnp.mean(jnp.log1p(-b * excess))
    # A weak prior towards one half, worth ten values. Weights that are all alike have no tail.
    shape = (size * k + 10.0 * 0.5) / (size + 10.0)
    return jnp.where(jnp.isfinite(shape), shape, 0.0)
