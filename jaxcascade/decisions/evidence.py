"""What raters say of items, as log-likelihoods of the states: from ratings, or from probabilities.

A rater's likelihood is known up to a constant per item, so that only differences between states
mean anything. Floors keep one extreme word from excluding a state for good: 0.5 rating points are
added to a mean rating, and a probability is moved into [0.01, 0.99].
"""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Integer, Shaped

from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.records.frames import IDENTITIES, blanks_to_none, columns_of, eager_frame, objects
from jaxcascade.records.layout import require_columns, require_present
from jaxcascade.records.parsing import Rows, numbers
from jaxcascade.records.wording import close_match, counted, listing, quoted

FLOOR = 0.5
"""Rating points added to a mean rating."""
HIGHEST_RATING = 10.0
PROBABILITY_FLOOR = 0.01
"""Least probability of a state that a rater is taken at its word for."""
_NAMES = ("item", "rater", "state")
_VALUES = ("rating", "probability")


class Evidence(eqx.Module):
    """What each rater says of each item.

    Attributes:
        log_likelihood: Of every state, up to a constant per item and rater; 0 throughout where
            the rater is not known. Shape (items, raters, states).
        known: Whether the rater has spoken of the item, in every state.
        raters: Names.
        states: Names; ratios are to the first.
        items: Identities.

    Example:
        >>> evidence = evidence_of_ratings(
        ...     np.array([[[[4.0], [8.0]], [[np.nan], [5.0]]]]), ["a", "b"], ["unfit", "fit"])
        >>> evidence.known.tolist()
        [[True, False]]
        >>> [round(float(ratio), 4) for ratio in evidence.ratios[0, :, 1]]
        [0.636, 0.0]
    """

    log_likelihood: Float[Array, "n m s"]
    known: Bool[Array, "n m"]
    raters: tuple[str, ...] = eqx.field(static=True)
    states: tuple[str, ...] = eqx.field(static=True)
    items: tuple[Hashable, ...] = eqx.field(static=True)

    def __check_init__(self):
        named = {"items": self.items, "raters": self.raters, "states": self.states}
        shape = tuple(len(names) for names in named.values())
        if self.log_likelihood.shape != shape or self.known.shape != shape[:2]:
            raise InvalidInputError(
                f"With {shape[0]} items, {shape[1]} raters and {shape[2]} states, "
                f"`log_likelihood` must have the shape {shape} and `known` {shape[:2]}; they have "
                f"{self.log_likelihood.shape} and {self.known.shape}."
            )
        for name, names in named.items():
            if len(set(names)) < len(names):
                raise InvalidInputError(f"`{name}` must be distinct; got {listing(names)}.")
        if len(self.states) < 2:
            raise InvalidInputError(
                f"Evidence is of two states or more; got {listing(self.states) or 'none'}."
            )
        if _concrete(self.log_likelihood, self.known):
            _require_numbers(self)

    @property
    def ratios(self) -> Float[Array, "n m s"]:
        """Log-likelihood ratios to the first state: what no constant changes."""
        return self.log_likelihood - self.log_likelihood[..., :1]

    def take(self, indices: Integer[np.ndarray, " t"]) -> "Evidence":
        """Picks distinct items by position, in that order."""
        items = tuple(self.items[i] for i in indices)
        return Evidence(
            self.log_likelihood[indices], self.known[indices], self.raters, self.states, items
        )


def log_likelihood_of_ratings(
    rating: Float[Array, "*batch r"],
    known: Bool[Array, "*batch r"] | None = None,
    *,
    floor: float = FLOOR,
) -> Float[Array, "*batch"]:
    """Returns the logarithm of each rater's mean rating, up to a constant that ratios do without.

    Args:
        rating: From 0, inconsistent with the state, to 10, typical of it; last axis: repeats.
        known: Which repeats there are; by default all. The others may hold anything.
        floor: Added to the mean, so that one rating of 0 excludes nothing.

    Returns:
        0 where there is no repeat: evidence of nothing, if that holds for every state.

    Raises:
        InvalidInputError: The floor is not above 0, or a rating is out of its range (which is not
            seen inside `jit`).
    """
    if not 0 < floor < np.inf:
        raise InvalidInputError(
            f"`floor` must be above 0 and finite, or a rating of 0 excludes a state; got {floor}."
        )
    known = jnp.ones(rating.shape, bool) if known is None else known
    if _concrete(rating, known):
        _require_range("rating", np.asarray(rating)[np.asarray(known)], HIGHEST_RATING)
    count = known.sum(axis=-1)
    mean = jnp.where(known, rating, 0.0).sum(axis=-1) / jnp.maximum(count, 1)
    return jnp.where(count > 0, jnp.log(mean + floor), 0.0)


def evidence_of_ratings(
    rating: Float[Array | np.ndarray, "n m s r"],
    raters: Sequence[str],
    states: Sequence[str],
    items: Sequence[Hashable] | None = None,
    *,
    floor: float = FLOOR,
) -> Evidence:
    """Takes ratings of how typical an item is of each state for likelihoods.

    Args:
        rating: In [0, 10], NaN where missing; items, raters, states, repeats. A rater is known
            for an item where every state has a rating; what else it said of the item is left out.
        raters: Names.
        states: Names.
        items: Identities; by default 0, 1 and so on.
        floor: Rating points added to the mean over repeats, before the logarithm.

    Raises:
        InvalidInputError: A rating is out of its range, the floor is not above 0, or names and
            shape disagree.
    """
    rating = jnp.asarray(rating)
    there = ~jnp.isnan(rating)
    found = log_likelihood_of_ratings(rating, there, floor=floor)
    return _evidence(found, there.any(axis=-1).all(axis=-1), raters, states, items)


def evidence_of_probabilities(
    probability: Float[Array | np.ndarray, "n m s"],
    raters: Sequence[str],
    states: Sequence[str],
    items: Sequence[Hashable] | None = None,
    *,
    prior: Float[Array | np.ndarray, "*raters s"] | None = None,
    floor: float = PROBABILITY_FLOOR,
) -> Evidence:
    """Takes stated or token probabilities of the states apart into a prior and a likelihood.

    A probability of a state given the item is a posterior under the rater's own prior; divided by
    that prior it is a likelihood, up to a constant. Who leaves the prior uniform where the rater
    had another counts the rater's prior as evidence, once per rater.

    Args:
        probability: In [0, 1], NaN where missing; items, raters, states. What states share is
            brought to a sum of 1 first: tokens that name no state take some of it.
        raters: Names.
        states: Names.
        items: Identities; by default 0, 1 and so on.
        prior: Each rater's own prior over states, or one for all; by default uniform.
        floor: Probabilities are moved into [floor, 1 - floor] and brought to a sum of 1 again.

    Raises:
        InvalidInputError: A probability is out of its range, a rater gives 0 to every state, the
            prior is none, the floor is not above 0 and below an even share, or names and shape
            disagree.
    """
    probability = jnp.asarray(probability)
    num_states = probability.shape[-1]
    if not 0 < floor < 1 / max(num_states, 2):
        raise InvalidInputError(
            f"`floor` must be above 0 and below an even share of {num_states} states, "
            f"{1 / max(num_states, 2):g}; got {floor}."
        )
    log_prior = jnp.log(_checked_prior(prior, *probability.shape[1:]))
    # Neither where a state is missing, NaN, nor where all are 0, which only `jit` lets through.
    known = probability.sum(axis=-1) > 0
    if _concrete(probability):
        _require_shares(np.asarray(probability))
    even = jnp.full_like(probability, 1 / num_states)
    share = jnp.where(known[..., None], probability, even)
    share = jnp.clip(share / share.sum(axis=-1, keepdims=True), floor, 1 - floor)
    found = jnp.log(share / share.sum(axis=-1, keepdims=True)) - log_prior
    return _evidence(found, known, raters, states, items)


def probability_of_log_ratio(log_ratio: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Returns the probability of the second of two states, of equal prior, in [0, 1].

    Args:
        log_ratio: Log-likelihood of the second state less that of the first.
    """
    return jax.nn.sigmoid(log_ratio)


def log_ratio_of_probability(
    probability: Float[Array, "*batch"], floor: float = PROBABILITY_FLOOR
) -> Float[Array, "*batch"]:
    """Returns the log-likelihood ratio of the second state to the first, of equal prior.

    Args:
        probability: Of the second state, in [0, 1]; NaN stays NaN.
        floor: It is moved into [floor, 1 - floor], so that no ratio exceeds log(1/floor - 1).

    Raises:
        InvalidInputError: A probability is out of its range (which is not seen inside `jit`), or
            the floor is not above 0 and below one half.

    Example:
        >>> round(float(log_ratio_of_probability(jnp.array(0.75))), 4)
        1.0986
    """
    if not 0 < floor < 0.5:
        raise InvalidInputError(f"`floor` must be above 0 and below one half; got {floor}.")
    if _concrete(probability):
        values = np.asarray(probability)
        _require_range("probability", values[~np.isnan(values)], 1.0)
    inside = jnp.clip(probability, floor, 1 - floor)
    return jnp.log(inside) - jnp.log1p(-inside)


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


def _evidence(log_likelihood, known, raters, states, items) -> Evidence:
    found = jnp.where(known[..., None], log_likelihood, 0.0)
    items = range(len(found)) if items is None else items
    return Evidence(found, known, tuple(raters), tuple(states), tuple(items))


def _concrete(*values: Any) -> bool:
    return not any(isinstance(value, Tracer) for value in values)


def _require_numbers(evidence: Evidence) -> None:
    missing = np.isnan(np.asarray(evidence.log_likelihood)).any(axis=-1)
    count = int((missing & np.asarray(evidence.known)).sum())
    if count:
        raise InvalidInputError(
            "`log_likelihood` must be a number wherever `known` says that there is one; "
            f"{counted(count, 'cell')} of items and raters {'has' if count == 1 else 'have'} NaN."
        )


def _require_range(name: str, values: Float[np.ndarray, "..."], highest: float) -> None:
    """Checks values that are there: NaN among them is out of range, too."""
    outside = values[~((values >= 0) & (values <= highest))]
    if not outside.size:
        return
    expected = f"`{name}` must lie in [0, {highest:g}]"
    if np.isnan(outside).any():
        raise InvalidInputError(
            f"{expected}; {counted(int(np.isnan(outside).sum()), 'value')} that `known` says are "
            "there are NaN. Mark them as not known."
        )
    percent = outside.min() > 0 and 2 * highest < outside.max() <= 100
    remedy = (
        f"Are these percentages? Divide them all by {100 / highest:g}."
        if percent
        else "A reply that states no such number is missing: NaN."
    )
    smallest = f" and the smallest {outside.min():g}" if outside.min() < 0 else ""
    raise InvalidInputError(
        f"{expected}; {counted(outside.size, 'value')} of {values.size} outside, the largest "
        f"{outside.max():g}{smallest}. {remedy}"
    )


def _require_shares(probability: Float[np.ndarray, "... s"]) -> None:
    _require_range("probability", probability[~np.isnan(probability)], 1.0)
    nothing = int((probability.sum(axis=-1) == 0).sum())
    if nothing:
        raise InvalidInputError(
            "`probability` must be above 0 for some state; there "
            f"{'is' if nothing == 1 else 'are'} {counted(nothing, 'reply', 'replies')} with 0 for "
            "every state. A reply that names no state is missing: NaN."
        )


def _checked_prior(prior, num_raters: int, num_states: int) -> Float[Array, "*raters s"]:
    if prior is None:
        return jnp.full(num_states, 1 / num_states)
    prior = jnp.asarray(prior)
    if prior.shape not in ((num_states,), (num_raters, num_states)):
        raise InvalidInputError(
            f"`prior` must have the shape {(num_states,)}, or {(num_raters, num_states)} with one "
            f"row per rater; it has {prior.shape}."
        )
    if _concrete(prior) and not (
        (prior > 0).all() and np.allclose(np.asarray(prior).sum(axis=-1), 1.0, atol=1e-5)
    ):
        raise InvalidInputError(
            f"`prior` must be above 0 in every state and sum to 1; got {prior.tolist()}."
        )
    return prior


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
    _require_shares(np.moveaxis(probability, -1, -2))
    total = probability.sum(axis=-2, keepdims=True)
    share = np.where(complete, probability / np.where(complete, total, 1.0), 0.0)
    count = complete.sum(axis=-1)
    return np.where(count > 0, share.sum(axis=-1) / np.maximum(count, 1), np.nan)
