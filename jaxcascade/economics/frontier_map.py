"""Where a tuned policy beats every single model: the choice at each point of frontiers."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import Outcome, Prices
from jaxcascade.economics.best_system import Choice, PriceMap, best_system
from jaxcascade.economics.bootstrap import bootstrap_outcomes
from jaxcascade.economics.candidates import candidate_ledger, recommended_system
from jaxcascade.errors import InvalidInputError
from jaxcascade.records import Records
from jaxcascade.tuning import Frontier

RECOMMENDED = "recommended"


class FrontierMap(NamedTuple):
    """Single models and recommended policies, compared at the policies' own prices.

    Attributes:
        systems: Names of the single models, and last "recommended": the policy of the frontier's
            point, where it asks several models. Where it asks one, it is that one, and the last
            has an unknown loss and is never the best.
        prices: The choice at each pair of prices.
    """

    systems: tuple[str, ...]
    prices: PriceMap


def frontier_map(
    key: Array,
    frontiers: Sequence[Frontier],
    records: Records,
    *,
    num_draws: int = 1000,
    tail: float = 0.05,
) -> FrontierMap:
    """Compares the recommendation at each price with every single model, on unseen records.

    Args:
        key: Random key; all frontiers are judged by the same draws.
        frontiers: Tuned at several prices of a second, increasing, on one grid of prices of an
            error and one price of abstention.
        records: Labelled runs that none of them has seen, with seconds where those are priced.
        num_draws: Draws of the Bayesian bootstrap.
        tail: See `price_map`.

    Raises:
        InvalidInputError: The frontiers are of different grids or models, or their prices of a
            second do not increase, or see `price_map`.
        UnknownModelError: The records lack a model that some policy asks.
    """
    latency_prices = _checked_prices(frontiers)
    columns, singles = [], []
    for frontier in frontiers:
        ledger = candidate_ledger(frontier, records)
        draws = bootstrap_outcomes(key, ledger, num_draws)
        singles = [name for name in frontier.models if name in ledger.systems]
        alone = [ledger.position(name) for name in singles]
        points = []
        for point in frontier.points:
            policy = ledger.position(recommended_system(frontier, point))
            points.append(_at_point(draws, alone, policy, point.prices, tail))
        columns.append(jax.tree.map(lambda *parts: np.stack(parts), *points))
    choice = jax.tree.map(lambda *parts: np.stack(parts, axis=1), *columns)
    systems = (*singles, RECOMMENDED)
    return FrontierMap(systems, PriceMap(frontiers[0].error_prices, latency_prices, choice))


def _at_point(draws: Outcome, alone: list[int], policy: int, prices: Prices, tail: float) -> Choice:
    several = policy not in alone
    rows = [*alone, policy] if several else alone
    picked = Outcome(*(np.asarray(part)[:, rows] for part in draws))
    found = best_system(picked, *(float(np.asarray(price)) for price in prices), tail=tail)
    if several:
        return found
    return found._replace(
        expected_loss=np.append(found.expected_loss, np.nan),
        probability=np.append(found.probability, 0.0),
    )


def _checked_prices(frontiers: Sequence[Frontier]) -> Float[np.ndarray, " l"]:
    if not frontiers:
        raise InvalidInputError("`frontiers` must hold at least one frontier; it is empty.")
    first = frontiers[0]
    for one in frontiers:
        alike = (
            one.models == first.models
            and np.array_equal(one.error_prices, first.error_prices)
            and one.points[0].prices.abstention == first.points[0].prices.abstention
        )
        if not alike:
            raise InvalidInputError(
                "`frontiers` must be of the same models, prices of an error and price of "
                "abstention; tune them with the same `error_prices`."
            )
    prices = np.array([float(one.points[0].prices.latency) for one in frontiers])
    if np.any(np.diff(prices) <= 0):
        raise InvalidInputError(
            f"`frontiers` must be tuned at increasing prices of a second; got {prices.tolist()}."
        )
    return prices
