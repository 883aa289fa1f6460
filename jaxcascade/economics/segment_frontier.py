"""Groups of queries at every price of a frontier: whether each wants its own policy, and where."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np
import pyarrow as pa
from jaxtyping import Float, PRNGKeyArray

from jaxcascade.cascade import Outcome, Prices, loss
from jaxcascade.economics.candidates import candidate_ledger, recommended_system
from jaxcascade.economics.segments import Segments, segments
from jaxcascade.economics.sharing import (
    LossFromSharing,
    SegmentChoice,
    choose_per_segment,
    loss_from_sharing,
)
from jaxcascade.errors import InvalidInputError
from jaxcascade.records import Records
from jaxcascade.tuning import Frontier, Point


class SegmentPoint(NamedTuple):
    """One set of prices.

    Attributes:
        prices: Of error, seconds and abstention.
        recommended: Position of the frontier's policy among the systems.
        choice: The best system for all groups, and for each.
        held_out: What that saves, judged on queries that had no say.
    """

    prices: Prices
    recommended: int
    choice: SegmentChoice
    held_out: LossFromSharing


class SegmentFrontier(NamedTuple):
    """A frontier, group by group.

    Attributes:
        systems: The frontier's distinct policies and single models, see `frontier_systems`.
        by_group: What each of them did in each group.
        points: One per price of an error, increasing.
    """

    systems: tuple[str, ...]
    by_group: Segments
    points: tuple[SegmentPoint, ...]

    @property
    def error_prices(self) -> Float[np.ndarray, " p"]:
        """Dollars per wrong answer."""
        return np.array([float(point.prices.error) for point in self.points])

    @property
    def shared_loss(self) -> Float[np.ndarray, " p"]:
        """Held-out dollars per query of one policy for all."""
        counts = self.by_group.num_queries
        losses = np.array([point.held_out.shared_loss for point in self.points])
        return losses @ counts / counts.sum()

    @property
    def gain(self) -> Float[np.ndarray, " p"]:
        """Held-out dollars per query that own policies save; negative where they cost."""
        return np.array([point.held_out.total_gain for point in self.points])

    @property
    def gain_standard_error(self) -> Float[np.ndarray, " p"]:
        """Standard error of `gain`."""
        return np.array([point.held_out.total_standard_error for point in self.points])

    def losses(self, point: SegmentPoint) -> Float[np.ndarray, " g"]:
        """Dollars per query of the recommended policy in each group, everything at its price."""
        return np.asarray(loss(self.outcome(point), point.prices))

    def outcome(self, point: SegmentPoint) -> Outcome:
        """Means of the recommended policy in each group."""
        return Outcome(*(part[:, point.recommended] for part in self.by_group.outcome))


def segment_frontier(
    key: PRNGKeyArray,
    frontier: Frontier,
    records: Records,
    error_prices: Iterable[float] | None = None,
) -> SegmentFrontier:
    """Chooses for all groups and for each, among a frontier's policies, at many prices.

    Args:
        key: Deals queries into folds, see `loss_from_sharing`.
        frontier: See `tune`.
        records: Labelled runs with groups that the frontier has not seen.
        error_prices: Dollars per wrong answer, increasing; seconds and abstention are priced as
            where the frontier is nearest. By default, the frontier's own.

    Raises:
        InvalidInputError: The records have no groups, or a price is not above 0.
        RecordsError: Too few queries can be compared.
        UnknownModelError: The records lack a model that a policy asks.
    """
    points = frontier.points if error_prices is None else _near(frontier, error_prices)
    ledger = candidate_ledger(frontier, records)
    found = tuple(
        SegmentPoint(
            point.prices,
            ledger.position(recommended_system(frontier, point)),
            choose_per_segment(ledger, point.prices),
            loss_from_sharing(one, ledger, point.prices),
        )
        for one, point in zip(jax.random.split(key, len(points)), points, strict=True)
    )
    return SegmentFrontier(ledger.systems, segments(ledger), found)


def _near(frontier: Frontier, error_prices: Iterable[float]) -> tuple[Point, ...]:
    """The frontier's nearest point to each price, at that price."""
    points = []
    for price in error_prices:
        if not 0 < price < np.inf:
            raise InvalidInputError(f"The price of an error must be above 0 dollars; got {price}.")
        point = frontier.at_price(price)
        points.append(point._replace(prices=point.prices._replace(error=price)))
    return tuple(points)


def segment_table(found: SegmentFrontier) -> pa.Table:
    """Lays out a frontier by group: a row per price and group, dollars and errors per query.

    Columns `error`, `cost_usd` and `loss` are of the frontier's `policy`; `gain` is what the
    group's `own_policy` saves on held-out queries against `shared_policy`.
    """
    rows = []
    for point in found.points:
        outcome, losses = found.outcome(point), found.losses(point)
        for g, name in enumerate(found.by_group.names):
            rows.append(
                {
                    "price_of_error": float(point.prices.error),
                    "group": name,
                    "num_queries": int(found.by_group.num_queries[g]),
                    "policy": found.systems[point.recommended],
                    "error": float(outcome.error[g]),
                    "cost_usd": float(outcome.cost_usd[g]),
                    "loss": float(losses[g]),
                    "shared_policy": found.systems[point.choice.shared],
                    "own_policy": found.systems[point.choice.own[g]],
                    "gain": float(point.held_out.gain[g]),
                    "gain_standard_error": float(point.held_out.gain_standard_error[g]),
                }
            )
    return pa.Table.from_pylist(rows)
