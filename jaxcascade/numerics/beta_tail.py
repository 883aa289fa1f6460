"""One tail of the incomplete beta function at points inside (0, 1): `I = T · F`.

`T = x^a y^b / (a B(a, b))`, `y = 1 − x`, and `F` is a continued fraction that converges fast for
`x` up to `(a + 1) / (a + b + 2)`; that tail is called direct. Beyond, the two shapes and the two
sides trade places. Two choices carry accuracy and speed:

* `T` is written around its peak. `log Γ` never appears, only the bounded remainder of Stirling's
  formula, so that no digits cancel at large shapes.
* The fraction is evaluated from the bottom up: one division a level, and its derivatives in the
  shapes travel along. The number of levels follows the largest shape at run time, and they are a
  loop: written out in Python they take ten times longer to compile.

References:
    DLMF 8.17.22, https://dlmf.nist.gov/8.17; used here is the even part of that fraction.
    Boik and Robison-Cox (1998), Journal of Statistical Software 3(1): the fraction differentiated
    level by level.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from jaxcascade.numerics.elementwise import Arrays, log_derivative_limit

__all__ = [
    "STIRLING_SHIFT",
    "Point",
    "Tail",
    "at_edges",
    "density_with_edges",
    "direct_tail",
    "locate",
    "log_density",
    "log_gamma",
    "prefactor",
    "stirling_remainder",
    "unswap",
]

_MAX_LEVELS = 512

# log Γ(z + 1) = (z + ½) log(z + g) − (z + g) + ½ log 2π + R(v), v = (g − z) / (g + z), g = 3/2.
# R is analytic and small on the whole half line; these are its Chebyshev interpolants on
# v ∈ [−1, 1], found in 40 digits and rewritten in powers of v. Errors 1e-16 and 3e-9.
STIRLING_SHIFT = 1.5
_REMAINDER_DOUBLE = (
    0.16851975993202703,
    0.18636694406859947,
    0.02024295838245756,
    0.002732038220927677,
    0.00039030587947096445,
    6.366855920686071e-05,
    1.1106851568571457e-05,
    1.7383335264556533e-06,
    3.1744430927655396e-07,
    6.500828593995319e-08,
    7.31610819937269e-09,
    2.258561220633069e-09,
    5.037058987879468e-10,
    -7.789913827956386e-11,
    6.854874319340151e-11,
    -4.663690251316441e-12,
    -7.077143343495222e-12,
    4.077731455201042e-12,
    -4.965730452490847e-13,
)
_REMAINDER_SINGLE = (
    0.16851975994956717,
    0.18636694159986086,
    0.020242957512571602,
    0.0027320709898480977,
    0.0003903127542168939,
    6.355148458421297e-05,
    1.1087988290540563e-05,
    1.8920176369038819e-06,
    3.381477685986637e-07,
)


class Point(NamedTuple):
    """Operands with the direct tail in front, and harmless ones where there is nothing to do."""

    a: Array
    b: Array
    x: Array
    y: Array
    swapped: Array
    at_zero: Array
    at_one: Array
    valid: Array
    edge_log_density: Array


def locate(a: Array, b: Array, x: Array, y: Array) -> Point:
    """Finds the direct side, and puts harmless operands where the answer is known."""
    tiny = jnp.finfo(x.dtype).tiny
    valid = (a > 0) & (b > 0) & (a < jnp.inf) & (b < jnp.inf) & (x >= 0) & (y >= 0)
    # Next to an end, the slope a/x of log x^a would overflow.
    at_zero, at_one = x < tiny * jnp.maximum(a, 1), y < tiny * jnp.maximum(b, 1)
    edge_log_density = jnp.where(
        at_zero, _log_density_at_zero(a, b, valid), _log_density_at_zero(b, a, valid)
    )
    inside = valid & ~at_zero & ~at_one
    a, b = jnp.where(inside, a, 1), jnp.where(inside, b, 1)
    x, y = jnp.where(inside, x, 0.5), jnp.where(inside, y, 0.5)
    swapped = x * (a + b + 2) > a + 1
    return Point(
        jnp.where(swapped, b, a),
        jnp.where(swapped, a, b),
        jnp.where(swapped, y, x),
        jnp.where(swapped, x, y),
        swapped,
        at_zero,
        at_one,
        valid,
        edge_log_density,
    )


def _log_density_at_zero(a: Array, b: Array, valid: Array) -> Array:
    finite = jnp.log(jnp.where(valid, b, 1))
    return jnp.where(a == 1, finite, jnp.where(a < 1, log_derivative_limit(a.dtype), -jnp.inf))


def unswap(point: Point, direct: Array, other: Array) -> tuple[Array, Array]:
    """Orders what belongs to the direct side and to the other one as (lower, upper)."""
    return jnp.where(point.swapped, other, direct), jnp.where(point.swapped, direct, other)


def at_edges(point: Point, inside: Array, at_zero: ArrayLike, at_one: ArrayLike) -> Array:
    """Fills in the answers at 0, at 1 and outside the domain (NaN)."""
    value = jnp.where(point.at_zero, at_zero, jnp.where(point.at_one, at_one, inside))
    return jnp.where(point.valid, value, jnp.nan).astype(inside.dtype)


class Tail(NamedTuple):
    """`T · F` as `factor · exp(exponent) · fraction`, and the slopes of its logarithm."""

    exponent: Array
    factor: Array
    fraction: Array
    log_slope_a: Array
    log_slope_b: Array

    def value(self) -> Array:
        """The tail, at most 1."""
        return jnp.minimum(self.factor * self.fraction * jnp.exp(self.exponent), 1)

    def log(self) -> Array:
        """Its logarithm, finite where the tail underflows."""
        return jnp.minimum(self.exponent + jnp.log(self.factor * self.fraction), 0)


def direct_tail(point: Point, *, slopes: bool) -> Tail:
    """`I` on the direct side."""
    front = prefactor(point, slopes=slopes)
    fraction = _fraction_with_slopes(point) if slopes else _fraction(point)
    return front._replace(
        fraction=fraction.value,
        log_slope_a=front.log_slope_a + fraction.log_slope_a,
        log_slope_b=front.log_slope_b + fraction.log_slope_b,
    )


def prefactor(point: Point, *, slopes: bool) -> Tail:
    """T = x^a y^b / (a B(a, b)), with g-shifted shapes in the place of Γ (Stirling, Lanczos).

    T = (b / n) √((n + g) / (2π (a + g)(b + g))) exp(a log r + b log s + g + R(n) − R(a) − R(b)),
    r = x (n + g) / (a + g), s = y (n + g) / (b + g), n = a + b.
    """
    a, b, x, y = point.a, point.b, point.x, point.y
    n, g = a + b, STIRLING_SHIFT
    u, v, w = 1 / (a + g), 1 / (b + g), n + g
    # The rounding of x b − y a enters both logarithms, and cancels, only if it is the same number.
    offset = x * b - y * a
    # Sums rather than products, which could round to a subnormal number.
    log_r = _log_ratio(x + x * (b * u), (offset - g * y) * u)
    log_s = _log_ratio(y + y * (a * v), -(offset + g * x) * v)
    (rem_n, slope_n), (rem_a, slope_a), (rem_b, slope_b) = (
        stirling_remainder(z) for z in (n, a, b)
    )
    exponent = (a * log_r + b * log_s + g) + ((rem_n - rem_a) - rem_b)
    factor = b / n * jnp.sqrt(w * u * v / (2 * math.pi))
    if not slopes:
        return Tail(exponent, factor, jnp.ones_like(a), jnp.zeros_like(a), jnp.zeros_like(a))
    shared = slope_n - 1 / n - (g - 0.5) / w
    return Tail(
        exponent,
        factor,
        jnp.ones_like(a),
        log_r + (g - 0.5) * u - slope_a + shared,
        log_s + (g - 0.5) * v - slope_b + shared + 1 / b,
    )


def _log_ratio(ratio: Array, less_one: Array) -> Array:
    """log(ratio), where `less_one` is ratio − 1 with the digits that rounding took from ratio."""
    return jnp.log(ratio) + (less_one - (ratio - 1)) / jnp.maximum(ratio, 0.5)


def stirling_remainder(z: Array) -> tuple[Array, Array]:
    """R of Stirling's formula (see `_REMAINDER_DOUBLE`) and its derivative in `z`."""
    double = z.dtype == jnp.float64
    coefficients = _REMAINDER_DOUBLE if double else _REMAINDER_SINGLE
    scale = 1 / (STIRLING_SHIFT + z)
    v = (STIRLING_SHIFT - z) * scale
    value = jnp.full_like(z, coefficients[-1])
    slope = jnp.zeros_like(z)
    for coefficient in coefficients[-2::-1]:
        slope = slope * v + value
        value = value * v + coefficient
    return value, slope * (-2 * STIRLING_SHIFT) * scale**2


def log_gamma(z: Array) -> Array:
    """Log of Γ for z > 0 by Stirling's formula: differentiable as often as one likes, and cheap.

    The error is a rounding of z log z or of 1; JAX's own takes three times as long, and its
    derivatives take longer to compile than all that is around them.
    """
    g = STIRLING_SHIFT
    shifted = z + g
    whole = (z + 0.5) * jnp.log(shifted) - shifted + 0.5 * math.log(2 * math.pi)
    return whole - jnp.log(z) + stirling_remainder(z)[0]


class _Fraction(NamedTuple):
    value: Array
    log_slope_a: Array
    log_slope_b: Array


class _Levels(NamedTuple):
    """What the levels share.

    Level m maps q to c − o q / ((c + 1) q + e) = (g q + c e) / ((c + 1) q + e), and at last
    F = a / q, where c = a + 2m, e = (m + 1)(b − m − 1) x, o = (a + m)(n + m) x, g = c (c + 1) − o.
    The first form subtracts numbers that all but agree next to the mean, which costs a digit in
    ten thousand at shapes of 1e4 in single precision. So does the difference in g, unless it is
    expanded in powers of m.
    """

    a: Array
    b: Array
    x: Array
    rest: Array  # g / a at m = 0: 1 + a y − b x, not negative on the direct side
    count: Int[Array, ""]

    def start(self) -> Array:
        return self.a + 2 * (self.count + 1).astype(self.a.dtype)

    def parts(self, m: Array | int, q: Array) -> tuple[Array, Array, Array]:
        """`g q + c e`, the denominator and `e`."""
        c, e = self.a + 2 * m, (m + 1) * (self.b - m - 1) * self.x
        linear = 2 + 4 * self.a - (2 * self.a + self.b) * self.x
        g = ((4 - self.x) * m + linear) * m + self.a * self.rest
        return g * q + c * e, (c + 1) * q + e, e


def _levels(point: Point) -> _Levels:
    a, b, x, y = point.a, point.b, point.x, point.y
    return _Levels(a, b, x, 1 - (x * b - y * a), _num_levels(a, b))


def _fraction(point: Point) -> _Fraction:
    levels = _levels(point)

    def descend(step: Int[Array, ""], q: Array) -> Array:
        numerator, denominator, _ = levels.parts((levels.count - step).astype(q.dtype), q)
        return numerator / denominator

    q = lax.fori_loop(0, levels.count, descend, levels.start())
    numerator, denominator, _ = levels.parts(0, q)
    rest = jnp.zeros_like(q)
    return _Fraction(point.a * denominator / numerator, rest, rest)


def _fraction_with_slopes(point: Point) -> _Fraction:
    """As `_fraction`; `_a` and `_b` mark derivatives in the shapes."""
    a, x = point.a, point.x
    n = a + point.b
    levels = _levels(point)

    def level(m: Array | int, q: Array, q_a: Array, q_b: Array) -> Arrays:
        """The next q and, of the ratio q / ((c + 1) q + e), the value and the slopes."""
        numerator, denominator, e = levels.parts(m, q)
        inverse = 1 / denominator
        ratio, damping = q * inverse, e * inverse
        ratio_a = (q_a * damping - ratio * q) * inverse
        ratio_b = (q_b * damping - ratio * (m + 1) * x) * inverse
        return numerator * inverse, ratio, ratio_a, ratio_b

    def descend(step: Int[Array, ""], carry: Arrays) -> Arrays:
        m = (levels.count - step).astype(a.dtype)
        following, ratio, ratio_a, ratio_b = level(m, *carry)
        # The next q is also c − o · ratio.
        o, o_b = (a + m) * (n + m) * x, (a + m) * x
        return (
            following,
            1 - (o_b + (n + m) * x) * ratio - o * ratio_a,
            -o_b * ratio - o * ratio_b,
        )

    carry = (levels.start(), jnp.ones_like(a), jnp.zeros_like(a))
    last, ratio, ratio_a, ratio_b = level(0, *lax.fori_loop(0, levels.count, descend, carry))
    value = a / last
    return _Fraction(value, value * x * (ratio + n * ratio_a), value * x * (ratio + n * ratio_b))


def _num_levels(a: Array, b: Array) -> Int[Array, ""]:
    """Levels for the largest shape; near the mode the fraction needs about its square root.

    Fitted to the smallest numbers that reach 1e-13 (double) and 1e-6 (single precision), for
    values and slopes, at shapes from 0.05 to 1e4.
    """
    fixed, per_root = (28.0, 0.8) if a.dtype == jnp.float64 else (10.0, 0.7)
    largest = lax.stop_gradient(jnp.max(jnp.maximum(a, b), initial=1.0))
    return jnp.minimum(jnp.ceil(fixed + per_root * jnp.sqrt(largest)), _MAX_LEVELS).astype(int)


def log_density(point: Point, tail: Tail) -> Array:
    """Logarithm of x^(a−1) y^(b−1) / B(a, b) inside (0, 1)."""
    # Not the logarithm of one quotient: derivatives of that square a possibly tiny denominator.
    return tail.exponent + jnp.log(tail.factor * point.a) - jnp.log(point.x * point.y)


def density_with_edges(point: Point, tail: Tail) -> Array:
    """The density of Beta(a, b) on [0, 1], cut at the limit of `log_derivative_limit`."""
    inside = jnp.exp(jnp.minimum(log_density(point, tail), log_derivative_limit(tail.factor.dtype)))
    edge = jnp.exp(point.edge_log_density)
    return at_edges(point, inside, edge, edge)
