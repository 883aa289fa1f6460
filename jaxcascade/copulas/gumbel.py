"""The Gumbel copula: dependence strongest where both are sure."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcascade.copulas.level import Level, Turnable, negative_log, orthant_from_logs

_LARGEST_TAU = 0.99
_NEWTON_STEPS = 8  # 7 reach 1e-15 for all theta, u and p


class Gumbel(Turnable):
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

    def kendall_distribution(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """P(C(U, V) <= t)."""
        safe = jnp.where(t > 0, t, 1.0)
        return t - safe * jnp.log(safe) / self.theta

    def cdf_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        value = jnp.exp(-_exponents(self.theta, a, b).a)
        return jnp.where((a.value > 0) & (b.value > 0), value, 0.0)

    def above_below(self, a: Level, b: Level) -> Float[Array, "..."]:
        value = b.value * -jnp.expm1(-_exponents(self.theta, a, b).over_y)
        return jnp.where(a.complement > 0, value, 0.0)

    def lower_conditional_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        value = jnp.exp(-_exponents(self.theta, a, b).over_x)
        return jnp.where(b.value > 0, value, 0.0)

    def log_prob_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        e = _exponents(self.theta, a, b)
        more = self.theta - 1.0
        power = more * (e.log_x + e.log_y - 2.0 * e.log_a)
        return e.x + e.y - e.a + power - e.log_a + jnp.log(e.a + more)

    def negative_log_h(self, a: Level, b: Level) -> Float[Array, "..."]:
        e = _exponents(self.theta, a, b)
        return e.over_x + (self.theta - 1.0) * e.log_over_x

    def orthant(
        self,
        u: Float[Array, "..."],
        v: Float[Array, "..."],
        above_u: Bool[Array, "..."],
        above_v: Bool[Array, "..."],
    ) -> Float[Array, "..."]:
        e = _exponents(self.theta, Level(u), Level(v))
        return orthant_from_logs(u, v, (above_u, above_v), e.a, (e.over_x, e.over_y))

    def inverse_h_at(self, a: Level, p: Level) -> tuple[Array, Array]:
        # With A = x e^t, h = p reads x expm1(t) + (theta - 1) t = -log p: convex and increasing
        # in t, so Newton from an upper bound descends to the root without ever crossing it.
        x, target = negative_log(a), negative_log(p)
        target = jnp.where(p.value == 1, 0.0, target)
        theta = self.theta
        more = theta - 1.0
        bound = jnp.minimum(target / (x + more), jnp.log1p(target / x))

        def step(_: int, t: Array) -> Array:
            growth = jnp.expm1(t)
            residual = x * growth + more * t - target
            return jnp.maximum(t - residual / (x * (growth + 1.0) + more), 0.0)

        t = jax.lax.fori_loop(0, _NEWTON_STEPS, step, bound)
        y = jnp.exp(jnp.log(x) + _log_expm1(theta * t) / theta)
        return jnp.exp(-y), -jnp.expm1(-y)


class _Exponents(NamedTuple):
    """x = -log u, y = -log v, a = (x^theta + y^theta)^(1/theta), log(a / x), a - x and a - y."""

    x: Array
    y: Array
    log_x: Array
    log_y: Array
    a: Array
    log_a: Array
    log_over_x: Array
    over_x: Array
    over_y: Array


def _exponents(theta: Array, a: Level, b: Level) -> _Exponents:
    x, y = negative_log(a), negative_log(b)
    log_x, log_y = jnp.log(x), jnp.log(y)
    # `where` picks between two forms of one analytic function; `maximum` would split the
    # derivative at a tie u = v in two and get second derivatives wrong.
    x_larger = log_x > log_y
    large, log_large = jnp.where(x_larger, x, y), jnp.where(x_larger, log_x, log_y)
    ratio = theta * (log_x + log_y - 2.0 * log_large)
    growth = jnp.log1p(jnp.exp(ratio)) / theta
    over_large = large * jnp.expm1(growth)
    over_x, over_y = over_large + (large - x), over_large + (large - y)
    log_over_x = growth + (log_large - log_x)
    logs = (log_x, log_y, over_large + large, log_large + growth, log_over_x)
    return _Exponents(x, y, *logs, over_x, over_y)


def _log_expm1(t: Array) -> Array:
    t = jnp.maximum(t, jnp.finfo(t.dtype).tiny)
    return t + jnp.log(-jnp.expm1(-t))
