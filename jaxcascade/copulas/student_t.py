"""The Student-t copula: like the Gaussian one, with dependence in all four corners."""

import functools
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcascade.copulas.base import Copula
from jaxcascade.copulas.elliptical import at_edges, inner_level, t_orthant
from jaxcascade.copulas.t_law import log_density, t_cdf, t_quantile
from jaxcascade.errors import InvalidInputError

_LARGEST_TAU = 0.99


class StudentT(Copula):
    """The copula of two correlated t variables.

    Domain: |rho| <= sin(0.99 pi / 2), degrees of freedom from 1 to 1000. The absolute error of
    the cdf is below 1e-12. Levels below 1e-100 count as 1e-100. It needs double precision: the
    tails of few degrees of freedom are out of the range of single. It is fastest where `degrees`
    is one number for all levels. `from_tau` gives the class's number of degrees of freedom, 4;
    `student_t` makes a class with another.

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
    single_precision: ClassVar[bool] = False
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
        return joint - log_density(x, self.degrees) - log_density(y, self.degrees)

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
        z = t_quantile(inner_level(p, 1e-100), self.degrees + 1.0)
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
        side_u, side_v = jnp.where(above_u, 1.0 - u, u), jnp.where(above_v, 1.0 - v, v)
        levels = inner_level(side_u, 1e-100), inner_level(side_v, 1e-100)
        return at_edges(_cdf(*levels, rho, self.degrees), side_u, side_v)

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
    return t_orthant(x, y, smaller, excess, rho, degrees)


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
