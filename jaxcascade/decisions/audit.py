"""Whether a ranking treats groups alike, where items are equal by design and there is no truth.

Such an audit gives the same documents names of several groups, in random order, and asks who ranks
first. Without truth only rates can be compared. With few selections, equal treatment gives ratios
below four fifths now and then; what it would give is found by permutation: each call's order of
groups is given to another call's ranks. That keeps everything but the link between the two, how
often each group stood in each place included; so an effect of position is not taken for one of
group.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.decisions.audit_report import Audit, GroupAudit, PositionAudit, SegmentAudit
from jaxcascade.decisions.gaps import (
    FOUR_FIFTHS,
    check_settings,
    equal_tails,
    lowest_over_highest,
    pooled_draws,
    ratio_interval,
    widened,
)
from jaxcascade.decisions.groups import group_codes
from jaxcascade.decisions.rank_table import calls_by_segment
from jaxcascade.decisions.resampling import Calls, bootstrapped_rates, exchanged_hits, p_values
from jaxcascade.economics.bootstrap import generator_of


def audit_ranks(
    key: Array,
    table: Any,
    *,
    call: str = "query_id",
    rank: str = "rank",
    group: str = "group",
    position: str | None = "slot",
    by: Sequence[str] = ("model", "job"),
    top: int = 1,
    level: float = 0.9,
    num_draws: int = 2000,
) -> Audit:
    """Compares how often groups are ranked near the top, per model and job.

    Args:
        key: Random key.
        table: Dataframe, or columns by name; one row per item ranked.
        call: Column that says which items were ranked together, within a segment.
        rank: Column of ranks, 1 the best.
        group: Column of groups.
        position: Column of places in the prompt, in which random order put the groups; without
            it (None), calls are to have their rows in such an order.
        by: Columns that make segments; none for all rows together.
        top: Lowest rank that counts as selected.
        level: Of intervals. They are the Bayesian bootstrap of calls, half an item added on either
            side of a rate; that of a ratio holds for all pairs of groups at once.
        num_draws: Draws, and permutations; p-values are no smaller than one over this plus one.

    Returns:
        Ratios, rates of groups and rates of positions. Adjusted p-values are those of Westfall and
        Young's single step: the farthest, in standard deviations of the permutations, of all rows.
        They keep the probability of naming any group falsely.

    Raises:
        MissingColumnError: The table lacks a column.
        InvalidInputError: Columns differ in length, a rank is missing or below 1, nothing or
            everything is selected, or a number is out of its range.

    References:
        Westfall and Young (1993), Resampling-based multiple testing, section 2.3; Phipson and Smyth
        (2010), Permutation p-values should never be zero; 29 CFR 1607.4(D).

    Example:
        >>> import jax
        >>> import numpy as np
        >>> order = np.random.default_rng(0).permuted(np.tile(["a", "b"], (300, 1)), axis=1)
        >>> rank = np.where(order == "a", 1, 2)
        >>> table = {"call": np.repeat(np.arange(300), 2), "rank": rank.ravel(),
        ...          "group": order.ravel(), "slot": np.tile([0, 1], 300)}
        >>> found = audit_ranks(jax.random.key(0), table, call="call", by=())
        >>> found.segments[0].ratio, found.segments[0].p_value < 0.001
        (0.0, True)
    """
    check_settings(level, top=top, num_draws=num_draws)
    generator = generator_of(key)
    found = calls_by_segment(
        table, call=call, rank=rank, group=group, position=position, by=by, top=top
    )
    segments = [_segment(generator, label, calls, num_draws) for label, calls in found]
    return Audit(
        _ratios(generator, segments, level),
        _groups(segments, level),
        () if position is None else _positions(generator, segments, level, num_draws),
        top,
        level,
    )


class _Segment(NamedTuple):
    """What was counted, rates under equal treatment, and draws of rates."""

    label: tuple[str, ...]
    calls: Calls
    names: tuple[str, ...]
    items: Int[np.ndarray, " g"]
    hits: Int[np.ndarray, " g"]
    alike: Float[np.ndarray, "d g"]
    draws: Float[np.ndarray, "d g"]

    @property
    def rate(self) -> Float[np.ndarray, " g"]:
        return self.hits / self.items


def _segment(
    generator: np.random.Generator, label: tuple[str, ...], calls: Calls, num_draws: int
) -> _Segment:
    codes, names = group_codes(calls.group)
    items = np.bincount(codes)
    hits = np.bincount(codes, calls.selected).astype(int)
    alike = exchanged_hits(generator, calls, codes, num_draws) / items
    draws = bootstrapped_rates(generator, calls, codes, num_draws)
    return _Segment(label, calls, names, items, hits, alike, draws)


def _ratios(
    generator: np.random.Generator, segments: Sequence[_Segment], level: float
) -> tuple[SegmentAudit, ...]:
    ratio = np.array([lowest_over_highest(segment.rate) for segment in segments])
    alike = np.stack([lowest_over_highest(segment.alike) for segment in segments], axis=1)
    ends = np.array([ratio_interval(segment.draws, level) for segment in segments]).T
    numbers = (
        ratio,
        *widened(ends, ratio),
        [_below(generator, segment) for segment in segments],
        np.median(alike, axis=0),
        np.quantile(alike, (1 - level) / 2, axis=0),
        np.mean(alike < FOUR_FIFTHS, axis=0),
        *p_values(ratio, alike, one_sided=True),
    )
    return tuple(
        SegmentAudit(
            segment.label,
            segment.calls.size.size,
            segment.names[segment.rate.argmin()],
            segment.names[segment.rate.argmax()],
            *row,
        )
        for segment, row in zip(segments, np.stack(numbers, axis=1).tolist(), strict=True)
    )


def _below(generator: np.random.Generator, segment: _Segment) -> float:
    rates = pooled_draws(generator, segment.draws, segment.items)
    return float(np.mean(lowest_over_highest(rates) < FOUR_FIFTHS))


def _groups(segments: Sequence[_Segment], level: float) -> tuple[GroupAudit, ...]:
    rate = np.concatenate([segment.rate for segment in segments])
    highest = np.concatenate([np.full(len(each.names), each.rate.max()) for each in segments])
    alike = np.concatenate([segment.alike for segment in segments], axis=1)
    draws = np.concatenate([segment.draws for segment in segments], axis=1)
    numbers = (
        rate,
        *widened(equal_tails(draws, level), rate),
        rate / highest,
        *equal_tails(alike, level),
        *p_values(rate, alike),
    )
    counted = [
        (segment.label, *of_group)
        for segment in segments
        for of_group in zip(
            segment.names, segment.items.tolist(), segment.hits.tolist(), strict=True
        )
    ]
    rows = zip(counted, np.stack(numbers, axis=1).tolist(), strict=True)
    return tuple(GroupAudit(*count, *row) for count, row in rows)


def _positions(
    generator: np.random.Generator, segments: Sequence[_Segment], level: float, num_draws: int
) -> tuple[PositionAudit, ...]:
    rows = []
    for label, calls, *_ in segments:
        places, codes, items = np.unique(calls.place, return_inverse=True, return_counts=True)
        rate = np.bincount(codes, calls.selected) / items
        draws = bootstrapped_rates(generator, calls, codes, num_draws)
        expected = np.full_like(rate, calls.selected.mean())
        numbers = (rate, *widened(equal_tails(draws, level), rate), expected)
        rows += [
            PositionAudit(label, str(place), count, *row)
            for place, count, row in zip(
                places, items.tolist(), np.stack(numbers, axis=1).tolist(), strict=True
            )
        ]
    return tuple(rows)
