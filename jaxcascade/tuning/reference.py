"""What confidence looked like in training, to compare later confidence with."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.calibration import log_odds
from jaxcascade.records import Records

# Enough that later queries are the scarcer side, few enough for one line of a file per model.
MOST_SCORES = 500
# Beyond these log-odds a probability is certain for all practical purposes.
_LARGEST, _DIGITS = 50.0, 3


class Reference(NamedTuple):
    """Confidence of each model in the training records, without labels.

    Attributes:
        scores: Per model, scores of its training runs (`confidence_scores`), increasing: all of
            them, or a random part of them where there are more than `MOST_SCORES`.
    """

    scores: tuple[Float[np.ndarray, " _"], ...]


def confidence_scores(log_confidence: Float[Array | np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Returns log-odds of raw confidence to three decimals, within 50 of 0; NaN stays.

    Calibration keeps the order of confidences, so what shifts here shifts after it as well. The
    rounding makes the number in a file and that of a new run comparable to the last digit.

    Example:
        >>> import numpy as np
        >>> confidence_scores(np.log(np.array([0.2, 0.5, 1.0]))).tolist()
        [-1.386, 0.0, 50.0]
    """
    odds = np.asarray(log_odds(jnp.asarray(log_confidence)))[..., 0]
    # Adding 0 turns a negative zero into the usual one.
    return np.round(np.clip(odds, -_LARGEST, _LARGEST), _DIGITS) + 0.0


def confidence_reference(key: PRNGKeyArray, records: Records) -> Reference:
    """Keeps the scores of the records' models.

    Args:
        key: Picks those that are kept where there are too many.
        records: Training runs.
    """
    scores = confidence_scores(records.log_confidence)
    kept = []
    for column, one in zip(scores.T, jax.random.split(key, records.num_models), strict=True):
        known = column[~np.isnan(column)]
        if known.size > MOST_SCORES:
            known = known[np.asarray(jax.random.permutation(one, known.size))[:MOST_SCORES]]
        kept.append(np.sort(known))
    return Reference(tuple(kept))
