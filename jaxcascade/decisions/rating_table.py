"""What raters said, from a long table: one row per reply."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Integer, Shaped

from jaxcascade.decisions.evidence import (
    FLOOR,
    PROBABILITY_FLOOR,
    Evidence,
    evidence_of_probabilities,
    evidence_of_ratings,
    require_shares,
)
from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.records.frames import IDENTITIES, blanks_to_none, columns_of, eager_frame, objects
from jaxcascade.records.layout import require_columns, require_present
from jaxcascade.records.parsing import Rows, numbers
from jaxcascade.records.wording import close_match, counted, listing, quoted

_NAMES = ("item", "rater", "state")
_VALUES = ("rating", "probability")


def read_ratings(
    frame: Any,
    *,
    raters: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    prior: Float[Array | np.ndarray, "*raters s"] | None = None,
    floor: float | None = None,
) -> Evidence:
    """Reads what raters said from a long table, one row per reply.

    The columns are `item`, `rater`, `state`, and `rating` in [0, 10] or `probability` in [0, 1];
    where a rater was asked several times, `repeat` numbers the replies. Ratings are averaged over
    repeats state by state. Of probabilities, the repeats that have every state are each brought
    to a sum of 1, then averaged. Without a row, or with no value in it, a cell is missing.

    Args:
        frame: A pandas or polars frame, a pyarrow table, or another that narwhals knows.
        raters: All raters, in the order wanted; by default those of the table, as they appear.
        states: All states, likewise. Ratios are to the first, so give them where that matters.
        prior: With probabilities; see `evidence_of_probabilities`.
        floor: See `evidence_of_ratings`, `evidence_of_probabilities`; by default 0.5 and 0.01.

    Raises:
        MissingColumnError: A column is missing.
        RecordsError: The table is empty, has a rater or state that is not among those given, has
            a reply twice, or a value that is no number.
        InvalidInputError: A value, the prior or the floor is out of its range.

    Example:
        >>> import pyarrow as pa
        >>> evidence = read_ratings(pa.table({
        ...     "item": [7, 7], "rater": ["a", "a"], "state": ["unfit", "fit"],
        ...     "rating": [4, 8]}))
        >>> evidence.items, evidence.states, round(float(evidence.ratios[0, 0, 1]), 4)
        ((7,), ('unfit', 'fit'), 0.636)
    """
    table = eager_frame(frame)
    kind = _kind(table.columns)
    layout = _layout(table, raters, states)
    names = (layout.raters, layout.states, layout.items)
    values = layout.place(numbers(kind, columns_of(table.select(kind))[kind], layout.calls))
    if kind == "rating":
        if prior is not None:
            raise InvalidInputError("`prior` goes with probabilities; the table holds ratings.")
        floor = FLOOR if floor is None else floor
        return evidence_of_ratings(values, *names, floor=floor)
    floor = PROBABILITY_FLOOR if floor is None else floor
    return evidence_of_probabilities(_mean_share(values), *names, prior=prior, floor=floor)


class _Calls(Rows):
    """Whose reply each row is."""

    def place(self, row: int) -> str:
        return (
            f"row {row} (rater {quoted(self.model[row])}, item {quoted(self.query[row])}; "
            "rows count from 0)"
        )


class _Layout(NamedTuple):
    """Names of all axes, and where the value of each row goes."""

    items: tuple[Hashable, ...]
    raters: tuple[str, ...]
    states: tuple[str, ...]
    cells: tuple[Integer[np.ndarray, " r"], ...]
    calls: _Calls

    def place(self, values: Float[np.ndarray, " r"]) -> Float[np.ndarray, "n m s r"]:
        num_repeats = int(self.cells[-1].max()) + 1
        shape = (len(self.items), len(self.raters), len(self.states), num_repeats)
        placed = np.full(shape, np.nan)
        placed[self.cells] = values
        return placed


def _kind(names: Sequence[str]) -> str:
    """Which of the two columns of values the table has."""
    for name in _NAMES:
        require_columns(names, (name,))
    require_columns(names, _VALUES)
    if set(_VALUES) <= set(names):
        raise RecordsError(
            "The table has both `rating` and `probability`; drop the column that is not meant."
        )
    return next(name for name in _VALUES if name in names)


def _identity(table: Any, name: str) -> Shaped[np.ndarray, " r"]:
    # Under this name a column is read as identities are, so that 7 does not become 7.0.
    column = columns_of(table.select(name).rename({name: IDENTITIES[0]}))[IDENTITIES[0]]
    column = blanks_to_none(column)
    require_present(name, column)
    return column


def _text(values: Shaped[np.ndarray, " r"]) -> Shaped[np.ndarray, " r"]:
    return objects([str(value) for value in values])


def _numbered(name: str, values: Shaped[np.ndarray, " r"]) -> tuple[tuple, np.ndarray]:
    """Distinct values in the order of first appearance, and the place of each row's in it."""
    seen: dict[Hashable, int] = {}
    try:
        place = np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)
    except TypeError as error:
        raise RecordsError(
            f"`{name}` must be text, a number or something else that can be hashed: {error}."
        ) from error
    return tuple(seen), place


def _placed(
    name: str, values: Shaped[np.ndarray, " r"], known: Sequence[str] | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """As `_numbered`, in an order that is given."""
    found, place = _numbered(name, values)
    if known is None:
        return found, place
    unknown = [value for value in found if value not in known]
    if unknown:
        rows = int(np.isin(place, [found.index(value) for value in unknown]).sum())
        match = close_match(unknown[0], list(known))
        hint = f" Did you mean {quoted(match)} by {quoted(unknown[0])}?" if match else ""
        raise RecordsError(
            f"`{name}` must be one of {listing(known)}; {counted(rows, 'row')} of the table "
            f"{'has' if rows == 1 else 'have'} {listing(unknown)}.{hint} Correct these rows, leave "
            f"them out, or add to `{name}s`."
        )
    order = np.array([list(known).index(value) for value in found])
    return tuple(known), order[place]


def _layout(table: Any, raters: Sequence[str] | None, states: Sequence[str] | None) -> _Layout:
    if not len(table):
        raise RecordsError(
            "The table has columns but no rows; expected one row per item, rater and state."
        )
    item, rater, state = (_identity(table, name) for name in _NAMES)
    rater, state = _text(rater), _text(state)
    items, of_item = _numbered("item", item)
    raters, of_rater = _placed("rater", rater, raters)
    states, of_state = _placed("state", state, states)
    if never := [name for name in states if name not in state]:
        raise RecordsError(
            f"Every state needs replies, or no rater is known; no row has {listing(never)}. Leave "
            "it out of `states`, or ask the raters."
        )
    calls = _Calls(item, rater)
    repeat = _identity(table, "repeat") if "repeat" in table.columns else objects([0] * len(item))
    slot, cell = _slots(of_item * len(raters) + of_rater, repeat, of_state)
    _require_distinct(cell, calls, state)
    return _Layout(items, raters, states, (of_item, of_rater, of_state, slot), calls)


def _slots(pair, repeat, state) -> tuple[np.ndarray, np.ndarray]:
    """Repeats numbered anew for each item and rater, and a number for each cell of the table.

    Anew, for a repeat may have a name of its own, and there is room for as many as the most.
    """
    _, repeat = _numbered("repeat", repeat)
    width = int(repeat.max()) + 1
    asked, call = np.unique(pair * width + repeat, return_inverse=True)
    _, first = np.unique(asked // width, return_index=True)
    slot = np.arange(len(asked)) - np.repeat(first, np.diff([*first, len(asked)]))
    return slot[call], call * (int(state.max()) + 1) + state


def _require_distinct(
    cell: Integer[np.ndarray, " r"], calls: _Calls, state: Shaped[np.ndarray, " r"]
) -> None:
    _, first, count = np.unique(cell, return_index=True, return_counts=True)
    if np.all(count == 1):
        return
    row = int(first[count > 1].min())
    again = int(np.flatnonzero(cell == cell[row])[1])
    raise RecordsError(
        "Each item, rater, state and repeat may have one row; "
        f"{counted(int((count > 1).sum()), 'reply', 'replies')} repeated, first state "
        f"{quoted(state[row])} in {calls.place(row)} and again in row {again}. Keep one of them, "
        "or number them in a column `repeat`."
    )


def _mean_share(probability: Float[np.ndarray, "n m s r"]) -> Float[np.ndarray, "n m s"]:
    """Mean over the repeats that have every state; NaN without any."""
    complete = ~np.isnan(probability).any(axis=-2, keepdims=True)
    require_shares(np.moveaxis(probability, -1, -2))
    total = probability.sum(axis=-2, keepdims=True)
    share = np.where(complete, probability / np.where(complete, total, 1.0), 0.0)
    count = complete.sum(axis=-1)
    return np.where(count > 0, share.sum(axis=-1) / np.maximum(count, 1), np.nan)
