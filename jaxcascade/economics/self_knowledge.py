"""Does a model know when it is wrong? Its errors against its confidence."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.economics.bootstrap import weight_blocks
from jaxcascade.economics.deferral import Ranking, checked_rates
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Band, pointwise_band
from jaxcascade.records import Records

# Below this AUROC, confidence is next to no help in choosing what to pass on.
_NEXT_TO_CHANCE = 0.55
_UNKNOWN = Band(np.array(np.nan), np.array(np.nan), np.array(np.nan))


class SelfKnowledge(NamedTuple):
    """How well one model's confidence finds its errors.

    Attributes:
        model: Its name.
        num_queries: Labelled queries.
        error: Share of them answered wrongly.
        rates: Shares of queries passed on, those of the least confidence.
        reduction: Cascade error reduction at each rate, as counted.
        reduction_band: Its intervals.
        attained: `reduction` as a share of the greatest possible one, of an oracle that passes
            wrong answers on first; NaN where that is 0.
        auroc: Probability that a right answer has more confidence than a wrong one, ties counting
            half; NaN where all answers are right, or all wrong.
        auroc_band: Its interval.
        verdict: "yes" where the whole interval of the AUROC lies above 0.55, "no" where it lies
            below, else "unclear".
    """

    model: str
    num_queries: int
    error: float
    rates: Float[np.ndarray, " r"]
    reduction: Float[np.ndarray, " r"]
    reduction_band: Band
    attained: Float[np.ndarray, " r"]
    auroc: float
    auroc_band: Band
    verdict: str


def self_knowledge(
    key: Array,
    records: Records,
    *,
    rates: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
    num_draws: int = 2000,
    level: float = 0.9,
) -> tuple[SelfKnowledge, ...]:
    """Judges every model's confidence by the errors that passing on by it would take away.

    Among equal confidences it is drawn by lot what is passed on. Only the order of confidences
    matters, not how well they are calibrated.

    Args:
        key: Random key.
        records: Labelled runs; each model is judged on its own labelled queries.
        rates: Shares passed on, in [0, 1].
        num_draws: Draws of the Bayesian bootstrap.
        level: Probability of the intervals.

    Returns:
        One per model with a labelled run, in the records' order.

    Raises:
        InvalidInputError: A rate lies outside [0, 1], or nothing is labelled.
    """
    shares = checked_rates(rates)
    usable = records.asked & records.labelled
    judged = np.flatnonzero(usable.any(axis=0)).tolist()
    if not judged:
        raise InvalidInputError(
            "No run is labelled, so nothing tells right answers from wrong ones. Fill in `correct`."
        )
    keys = jax.random.split(key, len(judged))
    return tuple(
        _judge(
            one,
            records.models[j],
            records.log_confidence[usable[:, j], j],
            1.0 - records.correct[usable[:, j], j],
            shares,
            num_draws,
            level,
        )
        for one, j in zip(keys, judged, strict=True)
    )


def _judge(
    key: Array,
    model: str,
    confidence: Float[np.ndarray, " n"],
    wrong: Float[np.ndarray, " n"],
    rates: Float[np.ndarray, " r"],
    num_draws: int,
    level: float,
) -> SelfKnowledge:
    n, error = wrong.size, float(wrong.mean())
    ranking = Ranking.of(confidence)
    counted, auroc = _measured(ranking, np.full((1, n), 1.0 / n), wrong, rates)
    draws = [
        _measured(ranking, weight, wrong, rates) for weight in weight_blocks(key, n, num_draws)
    ]
    reductions, aurocs = (np.concatenate(part) for part in zip(*draws, strict=True))
    greatest = np.minimum(rates, error) - rates * error
    possible = greatest > 0
    band = pointwise_band(aurocs, level) if 0 < error < 1 else _UNKNOWN
    return SelfKnowledge(
        model,
        n,
        error,
        rates,
        counted[0],
        pointwise_band(reductions, level),
        np.where(possible, counted[0] / np.where(possible, greatest, 1.0), np.nan),
        float(auroc[0]),
        band,
        _verdict(band),
    )


def _measured(
    ranking: Ranking,
    weight: Float[np.ndarray, "b n"],
    wrong: Float[np.ndarray, " n"],
    rates: Float[np.ndarray, " r"],
) -> tuple[Float[np.ndarray, "b r"], Float[np.ndarray, " b"]]:
    """Cascade error reductions and AUROC under each row of weights."""
    reduction = ranking.passed_on(weight, wrong, rates) - rates * (weight @ wrong)[:, None]
    wrongs, rights = ranking.masses(weight * wrong), ranking.masses(weight * (1.0 - wrong))
    below = np.cumsum(wrongs, axis=1) - 0.5 * wrongs
    pairs = wrongs.sum(axis=1) * rights.sum(axis=1)
    auroc = (rights * below).sum(axis=1) / np.where(pairs > 0, pairs, np.nan)
    return reduction, auroc


def _verdict(auroc: Band) -> str:
    if auroc.low > _NEXT_TO_CHANCE:
        return "yes"
    return "no" if auroc.high < _NEXT_TO_CHANCE else "unclear"
