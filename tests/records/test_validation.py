import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from jaxcascade.errors import InvalidInputError, MissingColumnError, RecordsError
from jaxcascade.records import read_records, require_labels

NAN, INF = float("nan"), float("inf")


def read(columns, **changes):
    return read_records(pd.DataFrame(columns | changes))


def test_the_message_of_the_house_style():
    high = np.linspace(1.01, 1.37, 14).tolist()
    frame = pl.DataFrame(
        {
            "query": list(range(14)) * 2,
            "model": ["small"] * 14 + ["large"] * 14,
            "confidence": [0.5] * 14 + high,
            "cost_usd": [0.1] * 28,
        }
    )
    expected = (
        '`confidence` must lie in [0, 1]; model "large" has 14 values above 1, the largest 1.37. '
        "Are these log-probabilities? Pass them as `log_confidence`."
    )
    with pytest.raises(RecordsError, match=re.escape(expected) + r" See row 27 \(model"):
        read_records(frame)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("confidence", [0.5, 1.2, 0.5, 0.5, 0.5], 'model "small" has 1 value above 1.*largest 1.2'),
        ("confidence", [-0.5, -1.5, 0, -3, -1], r"below 0, the smallest -3.0; likewise \"small\""),
        ("confidence", [-0.5, -1.5, 0, -3, -1], "Are these log-probabilities"),
        ("confidence", [50, 60, 70, 80, 97], "the largest 97.0.*Are these percentages"),
        ("confidence", [0.5, 1 + 1e-7, 0, 1, 1], "This looks like rounding: set them to 1"),
        ("confidence", [0.5, INF, 0, 1, 1], "above 1, the largest inf"),
        ("confidence", [0.5, NAN, 0, 1, 1], "`confidence` must be given in every row; model"),
        ("confidence", [0.5, NAN, 0, 1, 1], 'See row 1 .model "small", query "q2"'),
        ("confidence", [None] * 5, 'likewise "large, 大"'),
        ("confidence", ["0.5", "high", "1", "1", "1"], "must be a number; row 0 .* holds '0.5'"),
        ("confidence", [0.5, "high", 1.0, 1.0, 1.0], "row 1 .* holds 'high', of type str"),
        ("confidence", [0.5, True, 1.0, 1.0, 1.0], "row 1 .* holds True, of type bool"),
        ("confidence", [0.5, 1j, 1.0, 1.0, 1.0], "row 0 .* of type complex"),
        (
            "correct",
            [0, 1, 0.5, 1, 0],
            "be 0, 1 or missing; .* 1 value other than these, the first 0.5",
        ),
        ("correct", ["yes", "no", "no", "no", "no"], "0, 1, true, false or missing.*holds 'yes'"),
        ("cost_usd", [0.1, -0.2, -0.3, 1, 1], "has 2 values below 0, the smallest -0.3"),
        (
            "cost_usd",
            [0.1, INF, 0, 1, 1],
            "`cost_usd` must be a finite.*1 value not finite, the first inf",
        ),
        ("cost_usd", [0.1, NAN, 0, 1, 1], "a call that was free costs 0"),
        ("latency_s", [0.1, -1, 0, 1, 1], "`latency_s` must be a finite number, at least 0"),
        ("latency_s", ["1 s"] * 5, "`latency_s` must be a number; row 0"),
        ("query", ["a", None, "c", "a", ""], "`query` must be given in every row; .* 2 rows"),
        ("model", [None, "a", "a", "b", "b"], "`model` must be given in every row.*row 0"),
        ("query", ["a", "a", "b", "a", "b"], r'1 pair repeated, first model "small" on query "a"'),
        ("query", [["a"], "b", "c", "d", "e"], "something else that can be hashed"),
        ("group", ["x", "y", "z", "x", "w"], 'query "q2" is in "y" and, in row 4 .*, in "w"'),
    ],
)
def test_bad_values_are_named(name, values, message, columns):
    with pytest.raises(RecordsError, match=message):
        read(columns, **{name: values})


@pytest.mark.parametrize(
    ("log_confidence", "message"),
    [
        ([0.5, 0.9, 0.0, 0.0, 0.0], "at most 0 .* the largest 0.9.*Are these probabilities"),
        ([-0.1, NAN, 0.0, 0.0, 0.0], "`log_confidence` must be given in every row"),
        ([-0.1, "x", 0.0, 0.0, 0.0], "`log_confidence` must be a number; row 1"),
    ],
)
def test_bad_logarithms_are_named(log_confidence, message, columns):
    del columns["confidence"]
    with pytest.raises(RecordsError, match=message):
        read(columns, log_confidence=log_confidence)


def test_confidence_and_its_logarithm_must_agree(columns):
    with np.errstate(divide="ignore"):
        exact = np.log(columns["confidence"])
    read(columns, log_confidence=exact + np.where(exact > -1, -1e-7, 0))
    exact[3], exact[1] = np.log(0.9 + 2e-6), np.log(0.3)
    with pytest.raises(RecordsError, match=r"to 1e-06; 2 rows disagree, most of all row 1 .*0\.25"):
        read(columns, log_confidence=exact)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_logarithm_to_another_base_is_found(columns):
    with pytest.raises(RecordsError, match="must be a natural logarithm"):
        read(columns, log_confidence=np.log10(columns["confidence"]))


@pytest.mark.parametrize("name", ["query", "model", "confidence", "cost_usd"])
def test_a_missing_column_is_named_with_the_one_that_may_be_meant(name, columns):
    columns[name.upper()[:5]] = columns.pop(name)
    message = f'`{name}`.* is missing; the table has .* Did you mean "{name.upper()[:5]}"'
    with pytest.raises(MissingColumnError, match=message):
        read(columns)


def test_a_missing_column_without_a_likeness_gets_no_guess(columns):
    del columns["confidence"]
    with pytest.raises(MissingColumnError, match=r'\(or `log_confidence`\) is missing.*"logit"\.$'):
        read(columns)


def test_text_in_a_csv_is_named_by_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("query,model,confidence,cost_usd\n1,a,0.5,1\n2,a,high,1\n")
    with pytest.raises(RecordsError, match=r"`confidence` must be a number; row 1 .* holds 'high'"):
        read_records(path)
    path.write_text("query,model,confidence,cost_usd\n1,a,0.5,\n")
    with pytest.raises(RecordsError, match="`cost_usd` must be given in every row"):
        read_records(path)


def test_no_rows_are_said_to_be_none():
    empty = pa.table({name: pa.array([], pa.float64()) for name in ("query", "model")})
    with pytest.raises(MissingColumnError, match="confidence"):
        read_records(empty)
    with pytest.raises(RecordsError, match="columns but no rows"):
        read_records(empty.append_column("confidence", empty["query"]))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": ["a"] * 5, "query": [1, 2, 3, 4, 5], "group": None},
        {"model": ["a", "b", "c", "d", "e"], "query": ["one"] * 5, "group": None},
        {"correct": [1] * 5},
        {"correct": [0] * 5},
        {"confidence": [0.7] * 5},
        {"cost_usd": [0] * 5},
        {"latency_s": [None] * 5},
        {"model": ["a, b", "a, b", "a, b", " ", " "]},
        {"model": ["中文 模型", "中文 模型", "中文 模型", "مدل", "مدل"]},
    ],
    ids=[
        "one model",
        "one query",
        "right",
        "wrong",
        "constant",
        "free",
        "untimed",
        "comma",
        "text",
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_is_odd_but_fine_is_read(changes, suffix, columns, same, tmp_path):
    from jaxcascade.records import write_table

    records = read(columns, **changes)
    write_table(records.to_frame(), tmp_path / f"a.{suffix}")
    assert same(read_records(tmp_path / f"a.{suffix}"), records)


def test_labels_are_required_for_fitting_only(columns):
    assert require_labels(read(columns)).num_models == 2
    bare = read(columns, correct=[0, 1, 1, None, None])
    with pytest.raises(RecordsError, match='anything can be fitted; "large, 大" has no labels'):
        require_labels(bare)
    with pytest.raises(RecordsError, match='"small", "large, 大" have no labels'):
        require_labels(read(columns, correct=[None] * 5))
    columns["is_correct"] = columns.pop("correct")
    with pytest.raises(RecordsError, match=r'Did you mean "is_correct". Rename it to `correct`'):
        require_labels(read(columns))


def test_a_group_known_in_one_row_of_a_query_holds_for_all(columns):
    records = read(columns, group=["x", "y", "z", None, None])
    assert records.group is not None
    assert records.group.tolist() == ["x", "y", "z"]


def test_every_error_is_a_value_error():
    assert issubclass(RecordsError, InvalidInputError)
    assert issubclass(InvalidInputError, ValueError)
