"""Quotients that are smooth through zero, and roots with implicit derivatives."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Below it a quotient is a Taylor polynomial: the quotient rule would leave eps/|t| in derivatives.
_SMALL = 0.01
_EXPM1 = (1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320)
_LOG1P = (1.0, -1 / 2, 1 / 3, -1 / 4, 1 / 5, -1 / 6, 1 / 7, -1 / 8, 1 / 9)


def expm1_ratio(t: Float[Array, "..."]) -> Float[Array, "..."]:
    """(e^t - 1) / t, with its limit 1 at 0; relative error below 1e-15, derivatives too."""
    safe = jnp.where(jnp.abs(t) < _SMALL, 1.0, t)
    return jnp.where(jnp.abs(t) < _SMALL, polynomial(_EXPM1, t), jnp.expm1(safe) / safe)


def log1p_ratio(t: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 + t) / t for t > -1, with its limit 1 at 0; relative error below 1e-15."""
    safe = jnp.where(jnp.abs(t) < _SMALL, 1.0, t)
    return jnp.where(jnp.abs(t) < _SMALL, polynomial(_LOG1P, t), jnp.log1p(safe) / safe)


def polynomial(coefficients: Sequence[float], t: Float[Array, "..."]) -> Float[Array, "..."]:
    """Horner's rule, the constant first; large `t` are cut, since their value is not used."""
    t = jnp.clip(t, -1.0, 1.0)
    total = jnp.full_like(t, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * t + coefficient
    return total


def newton_root(
    function: Callable[[Array], Array],
    target: Float[Array, "..."],
    start: Float[Array, "..."],
    num_steps: int,
) -> Float[Array, "..."]:
    """Solves function(x) = target by Newton's method from a start close enough for it.

    The last step alone carries derivatives, those of the implicit function theorem.
    """

    def value_and_slope(x: Array) -> tuple[Array, Array]:
        return jax.jvp(function, (x,), (jnp.ones_like(x),))

    fixed = jax.lax.stop_gradient(target)

    def step(_: int, x: Array) -> Array:
        value, slope = jax.lax.stop_gradient(value_and_slope(x))
        return x - (value - fixed) / slope

    root = jax.lax.stop_gradient(jax.lax.fori_loop(0, num_steps, step, start + 0.0 * fixed))
    value, slope = value_and_slope(root)
    return root - (value - target) / jax.lax.stop_gradient(slope)
