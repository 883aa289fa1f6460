"""The Frank copula: dependence of either sign, alike at both ends."""

from typing import ClassVar, Self

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcascade.copulas.base import Copula
from jaxcascade.copulas.smooth import expm1_ratio, log1p_ratio, newton_root, polynomial
from jaxcascade.numerics import gauss_legendre

_LARGEST_TAU = 0.99
# (t / 2 coth(t / 2) - 1) / t^2 in powers of t^2.
_COTH = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)


class Frank(Copula):
    """C(u, v) = -log(1 + expm1(-theta u) expm1(-theta v) / expm1(-theta)) / theta.

    Analytic in theta through 0, which is independence; negative theta is the copula of
    (U, 1 - V) at -theta. Finite, with finite gradients, for |theta| up to 400; in single precision
    up to 80, where its exponentials end.

    Example:
        >>> import jax.numpy as jnp
        >>> copula = Frank.from_tau(jnp.array(-0.5))
        >>> round(float(copula.theta), 4)
        -5.7363

    Attributes:
        theta: Any number; 0 is independence.

    References:
        Nelsen (2006), An Introduction to Copulas, section 4.2; Genest (1987), Frank's family of
        bivariate distributions, Biometrika 74(3), for tau.
    """

    theta: Float[Array, "*batch"]

    tau_range: ClassVar[tuple[float, float]] = (-_LARGEST_TAU, _LARGEST_TAU)
    single_precision: ClassVar[bool] = False

    @classmethod
    def from_tau(cls, tau: Float[Array, "..."]) -> Self:
        tau = jnp.clip(tau, -_LARGEST_TAU, _LARGEST_TAU)
        start = tau * (9.0 - 5.0 * tau**2) / (1.0 - jnp.where(tau < 0, -tau, tau))
        return cls(newton_root(_tau, tau, start, 8))

    @property
    def tau(self) -> Float[Array, "*batch"]:
        return _tau(self.theta)

    def kendall_distribution(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """P(C(U, V) <= t)."""
        theta = self.theta
        whole, below = expm1_ratio(-theta), t * expm1_ratio(-theta * t)
        above = (1.0 - t) * expm1_ratio(-theta * (1.0 - t))
        # t - L expm1(theta t) / theta with L = log(expm1(-theta t) / expm1(-theta)) = log1p(-w);
        # w expm1(theta t) / theta is a product of bounded factors.
        w = jnp.exp(-theta * t) * above / whole
        small = w < 0.5
        far = -jnp.log(jnp.where(small | (t <= 0), 1.0, below / whole)) / jnp.where(small, 1.0, w)
        return (
            t
            + jnp.where(small, log1p_ratio(-jnp.where(small, w, 0.0)), far) * below * above / whole
        )

    def cdf(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        theta = self.theta
        size = jnp.where(theta < 0, -theta, theta)
        small, large = jnp.where(u < v, u, v), jnp.where(u < v, v, u)
        # z = 1 - e^(-theta C), over theta. The exponent is 0 unless theta is negative.
        quotient = small * large * expm1_ratio(-size * small) * expm1_ratio(-size * large)
        lift = jnp.where(theta < 0, size * (u + v - 1.0), 0.0)
        quotient = quotient * jnp.exp(lift) / expm1_ratio(-size)
        by_product = quotient * _log1p_ratio_wide(-theta * quotient)
        # Where z is near 1, e^(theta (small - C)) = 1 + rest has no cancellation.
        near = theta * quotient > 0.5
        rest = -jnp.expm1(-size * small) * -jnp.expm1(-size * (1.0 - large))
        rest = rest * jnp.exp(-size * (large - small)) / jnp.where(near, -jnp.expm1(-size), 1.0)
        by_rest = small - jnp.log1p(rest) / jnp.where(near, theta, 1.0)
        value = jnp.where(near, by_rest, by_product)
        return jnp.where(large >= 1, small, jnp.maximum(value, 0.0))

    def log_prob(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        size, v = self._turned(v)
        gap = jnp.where(u < v, v - u, u - v)
        return jnp.log(expm1_ratio(-size)) - size * gap - 2.0 * jnp.log(_denominator(size, u, v))

    def h_function(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return _h(*self._turned(v), u, v, self.theta < 0)

    def h_complement(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return _h(*self._turned(v), u, 1.0 - v, self.theta >= 0)

    def inverse_h_function(
        self, u: Float[Array, "..."], p: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        theta = self.theta
        size = jnp.where(theta < 0, -theta, theta)
        # (1 - e^(-theta v)) / theta = p expm1_ratio(-theta) / (p + (1 - p) e^(-theta u)); both
        # parts times e^(-size u) or e^(-size) where theta is negative.
        lowered = jnp.exp(-size * u)
        positive = p + (1.0 - p) * lowered
        negative = (1.0 - p) + p * lowered
        lift = jnp.where(theta < 0, size * (1.0 - u), 0.0)
        quotient = p * expm1_ratio(-size) * jnp.exp(lift)
        quotient = quotient / jnp.where(theta < 0, negative, positive)
        near = theta * quotient > 0.5
        rest = ((1.0 - p) * lowered + p * jnp.exp(-size)) / positive
        by_rest = -jnp.log(jnp.where(near, rest, 1.0)) / jnp.where(near, theta, 1.0)
        by_product = quotient * _log1p_ratio_wide(-theta * quotient)
        value = jnp.clip(jnp.where(near, by_rest, by_product), 0.0, 1.0)
        return jnp.where(p >= 1, 1.0, value)

    def lower_conditional(
        self, u: Float[Array, "..."], v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        least = jnp.sqrt(jnp.finfo(jnp.result_type(u)).tiny)
        u = jnp.maximum(u, least)
        return jnp.where(v >= 1, 1.0, jnp.minimum(self.cdf(u, v) / u, 1.0))

    def orthant(
        self,
        u: Float[Array, "..."],
        v: Float[Array, "..."],
        above_u: Bool[Array, "..."],
        above_v: Bool[Array, "..."],
    ) -> Float[Array, "..."]:
        turned = Frank(jnp.where(above_u == above_v, self.theta, -self.theta))
        return turned.cdf(jnp.where(above_u, 1.0 - u, u), jnp.where(above_v, 1.0 - v, v))

    def _turned(self, v: Array) -> tuple[Array, Array]:
        """|theta|, and the second variable that goes with it."""
        negative = self.theta < 0
        return jnp.where(negative, -self.theta, self.theta), jnp.where(negative, 1.0 - v, v)


def _log1p_ratio_wide(t: Array) -> Array:
    """log(1 + t) / t on (-0.5, inf); kept finite below, where another form is used."""
    return log1p_ratio(jnp.maximum(t, -0.75))


def _denominator(size: Array, u: Array, v: Array) -> Array:
    """((1 - e^-s) - (1 - e^(-s u)) (1 - e^(-s v))) e^(s min(u, v)) / s, all terms positive."""
    small, large = jnp.where(u < v, u, v), jnp.where(u < v, v, u)
    rest = (1.0 - small) * expm1_ratio(-size * (1.0 - small))
    return rest + jnp.exp(-size * (large - small)) * small * expm1_ratio(-size * small)


def _h(size: Array, turned: Array, u: Array, side: Array, other_tail: Array) -> Array:
    """P(V* <= v | U = u) at size >= 0, or P(V* > v | U = u) in the other tail.

    `side` is the probability of that side of V*, exact where it is small.
    """
    small = jnp.where(u < turned, u, turned)
    start = jnp.where(other_tail, turned, u)
    weight = jnp.exp(-size * (start - small)) * side * expm1_ratio(-size * side)
    value = weight / _denominator(size, u, turned)
    return jnp.where(side >= 1, 1.0, jnp.where(side <= 0, 0.0, jnp.minimum(value, 1.0)))


def _tau(theta: Array) -> Array:
    """4 theta times the integral over s in (0, 1) of s^2 B(theta s), B(t) = (t/2 coth - 1)/t^2."""
    rule = gauss_legendre(jnp.zeros_like(theta), jnp.ones_like(theta), 64)
    t = theta[..., None] * rule.nodes
    t = jnp.where(t < 0, -t, t)
    near = t < 0.3
    far = jnp.where(near, 1.0, t)
    whole = (0.5 * far / jnp.tanh(0.5 * far) - 1.0) / far**2
    bracket = jnp.where(near, polynomial(_COTH, t**2), whole)
    return 4.0 * theta * jnp.sum(rule.weights * rule.nodes**2 * bracket, axis=-1)
