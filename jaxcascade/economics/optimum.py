"""Rules with a person against the optimum that our own tuner finds, at the same prices."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Array, Float, Int

from jaxcascade.calibration import Calibration
from jaxcascade.cascade import Policy
from jaxcascade.economics.human import rule_policy, two_models
from jaxcascade.economics.ledger import Ledger, policy_ledger
from jaxcascade.errors import InvalidInputError
from jaxcascade.records import Records
from jaxcascade.tuning import Frontier, Method, tune

RULE_UTILISATIONS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
RULE_REJECTIONS = (*np.linspace(0.0, 0.3, 16).tolist(), *np.linspace(0.35, 1.0, 14).tolist())


class RuleComparison(NamedTuple):
    """Ask, Fail fast or ask, and the tuned policy on the same test queries, per price of an error.

    Each rule has the utilisation and the rejection that lost least in training at the price.

    Attributes:
        frontier: The tuned policies with their prices.
        utilisation: Of the best rule; 0 is Ask.
        rejection: Of the best rule.
        losses: Dollars per query: columns "ask", "rule" (the better of both) and "tuned".
        saving_usd: By how much the tuned policy loses less than the best rule, per query.
        saving_standard_error: Of that mean, paired by query.
        policies: The three systems at each price, named "ask 0", "rule 0", "tuned 0" and so on.
        ledger: What they did on the test queries.
    """

    frontier: Frontier
    utilisation: Float[np.ndarray, " p"]
    rejection: Float[np.ndarray, " p"]
    losses: Float[np.ndarray, "p 3"]
    saving_usd: Float[np.ndarray, " p"]
    saving_standard_error: Float[np.ndarray, " p"]
    policies: dict[str, Policy]
    ledger: Ledger

    def table(self) -> pa.Table:
        """One row per price of an error."""
        ask, rule, tuned = self.losses.T
        return pa.table(
            {
                "error_price": self.frontier.error_prices,
                "utilisation": self.utilisation,
                "rejection": self.rejection,
                "ask_loss": ask,
                "rule_loss": rule,
                "tuned_loss": tuned,
                "saving": self.saving_usd / rule,
                "saving_standard_error": self.saving_standard_error / rule,
                "tuned_policy": [point.policy.describe() for point in self.frontier.points],
            }
        )


def compare_rules(
    key: Array,
    train: Records,
    test: Records,
    *,
    error_prices: Float[np.ndarray, " p"],
    abstention_price: float,
    latency_price: float = 0.0,
    models: tuple[str, str] | None = None,
    calibration: Calibration | None = None,
    method: Method | None = None,
    utilisations: Sequence[float] = RULE_UTILISATIONS,
    rejections: Sequence[float] = RULE_REJECTIONS,
) -> RuleComparison:
    """Tunes, and learns the rules, on the same training queries; judges both on others.

    Uncertainty is the confidence of each model; for the length of answers see
    `confidence_from_tokens`.

    Args:
        key: See `tune`.
        train: Labelled runs.
        test: Labelled runs of other queries.
        error_prices: Dollars per wrong answer.
        abstention_price: Dollars per query that the person takes, finite.
        latency_price: Dollars per second.
        models: The fast and the reasoning model; by default the two of the records.
        calibration: See `tune`.
        method: See `tune`.
        utilisations: Rules to choose from; 0, which is Ask, is always among them.
        rejections: Rules to choose from.

    Raises:
        InvalidInputError: The price of an abstention is infinite, so that no rule may reject.
    """
    if not np.isfinite(abstention_price):
        raise InvalidInputError(
            "`abstention_price` must be finite: the rules hand queries to a person; got "
            f"{abstention_price}."
        )
    names = two_models(train, models)
    train, test = train.select(names), test.select(names)
    frontier = tune(
        key,
        train,
        error_prices=error_prices,
        latency_price=latency_price,
        abstention_price=abstention_price,
        calibration=calibration,
        method=method,
    ).frontier
    train_confidence, test_confidence = (
        np.asarray(frontier.calibrate(records))[:, [frontier.models.index(n) for n in names]]
        for records in (train, test)
    )
    pairs = [(u, r) for u in sorted({0.0, *utilisations}) for r in rejections]
    policies = [rule_policy(train, train_confidence, u, r) for u, r in pairs]
    tried = policy_ledger(train, train_confidence, _numbered("rule", policies))
    best = _best(tried, frontier)
    asking = np.array([u == 0 for u, _ in pairs])
    best_ask = _best(tried, frontier, asking)
    tuned = [point.policy for point in frontier.points]
    chosen = {
        **_numbered("ask", [policies[i] for i in best_ask]),
        **_numbered("rule", [policies[i] for i in best]),
        **_numbered("tuned", tuned),
    }
    ledger = policy_ledger(test, test_confidence, chosen)
    known, count = ledger.known, len(tuned)
    losses = np.stack(
        [
            ledger.losses(point.prices)[[p, count + p, 2 * count + p]][:, known]
            for p, point in enumerate(frontier.points)
        ]
    )
    gain = losses[:, 1] - losses[:, 2]
    return RuleComparison(
        frontier,
        np.array([pairs[i][0] for i in best]),
        np.array([pairs[i][1] for i in best]),
        losses.mean(axis=2),
        gain.mean(axis=1),
        gain.std(axis=1, ddof=1) / np.sqrt(known.sum()),
        chosen,
        ledger,
    )


def _best(
    ledger: Ledger, frontier: Frontier, allowed: np.ndarray | None = None
) -> Int[np.ndarray, " p"]:
    """Position of the rule that loses least at each price."""
    means = np.stack(
        [ledger.losses(point.prices)[:, ledger.known].mean(axis=1) for point in frontier.points]
    )
    return np.argmin(means if allowed is None else np.where(allowed, means, np.inf), axis=1)


def _numbered(name: str, policies: Sequence[Policy]) -> dict[str, Policy]:
    return {f"{name} {number}": policy for number, policy in enumerate(policies)}
