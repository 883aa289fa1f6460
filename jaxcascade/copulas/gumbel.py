"""The Gumbel copula: dependence strongest where both are sure."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcascade.copulas.base import Copula

_LARGEST_TAU = 0.99
_NEWTON_STEPS = 10


class Gumbel(Copula):
    """C(u, v) = exp(-((-log u)^theta + (-log v)^theta)^(1/theta)).

    Computed in x = -log u and y = -log v throughout: finite, with finite gradients, for theta
    from 1 to 100 and arguments from 1e-300 to 1.

    Example:
        >>> import jax.numpy as jnp
        >>> copula = Gumbel.from_tau(jnp.array(0.5))
        >>> float(copula.theta), round(float(copula.cdf(jnp.array(0.5), jnp.array(0.5))), 4)
        (2.0, 0.3752)

    Attributes:
        theta: At least 1; 1 is independence.

    References:
        Zellinger and Thomson (2025), arXiv:2501.09345, eq. 9 and 10.
    """

    theta: Float[Array, "*batch"]

    @classmethod
    def from_tau(cls, tau: Float[Array, "..."]) -> Self:
        return cls(1.0 / (1.0 - jnp.clip(tau, 0.0, _LARGEST_TAU)))

    @property
    def tau(self) -> Float[Array, "*batch"]:
        return 1.0 - 1.0 / self.theta

    def cdf(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        value = jnp.exp(-jnp.exp(_exponents(self.theta, u, v).log_a))
        return jnp.where((u > 0) & (v > 0), value, 0.0)

    def log_prob(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        x, y, log_x, log_y, log_a = _exponents(self.theta, u, v)
        a = jnp.exp(log_a)
        power = (self.theta - 1.0) * (log_x + log_y - 2.0 * log_a)
        return x + y - a + power - log_a + jnp.log(a + self.theta - 1.0)

    def h_function(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        _, _, log_x, _, log_a = _exponents(self.theta, u, v)
        excess = _excess(self.theta, u, v)
        value = jnp.exp(-excess + (self.theta - 1.0) * (log_x - log_a))
        return jnp.where(v >= 1, 1.0, jnp.where(v > 0, value, 0.0))

    def inverse_h_function(
        self, u: Float[Array, "..."], p: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        # With A = x e^t, h = p reads x expm1(t) + (theta - 1) t = -log p: convex and increasing
        # in t, so Newton from an upper bound descends to the root without ever crossing it.
        x, _ = _negative_log(u)
        theta, target = self.theta, -jnp.log(jnp.clip(p, jnp.finfo(p.dtype).tiny, 1.0))
        bound = jnp.minimum(target / (x + theta - 1.0), jnp.log1p(target / x))

        def step(_: int, t: Array) -> Array:
            residual = x * jnp.expm1(t) + (theta - 1.0) * t - target
            return jnp.maximum(t - residual / (x * jnp.exp(t) + theta - 1.0), 0.0)

        t = jax.lax.fori_loop(0, _NEWTON_STEPS, step, bound)
        log_y = jnp.log(x) + _log_expm1(theta * t) / theta
        return jnp.exp(-jnp.exp(log_y))

    def lower_conditional(
        self, u: Float[Array, "..."], v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        value = jnp.exp(-_excess(self.theta, u, v))
        return jnp.where(v > 0, value, 0.0)


class _Exponents(NamedTuple):
    x: Array
    y: Array
    log_x: Array
    log_y: Array
    log_a: Array


def _negative_log(u: Float[Array, "..."]) -> tuple[Array, Array]:
    """Returns -log u and its logarithm, both finite on the whole of [0, 1]."""
    tiny = jnp.finfo(jnp.result_type(u)).tiny
    x = jnp.maximum(-jnp.log(jnp.maximum(u, tiny)), tiny)
    return x, jnp.log(x)


def _exponents(theta: Array, u: Array, v: Array) -> _Exponents:
    (x, log_x), (y, log_y) = _negative_log(u), _negative_log(v)
    # logaddexp rather than max and min: a tie u = v would get wrong second derivatives.
    log_a = jnp.logaddexp(theta * log_x, theta * log_y) / theta
    return _Exponents(x, y, log_x, log_y, log_a)


def _excess(theta: Array, u: Array, v: Array) -> Array:
    """Returns A - x >= 0 without cancellation: -log of C(u, v) / u."""
    x, y, log_x, log_y, _ = _exponents(theta, u, v)
    ratio = theta * (log_y - log_x)
    small = x * jnp.expm1(jnp.log1p(jnp.exp(jnp.minimum(ratio, 0.0))) / theta)
    large = y * jnp.exp(jnp.log1p(jnp.exp(jnp.minimum(-ratio, 0.0))) / theta) - x
    return jnp.where(ratio < 0, small, large)


def _log_expm1(t: Array) -> Array:
    t = jnp.maximum(t, jnp.finfo(t.dtype).tiny)
    return t + jnp.log(-jnp.expm1(-t))
