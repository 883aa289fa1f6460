"""The univariate t law: exact for any degrees of freedom, fast where all arguments share one."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from jaxcascade.numerics import betainc, betaincinv

_NUM_TERMS = 60
_NODES = np.cos(np.pi * (np.arange(_NUM_TERMS) + 0.5) / _NUM_TERMS)
_LEAST_LEVEL = 1e-100
_LEAST_TAIL = 1e-150  # beyond, x^2 overflows at one degree of freedom


def t_quantile(u: Float[Array, "..."], degrees: Float[Array, "..."]) -> Float[Array, "..."]:
    """Inverse of `t_cdf` for u from 1e-100 up to 1 - 2^-53 and degrees of freedom from 1 to 1000.

    Relative error below 1e-12, except for the rounding of `u` itself. With one number of degrees
    for all `u` the quantile is evaluated at 60 nodes and a Chebyshev series through them at `u`:
    asinh(|x| / sqrt(n)) is smooth in log(1 - log(2 u)), from the centre to the far tail.
    """
    return _quantile_by_series(u, degrees) if jnp.ndim(degrees) == 0 else _quantile(u, degrees)


def t_cdf(x: Float[Array, "..."], degrees: Float[Array, "..."]) -> Float[Array, "..."]:
    """Distribution function of the t law, with full relative accuracy on the left.

    For 1 to 1001 degrees of freedom; by a series as in `t_quantile`, whose relative error grows
    from 1e-13 to 1e-11 at 1e-100 and which takes tails below 1e-150 for 1e-150.
    """
    return _cdf_by_series(x, degrees) if jnp.ndim(degrees) == 0 else _cdf(x, degrees)


def log_density(x: Float[Array, "..."], degrees: Float[Array, "..."]) -> Float[Array, "..."]:
    """Log density of the t law."""
    constant = gammaln(0.5 * (degrees + 1)) - gammaln(0.5 * degrees)
    constant = constant - 0.5 * jnp.log(degrees * jnp.pi)
    return constant - 0.5 * (degrees + 1.0) * jnp.log1p(x**2 / degrees)


@jax.jit
def _quantile_by_series(u: Array, degrees: Array) -> Array:
    top = np.log1p(-np.log(2.0 * _LEAST_LEVEL))
    nodes = 0.5 * top * (_NODES + 1.0)
    levels = jnp.asarray(0.5 * np.exp(-np.expm1(nodes)), degrees.dtype)
    heights = jnp.arcsinh(-_quantile(levels, degrees) / jnp.sqrt(degrees))
    # 2 min(u, 1 - u) is exact, and so is its logarithm near 0.
    s = jnp.log1p(-jnp.log(2.0 * jnp.where(u < 0.5, u, 1.0 - u)))
    # The quotient is fitted: at the centre both vanish.
    grown = jnp.expm1(s * _series(heights / nodes, 2.0 / top * s - 1.0))
    size = 0.5 * jnp.sqrt(degrees) * (grown + grown / (1.0 + grown))  # sinh
    return jnp.where(u < 0.5, -size, size)


@jax.jit
def _cdf_by_series(x: Array, degrees: Array) -> Array:
    furthest = -_quantile(jnp.asarray(_LEAST_TAIL, degrees.dtype), degrees) / jnp.sqrt(degrees)
    top = jnp.log1p(jnp.arcsinh(furthest))
    nodes = 0.5 * top * (_NODES + 1.0)
    heights = jnp.expm1(nodes)
    depths = -jnp.log(2.0 * _cdf(-jnp.sqrt(degrees) * jnp.sinh(heights), degrees))
    a = jnp.minimum(jnp.where(x < 0, -x, x) / jnp.sqrt(degrees), furthest)
    height = jnp.log1p(a + a * (a / (1.0 + jnp.sqrt(1.0 + a * a))))  # asinh
    s = jnp.log1p(height)
    tail = 0.5 * jnp.exp(-height * _series(depths / heights, 2.0 / top * s - 1.0))
    return jnp.where(x < 0, tail, 1.0 - tail)


def _series(values: Float[Array, " t"], at: Float[Array, "..."]) -> Float[Array, "..."]:
    """The Chebyshev series through values at `_NODES`, by Clenshaw's recurrence."""
    orders = np.arange(_NUM_TERMS)[:, None] * np.pi * (np.arange(_NUM_TERMS) + 0.5) / _NUM_TERMS
    transform = np.cos(orders) * np.where(np.arange(_NUM_TERMS) > 0, 2.0, 1.0)[:, None]
    coefficients = jnp.asarray(transform / _NUM_TERMS, values.dtype) @ values
    twice, last, before = 2.0 * at, jnp.zeros_like(at), jnp.zeros_like(at)
    # Unrolled: as a loop, each step would be a pass over memory.
    for order in range(_NUM_TERMS - 1, 0, -1):
        last, before = coefficients[order] + twice * last - before, last
    return coefficients[0] + at * last - before


@jax.custom_jvp
def _cdf(x: Array, degrees: Array) -> Array:
    return _cdf_in_degrees(*jnp.broadcast_arrays(x, degrees))


@_cdf.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    x, degrees = jnp.broadcast_arrays(*primals)
    change = jnp.broadcast_to(tangents[1], x.shape)
    value, by_degrees = jax.jvp(lambda n: _cdf_in_degrees(x, n), (degrees,), (change,))
    return value, by_degrees + jnp.exp(log_density(x, degrees)) * tangents[0]


def _cdf_in_degrees(x: Array, degrees: Array) -> Array:
    """The distribution function, to be differentiated in the degrees of freedom alone."""
    square = jnp.where(x == 0, 1.0, x**2)
    # Near the centre the share n / (n + x^2) would have lost the digits of x.
    central = square < 0.5
    half, other = jnp.full_like(x, 0.5), 0.5 * degrees
    first, second = jnp.where(central, half, other), jnp.where(central, other, half)
    mass = 0.5 * betainc(first, second, jnp.where(central, square, degrees) / (degrees + square))
    tail = jnp.where(x == 0, 0.5, jnp.where(central, 0.5 - mass, mass))
    return jnp.where(x < 0, tail, 1.0 - tail)


@jax.custom_jvp
def _quantile(u: Array, degrees: Array) -> Array:
    u, degrees = jnp.broadcast_arrays(u, degrees)
    tail = jnp.where(u < 0.5, u, 1.0 - u)
    # x^2 / (n + x^2) and its complement are beta variables; invert for the smaller of the two.
    central = tail > 0.25
    half = jnp.full_like(u, 0.5)
    first, second = jnp.where(central, half, 0.5 * degrees), jnp.where(central, 0.5 * degrees, half)
    share = betaincinv(first, second, jnp.where(central, 1.0 - 2.0 * tail, 2.0 * tail))
    share = jnp.maximum(share, jnp.finfo(u.dtype).tiny)
    size = jnp.where(central, share / (1.0 - share), (1.0 - share) / share)
    size = jnp.where(tail < 0.5, jnp.sqrt(degrees * size), 0.0)
    return jnp.where(u < 0.5, -size, size)


@_quantile.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    u, degrees = primals
    x = _quantile(u, degrees)
    degrees, change = (jnp.broadcast_to(z, x.shape) for z in (degrees, tangents[1]))
    by_degrees = jax.jvp(lambda n: _cdf_in_degrees(x, n), (degrees,), (change,))[1]
    return x, (tangents[0] - by_degrees) * jnp.exp(-log_density(x, degrees))
