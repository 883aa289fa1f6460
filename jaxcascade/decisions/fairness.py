"""How decisions differ between groups, how surely, and what chance alone would make of equal ones.

The largest of several noisy differences is above zero even where groups are treated alike, and
draws of a posterior add noise of their own on top. So a gap comes with three things besides its
plain value: an interval from all pairs of groups at once, which has 0 in it unless two groups
differ; what the gap would be on average were groups alike; and the probability that it is above a
tolerance, from draws in which groups borrow strength from each other.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxcascade.decisions.comparison import Sheet, error_rows, gap_row, group_rows, ratio_row
from jaxcascade.decisions.costs import Costs
from jaxcascade.decisions.fairness_report import Fairness, FairnessRow
from jaxcascade.decisions.gaps import check_settings
from jaxcascade.decisions.group_measures import Measure, calibration_error, mean, share
from jaxcascade.decisions.groups import Column, Labels, group_codes
from jaxcascade.economics.bootstrap import generator_of
from jaxcascade.errors import InvalidInputError

FEWEST = 10


def fairness(
    key: Array,
    group: Labels,
    action: Column,
    *,
    truth: Column | None = None,
    probability: Column | None = None,
    costs: Costs | None = None,
    favourable: Sequence[int] = (1,),
    groups: Sequence[str] | None = None,
    minimum: int = FEWEST,
    level: float = 0.9,
    tolerance: float = 0.05,
    tolerance_usd: float | None = None,
    num_draws: int = 2000,
) -> Fairness:
    """Compares decisions between groups: rates, errors, calibration and cost, with intervals.

    What it needs decides what there is. Always: the rate of favourable actions, the
    demographic-parity gap and the four-fifths ratio. With `truth`: equal opportunity and equalised
    odds. With `truth` and `probability`: calibration within groups, in 15 bins of equal count.
    With `costs`: expected dollars by `probability`, realised dollars by `truth`.

    Args:
        key: Random key.
        group: Label of each item; a missing one is a group of its own.
        action: Taken with each item: true or false, or the action's position.
        truth: 1 where the state is the positive one, 0 where not, -1 or NaN where unknown.
        probability: Belief that the state is the positive one.
        costs: Of actions in two states, the positive one second.
        favourable: Positions of the actions that are good for the item.
        groups: All groups that there should be; by default those that occur.
        minimum: Relevant items that a group needs to be compared.
        level: Of intervals. Those of single groups are equal-tailed; those of gaps and ratios hold
            for all pairs of groups at once, so that they are on the wide side.
        tolerance: Largest gap of rates, and of calibration errors, that does not matter.
        tolerance_usd: Largest gap in dollars per item that does not matter, if it can be told.
        num_draws: Draws of posteriors.

    Returns:
        A table. Rates have Jeffreys' posterior, which is the Bayesian bootstrap with half an item
        added on either side; mean dollars have the Bayesian bootstrap; errors of calibration are
        shrunk by as much as they look like noise.

    Raises:
        InvalidInputError: An argument is out of range, or columns differ in length.

    Warns:
        PosteriorWarning: A group has no relevant item: its row is NaN, and no comparison has it.

    References:
        Hardt, Price and Srebro (2016), Equality of opportunity in supervised learning; Rubin
        (1981), The Bayesian bootstrap; 29 CFR 1607.4(D), the four-fifths rule.

    Example:
        >>> import jax
        >>> group, hired = ["a"] * 20 + ["b"] * 20, [1] * 12 + [0] * 8 + [1] * 6 + [0] * 14
        >>> found = fairness(jax.random.key(0), group, hired)
        >>> round(found.row("demographic_parity").estimate, 6)
        0.3
        >>> found.row("four_fifths").estimate
        0.5
    """
    check_settings(level, minimum=minimum, num_draws=num_draws)
    codes, names = group_codes(group, groups)
    taken = _column("action", action, codes.size).astype(int)
    state = None if truth is None else _truth(truth, codes.size)
    belief = None if probability is None else _belief(probability, codes.size)
    if costs is not None:
        _check_costs(costs, taken, belief, state)
    good = np.isin(taken, np.asarray(favourable, int))
    of_rates, of_belief, of_costs = jax.random.split(key, 3)
    sheet = Sheet(names, minimum, level, generator_of(of_rates), num_draws)
    member = codes == np.arange(len(names))[:, None]
    rows = _rates(sheet, member, good, state, tolerance)
    if belief is not None and state is not None:
        rows += _calibration(sheet, of_belief, member, belief, state, tolerance)
    if costs is not None:
        rows += _dollars(sheet, of_costs, member, taken, belief, state, costs, tolerance_usd)
    return Fairness(tuple(rows), level)


def _rates(
    sheet: Sheet,
    member: Bool[np.ndarray, "g n"],
    good: Bool[np.ndarray, " n"],
    state: Float[np.ndarray, " n"] | None,
    tolerance: float,
) -> list[FairnessRow]:
    def rate(name: str, among: Bool[np.ndarray, "g n"]) -> Measure:
        return share(sheet.generator, name, among, good, sheet.num_draws)

    chosen = rate("favourable_rate", member)
    rows = [
        *group_rows(sheet, chosen),
        gap_row(sheet, "demographic_parity", [chosen], tolerance),
        ratio_row(sheet, chosen),
    ]
    if state is None:
        return rows
    hits = rate("true_positive_rate", member & (state == 1))
    alarms = rate("false_positive_rate", member & (state == 0))
    return [
        *rows,
        *group_rows(sheet, hits),
        gap_row(sheet, "equal_opportunity", [hits], tolerance),
        *group_rows(sheet, alarms),
        gap_row(sheet, "equalised_odds", [hits, alarms], tolerance),
    ]


def _calibration(
    sheet: Sheet,
    key: Array,
    member: Bool[np.ndarray, "g n"],
    belief: Float[np.ndarray, " n"],
    state: Float[np.ndarray, " n"],
    tolerance: float,
) -> list[FairnessRow]:
    among = member & ~np.isnan(state)
    errors = calibration_error(generator_of(key), among, belief, state, sheet.num_draws)
    return [*error_rows(sheet, errors), gap_row(sheet, "calibration", [errors], tolerance)]


def _dollars(
    sheet: Sheet,
    key: Array,
    member: Bool[np.ndarray, "g n"],
    taken: Int[np.ndarray, " n"],
    belief: Float[np.ndarray, " n"] | None,
    state: Float[np.ndarray, " n"] | None,
    costs: Costs,
    tolerance: float | None,
) -> list[FairnessRow]:
    usd = np.asarray(costs.usd, float)[taken]
    rows = []
    for column, name in ((belief, "expected_cost"), (state, "realised_cost")):
        if column is None:
            continue
        known = ~np.isnan(column)
        second = np.where(known, column, 0.0)
        values = usd[:, 0] * (1 - second) + usd[:, 1] * second
        own = jax.random.fold_in(key, len(rows))
        cost = mean(sheet.generator, own, f"{name}_usd", member & known, values, sheet.num_draws)
        rows += [*group_rows(sheet, cost), gap_row(sheet, f"{name}_gap_usd", [cost], tolerance)]
    return rows


def _column(name: str, values: Column, size: int) -> Float[np.ndarray, " n"]:
    found = np.asarray(values, float)
    if found.shape != (size,):
        raise InvalidInputError(
            f"`{name}` must have one value per item, {size} as `group` has; got {found.shape}."
        )
    if name == "action" and not (np.isfinite(found).all() and (found == np.round(found)).all()):
        raise InvalidInputError("`action` must hold true and false, or positions of actions.")
    return found


def _truth(values: Column, size: int) -> Float[np.ndarray, " n"]:
    found = _column("truth", values, size)
    found = np.where(found == -1, np.nan, found)
    odd = ~np.isnan(found) & ~np.isin(found, (0, 1))
    if odd.any():
        raise InvalidInputError(
            f"`truth` must be 0 or 1, and -1 or NaN where unknown; {odd.sum()} values are not, "
            f"the first {found[odd][0]:g}."
        )
    return found


def _belief(values: Column, size: int) -> Float[np.ndarray, " n"]:
    found = _column("probability", values, size)
    if not ((found >= 0) & (found <= 1)).all():
        raise InvalidInputError(
            "`probability` must lie in [0, 1]: the belief in the positive state, one per item; "
            f"its extremes are {found.min():g} and {found.max():g}."
        )
    return found


def _check_costs(
    costs: Costs,
    taken: Int[np.ndarray, " n"],
    belief: Float[np.ndarray, " n"] | None,
    state: Float[np.ndarray, " n"] | None,
) -> None:
    if len(costs.states) != 2:
        raise InvalidInputError(
            f"`costs` must have two states, the positive one second; got {len(costs.states)}."
        )
    if belief is None and state is None:
        raise InvalidInputError("`costs` needs `probability` or `truth`: dollars depend on states.")
    if taken.min() < 0 or taken.max() >= len(costs.actions):
        raise InvalidInputError(
            f"`action` must be a position among the {len(costs.actions)} actions of `costs`; "
            f"found {taken.min()} to {taken.max()}."
        )
