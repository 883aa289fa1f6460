"""Ranks from a long table, one row per item ranked: checked, and divided into segments."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from jaxcascade.decisions.groups import group_codes
from jaxcascade.decisions.resampling import Calls, sorted_calls
from jaxcascade.errors import InvalidInputError, MissingColumnError
from jaxcascade.records.frames import columns_of, eager_frame


def calls_by_segment(
    table: Any,
    *,
    call: str,
    rank: str,
    group: str,
    position: str | None,
    by: Sequence[str],
    top: int,
) -> Iterator[tuple[tuple[str, ...], Calls]]:
    """Yields the label of each segment, sorted, and its calls.

    Args:
        table: Dataframe, or columns by name.
        call: Column of calls.
        rank: Column of ranks.
        group: Column of groups.
        position: Column of places in the prompt; None if rows of a call are in that order.
        by: Columns that make segments.
        top: Lowest rank that counts as selected.

    Raises:
        MissingColumnError: The table lacks a column.
        InvalidInputError: Columns differ in length, a rank is missing or below 1, or nothing or
            everything is selected in a segment.
    """
    named = [name for name in (call, rank, group, position, *by) if name is not None]
    columns = _columns(table, named)
    selected = _selected(columns[rank], rank, top)
    place = np.arange(selected.size) if position is None else _sortable(columns[position])
    parts = (columns[call], place, columns[group], selected)
    for label, rows in _segments([columns[name] for name in by], selected.size):
        if not 0 < selected[rows].mean() < 1:
            raise InvalidInputError(
                f"`top` = {top} must select some items of each segment, not all or none; it does "
                f"not in {', '.join(label) or 'the table'}."
            )
        yield label, sorted_calls(*(part[rows] for part in parts))


def _segments(
    columns: Sequence[Shaped[np.ndarray, " r"]], num_rows: int
) -> Iterator[tuple[tuple[str, ...], Int[np.ndarray, " i"]]]:
    """Labels, and where their rows are."""
    coded = [group_codes(column) for column in columns]
    number = np.zeros(num_rows, int)
    for codes, names in coded:
        number = number * len(names) + codes
    for segment in np.unique(number):
        rows = np.flatnonzero(number == segment)
        yield tuple(names[codes[rows[0]]] for codes, names in coded), rows


def _columns(table: Any, named: Sequence[str]) -> dict[str, Shaped[np.ndarray, " r"]]:
    """Columns by name, whole numbers as such: a position is 0 and not 0.0."""
    read = _read(table, named)
    sizes = {name: len(values) for name, values in read.items()}
    if len(set(sizes.values())) > 1 or not min(sizes.values()):
        raise InvalidInputError(f"Columns must be equally long and not empty; got {sizes}.")
    return {name: _whole(values) for name, values in read.items()}


def _read(table: Any, named: Sequence[str]) -> dict[str, Shaped[np.ndarray, " _"]]:
    if isinstance(table, Mapping):
        _require(named, list(table))
        return {name: np.asarray(table[name]) for name in named}
    frame = eager_frame(table)
    _require(named, frame.columns)
    return columns_of(frame.select(list(dict.fromkeys(named))))


def _require(named: Sequence[str], there: Sequence[str]) -> None:
    missing = [name for name in named if name not in there]
    if missing:
        raise MissingColumnError(
            f"The table lacks {', '.join(f'`{name}`' for name in missing)}; it has "
            f"{', '.join(map(str, there))}. Name its columns by `call`, `rank`, `group`, "
            "`position` and `by`."
        )


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
