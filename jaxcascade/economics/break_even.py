"""From which price of an error on the more accurate of two systems is the better one."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import Outcome, Prices
from jaxcascade.economics.bootstrap import bootstrap_outcomes
from jaxcascade.economics.ledger import Ledger
from jaxcascade.economics.pricing import base_cost
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning import break_even_prices

_NEVER = float("inf")


class FiellerInterval(NamedTuple):
    """Prices that a test of equal mean losses does not reject.

    Attributes:
        low: Lower end.
        high: Upper end.
        kind: "inside" where the prices are those from `low` to `high`; "outside" where they are
            those below `low` or above `high`; "everything" where no price is rejected.
    """

    low: float
    high: float
    kind: str


class BreakEven(NamedTuple):
    """The price of an error from which on the more accurate of two systems is the better one.

    It is 0 where that system is no dearer either, and infinite where it is not more accurate
    after all: medians and intervals are on the line with both ends included.

    Attributes:
        other: The system that makes more errors on average.
        accurate: The system that makes fewer.
        price: The break-even price of the averages in dollars, as by `break_even_price`; not
            above zero where `accurate` dominates.
        median: Median of the draws; those with the roles exchanged do not count.
        low: Lower end of the central interval, draws with the roles exchanged taken for 0.
        high: Upper end, the same taken for infinite.
        level: Probability of the interval.
        p_other_dominates: Probability that `other` is neither dearer nor less accurate.
        p_accurate_dominates: Probability that `accurate` is neither dearer nor less accurate.
        p_price: Probability that there is a price above which `accurate` is the better.
        p_exchanged: Probability that there is a price above which `other` is the better.
        fieller: An interval of the same level from means and their covariances alone; None where
            only draws are known.
    """

    other: str
    accurate: str
    price: float
    median: float
    low: float
    high: float
    level: float
    p_other_dominates: float
    p_accurate_dominates: float
    p_price: float
    p_exchanged: float
    fieller: FiellerInterval | None = None

    @property
    def dominant(self) -> str | None:
        """The system that is on average the better at every price; None where there is none."""
        return None if self.price > 0 else self.accurate


def break_even_price(
    first: Outcome,
    second: Outcome,
    latency_price: float = 0.0,
    abstention_price: float = _NEVER,
) -> Float[np.ndarray, "*batch"]:
    """Returns the price of an error at which two systems lose the same, in dollars.

    Args:
        first: Mean outcome of one system.
        second: Mean outcome of the other, with the same axes.
        latency_price: Dollars per second.
        abstention_price: Dollars per query given up.

    Returns:
        NaN where the errors are equal: no price, or every price, makes the losses so. Below zero
        where one system is cheaper and more accurate, and so better at every price.

    Raises:
        InvalidInputError: See `check_priceable`.

    References:
        Zellinger and Thomson (2025), arXiv:2507.03834.

    Example:
        >>> import numpy as np
        >>> llama, qwen = (
        ...     Outcome(*map(np.array, (error, 0.0, cost, latency)), np.ones(1))
        ...     for error, latency, cost in ((0.306, 12.4, 0.0036), (0.028, 125.9, 0.0095))
        ... )
        >>> break_even_price(llama, qwen, latency_price=0.5 / 60).round(4).item()
        3.4235
    """
    dearer = base_cost(second, latency_price, abstention_price) - base_cost(
        first, latency_price, abstention_price
    )
    gain = np.asarray(first.error) - np.asarray(second.error)
    return np.where(gain != 0, dearer / np.where(gain != 0, gain, 1.0), np.nan)


def break_even(
    key: Array,
    ledger: Ledger,
    first: str,
    second: str,
    *,
    latency_price: float = 0.0,
    abstention_price: float = _NEVER,
    num_draws: int = 2000,
    level: float = 0.9,
) -> BreakEven:
    """Finds the break-even price of two systems and how sure the records are of it.

    Args:
        key: Random key.
        ledger: Both systems on the same queries.
        first: Name of one system.
        second: Name of the other; their order does not matter.
        latency_price: Dollars per second.
        abstention_price: Dollars per query given up.
        num_draws: Draws of the Bayesian bootstrap.
        level: Probability of the intervals.

    Raises:
        InvalidInputError: There is no such system, the level is not between 0 and 1, or see
            `check_priceable`.
    """
    both = ledger.select([first, second])
    draws = bootstrap_outcomes(key, both, num_draws)
    return _compared(both, draws, latency_price, abstention_price, level)


def break_even_of_draws(
    outcome: Outcome,
    systems: Sequence[str],
    *,
    latency_price: float = 0.0,
    abstention_price: float = _NEVER,
    level: float = 0.9,
) -> BreakEven:
    """Finds the break-even price of two systems from draws of their outcomes.

    Args:
        outcome: Leading axes (draws, two systems), from records or from a posterior.
        systems: Names of both.
        latency_price: Dollars per second.
        abstention_price: Dollars per query given up.
        level: Probability of the interval.

    Raises:
        InvalidInputError: There are not two systems, the level is not between 0 and 1, or see
            `check_priceable`.
    """
    if len(systems) != 2 or np.shape(outcome.error)[-1] != 2:
        raise InvalidInputError(
            f"A break-even price is one of two systems; got {len(systems)} names and "
            f"{np.shape(outcome.error)[-1]} systems in `outcome`."
        )
    mean = Outcome(*(np.mean(part, axis=0) for part in outcome))
    return _judged(outcome, mean, systems, latency_price, abstention_price, level)


def break_even_steps(
    key: Array,
    ledger: Ledger,
    *,
    latency_price: float = 0.0,
    abstention_price: float = _NEVER,
    num_draws: int = 2000,
    level: float = 0.9,
) -> tuple[BreakEven, ...]:
    """Finds where, as errors get dearer, the best system hands over to the next.

    Args:
        key: Random key; all pairs are judged by the same draws.
        ledger: Systems.
        latency_price: Dollars per second.
        abstention_price: Dollars per query given up.
        num_draws: Draws of the Bayesian bootstrap.
        level: Probability of the intervals.

    Returns:
        One per change of the system that is best on average, in the order of price. Empty where
        one is the best at every price.

    Raises:
        InvalidInputError: See `break_even`.
    """
    mean = ledger.outcomes()
    base = base_cost(mean, latency_price, abstention_price)
    draws = bootstrap_outcomes(key, ledger, num_draws)
    comparable = ledger.take(ledger.known)
    found = []
    for _, *pair in break_even_prices(base, np.asarray(mean.error)):
        both = comparable.select([ledger.systems[row] for row in pair])
        of_both = Outcome(*(np.asarray(part)[:, pair] for part in draws))
        found.append(_compared(both, of_both, latency_price, abstention_price, level))
    return tuple(found)


def fieller_interval(
    numerator: Float[np.ndarray, " n"], denominator: Float[np.ndarray, " n"], level: float = 0.9
) -> FiellerInterval:
    """Returns the prices that a normal test of mean(numerator) = price · mean(denominator) keeps.

    Args:
        numerator: Dollars by which the one system is dearer, per query.
        denominator: Errors that it makes less, per query.
        level: One minus the level of the test.

    Raises:
        InvalidInputError: The level is not between 0 and 1, or there are less than two queries.

    References:
        Fieller (1954), Some problems in interval estimation, JRSS B 16(2).
    """
    _check_level(level)
    n = len(numerator)
    if n < 2:
        raise InvalidInputError(f"An interval needs at least two queries; got {n}.")
    z2 = NormalDist().inv_cdf(0.5 * (1.0 + level)) ** 2
    (xx, xy), (_, yy) = np.cov(numerator, denominator) / n
    x, y = float(np.mean(numerator)), float(np.mean(denominator))
    # Kept where square · price² − 2 · half · price + constant ≤ 0.
    square, half, constant = y * y - z2 * yy, x * y - z2 * xy, x * x - z2 * xx
    root2 = half * half - square * constant
    if root2 < 0 or square == 0:
        # Without any difference in errors only an infinite price can be kept.
        kind = "outside" if root2 == 0 and constant > 0 else "everything"
        return FiellerInterval(-_NEVER, _NEVER, kind)
    low, high = sorted((half + sign * np.sqrt(root2)) / square for sign in (-1.0, 1.0))
    return FiellerInterval(float(low), float(high), "inside" if square > 0 else "outside")


def _compared(
    both: Ledger, draws: Outcome, latency_price: float, abstention_price: float, level: float
) -> BreakEven:
    """Judges two systems by draws, and by the records themselves."""
    mean = both.outcomes()
    found = _judged(draws, mean, both.systems, latency_price, abstention_price, level)
    pair = both.select([found.other, found.accurate]).take(both.known)
    dollars = pair.losses(Prices(0.0, latency_price, abstention_price))
    interval = fieller_interval(dollars[1] - dollars[0], pair.wrong[0] - pair.wrong[1], level)
    return found._replace(fieller=interval)


def _judged(
    draws: Outcome,
    mean: Outcome,
    systems: Sequence[str],
    latency_price: float,
    abstention_price: float,
    level: float,
) -> BreakEven:
    _check_level(level)
    mean_base, mean_error = base_cost(mean, latency_price, abstention_price), mean.error
    accurate, other = (int(row) for row in np.lexsort((mean_base, mean_error)))
    base, error = base_cost(draws, latency_price, abstention_price), np.asarray(draws.error)
    dearer, gain = base[:, accurate] - base[:, other], error[:, other] - error[:, accurate]
    accurate_dominates = (dearer <= 0) & (gain >= 0)
    other_dominates = (dearer >= 0) & (gain <= 0) & ~accurate_dominates
    crossing, exchanged = (dearer > 0) & (gain > 0), (dearer < 0) & (gain < 0)
    price = dearer / np.where(crossing, gain, 1.0)
    price = np.where(crossing, price, np.where(accurate_dominates, 0.0, np.inf))
    tail = 0.5 * (1.0 - level)
    first, second = (
        Outcome(*(np.asarray(part)[row] for part in mean)) for row in (other, accurate)
    )
    return BreakEven(
        systems[other],
        systems[accurate],
        float(break_even_price(first, second, latency_price, abstention_price)),
        float("nan") if exchanged.all() else _quantile(price[~exchanged], 0.5),
        _quantile(np.where(exchanged, 0.0, price), tail),
        _quantile(np.where(exchanged, np.inf, price), 1.0 - tail),
        level,
        float(other_dominates.mean()),
        float(accurate_dominates.mean()),
        float(crossing.mean()),
        float(exchanged.mean()),
    )


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InvalidInputError(f"`level` must lie between 0 and 1; got {level}.")


def _quantile(values: Float[np.ndarray, " d"], share: float) -> float:
    # One of the values: between a number and infinity nothing can be interpolated.
    return float(np.quantile(values, share, method="inverted_cdf"))
