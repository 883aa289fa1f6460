"""Quarter turns of a copula: dependence in another corner, or of the other sign."""

import functools
from typing import ClassVar, Literal, Self

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcascade.copulas.base import Copula
from jaxcascade.copulas.gumbel import Gumbel
from jaxcascade.copulas.level import Level, Turnable
from jaxcascade.errors import InvalidInputError


class _Rotated(Copula):
    """What rotated families share; `family` and the flips are set by the final classes."""

    base: Turnable

    family: ClassVar[type[Turnable]]
    flip_u: ClassVar[bool]
    flip_v: ClassVar[bool]

    @classmethod
    def from_tau(cls, tau: Float[Array, "..."]) -> Self:
        return cls(cls.family.from_tau(tau * cls._sign()))

    @classmethod
    def _sign(cls) -> float:
        return 1.0 if cls.flip_u == cls.flip_v else -1.0

    @property
    def tau(self) -> Float[Array, "*batch"]:
        return self.base.tau * self._sign()

    def transpose(self) -> Copula:
        if self.flip_u == self.flip_v:
            return self
        return rotated(self.family, 270 if self.flip_u else 90)(self.base)  # pyright: ignore

    def cdf(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        a, b = self._levels(u, v)
        if self.flip_u and self.flip_v:
            return self.base.both_above(a, b)
        return self.base.above_below(a, b) if self.flip_u else self.base.above_below(b, a)

    def log_prob(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.base.log_prob_at(*self._levels(u, v))

    def h_function(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        a, b = self._levels(u, v)
        return self.base.h_complement_at(a, b) if self.flip_v else self.base.h_at(a, b)

    def h_complement(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        a, b = self._levels(u, v)
        return self.base.h_at(a, b) if self.flip_v else self.base.h_complement_at(a, b)

    def inverse_h_function(
        self, u: Float[Array, "..."], p: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        v, complement = self.base.inverse_h_at(*self._levels(u, p))
        return complement if self.flip_v else v

    def lower_conditional(
        self, u: Float[Array, "..."], v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        least = jnp.sqrt(jnp.finfo(jnp.result_type(u)).tiny)
        u = jnp.maximum(u, least)
        return jnp.minimum(self.cdf(u, v) / u, 1.0)

    def orthant(
        self,
        u: Float[Array, "..."],
        v: Float[Array, "..."],
        above_u: Bool[Array, "..."],
        above_v: Bool[Array, "..."],
    ) -> Float[Array, "..."]:
        a, b = self._levels(u, v)
        above_u, above_v = above_u ^ self.flip_u, above_v ^ self.flip_v
        mixed = jnp.where(above_u, self.base.above_below(a, b), self.base.above_below(b, a))
        both = jnp.where(above_u, self.base.both_above(a, b), self.base.cdf_at(a, b))
        return jnp.where(above_u == above_v, both, mixed)

    def _levels(self, u: Array, v: Array) -> tuple[Level, Level]:
        return Level(u, self.flip_u), Level(v, self.flip_v)


@functools.cache
def rotated(family: type[Copula], degrees: Literal[90, 180, 270]) -> type[Copula]:
    """Returns the family turned by 90 (1 - U, V), 180 (1 - U, 1 - V) or 270 degrees (U, 1 - V).

    The result is a class, cached, so that it can be passed wherever a family can. Its `from_tau`
    takes negative taus at 90 and 270 degrees. There is no `1 - u` inside: u = 1e-15 keeps its
    digits.

    Example:
        >>> import jax.numpy as jnp
        >>> falling = rotated(Gumbel, 90).from_tau(jnp.array(-0.5))
        >>> round(float(falling.cdf(jnp.array(0.5), jnp.array(0.5))), 4)
        0.1248

    Raises:
        InvalidInputError: The family holds its own rotations, or the angle is none of the three.
    """
    if degrees not in (90, 180, 270):
        raise InvalidInputError(f"`degrees` must be 90, 180 or 270; found {degrees}.")
    if not issubclass(family, Turnable):
        raise InvalidInputError(
            f"`family` must be Clayton, Gumbel or Joe; {family.__name__} holds its own rotations. "
            "Use the family itself, with a negative tau for 90 and 270 degrees."
        )
    low, high = family.tau_range
    name = f"{family.__name__}{degrees}"
    members = {
        "__doc__": f"{family.__name__} turned by {degrees} degrees.",
        "__module__": __name__,
        "__qualname__": name,
        "family": family,
        "flip_u": degrees in (90, 180),
        "flip_v": degrees in (180, 270),
        "tau_range": (low, high) if degrees == 180 else (-high, -low),
    }
    return type(_Rotated)(name, (_Rotated,), members)  # pyright: ignore


SurvivalGumbel = rotated(Gumbel, 180)
