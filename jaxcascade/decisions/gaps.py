"""Gaps and ratios between groups, from draws of each group's rate.

The largest of several noisy differences is above zero even where groups are alike. Two remedies:
intervals of all pairs of groups at once, which have 0 in them unless two groups differ; and partial
pooling, by which groups borrow strength from each other.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from jaxcascade.errors import InvalidInputError

FOUR_FIFTHS = 0.8
# Half an item chosen, half an item not: Jeffreys. Without it, 0 of 20 would be 0 for certain.
HALF_ITEM = 0.5
_TAU_GRID = 200


def gap_interval(draws: Sequence[Float[np.ndarray, "d _"]], level: float) -> tuple[float, float]:
    """Returns an interval of the largest gap between two groups, of one metric or of several.

    Differences of all pairs get intervals that hold together. If each does, the largest gap lies
    between the largest lower and the largest upper end.
    """
    pairs = [_pairs(column) for column in draws]
    low, high = _together(np.concatenate(pairs, axis=1), level)
    return max(0.0, float(low.max()), float((-high).max())), float(np.maximum(-low, high).max())


def ratio_interval(draws: Float[np.ndarray, "d g"], level: float) -> tuple[float, float]:
    """Returns an interval of the lowest rate over the highest, from all pairs' log-ratios."""
    lower, upper = gap_interval([np.log(np.maximum(draws, np.finfo(float).tiny))], level)
    return float(np.exp(-upper)), float(np.exp(-lower))


def equal_tails(draws: Float[np.ndarray, "d g"], level: float) -> Float[np.ndarray, "2 g"]:
    """Returns lower and upper ends of each group's own interval."""
    return np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), axis=0)


def widened(
    ends: Float[np.ndarray, "2 g"], estimate: Float[np.ndarray, " g"]
) -> Float[np.ndarray, "2 g"]:
    """Returns intervals that hold what was counted: Jeffreys' leaves out 0 of n and n of n."""
    return np.stack([np.minimum(ends[0], estimate), np.maximum(ends[1], estimate)])


def lowest_over_highest(rate: Float[np.ndarray, "*d g"]) -> Float[np.ndarray, "*d"]:
    """Returns the lowest rate over the highest; NaN where all are 0: nothing to compare."""
    # Pooling is by normal laws, which know no bounds.
    rate = np.clip(rate, 0.0, 1.0)
    return divided(rate.min(axis=-1), rate.max(axis=-1))


def divided(part: np.ndarray, whole: np.ndarray) -> Float[np.ndarray, "..."]:
    """Returns quotients; NaN where there is nothing to divide by."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def pooled_draws(
    generator: np.random.Generator, draws: Float[np.ndarray, "d g"], count: Int[np.ndarray, " g"]
) -> Float[np.ndarray, "d g"]:
    """Draws anew, groups pooled in part: the extreme of noisy ones is not taken at its word.

    Args:
        generator: Of random numbers.
        draws: Of each group by itself.
        count: Items of each group.
    """
    spread = draws.std(axis=0)
    # Standard deviation between items: groups are not expected to differ by more.
    scale = float(np.median(spread * np.sqrt(count)))
    return partially_pooled(generator, draws.mean(axis=0), spread, scale, len(draws))


def partially_pooled(
    generator: np.random.Generator,
    mean: Float[np.ndarray, " g"],
    spread: Float[np.ndarray, " g"],
    scale: float,
    num_draws: int,
) -> Float[np.ndarray, "d g"]:
    """Draws true values of which noisy ones are known, all from one normal law of unknown mean.

    Args:
        generator: Of random numbers.
        mean: Noisy values.
        spread: Standard deviations of their noise.
        scale: Of the half-Cauchy prior of the standard deviation between true values.
        num_draws: Draws `d`.

    References:
        Gelman et al. (2013), Bayesian Data Analysis, section 5.4.
    """
    noise = np.maximum(spread, 1e-9 * max(scale, float(np.abs(mean).max()), 1e-300))
    tau = max(scale, float(noise.max())) * np.geomspace(1e-3, 30.0, _TAU_GRID)
    precision = 1 / (noise**2 + tau[:, None] ** 2)
    total = precision.sum(axis=1)
    middle = (precision @ mean) / total
    log_weight = 0.5 * (np.log(precision) - precision * (mean - middle[:, None]) ** 2).sum(axis=1)
    # Points of the grid are equally far apart in log(tau), hence the factor tau.
    log_weight += np.log(tau) - 0.5 * np.log(total) - np.log1p((tau / max(scale, 1e-300)) ** 2)
    weight = np.exp(log_weight - log_weight.max())
    at = generator.choice(tau.size, num_draws, p=weight / weight.sum())
    common = middle[at] + generator.standard_normal(num_draws) / np.sqrt(total[at])
    trust = tau[at, None] ** 2 * precision[at]
    drawn = generator.standard_normal((num_draws, mean.size)) * noise * np.sqrt(trust)
    return trust * mean + (1 - trust) * common[:, None] + drawn


def check_settings(level: float, **numbers: int) -> None:
    """Checks that the level of intervals is a share, and that numbers are at least 1.

    Raises:
        InvalidInputError: One is not.
    """
    if not 0 < level < 1:
        raise InvalidInputError(f"`level` must lie in (0, 1); got {level}.")
    for name, number in numbers.items():
        if number < 1:
            raise InvalidInputError(f"`{name}` must be at least 1; got {number}.")


def _pairs(draws: Float[np.ndarray, "d g"]) -> Float[np.ndarray, "d p"]:
    first, second = np.triu_indices(draws.shape[1], 1)
    return draws[:, first] - draws[:, second]


def _together(
    draws: Float[np.ndarray, "d p"], level: float
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Intervals of equal width in standard deviations that hold together at a level."""
    centre, spread = draws.mean(axis=0), draws.std(axis=0)
    away = np.abs(draws - centre) / np.where(spread > 0, spread, 1.0)
    reach = np.quantile(away.max(axis=1), level) * spread
    return centre - reach, centre + reach
