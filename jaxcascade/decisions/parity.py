"""Decisions of least expected cost whose rates differ between groups by no more than a bound.

Equal rates say nothing of equal merit: where groups differ in what they are judged by, a bound on
rates makes equal evidence lead to different decisions, and the price of that is what this measures.

In a group, items sorted by what favouring them saves make the least cost of a rate a convex
function of it, with one kink per item. A bound keeps all rates in a band; the cost of the best
rates in a band is convex in the band's middle, with kinks where a rate's kink meets an edge. So the
optimum is found exactly, by looking at every kink.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jaxcascade.decisions.costs import Costs
from jaxcascade.decisions.groups import Column, Labels, group_codes
from jaxcascade.decisions.text_table import text_table
from jaxcascade.errors import InvalidInputError

Beliefs = Float[Array, "n s"] | Float[np.ndarray, "n s"]


class ParityDecisions(NamedTuple):
    """What to do with each item under a bound, and what the bound does.

    Attributes:
        action: Position of the action: the cheapest favourable one where `share` is at least one
            half, else the cheapest other one.
        share: Probability with which to favour each item: 0 or 1 except for items at the threshold
            of a group whose rate is at the edge of the band. Items of a group that save equally
            much have equal shares.
        groups: Names.
        shift_usd: Multiplier of each group: its items are favoured if that saves more dollars than
            this (for equal opportunity: than this times the belief in the positive state). Above
            0, the bar is raised; below, lowered; 0 where the bound changes nothing.
        rate: Of each group, shares counted; NaN where there is no weight to count.
        unbounded_rate: The same without the bound.
        usd: Expected dollars of all items.
        unbounded_usd: The same without the bound.
        usd_per_point: Slope of the cost: dollars, for all items together, for one percentage point
            less between the highest and the lowest rate. From the multipliers; where the slope
            jumps, a value in between.
    """

    action: Int[np.ndarray, " n"]
    share: Float[np.ndarray, " n"]
    groups: tuple[str, ...]
    shift_usd: Float[np.ndarray, " g"]
    rate: Float[np.ndarray, " g"]
    unbounded_rate: Float[np.ndarray, " g"]
    usd: float
    unbounded_usd: float
    usd_per_point: float


class ParityPrice(NamedTuple):
    """What bounds cost; prints as text.

    Attributes:
        tolerance: Bounds, in order.
        gap: Highest less lowest rate under each; at most twice the bound.
        usd: Expected dollars of all items.
        extra_usd: More than without a bound.
        usd_per_point: Slope there: dollars for one percentage point less of the gap.
    """

    tolerance: Float[np.ndarray, " t"]
    gap: Float[np.ndarray, " t"]
    usd: Float[np.ndarray, " t"]
    extra_usd: Float[np.ndarray, " t"]
    usd_per_point: Float[np.ndarray, " t"]

    def __str__(self) -> str:
        rows = (
            (f"{t:.4f}", f"{gap:.4f}", f"{usd:,.2f}", f"{extra:,.2f}", f"{point:,.2f}")
            for t, gap, usd, extra, point in zip(*self, strict=True)
        )
        return text_table([("tolerance", "gap", "usd", "extra usd", "usd per point"), *rows])


class Counterfactual(NamedTuple):
    """Items that would be decided otherwise in another group.

    Attributes:
        share: Of all items.
        items: Their positions.
    """

    share: float
    items: Int[np.ndarray, " m"]


def parity_decisions(
    group: Labels,
    probability: Beliefs,
    costs: Costs,
    tolerance: float,
    *,
    favourable: Sequence[str],
    positive: str | None = None,
) -> ParityDecisions:
    """Decides at least expected cost so that every group's rate is near a common one.

    The common rate is chosen, too: the bound is the same as to keep any two groups within twice
    the tolerance, whatever their sizes. It can always be kept. Equal rates say nothing of equal
    merit.

    Args:
        group: Label of each item; a missing one is a group of its own.
        probability: Belief in each state, of each item; rows sum to 1.
        costs: Of actions in these states.
        tolerance: Largest distance of a group's rate from the common one, at least 0.
        favourable: Names of the actions that are good for the item; some, not all.
        positive: State that gives a claim to them: rates are then of belief in it (equal
            opportunity); by default of items (demographic parity).

    Raises:
        InvalidInputError: The tolerance is below 0 or not a number, a name is unknown, no action
            or all are favourable, or columns do not fit.

    References:
        Hardt, Price and Srebro (2016), Equality of opportunity in supervised learning; Corbett-
        Davies et al. (2017), Algorithmic decision making and the cost of fairness.

    Example:
        >>> import numpy as np
        >>> from jaxcascade.decisions import cost_matrix
        >>> costs = cost_matrix({"reject": {"unfit": 0, "fit": 9}, "meet": {"unfit": 9, "fit": 0}})
        >>> p = np.array([.9, .8, .7, .1, .6, .1, .1, .1])
        >>> found = parity_decisions(["a"] * 4 + ["b"] * 4, np.stack([1 - p, p], axis=1), costs,
        ...                          0.0, favourable=["meet"])
        >>> found.unbounded_rate, found.rate
        (array([0.75, 0.25]), array([0.25, 0.25]))
    """
    problem = _problem(group, probability, costs, favourable, positive)
    return _solve(problem, _checked_tolerance(tolerance))


def price_of_fairness(
    group: Labels,
    probability: Beliefs,
    costs: Costs,
    tolerances: Sequence[float] | Float[np.ndarray, " t"],
    *,
    favourable: Sequence[str],
    positive: str | None = None,
) -> ParityPrice:
    """Prices bounds: expected dollars, and dollars per percentage point of the gap between rates.

    Args:
        group: As for `parity_decisions`.
        probability: As for `parity_decisions`.
        costs: As for `parity_decisions`.
        tolerances: Bounds to price.
        favourable: As for `parity_decisions`.
        positive: As for `parity_decisions`.

    Raises:
        InvalidInputError: As for `parity_decisions`.
    """
    bounds = np.sort([_checked_tolerance(tolerance) for tolerance in tolerances])
    problem = _problem(group, probability, costs, favourable, positive)
    found = [_solve(problem, float(bound)) for bound in bounds]
    usd = np.array([each.usd for each in found])
    return ParityPrice(
        bounds,
        np.array([_width(each.rate) for each in found]),
        usd,
        usd - problem.least.sum(),
        np.array([each.usd_per_point for each in found]),
    )


def counterfactual(
    decide_fn: Callable[[Shaped[np.ndarray, " n"]], Column],
    group: Labels,
    groups: Sequence | None = None,
) -> Counterfactual:
    """Finds items whose decision depends on their group: same evidence, another label.

    Args:
        decide_fn: Takes labels of all items and returns their decisions; the evidence is its own.
            It must decide each item by itself: labels of all items are swapped together.
        group: True labels.
        groups: Labels to try; by default all that occur.

    Raises:
        InvalidInputError: There is no item, or `decide_fn` returns too few decisions or too many.

    Example:
        >>> import numpy as np
        >>> score = np.array([.3, .5, .9])
        >>> counterfactual(lambda group: score > np.where(group == "b", .4, .6), ["a", "a", "b"])
        Counterfactual(share=0.333..., items=array([1]))
    """
    labels = np.asarray(group)
    if not labels.size:
        raise InvalidInputError("`group` is empty: there must be one label per item.")
    as_is = _decisions(decide_fn, labels)
    differs = np.zeros(labels.size, bool)
    for other in np.unique(labels) if groups is None else groups:
        differs |= _decisions(decide_fn, np.full(labels.size, other)) != as_is
    items = np.flatnonzero(differs)
    return Counterfactual(items.size / labels.size, items)


class _Problem(NamedTuple):
    """What favouring each item saves, and what it weighs in its group's rate."""

    codes: Int[np.ndarray, " n"]
    groups: tuple[str, ...]
    gain: Float[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]
    least: Float[np.ndarray, " n"]
    otherwise: Float[np.ndarray, " n"]
    favourable: Int[np.ndarray, " n"]
    unfavourable: Int[np.ndarray, " n"]


class _Curve(NamedTuple):
    """The least cost of each rate of one group, more than without a bound, between kinks."""

    items: Int[np.ndarray, " i"]
    block: Int[np.ndarray, " i"]
    saving: Float[np.ndarray, " b"]
    rate: Float[np.ndarray, " k"]
    usd: Float[np.ndarray, " k"]
    weight: float
    best: float


def _problem(
    group: Labels,
    probability: Beliefs,
    costs: Costs,
    favourable: Sequence[str],
    positive: str | None,
) -> _Problem:
    codes, names = group_codes(group)
    belief = np.asarray(probability, float)
    _check(belief, codes.size, costs, favourable, positive)
    good = np.isin(costs.actions, list(favourable))
    usd = belief @ np.asarray(costs.usd, float).T
    best = [np.where(side, usd, np.inf).argmin(axis=1) for side in (good, ~good)]
    with_it, without = (np.take_along_axis(usd, at[:, None], axis=1)[:, 0] for at in best)
    weight = np.ones(codes.size) if positive is None else belief[:, costs.states.index(positive)]
    least = np.minimum(with_it, without)
    return _Problem(codes, names, without - with_it, weight, least, without, best[0], best[1])


def _solve(problem: _Problem, tolerance: float) -> ParityDecisions:
    share = (problem.gain > 0).astype(float)
    unbounded = _rates(problem, share)
    shift = np.zeros(len(problem.groups))
    at = np.flatnonzero(~np.isnan(unbounded))
    if _width(unbounded) > 2 * tolerance:
        curves = [_curve(problem, int(g)) for g in at]
        middle = _middle(curves, tolerance)
        shift[at] = _shifts(curves, middle, tolerance)
        for curve in curves:
            rate = float(np.clip(curve.best, middle - tolerance, middle + tolerance))
            if rate != curve.best:
                share[curve.items] = _filled(curve, rate)
    weight = np.bincount(problem.codes, problem.weight, len(problem.groups))
    pull = shift * weight
    return ParityDecisions(
        np.where(share >= 0.5, problem.favourable, problem.unfavourable),
        share,
        problem.groups,
        shift,
        _rates(problem, share),
        unbounded,
        float((problem.otherwise - share * problem.gain).sum()),
        float(problem.least.sum()),
        # Multipliers of the upper edge add up to those of the lower one: the middle is free.
        float(np.maximum(pull, 0.0).sum()) / 100,
    )


def _curve(problem: _Problem, group: int) -> _Curve:
    """Items that save equally much per weight make one block: they are to be treated alike."""
    items = np.flatnonzero((problem.codes == group) & (problem.weight > 0))
    weight = problem.weight[items]
    ordered, block = np.unique(-problem.gain[items] / weight, return_inverse=True)
    total = weight.sum()
    width = np.bincount(block, weight) / total
    rate = np.concatenate([[0.0], np.cumsum(width)])
    # Sums of shares do not end at 1 to the last digit, where a rate may have to be.
    rate[-1] = 1.0
    usd = np.concatenate([[0.0], np.cumsum(ordered * width * total)])
    favoured = int((ordered < 0).sum())
    return _Curve(items, block, -ordered, rate, usd - usd[favoured], total, rate[favoured])


def _middle(curves: Sequence[_Curve], tolerance: float) -> float:
    """Looks at all kinks of a convex function, piecewise linear; both edges stay within [0, 1]."""
    best = np.array([curve.best for curve in curves])
    low, high = best.min() + tolerance, best.max() - tolerance
    kinks = [curve.rate + side for curve in curves for side in (-tolerance, tolerance)]
    kinks = np.unique(np.clip(np.concatenate([*kinks, [low, high]]), low, high))
    total = sum(
        np.interp(np.clip(curve.best, kinks - tolerance, kinks + tolerance), curve.rate, curve.usd)
        for curve in curves
    )
    return float(kinks[np.argmin(total)])


def _shifts(curves: Sequence[_Curve], middle: float, tolerance: float) -> Float[np.ndarray, " g"]:
    """Multipliers: at a kink a range of them would do; of all ranges, points that add up to 0."""
    ranges = np.array([_range(curve, middle, tolerance) for curve in curves])
    weight = np.array([curve.weight for curve in curves])
    low, high = (ranges * weight[:, None]).T
    # Without an end a range may go as far as all others together pull the other way.
    reach = sum(np.abs(ends[np.isfinite(ends)]).sum() for ends in (low, high))
    low, high = np.maximum(low, -reach), np.minimum(high, reach)
    spread = (high - low).sum()
    along = np.clip(-low.sum() / spread, 0.0, 1.0) if spread > 0 else 0.0
    return (low + along * (high - low)) / weight


def _range(curve: _Curve, middle: float, tolerance: float) -> tuple[float, ...]:
    """Multipliers for which a group's rate at the edge of the band is best; 0 inside of it."""
    bottom, top = middle - tolerance, middle + tolerance
    rate = float(np.clip(curve.best, bottom, top))
    near = 1e-12
    after = int(np.searchsorted(curve.rate, rate + near, side="right")) - 1
    before = int(np.searchsorted(curve.rate, rate - near, side="left")) - 1
    lower = curve.saving[after] if after < curve.saving.size else -np.inf
    upper = curve.saving[before] if before >= 0 else np.inf
    down, up = curve.best >= top - near, curve.best <= bottom + near
    # The upper edge of the band raises the bar, the lower one lowers it.
    least, most = (-np.inf if up else 0.0), (np.inf if down else 0.0)
    return tuple(float(end) for end in np.clip((lower, upper), least, most))


def _filled(curve: _Curve, rate: float) -> Float[np.ndarray, " i"]:
    """Share of each item that makes up a rate: blocks in order, the last one in part."""
    width = np.maximum(np.diff(curve.rate), np.finfo(float).tiny)
    return np.clip((rate - curve.rate[:-1]) / width, 0.0, 1.0)[curve.block]


def _rates(problem: _Problem, share: Float[np.ndarray, " n"]) -> Float[np.ndarray, " g"]:
    count = len(problem.groups)
    favoured = np.bincount(problem.codes, problem.weight * share, count)
    weight = np.bincount(problem.codes, problem.weight, count)
    return np.where(weight > 0, favoured / np.where(weight > 0, weight, 1.0), np.nan)


def _width(rate: Float[np.ndarray, " g"]) -> float:
    known = rate[~np.isnan(rate)]
    return float(np.ptp(known)) if known.size else 0.0


def _decisions(
    decide_fn: Callable[[Shaped[np.ndarray, " n"]], Column], labels: Shaped[np.ndarray, " n"]
) -> Shaped[np.ndarray, " n"]:
    found = np.asarray(decide_fn(labels))
    if found.shape != labels.shape:
        raise InvalidInputError(
            f"`decide_fn` must return one decision per item, {labels.size}; got {found.shape}."
        )
    return found


def _checked_tolerance(tolerance: float) -> float:
    if not tolerance >= 0:
        raise InvalidInputError(
            f"`tolerance` must be at least 0, the largest distance from a common rate; "
            f"got {tolerance}."
        )
    return float(tolerance)


def _check(
    belief: Float[np.ndarray, "n s"],
    size: int,
    costs: Costs,
    favourable: Sequence[str],
    positive: str | None,
) -> None:
    if belief.shape != (size, len(costs.states)):
        raise InvalidInputError(
            f"`probability` must have a row per item and a column per state, "
            f"({size}, {len(costs.states)}); got {belief.shape}."
        )
    if not ((belief >= 0).all() and np.allclose(belief.sum(axis=1), 1.0, atol=1e-6)):
        raise InvalidInputError("Rows of `probability` must be at least 0 and sum to 1.")
    unknown = [name for name in favourable if name not in costs.actions]
    if unknown or not 0 < len(set(favourable)) < len(costs.actions):
        raise InvalidInputError(
            f"`favourable` must name some actions of `costs`, not all: {', '.join(costs.actions)}; "
            f"got {', '.join(favourable) or 'none'}."
        )
    if positive is not None and positive not in costs.states:
        raise InvalidInputError(
            f'`positive` must be one of {", ".join(costs.states)}; got "{positive}".'
        )
