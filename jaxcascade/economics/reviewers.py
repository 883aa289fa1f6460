"""People who answer what models give up: what they cost, how long it takes, how they err."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import Prices
from jaxcascade.economics.ledger import Ledger
from jaxcascade.errors import InvalidInputError

ErrorRate = float | Mapping[str, float] | Callable[[np.ndarray], np.ndarray]
PERSON = "a person"


@dataclass(frozen=True)
class Human:
    """People who answer what is given up, and who make mistakes too.

    Attributes:
        error_rate: Probability of a wrong answer: one number, one per group of queries, or a
            function of the models' doubt that returns one per query.
        cost_usd: Dollars per query.
        latency_s: Seconds that the user waits for the person's answer.
        capacity_per_day: Queries that all people together can take in a day.

    Raises:
        InvalidInputError: A rate lies outside [0, 1], or an amount is negative.

    Example:
        >>> from jaxcascade.cascade import Prices
        >>> human = Human(error_rate=0.02, cost_usd=1.5, latency_s=600.0)
        >>> round(human.price_of_abstention(Prices(error=20.0, latency=0.001)), 6)
        2.5
    """

    error_rate: ErrorRate = 0.0
    cost_usd: float = 0.0
    latency_s: float = 0.0
    capacity_per_day: float = float("inf")

    def __post_init__(self) -> None:
        if isinstance(self.error_rate, Mapping):
            for group, rate in self.error_rate.items():
                _require_rates(f'`error_rate` of the group "{group}"', np.array(rate))
        elif not callable(self.error_rate):
            _require_rates("`error_rate`", np.array(self.error_rate))
        for name in ("cost_usd", "latency_s", "capacity_per_day"):
            if not getattr(self, name) >= 0:
                raise InvalidInputError(f"`{name}` must be at least 0; got {getattr(self, name)}.")

    def errors(
        self,
        num_queries: int,
        *,
        group: np.ndarray | None = None,
        doubt: Float[Array | np.ndarray, " n"] | None = None,
    ) -> Float[np.ndarray, " n"]:
        """Returns the probability of a wrong answer to each query.

        Args:
            num_queries: Number of queries.
            group: Group of each query, where `error_rate` is by group.
            doubt: What `error_rate` is a function of, where it is one; see `mean_doubt`.

        Raises:
            InvalidInputError: What the rate depends on is missing, or the rate is not in [0, 1].
        """
        rate = self.error_rate
        if isinstance(rate, Mapping):
            return _by_group(rate, group)
        if callable(rate):
            if doubt is None:
                raise InvalidInputError(
                    "This person's `error_rate` is a function of `doubt`: give one per query, for "
                    "example `mean_doubt(confidence)`."
                )
            found = np.asarray(rate(np.asarray(doubt)), float)
            if found.shape != (num_queries,):
                raise InvalidInputError(
                    f"`error_rate` must return one rate per query, {num_queries}; it returned an "
                    f"array of the shape {found.shape}."
                )
            _require_rates("`error_rate`", found)
            return found
        return np.full(num_queries, float(rate))

    def price_of_abstention(self, prices: Prices, error_rate: float | None = None) -> float:
        """Returns what giving a query to the person costs in all: cost + waiting + mistakes.

        Args:
            prices: Of an error and of a second; the price of an abstention is not read.
            error_rate: Mean over the queries that will be deferred, where the person's rate is not
                one number; see `accuracy_drag`.

        Raises:
            InvalidInputError: The person's rate is not one number, and no mean is given.
        """
        if error_rate is None:
            if isinstance(self.error_rate, Mapping) or callable(self.error_rate):
                raise InvalidInputError(
                    "This person's `error_rate` differs between queries: give `error_rate`, its "
                    "mean over the queries deferred (`accuracy_drag(...).deferred`)."
                )
            error_rate = self.error_rate
        waiting = float(prices.latency) * self.latency_s
        return self.cost_usd + waiting + float(prices.error) * error_rate


class AccuracyDrag(NamedTuple):
    """A person's mistakes on the queries deferred, per system; leading axes (*draws, s).

    Attributes:
        deferred: Error on the queries deferred; NaN where none is.
        overall: Error that the person would have on all queries.
        covariance: Of being deferred and of the person's error: share deferred times the drag.
    """

    deferred: Float[np.ndarray, "*draws s"]
    overall: Float[np.ndarray, "*draws s"]
    covariance: Float[np.ndarray, "*draws s"]

    @property
    def drag(self) -> Float[np.ndarray, "*draws s"]:
        """By how much the person is wrong more often on what is deferred than in general."""
        return self.deferred - self.overall


def with_human(
    ledger: Ledger, human: Human, *, doubt: Float[Array | np.ndarray, " n"] | None = None
) -> Ledger:
    """Lets a person answer what every system gave up.

    Dollars and seconds are added, and mistakes count by their probability, so that `wrong` is a
    share there. The person is one more in `models`; nothing is abstained any longer.

    Args:
        ledger: With abstentions.
        human: The person.
        doubt: Of each query, where the person's error depends on it.

    Raises:
        InvalidInputError: See `Human.errors`.
    """
    num_queries = ledger.queries.size
    errors = human.errors(num_queries, group=ledger.group, doubt=doubt)
    taken = ledger.abstained > 0
    # NaN, where the outcome is not known, stays.
    return replace(
        ledger,
        models=(*ledger.models, PERSON),
        wrong=np.where(taken, errors, ledger.wrong),
        abstained=0.0 * ledger.abstained,
        cost_usd=ledger.cost_usd + np.where(taken, human.cost_usd, 0.0),
        latency_s=ledger.latency_s + np.where(taken, human.latency_s, 0.0),
        answered_by=np.where(taken, len(ledger.models), ledger.answered_by),
    )


def accuracy_drag(
    ledger: Ledger,
    human: Human,
    *,
    doubt: Float[Array | np.ndarray, " n"] | None = None,
    weight: Float[np.ndarray, "*draws n"] | None = None,
) -> AccuracyDrag:
    """Measures how much harder the deferred queries are for the person.

    Deferred error = overall error + Cov(deferred, error) / share deferred, exactly.

    Args:
        ledger: With abstentions; queries that cannot be compared do not count.
        human: The person.
        doubt: Of each query, where the person's error depends on it.
        weight: Weight of each query, such as `bootstrap_weights` draws; equal by default.
    """
    errors = human.errors(ledger.queries.size, group=ledger.group, doubt=doubt)
    share = np.where(ledger.known, 1.0 if weight is None else weight, 0.0)
    share = share / share.sum(axis=-1, keepdims=True)
    taken = np.where(ledger.known, ledger.abstained, 0.0)
    deferred, together = share @ taken.T, share @ (taken * errors).T
    overall = (share @ errors)[..., None] * np.ones(len(ledger.systems))
    anybody = deferred > 0
    mean = np.where(anybody, together / np.where(anybody, deferred, 1.0), np.nan)
    return AccuracyDrag(mean, overall, together - deferred * overall)


def mean_doubt(confidence: Float[Array | np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """Returns one minus the mean confidence of the models that were asked, query by query."""
    return 1.0 - np.nanmean(np.asarray(confidence), axis=1)


def _by_group(rate: Mapping[str, float], group: np.ndarray | None) -> Float[np.ndarray, " n"]:
    if group is None:
        raise InvalidInputError(
            "This person's `error_rate` is by group, but the queries have no `group`."
        )
    lacking = sorted({str(name) for name in group if name not in rate})
    if lacking:
        raise InvalidInputError(
            f'`error_rate` must have a rate for every group; it has none for "{lacking[0]}".'
        )
    return np.array([rate[name] for name in group], float)


def _require_rates(name: str, rates: np.ndarray) -> None:
    if not np.all((rates >= 0) & (rates <= 1)):
        wrong = rates[~((rates >= 0) & (rates <= 1))]
        raise InvalidInputError(f"{name} must lie in [0, 1]; got {wrong.flat[0]}.")
