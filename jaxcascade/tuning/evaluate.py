"""A frontier on records that it has not seen: what it did, against the best single model."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.cascade import (
    Outcome,
    Policy,
    Prices,
    Replay,
    mean_outcome,
    observations,
    replay,
    replayable,
    stack_policies,
)
from jaxcascade.errors import RecordsError
from jaxcascade.records import Records
from jaxcascade.tuning.choose import query_losses
from jaxcascade.tuning.frontier import Frontier
from jaxcascade.tuning.paired import paired


class Evaluation(NamedTuple):
    """One row per point of the frontier.

    Attributes:
        outcome: Means over the queries that can be replayed.
        loss: Dollars per query of the recommended policies.
        single_loss: Dollars per query of the single models chosen in training.
        gain_standard_error: Standard error of the mean difference, paired by query.
        log_ratio_standard_error: Standard error of the mean over prices of log(`ratio`).
        num_queries: Queries behind each point.
        singles: Outcome of each model on its own, in the order of the frontier's models.
    """

    outcome: Outcome
    loss: Float[np.ndarray, " p"]
    single_loss: Float[np.ndarray, " p"]
    gain_standard_error: Float[np.ndarray, " p"]
    log_ratio_standard_error: float
    num_queries: Int[np.ndarray, " p"]
    singles: Outcome

    @property
    def ratio(self) -> Float[np.ndarray, " p"]:
        """Loss of the recommendation over that of the best single model; below 1 is a gain."""
        free = self.single_loss == 0
        return np.where(free, 1.0, self.loss / np.where(free, 1.0, self.single_loss))

    @property
    def mean_ratio(self) -> float:
        """Geometric mean of `ratio` over the prices."""
        return float(np.exp(np.mean(np.log(np.maximum(self.ratio, 1e-12)))))


def evaluate(frontier: Frontier, records: Records) -> Evaluation:
    """Replays every recommended policy and its single model on labelled records.

    Args:
        frontier: See `tune`.
        records: Runs of the models that the policies ask; others may be missing.

    Returns:
        What happened, one row per point.

    Raises:
        UnknownModelError: The records lack a model that a policy asks.
        RecordsError: No query can be judged at some point.
    """
    arranged = frontier.arrange(records)
    confidence, data = frontier.calibrate(records), observations(arranged)
    prices = _stacked_prices(frontier)
    chosen = replay_policies(frontier, records)
    singles = [Policy.single(point.best_single) for point in frontier.points]
    single = replay(stack_policies(singles, frontier.models), confidence, data)
    losses, single_losses = (np.asarray(query_losses(r, prices)) for r in (chosen, single))
    found = paired(losses, single_losses)
    count = found.num_queries
    if np.any(count < 2):
        point = int(np.argmin(count))
        raise RecordsError(
            f"Point {point} of the frontier cannot be judged: only {count[point]} queries have a "
            "labelled run of every model that its policy and its single model ask."
        )
    both = ~np.isnan(losses) & ~np.isnan(single_losses)
    return Evaluation(
        jax.vmap(mean_outcome, in_axes=(0, 0, None))(
            chosen, jnp.asarray(both, float), len(frontier.models)
        ),
        found.policy_loss,
        found.single_loss,
        found.gain_standard_error,
        found.log_ratio_standard_error,
        count,
        _single_outcomes(frontier, confidence, arranged),
    )


def replay_policies(frontier: Frontier, records: Records) -> Replay:
    """Follows every point's policy on every query; labels are not needed.

    Raises:
        UnknownModelError: The records lack a model that a policy asks.
    """
    policies = stack_policies([point.policy for point in frontier.points], frontier.models)
    data = observations(frontier.arrange(records))
    return replay(policies, frontier.calibrate(records), data)


def _stacked_prices(frontier: Frontier) -> Prices:
    columns = zip(*(point.prices for point in frontier.points), strict=True)
    return Prices(*(np.array(column) for column in columns))


def _single_outcomes(
    frontier: Frontier, confidence: Float[Array, "n k"], records: Records
) -> Outcome:
    singles = stack_policies([Policy.single(name) for name in frontier.models], frontier.models)
    result = replay(singles, confidence, observations(records))
    usable = jnp.asarray(replayable(result), float)
    return jax.vmap(mean_outcome, in_axes=(0, 0, None))(result, usable, len(frontier.models))
