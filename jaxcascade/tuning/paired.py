"""Two ways of answering the same queries, compared query by query."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

# Stands for a loss of zero where a ratio of losses is asked for.
_FREE = 1e-12


class Paired(NamedTuple):
    """Mean losses at each price, over the queries for which both are known.

    Attributes:
        policy_loss: Dollars per query of the policies.
        single_loss: Dollars per query of the single models.
        gain_standard_error: Standard error of the mean difference at each price.
        log_ratio_standard_error: Standard error of the mean over prices of log(policy's loss /
            single model's loss), to first order. Queries count for all prices at once, so that
            it is not an average of errors at single prices.
        num_queries: Queries that count at each price; with less than two, the rest is without
            meaning.
    """

    policy_loss: Float[np.ndarray, " p"]
    single_loss: Float[np.ndarray, " p"]
    gain_standard_error: Float[np.ndarray, " p"]
    log_ratio_standard_error: float
    num_queries: Int[np.ndarray, " p"]


def paired(policy_loss: Float[np.ndarray, "p n"], single_loss: Float[np.ndarray, "p n"]) -> Paired:
    """Compares losses of every query at every price; NaN where one is not known."""
    both = ~np.isnan(policy_loss) & ~np.isnan(single_loss)
    count = both.sum(axis=1)
    divisor = np.maximum(count, 1)
    policy, single = (
        np.where(both, loss, 0.0).sum(axis=1) / divisor for loss in (policy_loss, single_loss)
    )
    from_policy, from_single = (
        np.where(both, loss - mean[:, None], 0.0)
        for loss, mean in ((policy_loss, policy), (single_loss, single))
    )
    squares = ((from_single - from_policy) ** 2).sum(axis=1)
    error = np.sqrt(squares / np.maximum(count - 1, 1) / divisor)
    # What one query adds to the mean log ratio, to first order.
    influence = [
        spread / np.maximum(mean * divisor, _FREE)[:, None]
        for spread, mean in ((from_policy, policy), (from_single, single))
    ]
    share = np.mean(influence[0] - influence[1], axis=0)
    variance = np.sum(share**2) * count.max() / max(count.max() - 1, 1)
    return Paired(policy, single, error, float(np.sqrt(variance)), count)
