"""How many people the deferred queries need: capacity alone, without waiting times."""

import math
from typing import NamedTuple

import numpy as np

from jaxcascade.errors import InvalidInputError


class Staffing(NamedTuple):
    """How many people a day's deferred queries need.

    Attributes:
        mean_deferred: Queries deferred per day, on average.
        busy_deferred: Queries deferred on a day so busy that only 1 - `level` of days are busier.
        mean_reviewers: People for an average day, not rounded.
        reviewers: People for the busy day, rounded up.
        level: Share of the days on which they suffice.
    """

    mean_deferred: float
    busy_deferred: int
    mean_reviewers: float
    reviewers: int
    level: float

    @property
    def text(self) -> str:
        """The answer and what it assumes, in words."""
        return (
            f"{self.mean_deferred:,.0f} queries a day are deferred on average, up to "
            f"{self.busy_deferred:,} on {self.level:.0%} of days: {self.reviewers:,} reviewers. "
            "Assumed: arrivals are independent (Poisson), each day's queries are done on that day, "
            "none waits from the day before, all take the same time, and when within the day "
            "they arrive does not matter. Bursts and waiting times need a queueing model."
        )


def reviewers_needed(
    arrivals_per_day: float,
    deferred_share: float,
    minutes_per_query: float,
    *,
    minutes_per_day: float = 480.0,
    occupancy: float = 0.8,
    level: float = 0.99,
) -> Staffing:
    """Answers how many people are needed, from capacity alone: see `Staffing.text`.

    Args:
        arrivals_per_day: Mean number of queries per day.
        deferred_share: Share handed to people, in [0, 1].
        minutes_per_query: Time of one person for one query.
        minutes_per_day: Of work of one person.
        occupancy: Share of that time spent on queries, in (0, 1].
        level: Share of the days on which they shall suffice, in (0, 1).

    Raises:
        InvalidInputError: A number is out of its range.

    Example:
        >>> found = reviewers_needed(10_000, 0.05, 6.0)
        >>> found.busy_deferred, found.reviewers
        (553, 9)
    """
    _require_above("minutes_per_query", minutes_per_query)
    _require_above("minutes_per_day", minutes_per_day)
    if not 0 < occupancy <= 1:
        raise InvalidInputError(f"`occupancy` must be above 0, and 1 at most; got {occupancy}.")
    mean = _mean_deferred(arrivals_per_day, deferred_share)
    busy = poisson_quantile(mean, level)
    each = minutes_per_day * occupancy / minutes_per_query
    return Staffing(mean, busy, mean / each, math.ceil(busy / each - 1e-9), level)


def affordable_share(
    capacity_per_day: float, arrivals_per_day: float, *, level: float = 0.99
) -> float:
    """Returns the largest share of the queries that the people's capacity lets one defer.

    Args:
        capacity_per_day: Queries that all people together can take in a day.
        arrivals_per_day: Mean number of queries per day, above 0.
        level: Share of the days on which the capacity shall suffice, in (0, 1).

    Example:
        >>> round(affordable_share(553, 10_000), 4)
        0.0501
    """
    _require_above("arrivals_per_day", arrivals_per_day)
    if poisson_quantile(arrivals_per_day, level) <= capacity_per_day:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        fits = poisson_quantile(arrivals_per_day * middle, level) <= capacity_per_day
        low, high = (middle, high) if fits else (low, middle)
    return low


def poisson_quantile(mean: float, level: float) -> int:
    """Returns the least count that a Poisson number stays within with probability `level`.

    Probabilities are added up within twelve standard deviations of the mean, in double precision.
    """
    if not 0 < level < 1:
        raise InvalidInputError(f"`level` must lie strictly between 0 and 1; got {level}.")
    if mean == 0:
        return 0
    half = 12.0 * math.sqrt(mean) + 40.0
    first = max(0, math.floor(mean - half))
    counts = np.arange(first, math.ceil(mean + half) + 1)
    start = first * math.log(mean) - mean - math.lgamma(first + 1)
    steps = math.log(mean) - np.log(counts[1:])
    below = np.cumsum(np.exp(start + np.append(0.0, np.cumsum(steps))))
    return int(counts[min(np.searchsorted(below, level), counts.size - 1)])


def _mean_deferred(arrivals_per_day: float, deferred_share: float) -> float:
    if not (arrivals_per_day >= 0 and math.isfinite(arrivals_per_day)):
        raise InvalidInputError(f"`arrivals_per_day` must be at least 0; got {arrivals_per_day}.")
    if not 0 <= deferred_share <= 1:
        raise InvalidInputError(f"`deferred_share` must lie in [0, 1]; got {deferred_share}.")
    return arrivals_per_day * deferred_share


def _require_above(name: str, value: float) -> None:
    if not value > 0:
        raise InvalidInputError(f"`{name}` must be above 0; got {value}.")
