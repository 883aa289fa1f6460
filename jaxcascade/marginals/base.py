"""The law of a calibrated confidence: atoms at both ends, something continuous between."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class InteriorLaw(eqx.Module):
    """A continuous law on [0, 1], written for one law; `vmap` handles many."""

    @abc.abstractmethod
    def cdf(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Probability of at most `z`."""

    @abc.abstractmethod
    def icdf(self, p: Float[Array, "..."]) -> Float[Array, "..."]:
        """The `z` at which `cdf` reaches `p`."""

    @abc.abstractmethod
    def log_prob(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log density at `z` in (0, 1)."""

    @abc.abstractmethod
    def partial_mean(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Integral of s dF(s) over (z, 1]."""

    @abc.abstractmethod
    def breaks(self) -> Float[Array, " b"]:
        """Where to cut [0, 1] so that between cuts `cdf` is smooth to a quadrature rule."""


class Marginal(eqx.Module):
    """Point masses at `low` and `high` around an interior law stretched to (low, high).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcascade.marginals import BetaMixture, Marginal
        >>> flat = BetaMixture(jnp.ones(1), jnp.ones(1), jnp.ones(1))
        >>> law = Marginal(*map(jnp.array, (0.2, 1.0, 0.1, 0.3)), flat)
        >>> print(law.cdf(jnp.array([0.1, 0.2, 0.6, 1.0])).round(6))
        [0.  0.1 0.4 1. ]

    Attributes:
        low: Smallest confidence.
        high: Largest confidence, at least `low`.
        atom_low: Probability of exactly `low`.
        atom_high: Probability of exactly `high`.
        interior: Law of (confidence - low) / (high - low) given that it is at neither end.

    References:
        Zellinger and Thomson (2025), arXiv:2501.09345, eq. 7 and 8.
    """

    low: Float[Array, "*batch"]
    high: Float[Array, "*batch"]
    atom_low: Float[Array, "*batch"]
    atom_high: Float[Array, "*batch"]
    interior: InteriorLaw

    @property
    def interior_mass(self) -> Float[Array, "*batch"]:
        """Probability of being at neither end."""
        return 1.0 - self.atom_low - self.atom_high

    def _stretch(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        width = self.high - self.low
        inside = (x > self.low) & (x < self.high)
        # Outside, infinities included, nothing may depend on `low` and `high`: a clipped infinity
        # would still carry a tangent of NaN.
        z = (jnp.where(inside, x, self.low) - self.low) / jnp.where(width > 0, width, 1.0)
        return jnp.where(inside, z, jnp.where(x >= self.high, 1.0, 0.0))

    def _between(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.atom_low + self.interior_mass * self.interior.cdf(self._stretch(x))

    def cdf(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Probability of at most `x`; continuous from the right."""
        return jnp.where(x < self.low, 0.0, jnp.where(x >= self.high, 1.0, self._between(x)))

    def cdf_left(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Probability of less than `x`, the limit of `cdf` from the left."""
        return jnp.where(x <= self.low, 0.0, jnp.where(x > self.high, 1.0, self._between(x)))

    def icdf(self, p: Float[Array, "..."]) -> Float[Array, "..."]:
        """Smallest `x` with `cdf(x) >= p`."""
        mass = self.interior_mass
        inside = (p > self.atom_low) & (p < 1.0 - self.atom_high) & (mass > 0)
        share = jnp.where(inside, (p - self.atom_low) / jnp.where(mass > 0, mass, 1.0), 0.5)
        between = self.low + (self.high - self.low) * self.interior.icdf(share)
        # At p = 1 - atom_high the interior is exhausted: without mass at the top in between,
        # the smallest such x is `high` all the same.
        return jnp.where(inside, between, jnp.where(p <= self.atom_low, self.low, self.high))

    def log_prob(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log of the atom's mass at an end, log density between, -inf outside."""
        inside = (x > self.low) & (x < self.high)
        z = jnp.where(inside, self._stretch(x), 0.5)
        width = jnp.where(self.high > self.low, self.high - self.low, 1.0)
        density = self.interior.log_prob(z) + jnp.log(self.interior_mass / width)
        # `high` first: where both ends coincide, all the mass is counted there.
        atom = jnp.where(x == self.high, self.atom_high, jnp.where(x == self.low, self.atom_low, 0))
        return jnp.where(inside, density, jnp.log(atom))

    def partial_mean(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """Integral of x dF(x) over (t, high]; both atoms count when they lie above `t`."""
        z = self._stretch(t)
        above = self.low * (1.0 - self.interior.cdf(z))
        above = above + (self.high - self.low) * self.interior.partial_mean(z)
        atoms = self.low * self.atom_low * (t < self.low)
        atoms = atoms + self.high * self.atom_high * (t < self.high)
        return atoms + self.interior_mass * jnp.where(t < self.high, above, 0.0)

    def mean(self) -> Float[Array, ""]:
        """Expected confidence: the accuracy, if the confidence is calibrated."""
        return self.partial_mean(jnp.full_like(self.low, -jnp.inf))

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Draws by inversion, so that draws are differentiable in every parameter."""
        return self.icdf(jax.random.uniform(key, shape, jnp.result_type(self.low)))
