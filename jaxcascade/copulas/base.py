"""What a bivariate copula offers, written for one copula; `vmap` handles many."""

import abc
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Copula(eqx.Module):
    """Joint law of two uniform variables U and V.

    All methods broadcast `u` and `v` in [0, 1], ends included.
    """

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

    def inverse_h_function(
        self, u: Float[Array, "..."], p: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return p + jnp.zeros_like(u)

    def lower_conditional(
        self, u: Float[Array, "..."], v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return v + jnp.zeros_like(u)
