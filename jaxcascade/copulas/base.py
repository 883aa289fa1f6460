"""What a bivariate copula offers, written for one copula; `vmap` handles many."""

import abc
from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray


class Copula(eqx.Module):
    """Joint law of two uniform variables U and V.

    All methods broadcast `u` and `v` in [0, 1], ends included. In single precision (arguments and
    parameters float32) the results are float32: absolute error below 2e-7 in the cdf, 2e-6 in the
    h-function, 1e-5 (relative above 1) in the log density, gradients finite for levels from 1e-30.

    Attributes:
        tau_range: Kendall's taus that the family reaches; `from_tau` moves others to an end.
        single_precision: Whether that holds for all of them.
    """

    tau_range: ClassVar[tuple[float, float]] = (0.0, 0.99)
    single_precision: ClassVar[bool] = True

    @classmethod
    @abc.abstractmethod
    def from_tau(cls, tau: Float[Array, "..."]) -> Self:
        """Returns the member of the family with Kendall's tau, moved to the nearest it has."""

    @property
    @abc.abstractmethod
    def tau(self) -> Float[Array, "*batch"]:
        """Kendall's tau."""

    @abc.abstractmethod
    def cdf(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        """P(U <= u, V <= v)."""

    @abc.abstractmethod
    def log_prob(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log density."""

    @abc.abstractmethod
    def h_function(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        """P(V <= v | U = u), the derivative of the cdf in `u`."""

    @abc.abstractmethod
    def inverse_h_function(
        self, u: Float[Array, "..."], p: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """The `v` at which `h_function(u, v)` is `p`."""

    @abc.abstractmethod
    def lower_conditional(
        self, u: Float[Array, "..."], v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """P(V <= v | U <= u) = C(u, v) / u, without cancellation and with its limit at u = 0."""

    @abc.abstractmethod
    def h_complement(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        """P(V > v | U = u), with full relative accuracy where it is small."""

    @abc.abstractmethod
    def orthant(
        self,
        u: Float[Array, "..."],
        v: Float[Array, "..."],
        above_u: Bool[Array, "..."],
        above_v: Bool[Array, "..."],
    ) -> Float[Array, "..."]:
        """P(U on a side of u, V on a side of v): above where told, else at or below.

        The error is a few roundings of the smaller of the two marginal probabilities.
        """

    def transpose(self) -> "Copula":
        """The law of (V, U); the copula itself where the two are exchangeable."""
        return self

    def strip(
        self, u: Float[Array, "..."], v_left: Float[Array, "..."], v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """P(v_left < V <= v | U = u), the half-rectangle.

        The difference is taken in the tail that the strip is nearer to, so that the relative
        error is that of rounding the arguments.
        """
        low, high = self.h_function(u, v_left), self.h_function(u, v)
        above_low, above_high = self.h_complement(u, v_left), self.h_complement(u, v)
        return jnp.where(low + high > 1, above_low - above_high, high - low)

    def rectangle(
        self,
        u_left: Float[Array, "..."],
        u: Float[Array, "..."],
        v_left: Float[Array, "..."],
        v: Float[Array, "..."],
    ) -> Float[Array, "..."]:
        """P(u_left < U <= u, v_left < V <= v).

        Differences are taken in the corner of the unit square that the rectangle is nearest to.
        A rectangle in a corner is one orthant, with no difference at all. The error of any other
        is a few roundings of the orthant that encloses it.
        """
        above_u, above_v = u_left + u > 1, v_left + v > 1
        far_u, near_u = jnp.where(above_u, u_left, u), jnp.where(above_u, u, u_left)
        far_v, near_v = jnp.where(above_v, v_left, v), jnp.where(above_v, v, v_left)
        far = self.orthant(far_u, far_v, above_u, above_v)
        less_u = self.orthant(near_u, far_v, above_u, above_v)
        less_v = self.orthant(far_u, near_v, above_u, above_v)
        return (far - less_u) - (less_v - self.orthant(near_u, near_v, above_u, above_v))

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*shape 2"]:
        """Draws pairs (U, V) by conditional inversion."""
        u, p = jax.random.uniform(key, (2, *shape), jnp.result_type(self.tau))
        return jnp.stack([u, self.inverse_h_function(u, p)], axis=-1)


class Independence(Copula):
    """U and V know nothing of each other.

    Attributes:
        batch: Zeros in the shape of the batch, so that it stacks like any family.
    """

    batch: Float[Array, "*batch"]

    tau_range: ClassVar[tuple[float, float]] = (0.0, 0.0)

    @classmethod
    def from_tau(cls, tau: Float[Array, "..."]) -> Self:
        return cls(jnp.zeros_like(tau))

    @property
    def tau(self) -> Float[Array, "*batch"]:
        return jnp.zeros_like(self.batch)

    def cdf(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return u * v

    def log_prob(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.zeros(jnp.broadcast_shapes(jnp.shape(u), jnp.shape(v)), jnp.result_type(u))

    def h_function(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return v + jnp.zeros_like(u)

    def h_complement(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return (1.0 - v) + jnp.zeros_like(u)

    def inverse_h_function(
        self, u: Float[Array, "..."], p: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return p + jnp.zeros_like(u)

    def lower_conditional(
        self, u: Float[Array, "..."], v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return v + jnp.zeros_like(u)

    def orthant(
        self,
        u: Float[Array, "..."],
        v: Float[Array, "..."],
        above_u: Bool[Array, "..."],
        above_v: Bool[Array, "..."],
    ) -> Float[Array, "..."]:
        return jnp.where(above_u, 1.0 - u, u) * jnp.where(above_v, 1.0 - v, v)
