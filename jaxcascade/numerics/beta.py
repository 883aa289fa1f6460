"""The regularised incomplete beta function: both tails, their logarithms, the inverse.

All are differentiable in every argument. First derivatives are written by hand in `beta_tail`;
the custom rules here choose what has to be evaluated. If only `x` moves, no derivative of the
continued fraction is.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxcascade.numerics.beta_tail import (
    STIRLING_SHIFT,
    Point,
    Tail,
    at_edges,
    density_with_edges,
    direct_tail,
    locate,
    log_density,
    prefactor,
    stirling_remainder,
    unswap,
)
from jaxcascade.numerics.elementwise import (
    Arrays,
    combine,
    evaluator,
    is_zero,
    log_derivative_limit,
    smooth,
)

__all__ = ["betainc", "betaincc", "betainccinv", "betaincinv", "log_betainc", "log_betaincc"]

_MAX_NEWTON_STEPS = 40


# --- Public functions --------------------------------------------------------------------------


@jax.jit
def betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Float[Array, "..."]:
    """Regularised incomplete beta function: the distribution function of Beta(a, b).

    Differentiable in all three arguments, in forward and reverse mode, as often as wanted.
    `float32` in, `float32` out. Cheap under `vmap` and `jit`; arguments broadcast.

    Args:
        a: First shape, in [1e-2, 1e4]. Larger values lose accuracy, nonpositive ones give NaN.
        b: Second shape, like `a`.
        x: Upper limit in [0, 1]; outside it the result is NaN. Numbers below
            `finfo.tiny * max(a, 1)` count as 0.

    Returns:
        `I_x(a, b)` in [0, 1]. For shapes in [0.05, 1e3] the error is below 1e-13 (absolute) and
        1e-10 (relative, in the far tail too) in double, 1e-5 in single precision; that of the
        partial derivatives below 1e-8 (relative) and 1e-4. The density, which is the derivative
        in `x`, is cut at `finfo.max * finfo.eps` where it would be infinite (`x = 0`, `a < 1`,
        and `x = 1`, `b < 1`), so that it survives a multiplication by zero.

    Example:
        >>> import jax
        >>> print(f"{betainc(2.0, 3.0, 0.25):.12f}")
        0.261718750000
        >>> print(f"{jax.grad(betainc, argnums=2)(2.0, 3.0, 0.25):.12f}")
        1.687500000000
    """
    return _tails(*_operands(a, b, x))[0]


@jax.jit
def betaincc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Float[Array, "..."]:
    """Complement of `betainc`: the survival function of Beta(a, b), exact in its own tail.

    Args:
        a: First shape, as in `betainc`.
        b: Second shape.
        x: Lower limit in [0, 1].

    Returns:
        `1 − I_x(a, b)`, with full relative accuracy where that is tiny; errors as in `betainc`.

    Example:
        >>> print(f"{betaincc(2.0, 30.0, 0.99):.6e}")
        3.070000e-59
    """
    return _tails(*_operands(a, b, x))[1]


@jax.jit
def log_betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Float[Array, "..."]:
    """Logarithm of `betainc`, finite where `betainc` underflows.

    Args:
        a: First shape, as in `betainc`.
        b: Second shape.
        x: Upper limit in [0, 1].

    Returns:
        `log I_x(a, b)`; −inf at `x = 0`, where the derivative in `x` is cut as in `betainc` and
        those in `a` and `b` are 0.

    Example:
        >>> print(f"{log_betainc(400.0, 3.0, 0.1):.6f}")
        -909.946938
    """
    return _log_tails(*_operands(a, b, x))[0]


@jax.jit
def log_betaincc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Float[Array, "..."]:
    """Logarithm of `betaincc`, finite where `betaincc` underflows.

    Args:
        a: First shape, as in `betainc`.
        b: Second shape.
        x: Lower limit in [0, 1].

    Returns:
        `log(1 − I_x(a, b))`; −inf at `x = 1`, with the conventions of `log_betainc`.

    Example:
        >>> print(f"{log_betaincc(3.0, 400.0, 0.9):.6f}")
        -909.946938
    """
    return _log_tails(*_operands(a, b, x))[1]


@jax.jit
def betaincinv(a: ArrayLike, b: ArrayLike, p: ArrayLike) -> Float[Array, "..."]:
    """Inverse of `betainc` in `x`: the quantile function of Beta(a, b).

    Args:
        a: First shape, as in `betainc`.
        b: Second shape.
        p: Probability in [0, 1]; outside it the result is NaN. Close to 1, where `p` itself
            cannot hold the digits, use `betainccinv`.

    Returns:
        `x` in [0, 1] with `I_x(a, b) = p`; 0 (or 1) where the true value is nearer to it than
        the smallest normal number. Derivatives are those of the implicit function; infinite
        ones are cut as in `betainc`.

    Example:
        >>> print(f"{betaincinv(2.0, 3.0, 0.26171875):.12f}")
        0.250000000000
    """
    a, b, p, q = _operands(a, b, p)
    return _quantile(a, b, p, q)[0]


@jax.jit
def betainccinv(a: ArrayLike, b: ArrayLike, q: ArrayLike) -> Float[Array, "..."]:
    """Inverse of `betaincc` in `x`: the quantile function in terms of the upper tail.

    Args:
        a: First shape, as in `betainc`.
        b: Second shape.
        q: Probability of the upper tail, in [0, 1].

    Returns:
        `x` in [0, 1] with `1 − I_x(a, b) = q`, as in `betaincinv`.

    Example:
        >>> print(f"{betainccinv(2.0, 30.0, 3.07e-59):.12f}")
        0.990000000000
    """
    a, b, q, p = _operands(a, b, q)
    return _quantile(a, b, p, q)[0]


def _operands(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Arrays:
    """`(a, b, x, 1 − x)`, of one shape and one type: double or single precision."""
    dtype = jnp.result_type(a, b, x)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    dtype = jnp.promote_types(dtype, jnp.float32)
    a, b, x = (jnp.asarray(operand, dtype) for operand in (a, b, x))
    a, b, x = jnp.broadcast_arrays(a, b, x)
    return a, b, x, 1 - x


# --- The two tails and their logarithms, with hand-written first derivatives --------------------


@jax.custom_jvp
def _tails(a: Array, b: Array, x: Array, y: Array) -> Arrays:
    """`(I_x(a, b), 1 − I_x(a, b))`."""
    return evaluator(_tail_values)(a, b, x, y)


@functools.partial(_tails.defjvp, symbolic_zeros=True)
def _tails_jvp(operands, tangents):
    if _shapes_rest(tangents):
        lower, upper = _tails(*operands)
        partials = smooth(_density)(*operands)
    else:
        lower, upper, *partials = smooth(_tail_partials)(*operands)
    slope = combine(tangents[3 - len(partials) : 3], tuple(partials), lower)
    return (lower, upper), (slope, -slope)


@jax.custom_jvp
def _log_tails(a: Array, b: Array, x: Array, y: Array) -> Arrays:
    """Logarithms of `_tails`."""
    return evaluator(_log_tail_values)(a, b, x, y)


@functools.partial(_log_tails.defjvp, symbolic_zeros=True)
def _log_tails_jvp(operands, tangents):
    partials_of = _log_tail_hazards if _shapes_rest(tangents) else _log_tail_partials
    log_lower, log_upper, *partials = smooth(partials_of)(*operands)
    moves = tangents[3 - len(partials) // 2 : 3]
    slopes = tuple(combine(moves, tuple(partials[side::2]), log_lower) for side in (0, 1))
    return (log_lower, log_upper), slopes


def _shapes_rest(tangents: tuple) -> bool:
    return is_zero(tangents[0]) and is_zero(tangents[1])


def _tail_values(a: Array, b: Array, x: Array, y: Array) -> Arrays:
    point = locate(a, b, x, y)
    direct = direct_tail(point, slopes=False).value()
    lower, upper = unswap(point, direct, 1 - direct)
    return at_edges(point, lower, 0, 1), at_edges(point, upper, 1, 0)


def _tail_partials(a: Array, b: Array, x: Array, y: Array) -> Arrays:
    """Both tails, and the derivatives of the lower one in `a`, `b` and `x`."""
    point = locate(a, b, x, y)
    tail = direct_tail(point, slopes=True)
    direct = tail.value()
    lower, upper = unswap(point, direct, 1 - direct)
    slope_a, slope_b = unswap(point, tail.log_slope_a, tail.log_slope_b)
    signed = jnp.where(point.swapped, -direct, direct)
    return (
        at_edges(point, lower, 0, 1),
        at_edges(point, upper, 1, 0),
        at_edges(point, signed * slope_a, 0, 0),
        at_edges(point, signed * slope_b, 0, 0),
        density_with_edges(point, tail),
    )


def _density(a: Array, b: Array, x: Array, y: Array) -> Arrays:
    point = locate(a, b, x, y)
    return (density_with_edges(point, prefactor(point, slopes=False)),)


def _log_tail_values(a: Array, b: Array, x: Array, y: Array) -> Arrays:
    point = locate(a, b, x, y)
    return _log_sides(point, direct_tail(point, slopes=False))


def _log_tail_hazards(a: Array, b: Array, x: Array, y: Array) -> Arrays:
    """Logarithms of both tails, then their slopes in `x`."""
    point = locate(a, b, x, y)
    tail = direct_tail(point, slopes=False)
    return *_log_sides(point, tail), *_hazards(point, tail)


def _log_tail_partials(a: Array, b: Array, x: Array, y: Array) -> Arrays:
    """Logarithms of both tails; then their slopes in `a`, `b` and `x`, lower and upper in turn."""
    point = locate(a, b, x, y)
    tail = direct_tail(point, slopes=True)
    odds = _odds(tail.log())
    slopes = []
    for slope in unswap(point, tail.log_slope_a, tail.log_slope_b):
        slopes += unswap(point, slope, -odds * slope)
    slopes = (at_edges(point, slope, 0, 0) for slope in slopes)
    return *_log_sides(point, tail), *slopes, *_hazards(point, tail)


def _log_sides(point: Point, tail: Tail) -> Arrays:
    log_direct = tail.log()
    log_lower, log_upper = unswap(point, log_direct, _log_complement(log_direct))
    return at_edges(point, log_lower, -jnp.inf, 0), at_edges(point, log_upper, 0, -jnp.inf)


def _hazards(point: Point, tail: Tail) -> Arrays:
    """Slopes of both logarithms in `x`: density over tail."""
    limit = log_derivative_limit(tail.exponent.dtype)
    log_direct = tail.log()
    lower, upper = (
        jnp.exp(jnp.minimum(log_density(point, tail) - log_side, limit))
        for log_side in unswap(point, log_direct, _log_complement(log_direct))
    )
    edge, infinite = jnp.exp(point.edge_log_density), math.exp(limit)
    return at_edges(point, lower, infinite, edge), at_edges(point, -upper, -edge, -infinite)


def _log_complement(log_value: Array) -> Array:
    """log(1 − exp(v)) for v ≤ 0, finite at 0 as well."""
    return jax.nn.log1mexp(jnp.maximum(-log_value, jnp.finfo(log_value.dtype).eps))


def _odds(log_value: Array) -> Array:
    """exp(v) / (1 − exp(v)) for v ≤ 0, finite at 0 as well."""
    # The shorter 1 / expm1(−v) has a NaN for a derivative once expm1 overflows.
    clipped = jnp.minimum(log_value, -jnp.finfo(log_value.dtype).eps)
    return -jnp.exp(clipped) / jnp.expm1(clipped)


# --- Inverse ----------------------------------------------------------------------------------


@jax.custom_jvp
def _quantile(a: Array, b: Array, p: Array, q: Array) -> Arrays:
    """`(x, 1 − x)`, each with full relative accuracy, from `p` and `q = 1 − p`."""
    return evaluator(_quantile_values)(a, b, p, q)


@functools.partial(_quantile.defjvp, symbolic_zeros=True)
def _quantile_jvp(operands, tangents):
    x, y = _quantile(*operands)
    partials_of = _inverse_density if _shapes_rest(tangents) else _quantile_partials
    partials = smooth(partials_of)(*operands[:2], x, y)
    slope = combine(tangents[3 - len(partials) : 3], partials, x)
    return (x, y), (slope, -slope)


def _quantile_partials(a: Array, b: Array, x: Array, y: Array) -> Arrays:
    """Slopes of `x` in `a`, `b` and `p` along `I_x(a, b) = p`; the tail itself cancels."""
    point = locate(a, b, x, y)
    tail = direct_tail(point, slopes=True)
    step = point.x * point.y * tail.fraction / point.a
    slope_a, slope_b = unswap(point, tail.log_slope_a, tail.log_slope_b)
    signed = jnp.where(point.swapped, step, -step)
    return (
        at_edges(point, signed * slope_a, 0, 0),
        at_edges(point, signed * slope_b, 0, 0),
        *_inverse_density(a, b, x, y),
    )


def _inverse_density(a: Array, b: Array, x: Array, y: Array) -> Arrays:
    point = locate(a, b, x, y)
    limit = log_derivative_limit(a.dtype)
    log_inside = -log_density(point, prefactor(point, slopes=False))
    inside, edge = (
        jnp.exp(jnp.clip(value, -limit, limit)) for value in (log_inside, -point.edge_log_density)
    )
    return (at_edges(point, inside, edge, edge),)


def _quantile_values(a: Array, b: Array, p: Array, q: Array) -> Arrays:
    valid = (a > 0) & (b > 0) & (a < jnp.inf) & (b < jnp.inf) & (p >= 0) & (q >= 0)
    upper = p > q
    small = jnp.where(upper, q, p)
    open_ = valid & (small > 0)
    near, far = jnp.where(upper, b, a), jnp.where(upper, a, b)
    logit = _solve_lower_tail(
        jnp.where(open_, near, 1), jnp.where(open_, far, 1), jnp.where(open_, small, 0.25)
    )
    inner = jnp.where(open_, jax.nn.sigmoid(logit), 0)
    outer = jnp.where(open_, jax.nn.sigmoid(-logit), 1)
    x, y = jnp.where(upper, outer, inner), jnp.where(upper, inner, outer)
    return jnp.where(valid, x, jnp.nan), jnp.where(valid, y, jnp.nan)


def _solve_lower_tail(a: Array, b: Array, p: Array) -> Array:
    """logit(x) with I_x(a, b) = p, for p up to ½, by Newton's method on log I.

    The density of logit(x) is log-concave, hence so is its distribution function: in z = logit(x),
    log I is increasing and concave. Newton's method then never passes the root from the left, and
    a start on its right is thrown to the left by the first step. No bracket is needed; the bound
    z ≥ (log p + log(a B(a, b))) / a catches a long throw.
    """
    log_p = jnp.log(p)
    # Beyond, `locate` sees the end of the interval; the root there is the bound, or rounds to 1.
    limit = -math.log(float(jnp.finfo(a.dtype).tiny)) - jnp.log(jnp.maximum(jnp.maximum(a, b), 1))
    lowest = (log_p + _log_scaled_beta(a, b)) / a
    deviation = jnp.sqrt(1 / a + 1 / b)
    normal = jnp.log(a / b) - deviation * jnp.sqrt(-2 * jnp.log(2 * p))
    start = jnp.maximum(lowest, normal)
    tolerance = jnp.sqrt(jnp.finfo(a.dtype).eps) * jnp.minimum(deviation, 1)

    def unfinished(state: Arrays) -> Array:
        return jnp.any(state[1]) & (state[2] < _MAX_NEWTON_STEPS)

    def advance(state: Arrays) -> Arrays:
        z, _, count = state
        inside = jnp.clip(z, -limit, limit)
        log_value, slope = _log_tail_in_logit(a, b, inside)
        step = (log_p - log_value) / slope
        step = jnp.where(z == inside, step, 0)
        following = jnp.maximum(z + step, lowest)
        # A step back, after the first, is rounding.
        moving = (jnp.abs(step) > tolerance) & ((count == 0) | (step > 0))
        return following, moving, count + 1

    return lax.while_loop(unfinished, advance, (start, p > 0, jnp.array(0)))[0]


def _log_scaled_beta(a: Array, b: Array) -> Array:
    """Logarithm of a B(a, b), in the terms of `prefactor`."""
    n, g = a + b, STIRLING_SHIFT
    remainder = stirling_remainder(n)[0] - stirling_remainder(a)[0] - stirling_remainder(b)[0]
    shapes = (a + 0.5) * jnp.log1p(b / (a + g)) + b * jnp.log1p(a / (b + g)) + jnp.log(b / n)
    return 0.5 * jnp.log(2 * math.pi * (b + g)) - shapes - g - remainder


def _log_tail_in_logit(a: Array, b: Array, z: Array) -> tuple[Array, Array]:
    """Logarithm of I and its derivative in z, at x = sigmoid(z)."""
    point = locate(a, b, jax.nn.sigmoid(z), jax.nn.sigmoid(-z))
    tail = direct_tail(point, slopes=False)
    log_direct = tail.log()
    log_lower = jnp.where(point.swapped, _log_complement(log_direct), log_direct)
    slope = point.a / tail.fraction
    return log_lower, slope * jnp.where(point.swapped, _odds(log_direct), 1)
