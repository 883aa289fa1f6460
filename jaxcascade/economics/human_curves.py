"""What rules with a person bring by utilisation and rejection: accuracy, dollars, seconds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Array, Float

from jaxcascade.cascade import Outcome, Policy
from jaxcascade.economics.human import rule_policy, two_models
from jaxcascade.economics.ledger import policy_ledger
from jaxcascade.economics.rejection import error_given_answered
from jaxcascade.records import Records

UTILISATIONS = (0.0, 0.5, 0.6, 0.75)
REJECTIONS = tuple(np.linspace(0.0, 0.2, 21).tolist())


class LoopCurves(NamedTuple):
    """Accuracy, cost and latency of the rules, by utilisation and rejection.

    Attributes:
        utilisation: As asked for: share of the queries that the reasoning model is spared; at 0
            the rule is Ask, without the fast model.
        rejection: As asked for: share of the queries that the person takes.
        outcome: On the records that the rules are judged by; leading axes (*draws, u, r).
        spared: Share of the queries that the reasoning model was really spared.
    """

    utilisation: Float[np.ndarray, " u"]
    rejection: Float[np.ndarray, " r"]
    outcome: Outcome
    spared: Float[np.ndarray, "u r"]

    @property
    def human_share(self) -> Float[np.ndarray, "*draws u r"]:
        """Share of the queries that the person really took."""
        return np.asarray(self.outcome.abstention)

    @property
    def joint_error(self) -> Float[np.ndarray, "*draws u r"]:
        """Share of all queries that a model answered, and wrong."""
        return np.asarray(self.outcome.error)

    @property
    def conditional_accuracy(self) -> Float[np.ndarray, "*draws u r"]:
        """Share of right answers among the queries that models answered; NaN where there are none.

        The person's answers do not count: those are the rejected queries.
        """
        return 1.0 - error_given_answered(self.outcome)

    @property
    def auarc(self) -> Float[np.ndarray, "*draws u"]:
        """Area under the accuracy-rejection curve: mean accuracy over the rejections asked for.

        Where a rule left nothing to the models, accuracy has no meaning and does not count; see
        `num_undefined`.
        """
        defined = np.isfinite(self.conditional_accuracy)
        total = np.where(defined, self.conditional_accuracy, 0.0).sum(axis=-1)
        count = defined.sum(axis=-1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    @property
    def num_undefined(self) -> np.ndarray:
        """Rejections that did not count in `auarc`, for each utilisation."""
        return np.isnan(self.conditional_accuracy).sum(axis=-1)

    def table(self) -> pa.Table:
        """One row per utilisation and rejection, of curves without draws."""
        rate = np.repeat(self.utilisation, self.rejection.size)
        share = np.tile(self.rejection, self.utilisation.size)
        columns = {
            "spared": self.spared,
            "human_share": self.human_share,
            "accuracy_when_answered": self.conditional_accuracy,
            "joint_error": self.joint_error,
            "cost_usd": self.outcome.cost_usd,
            "latency_s": self.outcome.latency_s,
        }
        flat = {name: np.asarray(cells, float).reshape(-1) for name, cells in columns.items()}
        return pa.table({"utilisation": rate, "rejection": share, **flat})


def loop_curves(
    train: Records,
    test: Records,
    *,
    models: tuple[str, str] | None = None,
    utilisations: Sequence[float] = UTILISATIONS,
    rejections: Sequence[float] = REJECTIONS,
    weight: Float[np.ndarray, "*draws n"] | None = None,
) -> LoopCurves:
    """Learns the rules on some records and counts on others what they do, without the person.

    Args:
        train: Thresholds are quantiles of these; labels are not needed.
        test: Labelled runs of both models.
        models: The fast and the reasoning model; by default the two of the records.
        utilisations: In [0, 1]; at 0 the rule is Ask.
        rejections: In [0, 1].
        weight: Weights of the test queries, such as `bootstrap_weights` draws.

    Raises:
        InvalidInputError: See `fail_fast_policy`.
        RecordsError: No query can be judged.
    """
    names = two_models(train, models)
    train, test = train.select(names), test.select(names)
    policies = {
        f"{u} {r}": rule_policy(train, train.log_confidence, u, r)
        for u in utilisations
        for r in rejections
    }
    ledger = policy_ledger(test, test.log_confidence, policies)
    outcome = ledger.outcomes(weight)
    shape = (len(utilisations), len(rejections))

    def folded(cells: Array | np.ndarray, trailing: int = 0) -> np.ndarray:
        cells = np.asarray(cells)
        at = cells.ndim - 1 - trailing
        return cells.reshape(*cells.shape[:at], *shape, *cells.shape[at + 1 :])

    first = test.log_confidence[ledger.known, 0]
    spared = [1.0 - _passed_share(policy, names, first) for policy in policies.values()]
    return LoopCurves(
        np.array(utilisations, float),
        np.array(rejections, float),
        Outcome(
            folded(outcome.error),
            folded(outcome.abstention),
            folded(outcome.cost_usd),
            folded(outcome.latency_s),
            folded(outcome.answered_by, trailing=1),
        ),
        folded(np.array(spared)),
    )


def _passed_share(
    policy: Policy, names: tuple[str, str], confidence: Float[np.ndarray, " n"]
) -> float:
    if policy.start == names[1]:
        return 1.0
    rule = policy.rules[names[0]]
    actions = np.array(rule.actions)[np.searchsorted(rule.breakpoints, confidence, side="left")]
    return float(np.mean(actions == names[1]))
