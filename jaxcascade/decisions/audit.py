"""Whether a ranking treats groups alike, where items are equal by design and there is no truth.

Such an audit gives the same documents names of several groups, in random order, and asks who ranks
first. Without truth only rates can be compared. With few selections, equal treatment gives ratios
below four fifths now and then; what it would give is found by permutation: each call's order of
groups is given to another call's ranks. That keeps everything but the link between the two, how
often each group stood in each place included; so an effect of position is not taken for one of
group.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from jaxcascade.decisions.fairness import (
    FOUR_FIFTHS,
    generator_of,
    group_codes,
    lowest_over_highest,
    partially_pooled,
    ratio_interval,
    text_table,
)
from jaxcascade.errors import InvalidInputError, MissingColumnError
from jaxcascade.records.frames import columns_of, eager_frame

# Numbers held at once: 32 MiB.
_BLOCK = 1 << 22
_HALF = 0.5


class SegmentAudit(NamedTuple):
    """One model and job, say: the four-fifths ratio of all groups.

    Attributes:
        segment: Values of the columns `by`.
        calls: Independent rankings.
        lowest: Group that is selected least often.
        highest: Group that is selected most often.
        ratio: Lowest rate over highest; NaN where nothing is selected.
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
            "so only rates are compared.",
            "p: permutation of calls; adjusted: for the most extreme of all rows of its table.",
        )
        tables = [text_table(rows) for rows in _texts(self) if len(rows) > 1]
        return "\n\n".join(["\n".join(notes), *tables])


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
    _check_numbers(top, level, num_draws)
    columns = _columns(table, (call, rank, group, *([position] if position else []), *by))
    selected = _selected(columns[rank], rank, top)
    generator = generator_of(key)
    segments = []
    for label, rows in _rows_by(columns, by):
        if selected[rows].all() or not selected[rows].any():
            raise InvalidInputError(
                f"`top` = {top} must select some items of each segment, not all or none; it does "
                f"not in {', '.join(label) or 'the table'}."
            )
        place = _sortable(columns[position][rows]) if position else np.arange(rows.size)
        calls = _calls(columns[call][rows], place, columns[group][rows], selected[rows])
        segments.append(_segment(generator, label, calls, num_draws))
    return Audit(
        _ratios(generator, segments, level),
        _groups(segments, level),
        tuple(
            row
            for segment in segments
            if position
            for row in _positions(generator, segment, level, num_draws)
        ),
        top,
        level,
    )


class _Calls(NamedTuple):
    """Items of one segment, sorted by size of the call, call and position."""

    group: Shaped[np.ndarray, " i"]
    place: Shaped[np.ndarray, " i"]
    selected: Bool[np.ndarray, " i"]
    call: Int[np.ndarray, " i"]
    offset: Int[np.ndarray, " i"]
    start: Int[np.ndarray, " c"]
    size: Int[np.ndarray, " c"]


class _Segment(NamedTuple):
    """What was counted, rates under equal treatment, and draws of rates."""

    label: tuple[str, ...]
    calls: _Calls
    names: tuple[str, ...]
    items: Int[np.ndarray, " g"]
    hits: Int[np.ndarray, " g"]
    alike: Float[np.ndarray, "d g"]
    draws: Float[np.ndarray, "d g"]

    @property
    def rate(self) -> Float[np.ndarray, " g"]:
        return self.hits / self.items


def _calls(
    call: Shaped[np.ndarray, " i"],
    place: Shaped[np.ndarray, " i"],
    group: Shaped[np.ndarray, " i"],
    selected: Bool[np.ndarray, " i"],
) -> _Calls:
    _, of_row, size = np.unique(
        group_codes(call.tolist())[0], return_inverse=True, return_counts=True
    )
    order = np.lexsort((np.unique(place, return_inverse=True)[1], of_row, size[of_row]))
    size = np.sort(size)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    offset = np.arange(call.size) - np.repeat(start, size)
    in_call = np.repeat(np.arange(size.size), size)
    return _Calls(group[order], place[order], selected[order], in_call, offset, start, size)


def _segment(
    generator: np.random.Generator, label: tuple[str, ...], calls: _Calls, num_draws: int
) -> _Segment:
    codes, names = group_codes(calls.group.tolist())
    items = np.bincount(codes, minlength=len(names))
    hits = np.bincount(codes[calls.selected], minlength=len(names))
    alike = _permuted(generator, calls, codes, num_draws) / items
    return _Segment(
        label, calls, names, items, hits, alike, _drawn(generator, calls, codes, num_draws)
    )


def _permuted(
    generator: np.random.Generator, calls: _Calls, codes: Int[np.ndarray, " i"], num_draws: int
) -> Int[np.ndarray, "d g"]:
    """Selections of each group when calls of one size exchange their orders of groups."""
    at, offset = calls.call[calls.selected], calls.offset[calls.selected]
    parts = []
    for size in _blocks(num_draws, max(calls.size.size, at.size)):
        # Sizes are whole and sorted, so that a fraction added shuffles within each size only.
        other = np.argsort(calls.size + generator.random((size, calls.size.size)), axis=1)
        chosen = codes[calls.start[other[:, at]] + offset]
        count = [(chosen == g).sum(axis=1) for g in range(codes.max() + 1)]
        parts.append(np.stack(count, axis=1))
    return np.concatenate(parts)


def _drawn(
    generator: np.random.Generator, calls: _Calls, codes: Int[np.ndarray, " i"], num_draws: int
) -> Float[np.ndarray, "d g"]:
    """Draws of rates by kind of item, weights on calls: items of one call depend on each other."""
    shape = (calls.size.size, codes.max() + 1)
    items, hits = np.zeros(shape), np.zeros(shape)
    np.add.at(items, (calls.call, codes), 1.0)
    np.add.at(hits, (calls.call, codes), calls.selected.astype(float))
    parts = []
    for size in _blocks(num_draws, calls.size.size):
        weight = generator.standard_exponential((size, calls.size.size))
        half = generator.standard_gamma(_HALF, (2, size, shape[1]))
        parts.append((weight @ hits + half[0]) / (weight @ items + half.sum(axis=0)))
    return np.concatenate(parts)


def _ratios(
    generator: np.random.Generator, segments: Sequence[_Segment], level: float
) -> tuple[SegmentAudit, ...]:
    ratio = np.array([lowest_over_highest(segment.rate) for segment in segments])
    alike = np.stack([lowest_over_highest(segment.alike) for segment in segments], axis=1)
    p_value, p_adjusted = _p_values(ratio, alike, one_sided=True)
    rows = []
    for s, segment in enumerate(segments):
        lower, upper = ratio_interval(segment.draws, level)
        row = SegmentAudit(
            segment.label,
            segment.calls.size.size,
            segment.names[segment.rate.argmin()],
            segment.names[segment.rate.argmax()],
            float(ratio[s]),
            min(lower, float(ratio[s])),
            max(upper, float(ratio[s])),
            _below(generator, segment),
            float(np.median(alike[:, s])),
            float(np.quantile(alike[:, s], (1 - level) / 2)),
            float(np.mean(alike[:, s] < FOUR_FIFTHS)),
            float(p_value[s]),
            float(p_adjusted[s]),
        )
        rows.append(row)
    return tuple(rows)


def _below(generator: np.random.Generator, segment: _Segment) -> float:
    """Rates borrow strength from each other: the lowest of noisy ones is not taken at its word."""
    spread = segment.draws.std(axis=0)
    scale = float(np.median(spread * np.sqrt(segment.items)))
    mean, num_draws = segment.draws.mean(axis=0), segment.draws.shape[0]
    drawn = partially_pooled(generator, mean, spread, scale, num_draws)
    return float(np.mean(lowest_over_highest(np.clip(drawn, 0.0, 1.0)) < FOUR_FIFTHS))


def _groups(segments: Sequence[_Segment], level: float) -> tuple[GroupAudit, ...]:
    rates = np.concatenate([segment.rate for segment in segments])
    alike = np.concatenate([segment.alike for segment in segments], axis=1)
    draws = np.concatenate([segment.draws for segment in segments], axis=1)
    numbers = np.stack([*_ends(draws, level), *_ends(alike, level), *_p_values(rates, alike)])
    where = [(segment, g) for segment in segments for g in range(len(segment.names))]
    return tuple(
        _group_row(segment, g, *of_row.tolist())
        for (segment, g), of_row in zip(where, numbers.T, strict=True)
    )


def _group_row(
    segment: _Segment,
    g: int,
    lower: float,
    upper: float,
    chance_lower: float,
    chance_upper: float,
    p_value: float,
    p_adjusted: float,
) -> GroupAudit:
    rate = float(segment.rate[g])
    return GroupAudit(
        segment.label,
        segment.names[g],
        int(segment.items[g]),
        int(segment.hits[g]),
        rate,
        min(lower, rate),
        max(upper, rate),
        rate / float(segment.rate.max()),
        chance_lower,
        chance_upper,
        p_value,
        p_adjusted,
    )


def _positions(
    generator: np.random.Generator, segment: _Segment, level: float, num_draws: int
) -> Iterator[PositionAudit]:
    calls = segment.calls
    places, codes, items = np.unique(calls.place, return_inverse=True, return_counts=True)
    rates = np.bincount(codes, calls.selected) / items
    lower, upper = _ends(_drawn(generator, calls, codes, num_draws), level)
    for p, place in enumerate(places):
        low, rate, high = min(lower[p], rates[p]), rates[p], max(upper[p], rates[p])
        yield PositionAudit(
            segment.label,
            str(place),
            int(items[p]),
            float(rate),
            float(low),
            float(high),
            float(calls.selected.mean()),
        )


def _ends(draws: Float[np.ndarray, "d g"], level: float) -> Float[np.ndarray, "2 g"]:
    return np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), axis=0)


def _p_values(
    observed: Float[np.ndarray, " m"], alike: Float[np.ndarray, "d m"], *, one_sided: bool = False
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Probabilities of what is as extreme: of each by itself, and of the most extreme of all."""
    spread = alike.std(axis=0)
    # Permutations change nothing where groups always stand in the same places: no evidence.
    known = spread > 1e-12
    scale = np.where(known, spread, 1.0)
    far, usual = (
        np.where(known, (alike.mean(axis=0) - values) / scale, 0.0) for values in (observed, alike)
    )
    if not one_sided:
        far, usual = np.abs(far), np.abs(usual)
    # Rates are multiples of one over a count: equal ones must count as equal.
    reached = far - 1e-9
    own = (usual >= reached).sum(axis=0)
    together = (usual.max(axis=1)[:, None] >= reached).sum(axis=0)
    return (own + 1) / (len(usual) + 1), (together + 1) / (len(usual) + 1)


def _blocks(num_draws: int, width: int) -> Iterator[int]:
    rows = max(_BLOCK // width, 1)
    for start in range(0, num_draws, rows):
        yield min(rows, num_draws - start)


def _rows_by(
    columns: dict[str, Shaped[np.ndarray, " r"]], by: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], Int[np.ndarray, " i"]]]:
    """Segments by label, sorted, and where their rows are."""
    coded = [group_codes(columns[name].tolist()) for name in by]
    if not coded:
        yield (), np.arange(len(next(iter(columns.values()))))
        return
    kinds, of_row = np.unique(np.stack([codes for codes, _ in coded]), axis=1, return_inverse=True)
    for s, kind in enumerate(kinds.T):
        label = tuple(names[code] for code, (_, names) in zip(kind, coded, strict=True))
        yield label, np.flatnonzero(of_row.ravel() == s)


def _columns(table: Any, names: Sequence[str]) -> dict[str, Shaped[np.ndarray, " r"]]:
    """Columns by name, whole numbers as such: a position is 0 and not 0.0."""
    if isinstance(table, Mapping):
        there, read = (
            list(table),
            {name: np.asarray(table[name]) for name in names if name in table},
        )
    else:
        frame = eager_frame(table)
        there = frame.columns
        read = columns_of(frame.select([name for name in dict.fromkeys(names) if name in there]))
    missing = [name for name in names if name not in there]
    if missing:
        raise MissingColumnError(
            f"The table lacks {', '.join(f'`{name}`' for name in missing)}; it has "
            f"{', '.join(map(str, there))}. Name its columns by `call`, `rank`, `group`, "
            "`position` and `by`."
        )
    sizes = {name: len(values) for name, values in read.items()}
    if len(set(sizes.values())) > 1 or not min(sizes.values()):
        raise InvalidInputError(f"Columns must be equally long and not empty; got {sizes}.")
    return {name: _whole(values) for name, values in read.items()}


def _whole(values: Shaped[np.ndarray, " r"]) -> Shaped[np.ndarray, " r"]:
    if values.dtype.kind != "f" or not np.all(values == np.round(values)):
        return values
    return values.astype(int)


def _sortable(place: Shaped[np.ndarray, " i"]) -> Shaped[np.ndarray, " i"]:
    return place.astype(str) if place.dtype.kind == "O" else place


def _selected(rank: Shaped[np.ndarray, " r"], name: str, top: int) -> Bool[np.ndarray, " r"]:
    try:
        number = rank.astype(float)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"`{name}` must hold numbers, 1 the best rank.") from error
    bad = ~(number >= 1)
    if bad.any():
        raise InvalidInputError(
            f"`{name}` must be at least 1 everywhere, 1 the best; {bad.sum()} values are missing "
            "or below."
        )
    return number <= top


def _check_numbers(top: int, level: float, num_draws: int) -> None:
    if not 0 < level < 1:
        raise InvalidInputError(f"`level` must lie in (0, 1); got {level}.")
    for name, number in (("top", top), ("num_draws", num_draws)):
        if number < 1:
            raise InvalidInputError(f"`{name}` must be at least 1; got {number}.")


def _texts(audit: Audit) -> list[list[tuple[str, ...]]]:
    segments = [
        (
            *(" / ".join(row.segment) or "all", str(row.calls)),
            f"{row.ratio:.3f}",
            f"[{row.lower:.3f}, {row.upper:.3f}]",
            f"{row.below:.3f}",
            f"{row.lowest} / {row.highest}",
            f"{row.by_chance:.3f} ({row.chance_lower:.3f})",
            f"{row.chance_below:.3f}",
            *(f"{row.p_value:.4f}", f"{row.p_adjusted:.4f}"),
        )
        for row in audit.segments
    ]
    groups = [
        (
            *(" / ".join(row.segment) or "all", row.group, f"{row.selected}/{row.items}"),
            f"{row.rate:.3f}",
            f"[{row.lower:.3f}, {row.upper:.3f}]",
            f"{row.ratio:.3f}",
            f"[{row.chance_lower:.3f}, {row.chance_upper:.3f}]",
            *(f"{row.p_value:.4f}", f"{row.p_adjusted:.4f}"),
        )
        for row in audit.groups
    ]
    positions = [
        (
            *(" / ".join(row.segment) or "all", row.position, str(row.items)),
            f"{row.rate:.3f}",
            f"[{row.lower:.3f}, {row.upper:.3f}]",
            f"{row.expected:.3f}",
        )
        for row in audit.positions
    ]
    return [
        [(*_SEGMENT_HEAD, "p", "adjusted"), *segments],
        [(*_GROUP_HEAD, "p", "adjusted"), *groups],
        [("segment", "position", "items", "rate", "interval", "by chance"), *positions],
    ]


_SEGMENT_HEAD = (
    *("segment", "calls", "ratio", "interval", "P(below 0.8)", "lowest / highest"),
    *("by chance (low)", "below 0.8 by chance"),
)
_GROUP_HEAD = ("segment", "group", "selected", "rate", "interval", "ratio", "by chance")
