"""Is the traffic still like the training records, and does calibration still hold?

Both questions are answered by processes that may be looked at after every query: what a bettor
owns who bets against "all is as before" at fair odds. See `economics.betting`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from jaxcascade.cascade import calibrate
from jaxcascade.economics.betting import (
    calibration_bets,
    conformal_levels,
    log_wealth,
    smooth_bets,
)
from jaxcascade.errors import InvalidInputError, UnknownModelError
from jaxcascade.records import Records
from jaxcascade.tuning import Frontier, confidence_scores

# An e-value beyond this is told as this, so that it can be written as a number.
_MOST_LOG = 690.0


class Watch(NamedTuple):
    """Evidence against one hypothesis per model, query by query.

    Attributes:
        log_e: Natural logarithm of each model's e-process after each query. If its hypothesis
            holds, it ever reaches log(1 / a) with a probability of at most a.
        count: Queries that counted, per model.
        alpha: Probability with which any model at all may be named wrongly.
    """

    log_e: Float[np.ndarray, "k t"]
    count: Int[np.ndarray, " k"]
    alpha: float

    @property
    def log_threshold(self) -> float:
        """Where an alarm is raised: the logarithm of k / alpha, the models sharing alpha."""
        return float(np.log(self.log_e.shape[0] / self.alpha))

    @property
    def e_value(self) -> Float[np.ndarray, " k"]:
        """Evidence of all queries together: 1 is none, 20 is what a level of 5 % asks for."""
        return np.exp(np.minimum(self.log_e[:, -1], _MOST_LOG))

    @property
    def largest(self) -> Float[np.ndarray, " k"]:
        """Largest value that each e-process had on the way."""
        return np.exp(np.minimum(self.log_e.max(axis=1), _MOST_LOG))

    @property
    def first_alarm(self) -> Int[np.ndarray, " k"]:
        """Number of queries after which each model was first named; -1 for never."""
        over = self.log_e >= self.log_threshold
        return np.where(over.any(axis=1), over.argmax(axis=1) + 1, -1)

    @property
    def alarms(self) -> tuple[bool, ...]:
        """Whether each model was named."""
        return tuple((self.first_alarm > 0).tolist())

    @property
    def alarm(self) -> bool:
        """Whether any model was named."""
        return any(self.alarms)


class Monitoring(NamedTuple):
    """What new records say about a frontier.

    Attributes:
        models: Those that were watched, in the frontier's order.
        order: Position in the records of each query, in the order of looking.
        drift: Against "confidence is distributed as in training".
        calibration: Against "answers are right as often as the calibrated confidence says, up to
            the margin"; None where there are no labels.
        margin: That margin, a difference of probabilities.
    """

    models: tuple[str, ...]
    order: Int[np.ndarray, " t"]
    drift: Watch
    calibration: Watch | None
    margin: float


def monitor(
    key: PRNGKeyArray,
    frontier: Frontier,
    records: Records,
    *,
    alpha: float = 0.05,
    margin: float = 0.05,
    in_order: bool = False,
) -> Monitoring:
    """Tests whether new records still follow what a frontier was tuned on.

    Drift: for each model, training and new confidences are exchangeable, whatever their law. That
    the training ones are a finite sample is part of the test. Calibration: for each query,
    given all before it, an answer is right with a probability within `margin` of the frontier's
    calibrated confidence. Neither needs a large sample, a fitted law or a fixed number of queries.

    Args:
        key: Shuffles the queries and breaks ties between confidences.
        frontier: See `tune`; it holds the confidences of its training records.
        records: New runs, labels optional, of at least one of its models. Each model's must be
            of the kind that training was: if it is asked only where another model doubts, its
            confidence differs for that reason alone.
        alpha: In (0, 1). The probability of a false alarm about drift of any model is at most
            this, and so is that of one about calibration.
        margin: In [0, 1), see above. Calibration was itself learned from few labels; 0.05 is
            about two standard errors of a share of 300.
        in_order: Look at the queries as they come, to catch a change on the way. Then whatever is
            sorted, by topic for example, counts as drift. By default they are shuffled: the new
            records as a whole are compared with training.

    Raises:
        InvalidInputError: The frontier holds no training confidences, or an argument is out of
            range.
        UnknownModelError: The records have none of the frontier's models.

    References:
        Vovk, Gammerman and Shafer (2022), chapter 8 (conformal test martingales).
        Choe and Ramdas (2024), arXiv:2402.09698: e-processes of models may not just be averaged,
        as each holds in a history of its own; hence Bonferroni.
    """
    reference = frontier.reference
    if reference is None:
        raise InvalidInputError(
            "The frontier holds no training confidences to compare with: it was made by an older "
            "release. Run `jaxcascade tune` anew on its training records."
        )
    if not 0 < alpha < 1:
        raise InvalidInputError(f"`alpha` must lie strictly between 0 and 1; got {alpha}.")
    if not 0 <= margin < 1:
        raise InvalidInputError(f"`margin` must be at least 0 and below 1; got {margin}.")
    at = [j for j, name in enumerate(frontier.models) if name in records.models]
    if not at or records.num_queries == 0:
        raise UnknownModelError(
            "The records have runs of none of the frontier's models, "
            + ", ".join(f'"{name}"' for name in frontier.models)
            + "."
        )
    models = tuple(frontier.models[j] for j in at)
    of_order, of_ties = jax.random.split(key)
    order = np.arange(records.num_queries)
    if not in_order:
        order = np.asarray(jax.random.permutation(of_order, order))
    ordered = records.select(models).take(order)
    known = [reference.scores[j] for j in at]
    levels = drift_levels(of_ties, known, confidence_scores(ordered.log_confidence))
    drift = Watch(log_wealth(smooth_bets(levels)), ordered.asked.sum(axis=0), alpha)
    calibrators = jax.tree.map(lambda leaf: leaf[np.array(at)], frontier.calibrators)
    calibration = _calibration_watch(calibrators, known, ordered, alpha, margin)
    return Monitoring(models, order, drift, calibration, margin)


def drift_levels(
    key: PRNGKeyArray,
    reference: list[Float[np.ndarray, " _"]],
    scores: Float[np.ndarray, "t k"],
) -> Float[np.ndarray, "k t"]:
    """Returns each model's conformal levels, see `conformal_levels`."""
    keys = jax.random.split(key, scores.shape[1])
    return np.stack(
        [
            conformal_levels(one, known, column)
            for one, known, column in zip(keys, reference, scores.T, strict=True)
        ]
    )


def _calibration_watch(
    calibrators, reference: list[Float[np.ndarray, " _"]], records: Records, alpha, margin
) -> Watch | None:
    if not records.labelled.any():
        return None
    confidence = np.asarray(calibrate(calibrators, jnp.asarray(records.log_confidence)))
    # The middle comes from training: taken from the new records, bets would see the future.
    medians = np.array([np.median(scores) for scores in reference])
    middle = np.asarray(calibrate(calibrators, -jnp.logaddexp(0.0, -jnp.asarray(medians))[None]))
    correct = np.where(records.asked, records.correct, np.nan)
    bets = calibration_bets(
        confidence.T, correct.T, np.broadcast_to(middle.T, correct.T.shape), margin
    )
    return Watch(log_wealth(bets), (~np.isnan(correct)).sum(axis=0), alpha)
