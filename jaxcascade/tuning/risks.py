"""What a guarantee can be about: errors, cost, loss."""

import abc

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxcascade.cascade import Outcome, Policy, Prices, Replay, loss, replayable
from jaxcascade.cascade.policy import ACCEPT, MISSING
from jaxcascade.records import Records
from jaxcascade.tuning.choose import query_losses
from jaxcascade.tuning.frontier import Frontier
from jaxcascade.tuning.mean_bounds import Betting, ExactBinomial, MeanBound


class Risk(eqx.Module):
    """A mean over queries that a guarantee is about."""

    @abc.abstractmethod
    def values(self, result: Replay) -> Float[np.ndarray, "p n"]:
        """Returns its value for every replayed query; NaN where it is not known or not counted."""

    @abc.abstractmethod
    def predicted(self, outcome: Outcome) -> float:
        """Returns its mean under an expected or a counted outcome."""

    @abc.abstractmethod
    def largest(self) -> Float[np.ndarray, "*p"]:
        """Returns what no query can exceed, for all policies or for each."""

    @abc.abstractmethod
    def usual_bound(self) -> MeanBound:
        """Returns the bound that is tightest for it."""


class JointError(Risk):
    """Probability that a query gets an answer and the answer is wrong."""

    def values(self, result: Replay) -> Float[np.ndarray, "p n"]:
        return np.where(replayable(result), _is_wrong(result), np.nan)

    def predicted(self, outcome: Outcome) -> float:
        return float(outcome.error)

    def largest(self) -> Float[np.ndarray, "*p"]:
        return np.ones(())

    def usual_bound(self) -> MeanBound:
        return ExactBinomial()


class AnsweredError(Risk):
    """Probability that an answer is wrong, given that the query is not given up.

    Only answered queries count. How many there are is chance, but given their number they are
    independent draws of answered queries, so the level holds at every number and hence on average.
    """

    def values(self, result: Replay) -> Float[np.ndarray, "p n"]:
        answered = replayable(result) & (result.route.ended_by == ACCEPT)
        return np.where(answered, _is_wrong(result), np.nan)

    def predicted(self, outcome: Outcome) -> float:
        return float(outcome.error / max(1.0 - float(outcome.abstention), 1e-12))

    def largest(self) -> Float[np.ndarray, "*p"]:
        return np.ones(())

    def usual_bound(self) -> MeanBound:
        return ExactBinomial()


class MeanCost(Risk):
    """Mean dollars spent per query; labels are not needed.

    Attributes:
        upper_usd: Most dollars that any query can ever cost, of all policies or of each point; see
            `dearest_paths`.
    """

    upper_usd: Float[np.ndarray, "*p"] = eqx.field(converter=lambda x: np.asarray(x, float))

    def values(self, result: Replay) -> Float[np.ndarray, "p n"]:
        return np.where(result.route.ended_by == MISSING, np.nan, result.cost_usd)

    def predicted(self, outcome: Outcome) -> float:
        return float(outcome.cost_usd)

    def largest(self) -> Float[np.ndarray, "*p"]:
        return self.upper_usd

    def usual_bound(self) -> MeanBound:
        return Betting()


class MeanLoss(Risk):
    """Mean dollars lost per query: cost, and the price of errors, seconds and abstentions.

    Attributes:
        prices: Numbers; every policy is judged at the same prices.
        upper_usd: Most dollars that any query can ever lose, of all policies or of each point. With
            no price of seconds: the dearest path and the larger price of error and abstention.
    """

    prices: Prices
    upper_usd: Float[np.ndarray, "*p"] = eqx.field(converter=lambda x: np.asarray(x, float))

    def values(self, result: Replay) -> Float[np.ndarray, "p n"]:
        return np.asarray(query_losses(result, self.prices))

    def predicted(self, outcome: Outcome) -> float:
        return float(loss(outcome, self.prices))

    def largest(self) -> Float[np.ndarray, "*p"]:
        return self.upper_usd

    def usual_bound(self) -> MeanBound:
        return Betting()


def _is_wrong(result: Replay) -> Float[np.ndarray, "p n"]:
    accepted = np.asarray(result.route.ended_by) == ACCEPT
    return np.where(accepted, 1.0 - np.asarray(result.correct), 0.0)


def dearest_paths(frontier: Frontier, records: Records) -> Float[np.ndarray, " p"]:
    """Returns the most dollars that a query could cost under each point's policy.

    Each call is taken to cost what the dearest recorded call of its model did, and the path to be
    the dearest that the policy allows. As an upper limit it assumes that no call to come will cost
    more than the dearest on record. Prices per token and a cap on tokens give a limit that assumes
    nothing.

    Args:
        frontier: See `tune`.
        records: Runs of the models that the policies ask, the more the better; labels do not
            matter.
    """
    dearest = dict(zip(frontier.models, _column_max(frontier.arrange(records)), strict=True))
    return np.array([_dearest_path(point.policy, dearest) for point in frontier.points])


def _column_max(records: Records) -> list[float]:
    return [
        float(np.max(cells, initial=0.0, where=~np.isnan(cells))) for cells in records.cost_usd.T
    ]


def _dearest_path(policy: Policy, dearest: dict[str, float]) -> float:
    onward: dict[str, float] = {}
    for name in reversed(policy.order()):
        following = [onward[action] for action in policy.rules[name].actions if action in onward]
        onward[name] = dearest[name] + max(following, default=0.0)
    return onward[policy.start]
