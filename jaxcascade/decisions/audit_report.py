"""What an audit of ranks finds, as rows, and how it prints."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxcascade.decisions.text_table import text_table

# Heads of columns, and what is in them; the segment comes first.
_SEGMENTS = {
    "calls": "{0.calls}",
    "ratio": "{0.ratio:.3f}",
    "interval": "[{0.lower:.3f}, {0.upper:.3f}]",
    "P(below 0.8)": "{0.below:.3f}",
    "lowest / highest": "{0.lowest} / {0.highest}",
    "by chance (low)": "{0.by_chance:.3f} ({0.chance_lower:.3f})",
    "below 0.8 by chance": "{0.chance_below:.3f}",
    "p": "{0.p_value:.4f}",
    "adjusted": "{0.p_adjusted:.4f}",
}
_GROUPS = {
    "group": "{0.group}",
    "selected": "{0.selected}/{0.items}",
    "rate": "{0.rate:.3f}",
    "interval": "[{0.lower:.3f}, {0.upper:.3f}]",
    "ratio": "{0.ratio:.3f}",
    "by chance": "[{0.chance_lower:.3f}, {0.chance_upper:.3f}]",
    "p": "{0.p_value:.4f}",
    "adjusted": "{0.p_adjusted:.4f}",
}
_POSITIONS = {
    "position": "{0.position}",
    "items": "{0.items}",
    "rate": "{0.rate:.3f}",
    "interval": "[{0.lower:.3f}, {0.upper:.3f}]",
    "by chance": "{0.expected:.3f}",
}


class SegmentAudit(NamedTuple):
    """One model and job, say: the four-fifths ratio of all groups.

    Attributes:
        segment: Values of the columns `by`.
        calls: Independent rankings.
        lowest: Group that is selected least often.
        highest: Group that is selected most often.
        ratio: Lowest rate over highest.
        lower: Lower end of its interval.
        upper: Upper end of its interval.
        below: Probability that the true ratio is below four fifths.
        by_chance: Median ratio under equal treatment.
        chance_lower: The ratio that equal treatment falls short of in one of twenty cases, at a
            level of 0.9.
        chance_below: How often equal treatment gives a ratio below four fifths.
        p_value: Probability of such a ratio or a lower one under equal treatment.
        p_adjusted: The same for the most extreme of all segments: below a level in one segment or
            more with that probability at most, if all are treated alike.
    """

    segment: tuple[str, ...]
    calls: int
    lowest: str
    highest: str
    ratio: float
    lower: float
    upper: float
    below: float
    by_chance: float
    chance_lower: float
    chance_below: float
    p_value: float
    p_adjusted: float


class GroupAudit(NamedTuple):
    """One group in one segment.

    Attributes:
        segment: Values of the columns `by`.
        group: Label.
        items: Of this group.
        selected: Of those.
        rate: Selected over items.
        lower: Lower end of its interval.
        upper: Upper end of its interval.
        ratio: Rate over that of the group with the highest.
        chance_lower: Lower end of rates under equal treatment.
        chance_upper: Upper end of rates under equal treatment.
        p_value: Probability of a rate as far from the expected one, or farther.
        p_adjusted: The same for the farthest of all groups of all segments.
    """

    segment: tuple[str, ...]
    group: str
    items: int
    selected: int
    rate: float
    lower: float
    upper: float
    ratio: float
    chance_lower: float
    chance_upper: float
    p_value: float
    p_adjusted: float


class PositionAudit(NamedTuple):
    """One position in the prompt, in one segment, all groups together.

    Attributes:
        segment: Values of the columns `by`.
        position: As in its column.
        items: In this position.
        rate: Share of them that is selected.
        lower: Lower end of its interval.
        upper: Upper end of its interval.
        expected: Rate if position were nothing.
    """

    segment: tuple[str, ...]
    position: str
    items: int
    rate: float
    lower: float
    upper: float
    expected: float


class Audit(NamedTuple):
    """What an audit of ranks finds; prints as text.

    Attributes:
        segments: Ratios.
        groups: Rates of groups.
        positions: Rates of positions; empty where there is no such column.
        top: Ranks that count as selected.
        level: Of intervals.
    """

    segments: tuple[SegmentAudit, ...]
    groups: tuple[GroupAudit, ...]
    positions: tuple[PositionAudit, ...]
    top: int
    level: float

    def __str__(self) -> str:
        notes = (
            f"Selected: rank {self.top} or better. Intervals: {self.level:.0%}. There is no truth, "
            "so only rates are compared.\n"
            "p: permutation of calls; adjusted: for the most extreme of all rows of its table."
        )
        tables = [
            (self.segments, _SEGMENTS),
            (self.groups, _GROUPS),
            (self.positions, _POSITIONS),
        ]
        return "\n\n".join([notes, *(_text(rows, cells) for rows, cells in tables if rows)])


def _text(
    rows: Sequence[SegmentAudit] | Sequence[GroupAudit] | Sequence[PositionAudit],
    cells: Mapping[str, str],
) -> str:
    body = [
        (" / ".join(row.segment) or "all", *(cell.format(row) for cell in cells.values()))
        for row in rows
    ]
    return text_table([("segment", *cells), *body])
