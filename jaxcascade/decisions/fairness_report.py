"""A tidy table of metrics by group, and how it prints."""

from typing import NamedTuple

import numpy as np

from jaxcascade.decisions.text_table import text_table
from jaxcascade.errors import InvalidInputError

GAP = "gap"


class FairnessRow(NamedTuple):
    """One number of one group, or one comparison of all.

    A calibration error as counted is a mean of absolute values, all noise in it: it may lie above
    its interval, which has the noise taken out.

    Attributes:
        metric: What is measured; dollars where the name ends in `usd`.
        group: Label, or `GAP` for a comparison.
        estimate: As counted; NaN where there is nothing to count.
        lower: Lower end of the interval.
        upper: Upper end of the interval.
        count: Relevant items.
        enough: Whether there are as many as asked for; a comparison leaves out groups that have
            not, and says so here.
        by_chance: Of a comparison and of a calibration error: its average were groups alike, or
            beliefs calibrated. An estimate no worse than this is evidence of nothing.
        beyond: Of a comparison: probability that it is above the tolerance, or below four fifths.
    """

    metric: str
    group: str
    estimate: float
    lower: float
    upper: float
    count: int
    enough: bool
    by_chance: float = float("nan")
    beyond: float = float("nan")


class Fairness(NamedTuple):
    """A tidy table of metrics by group; prints as text.

    Attributes:
        rows: Groups of each metric, then their comparison.
        level: Of the intervals.
    """

    rows: tuple[FairnessRow, ...]
    level: float

    def row(self, metric: str, group: str = GAP) -> FairnessRow:
        """Returns one row.

        Raises:
            InvalidInputError: There is none of this metric and group.
        """
        for row in self.rows:
            if (row.metric, row.group) == (metric, group):
                return row
        known = sorted({row.metric for row in self.rows})
        raise InvalidInputError(
            f'No row for "{metric}" of "{group}"; there are {", ".join(known)}.'
        )

    def __str__(self) -> str:
        head = ("metric", "group", "estimate", f"{self.level:.0%} interval", "count", "by chance")
        return text_table([(*head, "P(beyond)"), *(_words(row) for row in self.rows)])


def _words(row: FairnessRow) -> tuple[str, ...]:
    number = "{:,.2f}".format if row.metric.endswith("usd") else "{:.3f}".format
    if np.isnan(row.estimate):
        return row.metric, row.group, "not enough data", "", str(row.count), "", ""
    few = " (groups left out)" if row.group == GAP else " (not enough data)"
    return (
        row.metric,
        row.group,
        number(row.estimate) + ("" if row.enough else few),
        f"[{number(row.lower)}, {number(row.upper)}]",
        str(row.count),
        "" if np.isnan(row.by_chance) else number(row.by_chance),
        "" if np.isnan(row.beyond) else f"{row.beyond:.3f}",
    )
