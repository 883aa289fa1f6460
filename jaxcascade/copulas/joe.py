"""The Joe copula: like Gumbel, with yet less dependence where both are unsure."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma
from jaxtyping import Array, Float

from jaxcascade.copulas.level import Level, Turnable, negative_log
from jaxcascade.copulas.smooth import log1p_ratio, newton_root, polynomial

_LARGEST_TAU = 0.99
_STEPS_CONVEX = 5
_STEPS_CONCAVE = 4
# (digamma(2 + s) - digamma(2)) / s = sum over k of (-1)^k (zeta(k + 2) - 1) s^k.
_DIGAMMA = (
    0.6449340668482264,
    -0.2020569031595943,
    0.0823232337111382,
    -0.0369277551433699,
    0.0173430619844491,
    -0.0083492773819228,
    0.0040773561979443,
)


class Joe(Turnable):
    """C(u, v) = 1 - (a + b - ab)^(1/theta), with a = (1 - u)^theta and b = (1 - v)^theta.

    Computed in x = -log(1 - u), y = -log(1 - v) and A = -log(1 - C): finite, with finite
    gradients, for theta from 1 to 200 and arguments from 1e-300 to 1.

    Example:
        >>> import jax.numpy as jnp
        >>> copula = Joe(jnp.array(2.0))
        >>> round(float(copula.tau), 4), round(float(copula.cdf(jnp.array(0.5), jnp.array(0.5))), 4)
        (0.3551, 0.3386)

    Attributes:
        theta: At least 1; 1 is independence.

    References:
        Joe (2014), Dependence Modeling with Copulas, section 4.7.
    """

    theta: Float[Array, "*batch"]

    @classmethod
    def from_tau(cls, tau: Float[Array, "..."]) -> Self:
        tau = jnp.clip(tau, 0.0, _LARGEST_TAU)
        # Nearly linear in 1 / theta: 0 at 1, and 1 - 2 / theta for large theta.
        start = (1.0 - tau) * (0.5 + 0.5 * (1.0 - tau))
        return cls(1.0 / newton_root(_tau_of_inverse, tau, start, 8))

    @property
    def tau(self) -> Float[Array, "*batch"]:
        return _tau_of_inverse(1.0 / self.theta)

    def kendall_distribution(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """P(C(U, V) <= t)."""
        power = (1.0 - t) ** self.theta
        inside = jnp.minimum(power, 1.0 - jnp.finfo(power.dtype).epsneg)
        return t + (1.0 - t) * (1.0 - power) * log1p_ratio(-inside) / self.theta

    def cdf_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        x, y = negative_log(a.flip()), negative_log(b.flip())
        value = -jnp.expm1(-_accurate_total(self.theta, x, y))
        value = jnp.where(a.complement > 0, value, b.value)
        value = jnp.where(b.complement > 0, value, a.value)
        return jnp.where((a.value > 0) & (b.value > 0), value, 0.0)

    def above_below(self, a: Level, b: Level) -> Float[Array, "..."]:
        e = _exponents(self.theta, a, b)
        value = jnp.exp(-e.total) * -jnp.expm1(-e.below_y)
        value = jnp.where(a.value > 0, value, b.value)
        return jnp.where((a.complement > 0) & (b.value > 0), value, 0.0)

    def lower_conditional_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        # A quotient of like factors, which has its limit at the smallest u that is looked at.
        least = jnp.sqrt(jnp.finfo(jnp.result_type(a.given)).tiny)
        u = jnp.maximum(a.value, least)
        x, y = jnp.maximum(negative_log(a.flip()), least), negative_log(b.flip())
        value = -jnp.expm1(-_accurate_total(self.theta, x, y)) / u
        value = jnp.where(a.complement > 0, value, b.value)
        value = jnp.where(b.complement > 0, value, 1.0)
        return jnp.where(b.value > 0, jnp.minimum(value, 1.0), 0.0)

    def log_prob_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        e = _exponents(self.theta, a, b)
        share = jnp.log(self.theta - 1.0 + jnp.exp(-self.theta * e.total))
        return e.total + share - (self.theta - 1.0) * (e.below_x + e.below_y)

    def negative_log_h(self, a: Level, b: Level) -> Float[Array, "..."]:
        return _negative_log_h(self.theta, negative_log(a.flip()), negative_log(b.flip()))

    def inverse_h_at(self, a: Level, p: Level) -> tuple[Array, Array]:
        y = _inverse_h(self.theta, negative_log(a.flip()), negative_log(p))
        v, complement = -jnp.expm1(-y), jnp.exp(-y)
        v, complement = jnp.where(p.value > 0, v, 0.0), jnp.where(p.value > 0, complement, 1.0)
        inside = p.complement > 0
        return jnp.where(inside, v, 1.0), jnp.where(inside, complement, 0.0)


class _Exponents(NamedTuple):
    """A = -log(1 - C(u, v)), x - A and y - A, with x = -log(1 - u) and y = -log(1 - v)."""

    total: Array
    below_x: Array
    below_y: Array


def _exponents(theta: Array, a: Level, b: Level) -> _Exponents:
    return _from_logs(theta, negative_log(a.flip()), negative_log(b.flip()))


def _from_logs(theta: Array, x: Array, y: Array) -> _Exponents:
    # `where`, not `minimum`: see gumbel.py.
    small, large = jnp.where(x < y, x, y), jnp.where(x < y, y, x)
    ratio = jnp.exp(-theta * (large - small)) * -jnp.expm1(-theta * small)
    below = jnp.log1p(ratio) / theta
    return _Exponents(small - below, below + (x - small), below + (y - small))


def _negative_log_h(theta: Array, x: Array, y: Array) -> Array:
    return (theta - 1.0) * _from_logs(theta, x, y).below_x - _log1mexp(theta * y)


def _accurate_total(theta: Array, x: Array, y: Array) -> Array:
    """A = -log(1 - C) with full relative accuracy, small or large."""
    small, large = jnp.where(x < y, x, y), jnp.where(x < y, y, x)
    first, second = -jnp.expm1(-theta * small), -jnp.expm1(-theta * large)
    product = first * second
    ratio = jnp.exp(-theta * (large - small)) * first
    change = jnp.log1p(jnp.where(product < 0.5, -product, ratio)) / theta
    return jnp.where(product < 0.5, -change, small - change)


def _log1mexp(t: Array) -> Array:
    """log(1 - e^-t), accurate for small and for large t > 0."""
    near = t < 0.6931471805599453
    small = jnp.log(-jnp.expm1(-jnp.where(near, t, 0.5)))
    return jnp.where(near, small, jnp.log1p(-jnp.exp(-jnp.where(near, 1.0, t))))


def _tau_of_inverse(w: Array) -> Array:
    """Kendall's tau at theta = 1 / w: 1 - 2 w (digamma(2 + s) - digamma(2)) / s, s = 2 w - 1."""
    s = 2.0 * w - 1.0
    near = jnp.abs(s) < 0.01
    far = jnp.where(near, 0.5, s)
    slope = (digamma(2.0 + far) - 0.42278433509846714) / far
    return 1.0 - 2.0 * w * jnp.where(near, polynomial(_DIGAMMA, s), slope)


@jax.custom_jvp
def _inverse_h(theta: Array, x: Array, target: Array) -> Array:
    """Solves -log h = target for y = -log(1 - v).

    With b = e^(-theta y), K = expm1(theta x), z = -log(1 - b) and r = log1p(K b), the equation is
    (1 - 1 / theta) r + z = target. It is convex in r and close to linear as long as z < 1, and
    concave in z and close to linear beyond, so Newton's method never crosses the root.
    """
    power, top = 1.0 - 1.0 / theta, theta * x
    log_k = top + jnp.log(-jnp.expm1(-top))
    inverse_k = jnp.exp(-jnp.maximum(log_k, -700.0))
    one_less = -jnp.expm1(-top)

    def r_at(z: Array) -> Array:
        return jnp.logaddexp(0.0, log_k + jnp.log(-jnp.expm1(-z)))

    def step_r(r: Array) -> Array:
        b = jnp.exp(r - top) * -jnp.expm1(-r) / one_less
        slope = power + (inverse_k + b) / (1.0 - b)
        return jnp.maximum(r - (power * r - jnp.log1p(-b) - target) / slope, tiny)

    def step_z(z: Array) -> Array:
        above = inverse_k - jnp.expm1(-z)  # log1p(K b) = log K + log(1 / K + b)
        value = power * (log_k + jnp.log(above)) + z
        return z - (value - target) / (1.0 + power * jnp.exp(-z) / above)

    tiny = jnp.finfo(x.dtype).tiny
    start = r_at(jnp.clip(target, tiny, 1.0))
    start = jnp.minimum(start, target / jnp.maximum(power, jnp.finfo(x.dtype).eps))
    r, z = jnp.maximum(start, tiny), jnp.ones_like(start)
    # Unrolled: as a loop, each step would be a pass over memory.
    for _ in range(_STEPS_CONVEX):
        r = step_r(r)
    for _ in range(_STEPS_CONCAVE):
        z = step_z(z)
    by_r = top - r - jnp.log(-jnp.expm1(-r) / one_less)
    by_z = -jnp.log1p(-jnp.exp(-jnp.maximum(z, 0.5)))
    return jnp.where(power * r_at(jnp.ones_like(start)) + 1.0 > target, by_r, by_z) / theta


@_inverse_h.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """The implicit function theorem."""
    theta, x, _ = primals
    y = _inverse_h(*primals)
    change = jax.jvp(lambda t, s: _negative_log_h(t, s, y), (theta, x), tangents[:2])[1]
    slope = jax.jvp(lambda s: _negative_log_h(theta, x, s), (y,), (jnp.ones_like(y),))[1]
    return y, (tangents[2] - change) / jnp.where(slope < 0, slope, -jnp.inf)
