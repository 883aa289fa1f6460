"""Guarantees that hold at a finite number of queries, whatever the model: bounds and tests.

The queries of the test are taken to be independent draws from the traffic to come, and to be
others than those that the policies were tuned on. Nothing else is assumed, above all not that the
fitted model is right.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from jaxcascade.cascade import Policy
from jaxcascade.cascade.policy import ABSTAIN
from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.records import Records
from jaxcascade.tuning.corrections import Bonferroni, Correction, FixedSequence
from jaxcascade.tuning.evaluate import replay_policies
from jaxcascade.tuning.frontier import Frontier
from jaxcascade.tuning.mean_bounds import MeanBound, check_delta, mean_bounds, mean_p_values
from jaxcascade.tuning.risks import JointError, Risk


class RiskBounds(NamedTuple):
    """Upper confidence bounds on the risk of every point of a frontier.

    Attributes:
        counted: Mean on the test records.
        alone: Holds for one point that was named before the test records were seen.
        together: Hold for all points at once, and so for one picked after looking too.
        num_queries: Queries that count.
    """

    counted: Float[np.ndarray, " p"]
    alone: Float[np.ndarray, " p"]
    together: Float[np.ndarray, " p"]
    num_queries: Int[np.ndarray, " p"]


class Guarantees(NamedTuple):
    """Which points of a frontier keep a limit.

    With a probability of 1 - `delta` over the test records, the risk of every certified point is
    at most `limit`, so any of them may be picked, by any rule.

    Attributes:
        limit: On the risk.
        delta: Probability that some certified point is above the limit after all.
        is_certified: By point.
        p_value: Of "the risk is above the limit", each on its own.
        bounds: Upper bounds, at the same `delta`. That certificates and bounds hold all at once is
            another statement, which may fail with up to twice that.
        cost_usd: Mean dollars per query on the test records.
    """

    limit: float
    delta: float
    is_certified: Bool[np.ndarray, " p"]
    p_value: Float[np.ndarray, " p"]
    bounds: RiskBounds
    cost_usd: Float[np.ndarray, " p"]

    @property
    def cheapest(self) -> int | None:
        """Position of the cheapest certified point by `cost_usd`; None where none is certified."""
        if not self.is_certified.any():
            return None
        return int(np.argmin(np.where(self.is_certified, self.cost_usd, np.inf)))


def risk_bounds(
    key: PRNGKeyArray,
    frontier: Frontier,
    records: Records,
    delta: float,
    risk: Risk | None = None,
    bound: MeanBound | None = None,
) -> RiskBounds:
    """Bounds the risk of every point: for each alone, and for all at once.

    For all at once, `delta` is shared equally by the policies that differ (Bonferroni).

    Args:
        key: Shuffles the queries, which bets depend on.
        frontier: Tuned on other records; see `tune`.
        records: Labelled runs of the models that the policies ask. Queries for which a needed
            cell or label is missing are left out, point by point; that is right where being
            missing has nothing to do with how the policy would have fared.
        delta: Probability that a bound may fail, in (0, 1).
        risk: What is bounded, `JointError()` by default.
        bound: How; exact binomial for errors and bets for dollars by default.

    Raises:
        InvalidInputError: `delta` is not in (0, 1), or a query exceeds the risk's upper limit.
        UnknownModelError: The records lack a model that a policy asks.
        RecordsError: No query counts at some point.
        PrecisionError: JAX runs in single precision.
    """
    return _bounds(_sampled(key, frontier, records, risk or JointError()), delta, bound)


def guarantees(
    key: PRNGKeyArray,
    frontier: Frontier,
    records: Records,
    limit: float,
    delta: float,
    risk: Risk | None = None,
    bound: MeanBound | None = None,
    correction: Correction | None = None,
) -> Guarantees:
    """Certifies points of a frontier whose risk is at most a limit (learn then test).

    Policies are tested in the order of predicted risk, safest first: what the fitted model expects
    and what was counted in training, half each. No test record has a part in the order, and a bad
    prediction can cost certificates but not the level.

    Args:
        key: Shuffles the queries, which bets depend on.
        frontier: Tuned on other records; see `tune`.
        records: As in `risk_bounds`.
        limit: On the risk, above 0.
        delta: Probability that any certified point is above the limit, in (0, 1).
        risk: As in `risk_bounds`.
        bound: As in `risk_bounds`.
        correction: How many policies are tested at once; `FixedSequence()` by default.

    Returns:
        What is certified, with bounds.

    Raises:
        InvalidInputError: As in `risk_bounds`, or the limit says nothing.
        UnknownModelError: The records lack a model that a policy asks.
        RecordsError: No query counts at some point.
        PrecisionError: JAX runs in single precision.

    References:
        Angelopoulos, Bates, Candès, Jordan and Lei (2021), Learn then test: calibrating predictive
        algorithms to achieve risk control, arXiv:2110.01052.
    """
    risk, correction = risk or JointError(), correction or FixedSequence()
    largest = float(np.max(risk.largest()))
    if not 0 < limit < largest:
        raise InvalidInputError(
            f"`limit` must lie strictly between 0 and {largest:.6g}, which no query can exceed; "
            f"got {limit}."
        )
    sample = _sampled(key, frontier, records, risk)
    bounds = _bounds(sample, delta, bound)
    predicted = [
        risk.predicted(point.expected) + risk.predicted(point.training)
        for point in (frontier.points[p] for p in sample.first)
    ]
    # A risk of which nothing is predicted comes last: it is NaN.
    order = np.argsort(predicted, kind="stable")
    level = correction.level(delta, order.size)
    bound = bound or risk.usual_bound()
    p_values = mean_p_values(sample.values, limit, bound, sample.upper, level)
    rejected = np.zeros(order.size, bool)
    rejected[order] = correction.rejects(p_values[order], delta)
    at = sample.policy
    return Guarantees(limit, delta, rejected[at], p_values[at], bounds, sample.cost_usd[at])


class _Sample(NamedTuple):
    """Risks of the `h` policies of a frontier that differ; many prices share one.

    Attributes:
        values: Of each query.
        upper: What none can exceed.
        cost_usd: Mean dollars per query.
        risk: What is bounded.
        policy: Position of each point's policy.
        first: First point of each policy.
    """

    values: Float[np.ndarray, "h n"]
    upper: Float[np.ndarray, " h"]
    cost_usd: Float[np.ndarray, " h"]
    risk: Risk
    policy: Int[np.ndarray, " p"]
    first: Int[np.ndarray, " h"]


def _sampled(key: PRNGKeyArray, frontier: Frontier, records: Records, risk: Risk) -> _Sample:
    order = np.asarray(jax.random.permutation(key, records.num_queries))
    result = replay_policies(frontier, records.take(order))
    values, points = risk.values(result), len(frontier.points)
    # A query that is given up is known, whether it counts or not.
    known = ~np.isnan(values) | (np.asarray(result.route.ended_by) == ABSTAIN)
    if not known.any(axis=1).all():
        point = int(np.argmin(known.any(axis=1)))
        raise RecordsError(
            f"Point {point} of the frontier cannot be judged: no query has all that its policy "
            "and the risk need. Record the models that it asks, with labels."
        )
    largest = risk.largest()
    if largest.shape not in ((), (points,)):
        raise InvalidInputError(
            f"`upper_usd` must be one number or one per point of the frontier, {points}; it has "
            f"the shape {largest.shape}."
        )
    policy, first = _distinct([point.policy for point in frontier.points])
    upper = np.broadcast_to(largest, points)
    cost = _means(np.asarray(result.cost_usd))
    return _Sample(values[first], upper[first], cost[first], risk, policy, first)


def _bounds(sample: _Sample, delta: float, bound: MeanBound | None) -> RiskBounds:
    bound = bound or sample.risk.usual_bound()
    check_delta(delta)
    alone, together = (
        mean_bounds(sample.values, level, bound, sample.upper)
        for level in (delta, Bonferroni().level(delta, sample.first.size))
    )
    count = np.sum(~np.isnan(sample.values), axis=1)
    columns = (_means(sample.values), alone, together, count)
    return RiskBounds(*(column[sample.policy] for column in columns))


def _means(values: Float[np.ndarray, "h n"]) -> Float[np.ndarray, " h"]:
    """Means of what is known; NaN where nothing is."""
    count = np.sum(~np.isnan(values), axis=1)
    return np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)


def _distinct(
    policies: Sequence[Policy],
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " h"]]:
    """Position of each among those that differ, and where each of these stands first."""
    seen: list[Policy] = []
    at = []
    for policy in policies:
        if policy not in seen:
            seen.append(policy)
        at.append(seen.index(policy))
    return np.array(at), np.array([at.index(i) for i in range(len(seen))])
