"""Levels of probability that are known from one side, and copulas that can be turned over."""

import abc
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcascade.copulas.base import Copula


class Level(NamedTuple):
    """A probability, given by itself or by its complement, whichever is known exactly.

    The flag is known at trace time, so that a logarithm is evaluated once.
    """

    given: Float[Array, "..."]
    flipped: bool = False

    @property
    def value(self) -> Float[Array, "..."]:
        return 1.0 - self.given if self.flipped else self.given

    @property
    def complement(self) -> Float[Array, "..."]:
        return self.given if self.flipped else 1.0 - self.given

    def flip(self) -> "Level":
        """The complementary probability."""
        return Level(self.given, not self.flipped)


def negative_log(level: Level) -> Float[Array, "..."]:
    """-log of a level, finite and positive on the whole of [0, 1].

    Where the level is 1 it is about 1e-292, small but with room below it; where the level is 0
    it is 708, the negative logarithm of the smallest normal number.
    """
    limits = jnp.finfo(jnp.result_type(level.given))
    least = limits.tiny / limits.eps
    if not level.flipped:
        return jnp.maximum(-jnp.log(jnp.maximum(level.given, limits.tiny)), least)
    below_one = jnp.minimum(level.given, 1.0 - limits.epsneg)
    x = jnp.maximum(-jnp.log1p(-below_one), least)
    return jnp.where(level.given >= 1, -jnp.log(limits.tiny), x)


class Turnable(Copula):
    """An exchangeable copula whose formulas take levels from either side.

    What a rotation needs without cancellation: the same functions at 1 - u, for a given u.
    """

    @abc.abstractmethod
    def cdf_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        """P(U <= a, V <= b)."""

    @abc.abstractmethod
    def above_below(self, a: Level, b: Level) -> Float[Array, "..."]:
        """P(U > a, V <= b), with full relative accuracy."""

    @abc.abstractmethod
    def lower_conditional_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        """P(V <= b | U <= a)."""

    @abc.abstractmethod
    def log_prob_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        """Log density."""

    @abc.abstractmethod
    def negative_log_h(self, a: Level, b: Level) -> Float[Array, "..."]:
        """-log P(V <= b | U = a), with full relative accuracy; b inside (0, 1)."""

    @abc.abstractmethod
    def inverse_h_at(self, a: Level, p: Level) -> tuple[Array, Array]:
        """The level of V with `h` equal to p, from both sides: itself and its complement."""

    def h_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        """P(V <= b | U = a)."""
        one, zero = (1, 0) if not b.flipped else (0, 1)
        value = jnp.exp(-self.negative_log_h(a, b))
        value = jnp.where(b.given == zero, 0.0, value)
        return jnp.where(b.given == one, 1.0, value)

    def h_complement_at(self, a: Level, b: Level) -> Float[Array, "..."]:
        """P(V > b | U = a)."""
        one, zero = (1, 0) if not b.flipped else (0, 1)
        value = -jnp.expm1(-self.negative_log_h(a, b))
        value = jnp.where(b.given == zero, 1.0, value)
        return jnp.where(b.given == one, 0.0, value)

    def both_above(self, a: Level, b: Level) -> Float[Array, "..."]:
        """P(U > a, V > b), with an error of a few roundings of the smaller marginal's."""
        if a.flipped == b.flipped:  # put the smaller marginal first; one evaluation
            first = a.complement < b.complement
            low = Level(jnp.where(first, a.given, b.given), a.flipped)
            high = Level(jnp.where(first, b.given, a.given), a.flipped)
            return jnp.maximum(low.complement - self.above_below(low, high), 0.0)
        by_u = a.complement - self.above_below(a, b)
        by_v = b.complement - self.above_below(b, a)
        return jnp.maximum(jnp.where(a.complement < b.complement, by_u, by_v), 0.0)

    def cdf(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.cdf_at(Level(u), Level(v))

    def log_prob(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.log_prob_at(Level(u), Level(v))

    def h_function(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.h_at(Level(u), Level(v))

    def h_complement(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.h_complement_at(Level(u), Level(v))

    def inverse_h_function(
        self, u: Float[Array, "..."], p: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return self.inverse_h_at(Level(u), Level(p))[0]

    def lower_conditional(
        self, u: Float[Array, "..."], v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return self.lower_conditional_at(Level(u), Level(v))

    def orthant(
        self,
        u: Float[Array, "..."],
        v: Float[Array, "..."],
        above_u: Bool[Array, "..."],
        above_v: Bool[Array, "..."],
    ) -> Float[Array, "..."]:
        a, b = Level(u), Level(v)
        mixed = jnp.where(above_u, self.above_below(a, b), self.above_below(b, a))
        both = jnp.where(above_u, self.both_above(a, b), self.cdf_at(a, b))
        return jnp.where(above_u == above_v, both, mixed)


def orthant_from_logs(
    u: Array, v: Array, above: tuple[Array, Array], total: Array, over: tuple[Array, Array]
) -> Array:
    """An orthant's probability from -log C and from -log C(u, v) / u and / v, in one pass.

    For families whose cdf is a plain exponential; a fit evaluates four orthants at each pair.
    """
    same, above_u = above[0] == above[1], above[0]
    by_v = jnp.where(same, u > v, above_u)
    # P(U > u, V <= v) or P(U <= u, V > v); the smaller of the two marginals less one of them.
    part = jnp.where(by_v, v, u) * -jnp.expm1(-jnp.where(by_v, over[1], over[0]))
    upper = jnp.maximum(1.0 - jnp.where(u > v, u, v) - part, 0.0)
    value = jnp.where(same, jnp.where(above_u, upper, jnp.exp(-total)), part)
    empty_u = jnp.where(above[0], u >= 1, u <= 0)
    return jnp.where(empty_u | jnp.where(above[1], v >= 1, v <= 0), 0.0, value)
