"""The rows behind the tables of the report and of the terminal: numbers and names only."""

from itertools import groupby
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.calibration import auroc, brier, ece
from jaxcascade.cascade import Policy
from jaxcascade.economics import error_given_answered
from jaxcascade.records import Records
from jaxcascade.tuning import Evaluation, Frontier


class ModelRow(NamedTuple):
    """One model on the records; NaN where these do not say.

    Attributes:
        model: Name.
        num_labelled: Calls with a known outcome, which the measures rest on.
        accuracy: Share of right answers.
        cost_usd: Mean dollars per call.
        latency_s: Mean seconds per call.
        ece: Expected calibration error of the calibrated confidence, over deciles.
        auroc: Probability that a right answer has more confidence than a wrong one.
        brier: Mean squared error of the calibrated confidence.
        certain: Share of calls with a recorded confidence of exactly 1.
        informative: Whether confidence tells right answers from wrong ones: the calibrated one
            varies, and the AUROC is more than 1.96 standard errors above chance.
    """

    model: str
    num_labelled: int
    accuracy: float
    cost_usd: float
    latency_s: float
    ece: float
    auroc: float
    brier: float
    certain: float
    informative: bool


class PolicyRow(NamedTuple):
    """Neighbouring prices at which the same models are asked in the same way.

    Thresholds move within such a range; they and all numbers are those of its middle point.

    Attributes:
        lowest_price: Smallest price of an error, in dollars.
        highest_price: Largest.
        num_points: Points of the frontier in the range.
        point: Index of the middle point in the frontier.
        policy: Its policy in words.
        best_single: The single model that it is compared with.
        expected_error: Probability of a wrong answer that the fitted model predicts.
        error_low: Low end of the posterior interval of the same; NaN where there is none.
        error_high: High end.
        beats_single: Posterior probability that the policy loses less than the single model; NaN
            where there is none, or nothing to compare.
        error: The same as counted: on the evaluated records, or else on the training records.
            Of all queries, those given up too.
        error_given_answered: The same as a share of the answered queries; NaN where there is none.
        cost_usd: Dollars per query, counted likewise.
        latency_s: Seconds per query, counted likewise; NaN where not recorded.
        abstention: Share of queries given up, counted likewise.
        gain_usd: Dollars per query saved against the best single model: on the evaluated
            records, or else cross-validated; NaN without either.
        gain_standard_error: Its standard error.
        saving: The gain as a share of the single model's loss.
        saving_standard_error: Its standard error.
    """

    lowest_price: float
    highest_price: float
    num_points: int
    point: int
    policy: str
    best_single: str
    expected_error: float
    error_low: float
    error_high: float
    beats_single: float
    error: float
    error_given_answered: float
    cost_usd: float
    latency_s: float
    abstention: float
    gain_usd: float
    gain_standard_error: float
    saving: float
    saving_standard_error: float


class Gains(NamedTuple):
    """Gain over the best single model at each point, in dollars per query."""

    gain: Float[np.ndarray, " p"]
    standard_error: Float[np.ndarray, " p"]
    single_loss: Float[np.ndarray, " p"]

    @property
    def saving(self) -> Float[np.ndarray, " p"]:
        """The gain as a share of the single model's loss; 0 where that is nothing."""
        return self._share(self.gain)

    @property
    def saving_standard_error(self) -> Float[np.ndarray, " p"]:
        """Standard error of `saving`, the single model's loss taken as known."""
        return self._share(self.standard_error)

    def _share(self, amount: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
        nothing = self.single_loss == 0
        return np.where(nothing, 0.0, amount / np.where(nothing, 1.0, self.single_loss))


def model_rows(frontier: Frontier, records: Records) -> tuple[ModelRow, ...]:
    """Describes each model of the frontier by what it did on the records.

    Args:
        frontier: Its calibrators give the calibrated confidences.
        records: Runs of the models that the policies ask; of others a row may be empty.

    Returns:
        One row per model, in the frontier's order.

    Raises:
        UnknownModelError: The records lack a model that a policy asks.
    """
    arranged = frontier.arrange(records)
    confidence = np.asarray(frontier.calibrate(records))
    varies = jax.vmap(lambda one: one.informative)(frontier.calibrators)
    return tuple(
        _model_row(name, j, arranged, confidence[:, j], bool(varies[j]))
        for j, name in enumerate(frontier.models)
    )


def policy_rows(frontier: Frontier, evaluation: Evaluation | None = None) -> tuple[PolicyRow, ...]:
    """Merges neighbouring points whose policies ask the same models in the same way.

    Args:
        frontier: See `tune`.
        evaluation: Its evaluation; without it, counts are those of the training records.

    Returns:
        One row per range of prices, lowest first.
    """
    judged = judged_gains(frontier, evaluation)
    return tuple(
        _policy_row(frontier, list(run), evaluation, judged)
        for _, run in groupby(
            range(len(frontier.points)), key=lambda p: pattern(frontier.points[p].policy)
        )
    )


def pattern(policy: Policy) -> tuple:
    """What a policy does, whatever its thresholds: two that agree ask the same way.

    Example:
        >>> one, other = (Policy.threshold_cascade(["small", "large"], [t]) for t in (0.5, 0.8))
        >>> pattern(one) == pattern(other)
        True
    """
    return policy.start, frozenset((name, rule.actions) for name, rule in policy.rules.items())


def judged_gains(frontier: Frontier, evaluation: Evaluation | None) -> Gains | None:
    """Gains on queries not used in choosing: evaluated, or else held out, or else None."""
    if evaluation is None:
        return held_out_gains(frontier)
    gain = evaluation.single_loss - evaluation.loss
    return Gains(gain, evaluation.gain_standard_error, evaluation.single_loss)


def held_out_gains(frontier: Frontier) -> Gains | None:
    """Cross-validated gains; None where no queries were held out."""
    held_out = frontier.held_out
    if held_out is None:
        return None
    return Gains(held_out.gain, held_out.gain_standard_error, held_out.single_loss)


def beyond_chance(auroc: float, num_right: int, num_wrong: int) -> bool:
    """Whether an AUROC is more than 1.96 standard errors of pure chance above a half.

    Also where it is undefined, for want of right or of wrong answers: nothing speaks against it.

    References:
        Mann and Whitney (1947), for the variance without ties, which is the larger.

    Example:
        >>> beyond_chance(0.53, 30, 30), beyond_chance(0.53, 3000, 3000)
        (False, True)
    """
    if num_right == 0 or num_wrong == 0:
        return True
    variance = (num_right + num_wrong + 1) / (12 * num_right * num_wrong)
    return auroc - 0.5 > 1.96 * variance**0.5


def _model_row(
    name: str,
    column: int,
    records: Records,
    confidence: Float[np.ndarray, " n"],
    varies: bool,
) -> ModelRow:
    asked, labelled = records.asked[:, column], records.labelled[:, column]
    known = asked & labelled
    correct = records.correct[known, column]
    latency = records.latency_s
    values = [float("nan")] * 3
    if correct.size:
        values = [float(v) for v in _measures(jnp.asarray(confidence[known]), jnp.asarray(correct))]
    right = int(correct.sum())
    return ModelRow(
        model=name,
        num_labelled=int(known.sum()),
        accuracy=_mean(correct),
        cost_usd=_mean(records.cost_usd[asked, column]),
        latency_s=float("nan") if latency is None else _mean(latency[asked, column]),
        ece=values[0],
        auroc=values[1],
        brier=values[2],
        certain=_mean((records.log_confidence[asked, column] == 0).astype(float)),
        informative=varies and beyond_chance(values[1], right, correct.size - right),
    )


@jax.jit
def _measures(
    confidence: Float[Array, " n"], correct: Float[Array, " n"]
) -> tuple[Float[Array, ""], ...]:
    return tuple(measure(confidence, correct) for measure in (ece, auroc, brier))


def _mean(values: Float[np.ndarray, " n"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _policy_row(
    frontier: Frontier, run: list[int], evaluation: Evaluation | None, judged: Gains | None
) -> PolicyRow:
    middle = run[len(run) // 2]
    point, prices = frontier.points[middle], frontier.error_prices[run]
    counted = point.training
    if evaluation is not None:
        counted = jax.tree.map(lambda leaf: leaf[middle], evaluation.outcome)
    gain = [float("nan")] * 4
    if judged is not None:
        columns = (judged.gain, judged.standard_error, judged.saving, judged.saving_standard_error)
        gain = [float(column[middle]) for column in columns]
    sure = [float("nan")] * 3
    if frontier.bands is not None:
        low, _, high = frontier.bands.error[middle]
        sure = [float(low), float(high), float(frontier.bands.beats_single[middle])]
    return PolicyRow(
        lowest_price=float(prices.min()),
        highest_price=float(prices.max()),
        num_points=len(run),
        point=middle,
        policy=point.policy.describe(),
        best_single=point.best_single,
        expected_error=float(point.expected.error),
        error_low=sure[0],
        error_high=sure[1],
        beats_single=sure[2],
        error=float(counted.error),
        error_given_answered=float(error_given_answered(counted)),
        cost_usd=float(counted.cost_usd),
        latency_s=float(counted.latency_s),
        abstention=float(counted.abstention),
        gain_usd=gain[0],
        gain_standard_error=gain[1],
        saving=gain[2],
        saving_standard_error=gain[3],
    )
