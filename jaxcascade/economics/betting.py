"""Fair bets against a hypothesis: how far they grow says how far it is refuted, at any time.

A bettor starts with one dollar and stakes a part of it on each query, at odds that are fair, or
worse than fair, if the hypothesis holds. Then the chance ever to own 1 / alpha dollars is at most
alpha (Ville's inequality), however long one looks and whenever one stops.
"""

from bisect import bisect_left, bisect_right, insort

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

# Stakes on departures of each shape and either sign; weak ones grow where a shift is small.
_STRENGTHS = (0.3, 0.9)
_SHIFTS = (0.3, 0.8)
# Shares of the money that are dealt out anew at each query: none finds a change that was there
# from the start fastest, some finds one that comes later.
_RESTARTS = np.array([0.0, 0.01])


def conformal_levels(
    key: PRNGKeyArray, reference: Float[np.ndarray, " r"], scores: Float[np.ndarray, " t"]
) -> Float[np.ndarray, " t"]:
    """Ranks each score among the reference and all scores before it, as a share in [0, 1].

    If reference and scores are exchangeable, the levels are independent and uniform, exactly and
    whatever the length of the reference; ties are broken at random.

    Args:
        key: Breaks ties.
        reference: Scores to compare with, at least one.
        scores: New ones in the order they come in; NaN where there is none.

    Returns:
        Levels; NaN where the score is.

    References:
        Vovk, Gammerman and Shafer (2022), Algorithmic Learning in a Random World, section 2.2.
    """
    ties = np.asarray(jax.random.uniform(key, scores.shape))
    seen = sorted(reference.tolist())
    levels = np.full(scores.shape, np.nan)
    for at, score in enumerate(scores.tolist()):
        if np.isnan(score):
            continue
        below, up_to = bisect_left(seen, score), bisect_right(seen, score)
        levels[at] = (below + ties[at] * (up_to - below + 1)) / (len(seen) + 1)
        insort(seen, score)
    return levels


def smooth_bets(levels: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch b"]:
    """Returns what one dollar becomes under bets against uniform levels; 1 where a level is NaN.

    Bets are densities 1 + s P(2u - 1), P being a Legendre polynomial of degree 1 to 4 (a shift, a
    change of spread, and finer ones) and s a strength of either sign.

    References:
        Neyman (1937), "Smooth test" for goodness of fit.
    """
    x = 2.0 * np.where(np.isnan(levels), 0.5, levels) - 1.0
    shapes = [x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2, (35 * x**4 - 30 * x**2 + 3) / 8]
    strengths = np.array([sign * size for size in _STRENGTHS for sign in (1, -1)])
    stakes = np.stack(shapes, axis=-1)[..., None] * strengths
    bets = 1.0 + stakes.reshape(*x.shape, -1)
    return np.where(np.isnan(levels)[..., None], 1.0, bets)


def calibration_bets(
    confidence: Float[np.ndarray, "*batch"],
    correct: Float[np.ndarray, "*batch"],
    middle: Float[np.ndarray, "*batch"],
    margin: float,
) -> Float[np.ndarray, "*batch b"]:
    """Returns what one dollar becomes under bets that confidence is off by more than a margin.

    Fair at worst, if the probability that an answer is right, given all that came before, lies
    within `margin` of its confidence. A bet is a likelihood ratio of a probability beyond the
    margin to the one at its end. It says that answers are right less often than that, or more
    often; or less often above the middle confidence and more often below it, or the reverse.

    Args:
        confidence: Probability of being right that was announced, in [0, 1].
        correct: 1 or 0; NaN where there is no label, and there nothing is staked.
        middle: A usual confidence.
        margin: In [0, 1).
    """
    high_side = np.where(confidence > middle, 1.0, -1.0)
    one = np.ones_like(high_side)
    directions = np.stack([-one, one, -high_side, high_side], axis=-1)[..., None]
    shifts = directions * np.array(_SHIFTS)
    end = confidence[..., None, None] + np.sign(shifts) * margin
    inside = (end > 0.0) & (end < 1.0) & ~np.isnan(correct)[..., None, None]
    end = np.where(inside, end, 0.5)
    odds = end / (1.0 - end) * np.exp(shifts)
    beyond = odds / (1.0 + odds)
    right = np.where(np.isnan(correct), 0.0, correct)[..., None, None] > 0
    ratio = np.where(right, beyond / end, (1.0 - beyond) / (1.0 - end))
    return np.where(inside, ratio, 1.0).reshape(*confidence.shape, -1)


def log_wealth(bets: Float[np.ndarray, "*batch t b"]) -> Float[np.ndarray, "*batch t"]:
    """Returns the natural logarithm of what a dollar becomes when it is spread over the bets.

    The mean of two bettors: one spreads the dollar once, the other deals out a hundredth of its
    money anew at each query (Herbster and Warmuth 1998, "fixed share").
    """
    *batch, length, count = bets.shape
    share = np.full((*batch, _RESTARTS.size, count), 1.0 / count)
    total = np.zeros((*batch, _RESTARTS.size))
    path = np.empty((*batch, length))
    for at in range(length):
        grown = share * bets[..., at, None, :]
        factor = grown.sum(axis=-1)
        total = total + np.log(factor)
        share = grown / factor[..., None]
        share = share + _RESTARTS[:, None] * (1.0 / count - share)
        path[..., at] = np.logaddexp.reduce(total, axis=-1) - np.log(_RESTARTS.size)
    return path
