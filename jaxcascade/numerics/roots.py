"""Inverses of increasing functions, by bracketed Newton steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def invert_increasing(
    value_and_slope: Callable[[Array], tuple[Array, Array]],
    target: Float[Array, "..."],
    lower: float,
    upper: float,
    num_steps: int = 60,
) -> Float[Array, "..."]:
    """Solves f(x) = target for a non-decreasing f on [lower, upper].

    Each step takes Newton's point when it falls inside the bracket that the signs have left,
    and the midpoint otherwise; it stops when no element moves. The derivative with respect to
    whatever f depends on is that of the implicit function theorem.

    Args:
        value_and_slope: Returns f(x) and f'(x), elementwise.
        target: Values to reach; those outside [f(lower), f(upper)] give the nearer end.
        lower: Left end of the bracket.
        upper: Right end of the bracket.
        num_steps: Most steps taken.
    """
    start = jnp.full_like(target, 0.5 * (lower + upper))
    fixed_target = jax.lax.stop_gradient(target)

    def step(state):
        count, x, low, high, _ = state
        value, slope = jax.lax.stop_gradient(value_and_slope(x))
        low = jnp.where(value < fixed_target, x, low)
        high = jnp.where(value < fixed_target, high, x)
        newton = x - (value - fixed_target) / jnp.where(slope > 0, slope, jnp.inf)
        inside = (newton > low) & (newton < high) & (slope > 0)
        # Every third step halves the bracket, so that no shape of f can stall the search.
        use_newton = inside & (count % 3 != 2)
        new = jnp.where(use_newton, newton, 0.5 * (low + high))
        moved = jnp.any(jnp.abs(new - x) > 4 * jnp.finfo(x.dtype).eps * jnp.abs(new))
        return count + 1, new, low, high, moved

    def unfinished(state):
        return (state[0] < num_steps) & state[4]

    ends = jnp.full_like(target, lower), jnp.full_like(target, upper)
    root = jax.lax.while_loop(unfinished, step, (0, start, *ends, jnp.array(True)))[1]
    root = jax.lax.stop_gradient(root)
    # One more Newton step in which only the residual carries a tangent: its derivative is
    # -(df/dparameter - dtarget/dparameter) / f'(x), the implicit function theorem's.
    value, slope = value_and_slope(root)
    slope = jax.lax.stop_gradient(slope)
    correction = (value - target) / jnp.where(slope > 0, slope, jnp.inf)
    return jnp.clip(root - correction, lower, upper)
