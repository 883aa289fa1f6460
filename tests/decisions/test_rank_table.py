"""Tables of ranks: any kind of table, segments and places by name, and what is no such table."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from jaxcascade.decisions.rank_table import calls_by_segment
from jaxcascade.errors import InvalidInputError, MissingColumnError

NAMES = {"call": "call", "rank": "rank", "group": "group", "position": "slot"}
TABLE = {
    "model": np.repeat(["m1", "m0"], 4),
    "call": np.array([2, 2, 1, 1, 2, 2, 1, 1]),
    "slot": np.array([1, 0, 0, 1, 0, 1, 1, 0]),
    "group": np.array(list("abababab")),
    "rank": np.array([1, 2, 2, 1, 1, 2, 2, 1]),
}


def segments(table, **options):
    return dict(calls_by_segment(table, **NAMES | {"by": ("model",), "top": 1} | options))


def test_segments_have_their_own_calls_in_order():
    found = segments(TABLE)
    assert list(found) == [("m0",), ("m1",)]
    calls = found["m1",]
    assert calls.call.tolist() == [0, 0, 1, 1]
    assert calls.place.tolist() == [0, 1, 0, 1]
    assert calls.group.tolist() == list("abba")
    assert calls.selected.tolist() == [False, True, False, True]
    (both,) = segments(TABLE, by=()).values()
    assert both.size.tolist() == [4, 4]
    assert list(segments(TABLE, by=("model", "group"), position=None, top=1)) == [
        (model, group) for model in ("m0", "m1") for group in "ab"
    ]


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_and_columns_by_any_name_are_the_same(kind):
    renamed = {f"my_{name}": values for name, values in TABLE.items()} | {"more": TABLE["rank"]}
    names = {option: f"my_{name}" for option, name in NAMES.items()}
    found = segments(kind(renamed), **names, by=["my_model"])
    for label, calls in segments(TABLE).items():
        for one, other in zip(found[label], calls, strict=True):
            assert one.tolist() == other.tolist()


def test_places_may_have_names_and_be_missing():
    slots = np.array(["first", None], object)[TABLE["slot"]]
    found = segments(pd.DataFrame(TABLE | {"slot": slots}))
    assert found["m0",].place.tolist() == ["None", "first"] * 2


def test_without_a_column_of_places_rows_are_in_their_order():
    assert segments(TABLE, position=None)["m1",].group.tolist() == list("abab")


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"top": 2}, "not all or none; it does not in m0"),
        ({}, {"top": 2, "by": ()}, "not all or none; it does not in the table"),
        ({"rank": np.arange(8)}, {}, "at least 1 everywhere.* 1 values"),
        ({"rank": np.full(8, "first")}, {}, "`rank` must hold numbers"),
        ({"rank": np.arange(3)}, {}, "equally long"),
        ({name: [] for name in TABLE}, {}, "not empty"),
        ({}, {"by": ("job",)}, "lacks `job`; it has model, call"),
    ],
)
def test_what_is_no_table_of_ranks(change, options, words):
    with pytest.raises(InvalidInputError, match=words):
        segments(TABLE | change, **options)


def test_a_missing_column_of_a_frame_is_named():
    frame = pd.DataFrame(TABLE).drop(columns="slot")
    with pytest.raises(MissingColumnError, match="lacks `slot`, `job`; it has model"):
        segments(frame, by=("job",))
