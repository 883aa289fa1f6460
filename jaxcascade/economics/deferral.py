"""Passing on the least confident answers: what it takes away, costs and brings, by how many."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.economics.bootstrap import weight_blocks
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Band, pointwise_band
from jaxcascade.records import Records


class DeferralCurve(NamedTuple):
    """A cascade of two models at every share that can be passed on.

    Attributes:
        small: The model that is asked first.
        big: The model that its least confident answers are passed on to.
        rates: Shares of queries passed on.
        reduction: Intervals of the cascade error reduction.
        error: Intervals of the probability of a wrong answer of the cascade.
        cost_usd: Intervals of dollars per query.
        latency_s: Intervals of seconds per query; NaN where some were not recorded.
    """

    small: str
    big: str
    rates: Float[np.ndarray, " r"]
    reduction: Band
    error: Band
    cost_usd: Band
    latency_s: Band


class Ranking(NamedTuple):
    """Queries in the order of confidence, least first, equal ones together.

    Attributes:
        order: Positions of the queries.
        starts: Places in that order at which a new confidence begins.
    """

    order: Int[np.ndarray, " n"]
    starts: Int[np.ndarray, " t"]

    @classmethod
    def of(cls, confidence: Float[np.ndarray, " n"]) -> Self:
        """Ranks queries, of which there must be at least one."""
        order = np.argsort(confidence, kind="stable")
        ranked = confidence[order]
        return cls(order, np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])))

    def masses(self, values: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b t"]:
        """Adds up what queries of each confidence hold, least confident first."""
        return np.add.reduceat(values[:, self.order], self.starts, axis=1)

    def passed_on(
        self,
        weight: Float[np.ndarray, "b n"],
        values: Float[np.ndarray, " n"],
        rates: Float[np.ndarray, " r"],
    ) -> Float[np.ndarray, "b r"]:
        """Adds up values over the share `rates` of least confidence, drawn by lot among equals."""
        shares, held = (_from_zero(self.masses(part)) for part in (weight, weight * values))
        rows = zip(shares, held, strict=True)
        return np.stack([np.interp(rates, share, total) for share, total in rows])


def deferral_curve(
    key: Array,
    records: Records,
    small: str,
    big: str,
    rates: Sequence[float] | Float[np.ndarray, " r"],
    *,
    num_draws: int = 2000,
    level: float = 0.9,
) -> DeferralCurve:
    """Follows a cascade of two models through all shares that can be passed on.

    Args:
        key: Random key.
        records: Labelled runs; queries count that have one of both models.
        small: Model that is asked first.
        big: Model that its least confident answers are passed on to.
        rates: Shares passed on, in [0, 1].
        num_draws: Draws of the Bayesian bootstrap.
        level: Probability of the intervals.

    Raises:
        UnknownModelError: The records lack a model.
        InvalidInputError: A rate lies outside [0, 1], or no query has labels of both models.
    """
    rates = checked_rates(rates)
    both = records.select([small, big])
    rows = np.flatnonzero((both.asked & both.labelled).all(axis=1))
    if not rows.size:
        raise InvalidInputError(f'No query has labelled runs of both "{small}" and "{big}".')
    both = both.take(rows)
    ranking = Ranking.of(both.log_confidence[:, 0])
    latency = np.full(both.cost_usd.shape, np.nan) if both.latency_s is None else both.latency_s
    first, second = zip(1.0 - both.correct.T, both.cost_usd.T, latency.T, strict=True)
    parts: list[list[np.ndarray]] = []
    for weight in weight_blocks(key, rows.size, num_draws):
        errors, cost, seconds = (weight @ column for column in first)
        left = ranking.passed_on(weight, first[0], rates)
        gained = [ranking.passed_on(weight, column, rates) for column in second]
        parts.append(
            [
                left - rates * errors[:, None],
                errors[:, None] - left + gained[0],
                cost[:, None] + gained[1],
                seconds[:, None] + gained[2],
            ]
        )
    bands = [_band(np.concatenate(draws), level) for draws in zip(*parts, strict=True)]
    return DeferralCurve(small, big, rates, *bands)


def checked_rates(rates: Sequence[float] | Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """Rates as an array.

    Raises:
        InvalidInputError: There are none, or one lies outside [0, 1].
    """
    found = np.asarray(rates, float)
    if found.ndim != 1 or not found.size or not np.all((found >= 0) & (found <= 1)):
        raise InvalidInputError(f"`rates` must be a row of shares in [0, 1]; got {rates}.")
    return found


def _from_zero(masses: Float[np.ndarray, "b t"]) -> Float[np.ndarray, "b t+1"]:
    return np.pad(np.cumsum(masses, axis=1), ((0, 0), (1, 0)))


def _band(draws: Float[np.ndarray, "d r"], level: float) -> Band:
    """Intervals; NaN where the numbers are not known, and no warning about it."""
    if np.isnan(draws).any():
        nothing = np.full(draws.shape[1], np.nan)
        return Band(nothing, nothing, nothing)
    return pointwise_band(draws, level)
