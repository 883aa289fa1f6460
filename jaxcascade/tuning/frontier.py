"""The frontier: the recommended policy at every price of an error, and all it takes to use it."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.calibration import Calibrator
from jaxcascade.cascade import Outcome, Policy, Prices, calibrate
from jaxcascade.errors import InvalidInputError, UnknownModelError
from jaxcascade.records import Records
from jaxcascade.tuning.reference import Reference


class Point(NamedTuple):
    """The recommendation at one set of prices.

    Attributes:
        prices: Dollars per error, second and abstention.
        policy: What to do.
        kind: "single", "pair", "chain" (thresholds) or "pool" (optimal stopping with skips).
        expected: What the fitted model predicts for the policy.
        training: What the policy did on the training records.
        best_single: The single model to compare with, chosen on the same records.
    """

    prices: Prices
    policy: Policy
    kind: str
    expected: Outcome
    training: Outcome
    best_single: str


class HeldOut(NamedTuple):
    """Cross-validated comparison with the best single model, per price.

    Each query is judged by a policy and a single model that were both chosen without it.

    Attributes:
        policy_loss: Mean loss of the recommended policies, dollars per query.
        single_loss: Mean loss of the best single models.
        gain_standard_error: Standard error of the mean difference, over queries and over what
            is chosen from them (Nadeau and Bengio 2003, eq. 9, for five folds).
        log_ratio_standard_error: The same for the mean over prices of log(policy's loss / single
            model's loss).
    """

    policy_loss: Float[np.ndarray, " p"]
    single_loss: Float[np.ndarray, " p"]
    gain_standard_error: Float[np.ndarray, " p"]
    log_ratio_standard_error: float

    @property
    def gain(self) -> Float[np.ndarray, " p"]:
        """Dollars per query that the recommendation saves; negative where it costs."""
        return self.single_loss - self.policy_loss


class Bands(NamedTuple):
    """How sure the joint model's posterior is of what the policies bring, per price.

    Attributes:
        level: Probability of each interval.
        error: Low end, median and high end of the probability of a wrong answer.
        cost_usd: The same of dollars per query.
        loss: The same of the loss.
        whole_loss: Low and high end of a band that holds the loss at all prices at once.
        beats_single: Probability that the policy loses less than the best single model; NaN where
            it is that model.
    """

    level: float
    error: Float[np.ndarray, "p 3"]
    cost_usd: Float[np.ndarray, "p 3"]
    loss: Float[np.ndarray, "p 3"]
    whole_loss: Float[np.ndarray, "p 2"]
    beats_single: Float[np.ndarray, " p"]


class Frontier(NamedTuple):
    """Recommended policies over a grid of prices.

    Attributes:
        models: Names, cheapest first.
        cost_usd: Mean dollars per call of each model in the training records.
        latency_s: Mean seconds per call; NaN where not recorded.
        calibrators: One per model, stacked.
        points: In the order of increasing price of an error.
        held_out: Cross-validated gains; None where there were too few queries to hold any out.
        bands: Posterior uncertainty; None where it was not asked for. See `posterior.with_bands`.
        reference: Confidence in training, which tells later whether it has drifted; None in files
            from before it was kept. See `economics.monitor`.
    """

    models: tuple[str, ...]
    cost_usd: Float[np.ndarray, " k"]
    latency_s: Float[np.ndarray, " k"]
    calibrators: Calibrator
    points: tuple[Point, ...]
    held_out: HeldOut | None
    bands: Bands | None = None
    reference: Reference | None = None

    @property
    def error_prices(self) -> Float[np.ndarray, " p"]:
        """Price of an error at each point, in dollars."""
        return np.array([point.prices.error for point in self.points])

    def at_price(self, error: float) -> Point:
        """Returns the point whose price of an error is nearest in ratio.

        Args:
            error: Dollars per wrong answer, above 0.
        """
        if not error > 0:
            raise InvalidInputError(f"`error` must be a price above 0 dollars; got {error}.")
        return self.points[int(np.argmin(np.abs(np.log(self.error_prices / error))))]

    def calibrate(self, records: Records) -> Float[Array, "n k"]:
        """Returns calibrated confidences of records that hold all models a policy may need.

        Raises:
            UnknownModelError: The records lack a model that some policy asks.
        """
        return calibrate(self.calibrators, jnp.asarray(self.arrange(records).log_confidence))

    def arrange(self, records: Records) -> Records:
        """Puts records in the order of `models`, blank where no policy needs a model."""
        needed = {name for point in self.points for name in point.policy.rules}
        lacking = sorted(needed - set(records.models), key=self.models.index)
        if lacking:
            raise UnknownModelError(
                f'The frontier asks "{lacking[0]}" but the records have no such model; they have '
                + ", ".join(f'"{name}"' for name in records.models)
                + ". Record its runs, or tune without it."
            )
        return _arranged(records, self.models)


def _arranged(records: Records, models: Sequence[str]) -> Records:
    blank = np.full((records.num_queries, 1), np.nan)
    at = [records.models.index(name) if name in records.models else -1 for name in models]

    def pick(cells: np.ndarray) -> np.ndarray:
        return np.hstack([cells, blank])[:, at]

    latency = records.latency_s
    return Records(
        queries=records.queries,
        models=tuple(models),
        log_confidence=pick(records.log_confidence),
        correct=pick(records.correct),
        cost_usd=pick(records.cost_usd),
        latency_s=None if latency is None else pick(latency),
        group=records.group,
    )
