"""Prices that are not known for sure: stated as quantiles, and what it is worth to know them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcascade.cascade import Outcome
from jaxcascade.economics.pricing import base_cost
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning import break_even_prices

_NORMAL = NormalDist()


@dataclass(frozen=True)
class LogNormalPrice:
    """A price whose logarithm is normal.

    Attributes:
        mean_log: Mean of the natural logarithm of the dollars; the median price is its exponential.
        sd_log: Its standard deviation, at least 0.
    """

    mean_log: float
    sd_log: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean_log) and np.isfinite(self.sd_log) and self.sd_log >= 0):
            raise InvalidInputError(
                "`mean_log` and `sd_log` must be finite, `sd_log` at least 0; got "
                f"{self.mean_log} and {self.sd_log}."
            )

    @property
    def mean(self) -> float:
        """Expected price in dollars."""
        return float(np.exp(self.mean_log + 0.5 * self.sd_log**2))

    def quantile(self, level: float) -> float:
        """Price that is exceeded with probability 1 - `level`, in dollars."""
        return float(np.exp(self.mean_log + self.sd_log * _NORMAL.inv_cdf(level)))

    def probability_below(self, price: float) -> float:
        """Probability that the price is at most so many dollars."""
        return self._normal_below(price, 0.0)

    def mean_below(self, price: float) -> float:
        """Expectation of the price where it is at most so many dollars, of 0 elsewhere."""
        return self.mean * self._normal_below(price, self.sd_log)

    def _normal_below(self, price: float, shift: float) -> float:
        if price <= 0:
            return 0.0
        if self.sd_log == 0:
            return float(np.log(price) >= self.mean_log)
        return _NORMAL.cdf((np.log(price) - self.mean_log) / self.sd_log - shift)


@dataclass(frozen=True)
class PriceBelief:
    """What is believed about prices, independently of each other.

    Attributes:
        error: Dollars per wrong answer.
        latency: Dollars per second; a number where it is known.
        abstention: Dollars per query given up.
    """

    error: LogNormalPrice
    latency: LogNormalPrice | float = 0.0
    abstention: float = float("inf")


class BeliefChoice(NamedTuple):
    """The choice among systems when prices are uncertain.

    Attributes:
        best: Position of the system with the least expected loss.
        expected_loss: Dollars per query of each system. Losses are linear in the prices, so that
            it is the loss at the expected prices.
        probability: Probability of a price at which each system is the best on average.
        perfect_information: What it is worth to learn the prices before choosing, in dollars per
            query.
    """

    best: int
    expected_loss: Float[np.ndarray, " s"]
    probability: Float[np.ndarray, " s"]
    perfect_information: float


def lognormal_from_quantiles(levels: Sequence[float], values: Sequence[float]) -> LogNormalPrice:
    """Turns statements like "nineteen to one that it is below $100" into a log-normal law.

    Args:
        levels: Increasing probabilities in (0, 1), at least two.
        values: Dollars that the price is below with those probabilities, increasing.

    Returns:
        The law with those quantiles where there are two; of more, the one nearest in the squares
        of the logarithms.

    Raises:
        InvalidInputError: There are less than two quantiles, they do not increase, or lie outside
            their range.

    Example:
        >>> price = lognormal_from_quantiles([0.05, 0.95], [1.0, 100.0])
        >>> round(price.quantile(0.5), 6), round(price.mean, 2)
        (10.0, 26.64)
    """
    level, value = np.asarray(levels, float), np.asarray(values, float)
    for name, numbers, top in (("levels", level, 1.0), ("values", value, np.inf)):
        inside = np.all((numbers > 0) & (numbers < top)) and np.all(np.diff(numbers) > 0)
        if numbers.ndim != 1 or numbers.size < 2 or not inside:
            raise InvalidInputError(
                f"`{name}` must be at least two increasing numbers above 0"
                + (f" and below {top:g}" if np.isfinite(top) else "")
                + f"; got {numbers.tolist()}."
            )
    if level.size != value.size:
        raise InvalidInputError(
            f"`values` must have one price per level, {level.size}; got {value.size}."
        )
    score = np.array([_NORMAL.inv_cdf(one) for one in level.tolist()])
    centred, logs = score - score.mean(), np.log(value)
    sd = float(centred @ logs / (centred @ centred))
    return LogNormalPrice(float(logs.mean() - sd * score.mean()), sd)


def best_under_belief(
    outcome: Outcome, belief: PriceBelief, *, num_nodes: int = 40
) -> BeliefChoice:
    """Chooses a system when prices are uncertain, and says what knowing them is worth.

    At a known price of a second, all is exact: which system is the best changes at a few prices of
    an error, and between them the least loss is linear. Over an uncertain price of a second it is
    averaged by Gauss and Hermite's rule.

    Args:
        outcome: Axes (draws, systems), averaged over draws first, or (systems).
        belief: Prices.
        num_nodes: Nodes of the rule.

    Raises:
        InvalidInputError: See `check_priceable`.
    """
    error, abstention, cost, latency = (
        np.asarray(part).reshape(-1, np.shape(part)[-1]).mean(axis=0) for part in outcome[:4]
    )
    mean = Outcome(error, abstention, cost, latency, np.zeros((error.size, 0)))
    prices, weights = _nodes(belief.latency, num_nodes)
    least, probability = 0.0, np.zeros(error.size)
    for price, weight in zip(prices.tolist(), weights.tolist(), strict=True):
        base = base_cost(mean, price, belief.abstention)
        least_here, probability_here = _envelope(base, error, belief.error)
        least, probability = least + weight * least_here, probability + weight * probability_here
    second = belief.latency.mean if isinstance(belief.latency, LogNormalPrice) else belief.latency
    expected = base_cost(mean, second, belief.abstention) + belief.error.mean * error
    best = int(expected.argmin())
    return BeliefChoice(best, expected, probability, max(0.0, float(expected[best] - least)))


def _envelope(
    base: Float[np.ndarray, " s"], error: Float[np.ndarray, " s"], price: LogNormalPrice
) -> tuple[float, Float[np.ndarray, " s"]]:
    """Expectation over the price of an error of the least loss, and who attains it how often."""
    steps = break_even_prices(base, error)
    first = steps[0][1] if steps else int(np.lexsort((error, base))[0])
    owners = [first, *(above for _, _, above in steps)]
    ends = [0.0, *(at for at, _, _ in steps), np.inf]
    mass = np.diff([price.probability_below(end) for end in ends])
    dollars = np.diff([price.mean_below(end) for end in ends])
    probability = np.zeros(error.size)
    np.add.at(probability, owners, mass)
    return float(mass @ base[owners] + dollars @ error[owners]), probability


def _nodes(
    price: LogNormalPrice | float, num_nodes: int
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    if not isinstance(price, LogNormalPrice):
        return np.array([price], float), np.ones(1)
    score, weight = np.polynomial.hermite_e.hermegauss(num_nodes)
    return np.exp(price.mean_log + price.sd_log * score), weight / weight.sum()


def price_of_error_by_bayes(
    cost_given_cause: float, p_error_given_cause: float, p_cause: float, p_error: float
) -> float:
    """Prices an error by the rare cause that makes it dear: E[cost | cause] P(cause | error).

    Args:
        cost_given_cause: Dollars that an error costs where the cause is present.
        p_error_given_cause: Probability of an error where it is.
        p_cause: Probability of the cause.
        p_error: Probability of an error, above 0.

    Returns:
        Expected dollars per error.

    Raises:
        InvalidInputError: A probability lies outside [0, 1], the cost is negative or not finite,
            or the errors under the cause are more than all errors.

    References:
        Zellinger and Thomson (2025), arXiv:2507.03834.

    Example:
        A malpractice suit of $500,000 follows one in 100,000 questions, two thirds of which were
        answered wrongly; of all questions, one in a hundred is.

        >>> round(price_of_error_by_bayes(500_000, 2 / 3, 1e-5, 0.01), 2)
        333.33
    """
    probabilities = {
        "p_error_given_cause": p_error_given_cause,
        "p_cause": p_cause,
        "p_error": p_error,
    }
    for name, value in probabilities.items():
        if not 0 <= value <= 1 or (name == "p_error" and value == 0):
            lowest = "above 0 and at most 1" if name == "p_error" else "in [0, 1]"
            raise InvalidInputError(f"`{name}` must be a probability {lowest}; got {value}.")
    if not (cost_given_cause >= 0 and np.isfinite(cost_given_cause)):
        raise InvalidInputError(
            f"`cost_given_cause` must be finite and at least 0 dollars; got {cost_given_cause}."
        )
    joint = p_error_given_cause * p_cause
    if joint > p_error:
        raise InvalidInputError(
            f"`p_error` must be at least p_error_given_cause * p_cause, {joint:g}, the errors "
            f"under the cause alone; got {p_error}."
        )
    return cost_given_cause * joint / p_error
