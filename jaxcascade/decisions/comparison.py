"""Rows of a fairness table: each group by itself, then all of them compared."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxcascade.decisions.fairness_report import GAP, FairnessRow
from jaxcascade.decisions.gaps import (
    FOUR_FIFTHS,
    equal_tails,
    gap_interval,
    lowest_over_highest,
    pooled_draws,
    ratio_interval,
    widened,
)
from jaxcascade.decisions.group_measures import Measure
from jaxcascade.errors import PosteriorWarning

_Columns = Sequence[Float[np.ndarray, "*d _"]]
# Counted from `_rows`: its caller here, the metric, `fairness`, and who called that.
_TO_USER = 5


class Sheet(NamedTuple):
    """What all rows share.

    Attributes:
        names: Of groups.
        minimum: Items that a group needs to be compared.
        level: Of intervals.
        generator: Of random numbers.
        num_draws: Draws of posteriors.
    """

    names: tuple[str, ...]
    minimum: int
    level: float
    generator: np.random.Generator
    num_draws: int


def group_rows(sheet: Sheet, measure: Measure) -> list[FairnessRow]:
    """A row for each group.

    Warns:
        PosteriorWarning: Some have no item.
    """
    ends = widened(equal_tails(measure.draws, sheet.level), measure.estimate)
    return _rows(sheet, measure, *ends)


def error_rows(sheet: Sheet, measure: Measure) -> list[FairnessRow]:
    """A row for each group, of errors that noise makes larger.

    Warns:
        PosteriorWarning: Some have no item.
    """
    lower, upper = equal_tails(measure.draws, sheet.level)
    # Draws are all above 0, which must be in the interval where calibration cannot be denied.
    usual = np.quantile(measure.alike, (1 + sheet.level) / 2, axis=0)
    lower = np.where(measure.estimate <= usual, 0.0, lower)
    return _rows(sheet, measure, lower, upper, measure.alike.mean(axis=0))


def gap_row(
    sheet: Sheet, name: str, measures: Sequence[Measure], tolerance: float | None
) -> FairnessRow:
    """The widest gap of one metric or of several, of groups that have enough items."""
    beyond = None if tolerance is None else partial(np.less, tolerance)
    return _compared(sheet, name, measures, gap_interval, _widest, beyond)


def ratio_row(sheet: Sheet, measure: Measure) -> FairnessRow:
    """The lowest rate over the highest, of groups that have enough items."""
    row = _compared(
        sheet,
        "four_fifths",
        [measure],
        lambda draws, level: ratio_interval(draws[0], level),
        lambda rates: lowest_over_highest(rates[0]),
        partial(np.greater, FOUR_FIFTHS),
    )
    return row._replace(lower=min(row.lower, row.estimate), upper=max(row.upper, row.estimate))


def _rows(
    sheet: Sheet,
    measure: Measure,
    lower: Float[np.ndarray, " g"],
    upper: Float[np.ndarray, " g"],
    by_chance: Float[np.ndarray, " g"] | float = np.nan,
) -> list[FairnessRow]:
    some = measure.count > 0
    if not some.all():
        empty = [name for name, any_item in zip(sheet.names, some, strict=True) if not any_item]
        warnings.warn(
            f"`{measure.name}` is NaN where no item is relevant: {', '.join(empty)}.",
            PosteriorWarning,
            stacklevel=_TO_USER,
        )
    columns = np.broadcast_arrays(measure.estimate, lower, upper, by_chance)
    numbers = np.where(some, columns, np.nan).T.tolist()
    return [
        FairnessRow(measure.name, name, mid, low, high, int(n), bool(n >= sheet.minimum), chance)
        for name, n, (mid, low, high, chance) in zip(
            sheet.names, measure.count, numbers, strict=True
        )
    ]


def _compared(
    sheet: Sheet,
    name: str,
    measures: Sequence[Measure],
    interval: Callable[[_Columns, float], tuple[float, float]],
    apart: Callable[[_Columns], Float[np.ndarray, "*d"]],
    beyond: Callable[[Float[np.ndarray, " d"]], Bool[np.ndarray, " d"]] | None,
) -> FairnessRow:
    """One comparison, by how far `apart` groups are and what is `beyond` the tolerable."""
    kept = [measure.at_least(sheet.minimum) for measure in measures]
    used = sum(int(measure.count.sum()) for measure in kept)
    if any(measure.count.size < 2 for measure in kept):
        return FairnessRow(name, GAP, np.nan, np.nan, np.nan, used, enough=False)
    lower, upper = interval([measure.draws for measure in kept], sheet.level)
    row = FairnessRow(
        name,
        GAP,
        float(apart([measure.estimate for measure in kept])),
        lower,
        upper,
        used,
        all(measure.count.min() >= sheet.minimum for measure in measures),
        _mean_of_known(apart([measure.alike for measure in kept])),
    )
    if beyond is None:
        return row
    pooled = [pooled_draws(sheet.generator, measure.draws, measure.count) for measure in kept]
    return row._replace(beyond=float(np.mean(beyond(apart(pooled)))))


def _widest(values: _Columns) -> Float[np.ndarray, "*d"]:
    return np.max([np.ptp(of_groups, axis=-1) for of_groups in values], axis=0)


def _mean_of_known(values: Float[np.ndarray, " d"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan
