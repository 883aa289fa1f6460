"""Does a cascade pay? The answer in words, and the prices at which it does."""

from itertools import groupby
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxcascade.tuning.evaluate import Evaluation
from jaxcascade.tuning.frontier import Frontier

_CLEAR = 2.0
_MOST_RANGES = 2


class PriceRange(NamedTuple):
    """Neighbouring prices at which a cascade clearly beats the best single model.

    Attributes:
        low: Smallest price of an error, in dollars.
        high: Largest.
        saving: Average share of the single model's loss that is saved.
        standard_error: Average standard error of that share at one price.
    """

    low: float
    high: float
    saving: float
    standard_error: float


class Verdict(NamedTuple):
    """What to tell the user.

    Attributes:
        text: The answer in words.
        pays: Where the saving is more than two standard errors; empty where it nowhere is.
        saving: Average saving over all prices of the frontier, as a share; may be negative. One
            minus the geometric mean of the ratios of losses.
        saving_standard_error: Its standard error.
        source: "held-out training queries", "test queries", or "nothing" without either.
    """

    text: str
    pays: tuple[PriceRange, ...]
    saving: float
    saving_standard_error: float
    source: str


def verdict(frontier: Frontier, evaluation: Evaluation | None = None) -> Verdict:
    """Judges a frontier by an evaluation, or else by its cross-validated gains.

    Args:
        frontier: See `tune`.
        evaluation: Its evaluation on records that it has not seen.
    """
    singles = f"Best single model: {_single_ranges(frontier)}."
    if evaluation is not None:
        policy, single = evaluation.loss, evaluation.single_loss
        error, source = evaluation.gain_standard_error, "test queries"
        overall_error = evaluation.log_ratio_standard_error
    elif frontier.held_out is not None:
        policy, single = frontier.held_out.policy_loss, frontier.held_out.single_loss
        error, source = frontier.held_out.gain_standard_error, "held-out training queries"
        overall_error = frontier.held_out.log_ratio_standard_error
    else:
        text = "Too few labels to hold any out, so there is no verdict on unseen queries."
        return Verdict(f"{text} {singles}", (), float("nan"), float("nan"), "nothing")
    positive = single > 0
    scale = np.where(positive, single, 1.0)
    saving, error = np.where(positive, 1 - policy / scale, 0.0), error / scale
    average = 1 - float(np.exp(np.mean(np.log(np.maximum(1 - saving, 1e-12)))))
    cascades = np.array([len(point.policy.rules) > 1 for point in frontier.points])
    clear = cascades & (saving > _CLEAR * error)
    pays = _ranges(frontier.error_prices, clear, saving, error)
    overall = _Overall(average, (1 - average) * overall_error, len(frontier.points))
    opening = _opening(pays, bool(cascades.any()), overall, source)
    return Verdict(f"{opening} {singles}", pays, average, overall.standard_error, source)


def dollars(amount: float) -> str:
    """Writes an amount with three significant digits and no exponent where it can be read.

    Example:
        >>> dollars(0.000123456), dollars(12.3456), dollars(1234567.0)
        ('$0.000123', '$12.3', '$1,230,000')
    """
    if amount == 0 or not np.isfinite(amount):
        return f"${amount:g}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(amount)))))
    rounded = float(f"{amount:.3g}")
    return f"${rounded:,.{digits}f}" if digits <= 12 else f"${amount:.3g}"


class _Overall(NamedTuple):
    """Average saving over all prices, its standard error, and the number of prices."""

    saving: float
    standard_error: float
    num_prices: int

    def __str__(self) -> str:
        compared = "less" if self.saving >= 0 else "more"
        return (
            f"lose {abs(self.saving):.1%} (standard error {self.standard_error:.1%}) {compared} "
            f"than the best single model on average over {self.num_prices} prices"
        )


def _opening(
    pays: tuple[PriceRange, ...], any_cascade: bool, overall: _Overall, source: str
) -> str:
    if not any_cascade:
        return "No cascade pays here: a single model is recommended at every price."
    recommended = f"the recommendations {overall}"
    if pays:
        return (
            f"A cascade pays at some prices: on {source} {recommended}. Clear savings, likely "
            f"overstated because they were picked for being clear: {_where(pays)}."
        )
    if overall.saving > _CLEAR * overall.standard_error:
        return (
            f"A cascade pays on the whole: on {source} {recommended}, though at no price alone "
            "clearly."
        )
    return (
        f"No cascade clearly pays here: on {source} {recommended}, and nowhere save more than two "
        "standard errors."
    )


def _where(pays: tuple[PriceRange, ...]) -> str:
    if len(pays) > _MOST_RANGES:
        low, high = min(r.low for r in pays), max(r.high for r in pays)
        savings = [r.saving for r in pays]
        return (
            f"{min(savings):.1%} to {max(savings):.1%} of the best single model's loss, in "
            f"{len(pays)} ranges of prices between {dollars(low)} and {dollars(high)} per error"
        )
    return " and ".join(
        f"{r.saving:.1%} of the best single model's loss (standard error {r.standard_error:.1%}) "
        + (
            f"at {dollars(r.low)}"
            if r.low == r.high
            else f"from {dollars(r.low)} to {dollars(r.high)}"
        )
        + " per error"
        for r in pays
    )


def _ranges(
    prices: Float[np.ndarray, " p"],
    clear: Bool[np.ndarray, " p"],
    saving: Float[np.ndarray, " p"],
    error: Float[np.ndarray, " p"],
) -> tuple[PriceRange, ...]:
    ranges = []
    for is_clear, run in groupby(range(len(prices)), key=lambda p: bool(clear[p])):
        at = list(run)
        if is_clear:
            ranges.append(
                PriceRange(
                    float(prices[at[0]]),
                    float(prices[at[-1]]),
                    float(np.mean(saving[at])),
                    float(np.mean(error[at])),
                )
            )
    return tuple(ranges)


def _single_ranges(frontier: Frontier) -> str:
    runs = [
        (name, [float(point.prices.error) for point in points])
        for name, points in groupby(frontier.points, key=lambda point: point.best_single)
    ]
    if len(runs) == 1:
        return f"{runs[0][0]} at every price"
    parts = [f"{runs[0][0]} up to {dollars(runs[0][1][-1])} per error"]
    parts += [f"{name} from {dollars(prices[0])}" for name, prices in runs[1:]]
    return ", ".join(parts)
