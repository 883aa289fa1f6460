"""Long tables of replies by hand, in several frames, and what is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from jaxcascade.decisions.rating_table import read_ratings
from jaxcascade.errors import InvalidInputError, MissingColumnError, RecordsError

STATES = ("unfit", "fit")
NAN = np.nan


def table(**columns):
    """Two items, of which the second rater saw the first only."""
    rows = {
        "item": [7, 7, 7, 7, 3, 3],
        "rater": ["a", "a", "b", "b", "a", "a"],
        "state": ["fit", "unfit", "fit", "unfit", "unfit", "fit"],
        "rating": [8.0, 4.0, 9.0, 3.0, 0.0, 10.0],
    }
    return {name: column for name, column in (rows | columns).items() if column is not None}


def rows(**columns):
    return pd.DataFrame(table(**columns))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_long_table_by_hand(frame):
    found = read_ratings(frame(table()), states=STATES)
    assert (found.items, found.raters, found.states) == ((7, 3), ("a", "b"), STATES)
    assert all(type(item) is int for item in found.items)
    assert found.known.tolist() == [[True, True], [True, False]]
    expected = np.log([[8.5 / 4.5, 9.5 / 3.5], [10.5 / 0.5, 1.0]])
    np.testing.assert_allclose(found.ratios[..., 1], expected, rtol=1e-12)


def test_names_are_in_the_order_that_is_given_or_that_of_the_table():
    assert read_ratings(rows()).states == ("fit", "unfit")
    found = read_ratings(rows(), raters=["new", "b", "a"], states=STATES, floor=1.0)
    assert found.raters == ("new", "b", "a")
    assert found.known.tolist() == [[False, True, True], [False, False, True]]
    assert float(found.ratios[0, 1, 1]) == pytest.approx(np.log(10 / 4), rel=1e-12)


def test_a_table_of_other_order_holds_the_same():
    whole = read_ratings(rows(), states=STATES)
    turned = read_ratings(rows().iloc[::-1], raters=["a", "b"], states=STATES)
    same = whole.take(np.array([turned.items.index(item) for item in whole.items]))
    assert same.items == turned.items
    np.testing.assert_array_equal(same.log_likelihood, turned.log_likelihood)
    np.testing.assert_array_equal(same.known, turned.known)


def test_repeats_have_names_of_their_own_and_replies_may_be_missing():
    frame = rows(
        item=["i"] * 6,
        rater=["a", "a", "a", "a", "b", "b"],
        state=["unfit", "unfit", "unfit", "fit", "unfit", "fit"],
        rating=[2.0, 3.0, 10.0, 6.0, None, 5.0],
        repeat=["u", "v", "w", "u", "x", "y"],
    )
    found = read_ratings(frame)
    assert found.known.tolist() == [[True, False]]
    assert float(found.ratios[0, 0, 1]) == pytest.approx(np.log(6.5 / 5.5), rel=1e-12)


def test_repeated_probabilities_are_averaged_where_every_state_has_one():
    frame = rows(
        item=["i"] * 7,
        rater=["a"] * 5 + ["b"] * 2,
        state=["unfit", "fit", "fit", "unfit", "fit", "unfit", "fit"],
        rating=None,
        probability=[0.1, 0.3, 0.9, 0.1, 0.9, 0.5, None],
        repeat=[1, 1, 2, 2, 3, 1, 1],
    )
    found = read_ratings(frame, states=STATES)
    assert found.known.tolist() == [[True, False]]
    # Shares of the second state: 0.75 and 0.9; the third repeat lacks a state.
    assert float(found.ratios[0, 0, 1]) == pytest.approx(np.log(0.825 / 0.175), rel=1e-12)
    prior = np.array([0.8, 0.2])
    against = read_ratings(frame, states=STATES, prior=prior, floor=0.3)
    assert float(against.ratios[0, 0, 1]) == pytest.approx(np.log(4 * 7 / 3), rel=1e-12)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"rating": [8.0, 4.0, 95.0, 3.0, 60.0, 9.0]}, "2 values of 6 outside, the largest 95"),
        ({"rating": ["8", "4", "9", "3", "0", "1"]}, '`rating` must be a number; row 0 .rater "a"'),
        ({"rater": ["a", "a", None, "b", "a", "a"]}, "`rater` must be given in every row"),
        ({"probability": [0.5] * 6}, "both `rating` and `probability`"),
        ({"state": ["fit"] * 6}, '3 replies repeated, first state "fit" in row 0 .rater "a", item'),
        ({"repeat": [1, None, 1, 1, 1, 1]}, "`repeat` must be given in every row"),
        ({"item": [[1]] * 6}, "`item` must be text, a number or something else that can be hash"),
    ],
)
def test_what_is_no_table_of_ratings(columns, words):
    with pytest.raises(InvalidInputError, match=words):
        read_ratings(rows(**columns))


def test_what_a_table_lacks():
    for name in ("item", "rater", "state", "rating"):
        with pytest.raises(MissingColumnError, match=f"`{name}`.* is missing"):
            read_ratings(rows(**{name: None}))
    with pytest.raises(RecordsError, match="columns but no rows; expected one row per item"):
        read_ratings(rows().iloc[:0])


def test_names_that_a_table_may_not_have():
    words = '`state` must be one of "unfit", "Fitt"; 3 rows of the table have "fit".'
    with pytest.raises(RecordsError, match=words + ' Did you mean "Fitt" by "fit".*add to `stat'):
        read_ratings(rows(), states=["unfit", "Fitt"])
    with pytest.raises(RecordsError, match=r'`rater` must be one of "a"; 2 rows .* "b"'):
        read_ratings(rows(), raters=["a"])
    with pytest.raises(RecordsError, match=r'no row has "star"\. Leave it out of `states`'):
        read_ratings(rows(), states=["star", *STATES])
    with pytest.raises(InvalidInputError, match="`prior` goes with probabilities"):
        read_ratings(rows(), prior=np.array([0.5, 0.5]))
