"""The normal quantile, about twice as fast as that of `jax.scipy.special`."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Numerators and denominators of Wichura's rational functions, the constants first.
_CENTRE_TOP = (
    3.3871328727963665,
    133.14166789178438,
    1971.5909503065513,
    13731.69376550946,
    45921.95393154987,
    67265.7709270087,
    33430.57558358813,
    2509.0809287301227,
)
_CENTRE_BOTTOM = (
    1.0,
    42.31333070160091,
    687.1870074920579,
    5394.196021424751,
    21213.794301586597,
    39307.89580009271,
    28729.085735721943,
    5226.495278852854,
)
_MIDDLE_TOP = (
    1.4234371107496835,
    4.630337846156546,
    5.769497221460691,
    3.6478483247632045,
    1.2704582524523684,
    0.2417807251774506,
    0.022723844989269184,
    0.0007745450142783414,
)
_MIDDLE_BOTTOM = (
    1.0,
    2.053191626637759,
    1.6763848301838038,
    0.6897673349851,
    0.14810397642748008,
    0.015198666563616457,
    0.0005475938084995345,
    1.0507500716444169e-09,
)
_TAIL_TOP = (
    6.657904643501103,
    5.463784911164114,
    1.7848265399172913,
    0.29656057182850487,
    0.026532189526576124,
    0.0012426609473880784,
    2.7115555687434876e-05,
    2.0103343992922881e-07,
)
_TAIL_BOTTOM = (
    1.0,
    0.599832206555888,
    0.1369298809227358,
    0.014875361290850615,
    0.0007868691311456133,
    1.8463183175100548e-05,
    1.421511758316446e-07,
    2.0442631033899397e-15,
)


@jax.custom_jvp
def normal_quantile(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Quantile of the standard normal law for u inside (0, 1), down to 1e-300.

    Relative error below 1e-15 in double precision, except for the rounding of `u` itself near 1.

    References:
        Wichura (1988), Algorithm AS 241: the percentage points of the normal distribution,
        Applied Statistics 37(3).
    """
    q = u - 0.5
    centre = jnp.abs(q) <= 0.425
    r = jnp.sqrt(-jnp.log(jnp.where(q < 0, u, 1.0 - u)))
    middle = r <= 5.0
    t = jnp.where(centre, 0.180625 - q * q, jnp.where(middle, r - 1.6, r - 5.0))
    parts = []
    for rows in (
        (_CENTRE_TOP, _MIDDLE_TOP, _TAIL_TOP),
        (_CENTRE_BOTTOM, _MIDDLE_BOTTOM, _TAIL_BOTTOM),
    ):
        values = [_horner(row, t) for row in rows]
        parts.append(jnp.where(centre, values[0], jnp.where(middle, values[1], values[2])))
    size = parts[0] / parts[1]
    return jnp.where(centre, q * size, jnp.where(q < 0, -size, size))


@normal_quantile.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    z = normal_quantile(*primals)
    return z, math.sqrt(2 * math.pi) * jnp.exp(0.5 * z**2) * tangents[0]


def normal_cdf(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Distribution function of the standard normal law, with full relative accuracy below 0."""
    return 0.5 * lax.erfc(-x / math.sqrt(2))


def _horner(coefficients: tuple[float, ...], t: Array) -> Array:
    total = jnp.full_like(t, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * t + coefficient
    return total
