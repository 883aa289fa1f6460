"""The Student-t copula: like the Gaussian one, with dependence in all four corners."""

import functools
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float

from jaxcascade.copulas.base import Copula
from jaxcascade.copulas.elliptical import at_edges, inner_level, orthant_probability
from jaxcascade.errors import InvalidInputError
from jaxcascade.numerics import betainc as _betainc
from jaxcascade.numerics import betaincinv

_LARGEST_TAU = 0.99


class StudentT(Copula):
    """The copula of two correlated t variables.

    Domain: |rho| <= sin(0.99 pi / 2), degrees of freedom from 1 to 1000. The absolute error of
    the cdf is below 1e-12. Levels below 1e-100 count as 1e-100. `from_tau` gives the class's
    number of degrees of freedom, 4; `student_t` makes a class with another.

    Example:
        >>> import jax.numpy as jnp
        >>> copula = StudentT.from_tau(jnp.array(1 / 3))
        >>> print(f"{copula.rho:.6f} {copula.cdf(jnp.array(0.5), jnp.array(0.5)):.6f}")
        0.500000 0.333333

    Attributes:
        rho: Correlation.
        degrees: Degrees of freedom.

    References:
        Demarta and McNeil (2005), The t copula and related copulas, International Statistical
        Review 73(1).
    """

    rho: Float[Array, "*batch"]
    degrees: Float[Array, "*batch"]

    tau_range: ClassVar[tuple[float, float]] = (-_LARGEST_TAU, _LARGEST_TAU)
    default_degrees: ClassVar[float] = 4.0

    @classmethod
    def from_tau(cls, tau: Float[Array, "..."]) -> Self:
        rho = jnp.sin(0.5 * jnp.pi * jnp.clip(tau, -_LARGEST_TAU, _LARGEST_TAU))
        return cls(rho, jnp.full_like(rho, cls.default_degrees))

    @property
    def tau(self) -> Float[Array, "*batch"]:
        return 2.0 / jnp.pi * jnp.arcsin(self.rho)

    def cdf(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        value = _cdf(inner_level(u, 1e-100), inner_level(v, 1e-100), self.rho, self.degrees)
        return at_edges(value, u, v)

    def log_prob(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        x, y = self._quantile(u), self._quantile(v)
        joint = _log_joint(x, y, self.rho, self.degrees)
        return joint - _log_density(x, self.degrees) - _log_density(y, self.degrees)

    def h_function(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        value = _conditional(self._quantile(u), self._quantile(v), self.rho, self.degrees)
        return jnp.where(v >= 1, 1.0, jnp.where(v > 0, value, 0.0))

    def h_complement(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        # (X, Y) and (-X, -Y) have one law.
        value = _conditional(-self._quantile(u), -self._quantile(v), self.rho, self.degrees)
        return jnp.where(v >= 1, 0.0, jnp.where(v > 0, value, 1.0))

    def inverse_h_function(
        self, u: Float[Array, "..."], p: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        x = self._quantile(u)
        more = self.degrees + 1.0
        z = t_quantile(inner_level(p, 1e-100), more + jnp.zeros_like(x))
        y = self.rho * x + z * _scale(x, self.rho, self.degrees)
        return jnp.where(p >= 1, 1.0, jnp.where(p > 0, t_cdf(y, self.degrees), 0.0))

    def lower_conditional(
        self, u: Float[Array, "..."], v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        u = inner_level(u, 1e-100)
        value = _cdf(u, inner_level(v, 1e-100), self.rho, self.degrees) / u
        return jnp.where(v >= 1, 1.0, jnp.where(v > 0, jnp.minimum(value, 1.0), 0.0))

    def orthant(
        self,
        u: Float[Array, "..."],
        v: Float[Array, "..."],
        above_u: Bool[Array, "..."],
        above_v: Bool[Array, "..."],
    ) -> Float[Array, "..."]:
        rho = jnp.where(above_u == above_v, self.rho, -self.rho)
        turned = StudentT(rho, self.degrees + jnp.zeros_like(rho))
        return turned.cdf(jnp.where(above_u, 1.0 - u, u), jnp.where(above_v, 1.0 - v, v))

    def _quantile(self, u: Array) -> Array:
        return t_quantile(inner_level(u, 1e-100), self.degrees)


@functools.cache
def student_t(degrees: float) -> type[StudentT]:
    """Returns the t family with given degrees of freedom, to be passed where a family can.

    Example:
        >>> import jax.numpy as jnp
        >>> float(student_t(8.0).from_tau(jnp.array(0.2)).degrees)
        8.0

    Raises:
        InvalidInputError: `degrees` is outside [1, 1000].
    """
    if not 1 <= degrees <= 1000:
        raise InvalidInputError(
            f"`degrees` must lie in [1, 1000]; found {degrees}. Use Gaussian for more."
        )
    name = f"StudentT{degrees:g}"
    members = {
        "__doc__": f"The t copula with {degrees:g} degrees of freedom.",
        "__module__": __name__,
        "__qualname__": name,
        "default_degrees": float(degrees),
    }
    return type(StudentT)(name, (StudentT,), members)  # pyright: ignore


@jax.custom_jvp
def t_cdf(x: Float[Array, "..."], degrees: Float[Array, "..."]) -> Float[Array, "..."]:
    """Distribution function of the t law, with full relative accuracy on the left."""
    x, degrees = jnp.broadcast_arrays(x, degrees)
    tail = 0.5 * _betainc(0.5 * degrees, 0.5, degrees / (degrees + x**2))
    return jnp.where(x < 0, tail, 1.0 - tail)


@t_cdf.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    x, degrees = jnp.broadcast_arrays(*primals)
    change = jnp.broadcast_to(tangents[1], x.shape)
    value, by_degrees = jax.jvp(lambda n: _cdf_in_degrees(x, n), (degrees,), (change,))
    return value, by_degrees + jnp.exp(_log_density(x, degrees)) * tangents[0]


def _cdf_in_degrees(x: Array, degrees: Array) -> Array:
    """The distribution function, to be differentiated in the degrees of freedom alone."""
    share = degrees / (degrees + x**2)
    tail = 0.5 * _betainc(0.5 * degrees, 0.5, jnp.where(x == 0, 1.0, share))
    return jnp.where(x < 0, tail, 1.0 - tail)


@jax.custom_jvp
def t_quantile(u: Float[Array, "..."], degrees: Float[Array, "..."]) -> Float[Array, "..."]:
    """Inverse of `t_cdf` for u inside (0, 1)."""
    u, degrees = jnp.broadcast_arrays(u, degrees)
    tail = jnp.where(u < 0.5, u, 1.0 - u)
    # x^2 / (n + x^2) and its complement are beta variables; invert for the smaller of the two.
    central = tail > 0.25
    half = jnp.full_like(u, 0.5)
    first, second = jnp.where(central, half, 0.5 * degrees), jnp.where(central, 0.5 * degrees, half)
    share = betaincinv(first, second, jnp.where(central, 1.0 - 2.0 * tail, 2.0 * tail))
    share = jnp.maximum(share, jnp.finfo(u.dtype).tiny)
    size = jnp.where(central, share / (1.0 - share), (1.0 - share) / share)
    size = jnp.where(tail < 0.5, jnp.sqrt(degrees * size), 0.0)
    return jnp.where(u < 0.5, -size, size)


@t_quantile.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    u, degrees = primals
    x = t_quantile(u, degrees)
    degrees, change = (jnp.broadcast_to(z, x.shape) for z in (degrees, tangents[1]))
    by_degrees = jax.jvp(lambda n: _cdf_in_degrees(x, n), (degrees,), (change,))[1]
    return x, (tangents[0] - by_degrees) * jnp.exp(-_log_density(x, degrees))


def _log_density(x: Array, degrees: Array) -> Array:
    constant = gammaln(0.5 * (degrees + 1)) - gammaln(0.5 * degrees)
    constant = constant - 0.5 * jnp.log(degrees * jnp.pi)
    return constant - 0.5 * (degrees + 1.0) * jnp.log1p(x**2 / degrees)


def _log_joint(x: Array, y: Array, rho: Array, degrees: Array) -> Array:
    toward, size = jnp.where(rho < 0, -y, y), jnp.where(rho < 0, -rho, rho)
    spread = (1.0 - rho) * (1.0 + rho)
    # x^2 + y^2 - 2 rho x y over spread, without cancellation near rho = +-1.
    form = (x - toward) ** 2 / spread + 2.0 * x * toward / (1.0 + size)
    form = jnp.maximum(form, 0.0)
    return (
        -jnp.log(2.0 * jnp.pi)
        - 0.5 * jnp.log(spread)
        - 0.5 * (degrees + 2.0) * jnp.log1p(form / degrees)
    )


def _scale(x: Array, rho: Array, degrees: Array) -> Array:
    return jnp.sqrt((degrees + x**2) * (1.0 - rho) * (1.0 + rho) / (degrees + 1.0))


def _conditional(x: Array, y: Array, rho: Array, degrees: Array) -> Array:
    return t_cdf((y - rho * x) / _scale(x, rho, degrees), degrees + 1.0)


@jax.custom_jvp
def _cdf(u: Array, v: Array, rho: Array, degrees: Array) -> Array:
    return _cdf_in_degrees_given(u, v, rho, degrees)


def _cdf_in_degrees_given(u: Array, v: Array, rho: Array, degrees: Array) -> Array:
    x, y = t_quantile(u, degrees), t_quantile(v, degrees)
    smaller, excess = jnp.minimum(u, v), jnp.maximum(u + v - 1.0, 0.0)
    return orthant_probability(x, y, smaller, excess, rho, degrees)


@_cdf.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    u, v, rho, degrees = primals
    x, y = t_quantile(u, degrees), t_quantile(v, degrees)
    value, by_degrees = jax.jvp(
        lambda n: _cdf_in_degrees_given(u, v, rho, n), (degrees,), (tangents[3],)
    )
    by_u, by_v = _conditional(x, y, rho, degrees), _conditional(y, x, rho, degrees)
    # Plackett: the derivative in rho is the joint density with two degrees of freedom fewer.
    log_density = _log_joint(x, y, rho, degrees)
    spread = (1.0 - rho) * (1.0 + rho)
    toward, size = jnp.where(rho < 0, -y, y), jnp.where(rho < 0, -rho, rho)
    form = (x - toward) ** 2 / spread + 2.0 * x * toward / (1.0 + size)
    by_rho = jnp.exp(log_density + jnp.log1p(jnp.maximum(form, 0.0) / degrees))
    return value, by_u * tangents[0] + by_v * tangents[1] + by_rho * tangents[2] + by_degrees
