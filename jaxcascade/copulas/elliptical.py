"""Bivariate normal and t probabilities as integrals over the correlation."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_NUM_INNER = 32
_NUM_OUTER = 48


def inner_level(u: Float[Array, "..."], least: float = 1e-200) -> Float[Array, "..."]:
    """A level moved inside (0, 1), so that its quantile is finite."""
    limits = jnp.finfo(jnp.result_type(u))
    return jnp.clip(u, max(least, float(limits.tiny)), 1.0 - limits.epsneg)


def at_edges(
    value: Float[Array, "..."], u: Float[Array, "..."], v: Float[Array, "..."]
) -> Float[Array, "..."]:
    """A cdf with its exact values where an argument is 0 or 1."""
    value = jnp.where(u >= 1, v, jnp.where(v >= 1, u, value))
    return jnp.where((u > 0) & (v > 0), value, 0.0)


def orthant_probability(
    x: Array, y: Array, smaller: Array, excess: Array, rho: Array, degrees: Array | None
) -> Array:
    """P(X <= x, Y <= y) of two standard normal or t variables, by Plackett's identity.

    The derivative in the correlation has a closed form. Integrated from complete dependence, with
    r = +-cos t, it gives

        C(rho) = C(+-1) -+ integral from 0 to arccos |rho| of k(d^2 / sin^2 t + 2 s / (1 + cos t))
                 dt / (2 pi),    d = x - s y, s = x y sign,

    where k(q) is e^(-q / 2) or (1 + q / n)^(-n / 2). The integrand changes where sin t is near d:
    one panel ends there, the others run on in log t. The absolute error is below 1e-14, and below
    1e-12 of the smaller marginal probability for arguments within eight standard deviations.

    Args:
        x: First limit, finite.
        y: Second limit, finite.
        smaller: min of the marginal probabilities.
        excess: max of 0 and the sum of the marginal probabilities less 1.
        rho: Correlation inside (-1, 1).
        degrees: Degrees of freedom; None is normal.
    """
    negative = rho < 0
    toward = jnp.where(negative, -y, y)
    end = jnp.arctan2(jnp.sqrt((1.0 - rho) * (1.0 + rho)), jnp.where(negative, -rho, rho))
    gap, product = (x - toward) ** 2, x * toward
    start, middle = _panels(gap, product, end, degrees)
    inner = _inner(gap, product, start, middle, degrees)
    integral = inner + _outer(gap, product, middle, end, degrees)
    value = jnp.where(negative, excess + integral, smaller - integral)
    return jnp.clip(value, excess, smaller)


def _panels(gap: Array, product: Array, end: Array, degrees: Array | None) -> tuple[Array, Array]:
    """Where the integrand begins to count, and where its change from 0 is over."""
    change = gap if degrees is None else gap / (1.0 + jnp.abs(product))
    change = jax.lax.stop_gradient(change)  # the integral does not depend on its panels
    scale = jnp.sqrt(jnp.where(change > 0, change, 0.0))
    middle = jnp.clip(scale, 1e-8 * end, end)
    if degrees is not None:
        return jnp.zeros_like(middle), middle
    # exp(-d^2 / 2 t^2) is flat to infinite order at 0; leave out what is below 1e-18 of the rest.
    lowest = scale / jnp.sqrt(82.0 + 2.0 * jnp.abs(jax.lax.stop_gradient(product)) + change)
    return jnp.where(scale > middle * 0.99, jnp.minimum(lowest, end), 0.0), middle


def _kernel(gap: Array, product: Array, t: Array, degrees: Array | None) -> Array:
    sine, cosine = jnp.sin(t), jnp.cos(t)
    q = gap / sine**2 + 2.0 * product / (1.0 + cosine)
    if degrees is None:
        return jnp.exp(-0.5 * q) / (2.0 * jnp.pi)
    # q >= -n would be impossible only for an indefinite form; this one is positive.
    return jnp.exp(-0.5 * degrees * jnp.log1p(jnp.maximum(q, 0.0) / degrees)) / (2.0 * jnp.pi)


def _inner(gap: Array, product: Array, start: Array, end: Array, degrees: Array | None) -> Array:
    """From `start` to `end`, with a square at the start."""
    total = jnp.zeros_like(gap)
    for node, weight in zip(*_rule(_NUM_INNER), strict=True):
        t = start + (end - start) * node**2
        total = total + 2.0 * weight * node * _kernel(gap, product, t, degrees)
    return total * (end - start)


def _outer(gap: Array, product: Array, start: Array, end: Array, degrees: Array | None) -> Array:
    """From `start` to `end`, in log t."""
    span = jnp.log(end / start)
    total = jnp.zeros_like(gap)
    for node, weight in zip(*_rule(_NUM_OUTER), strict=True):
        t = start * jnp.exp(span * node)
        total = total + weight * t * _kernel(gap, product, t, degrees)
    return total * span


def _rule(num_nodes: int) -> tuple[list[float], list[float]]:
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    return (0.5 * (nodes + 1.0)).tolist(), (0.5 * weights).tolist()
