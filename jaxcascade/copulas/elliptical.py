"""Bivariate normal and t probabilities as integrals over the correlation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_NUM_INNER = 32
_NUM_OUTER = 48
_NUM_NODES = 52
_MOST_WHOLE = 15


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


def normal_orthant(x: Array, y: Array, smaller: Array, excess: Array, rho: Array) -> Array:
    """P(X <= x, Y <= y) of two standard normal variables, by Plackett's identity.

    The derivative in the correlation has a closed form. Integrated from complete dependence, with
    r = +-cos t, it gives

        C(rho) = C(+-1) -+ integral from 0 to arccos |rho| of k(d^2 / sin^2 t + 2 s / (1 + cos t))
                 dt / (2 pi),    d = x - s y, s = x y sign,

    where k(q) is e^(-q / 2). The integrand changes where sin t is near d: one panel ends there,
    the others run on in log t. The absolute error is below 1e-14, and below 1e-12 of the smaller
    marginal probability for arguments within eight standard deviations.

    Args:
        x: First limit, finite.
        y: Second limit, finite.
        smaller: min of the marginal probabilities.
        excess: max of 0 and the sum of the marginal probabilities less 1.
        rho: Correlation inside (-1, 1).
    """
    toward = jnp.where(rho < 0, -y, y)
    end = 2.0 * jnp.arctan(_half_angle(rho))
    gap, product = (x - toward) ** 2, x * toward
    start, middle = _panels(gap, product, end)
    integral = _inner(gap, product, start, middle) + _outer(gap, product, middle, end)
    return _from_dependence(integral, smaller, excess, rho)


def t_orthant(
    x: Array, y: Array, smaller: Array, excess: Array, rho: Array, degrees: Array
) -> Array:
    """P(X <= x, Y <= y) of two t variables, by Plackett's identity as in `normal_orthant`.

    Here k(q) is (1 + q / n)^(-n / 2). With z = tan(t / 2) and w = z^2 it needs no sine:

        k = (n w / (A w^2 + B w + D))^(n / 2),    A, D = (x +- s y)^2 / 4,  B = (x^2 + y^2) / 2 + n

    is integrated over 2 dz / (1 + w). It grows until w is at the smaller root -a of the quadratic;
    in z = a^(1/2) sinh s all its changes have lengths of about 1, whatever a is. The absolute
    error is below 1e-12. Relative to the smaller marginal probability, down to 1e-15, it is below
    1e-9 up to 9 degrees of freedom and below 1e-6 up to 1000.

    Args:
        x: First limit, finite.
        y: Second limit, finite.
        smaller: min of the marginal probabilities.
        excess: max of 0 and the sum of the marginal probabilities less 1.
        rho: Correlation inside (-1, 1).
        degrees: n, from 1 to 1000.
    """
    toward, end = jnp.where(rho < 0, -y, y), _half_angle(rho)
    # A, B, D; a^(1/2) without cancellation, from B +- 2 (A D)^(1/2) = n + (x^2 or y^2).
    outer, inner = (0.5 * (x + toward)) ** 2, (0.5 * (x - toward)) ** 2
    linear = 0.5 * (x**2 + y**2) + degrees
    means = 0.5 * (jnp.sqrt(degrees + x**2) + jnp.sqrt(degrees + y**2))
    root = 0.5 * jnp.abs(x - toward) / means
    ends = _range(root, means, (outer, linear, inner), end, degrees)
    start, stop, scale = jax.lax.stop_gradient(ends)

    def integral(power: Callable[[Array, Array], Array]) -> Array:
        total = jnp.zeros_like(linear)
        for node, weight in zip(*_rule(_NUM_NODES), strict=True):
            # The exponent gathers nodes at the start, where k behaves like s^n.
            growth = jnp.exp(start + (stop - start) * node**1.5)
            z, slope = 0.5 * scale * (growth - 1.0 / growth), growth + 1.0 / growth
            w = z * z
            form = (outer * w + linear) * w + inner
            inverse = 1.0 / ((1.0 + w) * form)
            k = power(degrees * w * (1.0 + w) * inverse, degrees)
            total = total + 1.5 * node**0.5 * weight * slope * form * inverse * k
        return 0.5 * scale * (stop - start) * total / jnp.pi

    if jnp.ndim(degrees):
        value = integral(_half_power)
    else:
        few = (degrees <= _MOST_WHOLE) & (degrees == jnp.floor(degrees))
        value = jax.lax.cond(
            few, lambda: integral(_whole_half_power), lambda: integral(_half_power)
        )
    return _from_dependence(value, smaller, excess, rho)


def _half_power(base: Array, degrees: Array) -> Array:
    return jnp.exp(0.5 * degrees * jnp.log(base))


@jax.custom_jvp
def _whole_half_power(base: Array, degrees: Array) -> Array:
    """base^(degrees / 2) for whole degrees up to 15, in a third of the time."""
    value, rest = jnp.ones_like(base), degrees
    for factor in (jnp.sqrt(base), base, base**2, base**4):
        half = jnp.floor(0.5 * rest)
        value = value * jnp.where(rest > 2.0 * half, factor, 1.0)
        rest = half
    return value


@_whole_half_power.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    base, degrees = primals
    value = _whole_half_power(base, degrees)
    change = degrees * tangents[0] / base + jnp.log(base) * tangents[1]
    return value, 0.5 * value * change


def _half_angle(rho: Array) -> Array:
    """The tangent of half of arccos |rho|."""
    size = jnp.where(rho < 0, -rho, rho)
    return jnp.sqrt((1.0 - size) / (1.0 + size))


def _from_dependence(integral: Array, smaller: Array, excess: Array, rho: Array) -> Array:
    return jnp.clip(jnp.where(rho < 0, excess + integral, smaller - integral), excess, smaller)


def _range(
    root: Array, means: Array, form: tuple[Array, Array, Array], end: Array, degrees: Array
) -> tuple[Array, Array, Array]:
    """Ends and scale of s. The integral does not depend on them: they need no derivative."""
    outer, linear, inner = form
    scale = jnp.maximum(root, 1e-9 * end)
    # k is tanh(s)^n times a falling factor; leave out what is below e^-40 of its largest value.
    at = jnp.minimum(jnp.sqrt(inner / jnp.maximum(outer, jnp.finfo(outer.dtype).tiny)), end**2)
    at = jnp.maximum(at, jnp.finfo(at.dtype).tiny)
    largest = degrees / (outer * at + linear + inner / at)
    slope = jnp.exp(-40.0 / degrees) * jnp.sqrt(largest / degrees) * means
    least = root * slope / jnp.sqrt(1.0 - slope**2)
    start = jnp.arcsinh(jnp.minimum(least, 0.999 * end) / scale)
    return start, jnp.arcsinh(end / scale), scale


def _panels(gap: Array, product: Array, end: Array) -> tuple[Array, Array]:
    """Where the integrand begins to count, and where its change from 0 is over."""
    change = jax.lax.stop_gradient(gap)  # the integral does not depend on its panels
    scale = jnp.sqrt(jnp.where(change > 0, change, 0.0))
    middle = jnp.clip(scale, 1e-8 * end, end)
    # exp(-d^2 / 2 t^2) is flat to infinite order at 0; leave out what is below 1e-18 of the rest.
    lowest = scale / jnp.sqrt(82.0 + 2.0 * jnp.abs(jax.lax.stop_gradient(product)) + change)
    return jnp.where(scale > middle * 0.99, jnp.minimum(lowest, end), 0.0), middle


def _kernel(gap: Array, product: Array, t: Array) -> Array:
    q = gap / jnp.sin(t) ** 2 + 2.0 * product / (1.0 + jnp.cos(t))
    return jnp.exp(-0.5 * q) / (2.0 * jnp.pi)


def _inner(gap: Array, product: Array, start: Array, end: Array) -> Array:
    """From `start` to `end`, with a square at the start."""
    total = jnp.zeros_like(gap)
    for node, weight in zip(*_rule(_NUM_INNER), strict=True):
        t = start + (end - start) * node**2
        total = total + 2.0 * weight * node * _kernel(gap, product, t)
    return total * (end - start)


def _outer(gap: Array, product: Array, start: Array, end: Array) -> Array:
    """From `start` to `end`, in log t."""
    span = jnp.log(end / start)
    total = jnp.zeros_like(gap)
    for node, weight in zip(*_rule(_NUM_OUTER), strict=True):
        t = start * jnp.exp(span * node)
        total = total + weight * t * _kernel(gap, product, t)
    return total * span


def _rule(num_nodes: int) -> tuple[list[float], list[float]]:
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    return (0.5 * (nodes + 1.0)).tolist(), (0.5 * weights).tolist()
