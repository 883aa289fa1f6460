import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from jaxcascade.errors import FileFormatError, MissingColumnError, RecordsError
from jaxcascade.records import example_records, read_records, replaced_file, write_table

SUFFIXES = ("parquet", "csv", "jsonl", "ndjson")
FRAMES = {
    "pandas": pd.DataFrame,
    "pandas_nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "polars": pl.DataFrame,
    "polars_lazy": pl.LazyFrame,
    "pyarrow": pa.table,
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_every_dataframe_gives_the_same_records(frame, columns, records, same):
    assert same(read_records(frame(columns)), records)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_records(suffix, records, same, tmp_path):
    path = tmp_path / f"runs.{suffix}"
    write_table(records.to_frame(), path)
    assert same(read_records(path), records)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_digits_near_one_survive_every_format(suffix, same, tmp_path):
    example = example_records("train")
    write_table(example.to_frame(), str(tmp_path / f"runs.{suffix}"))
    assert same(read_records(str(tmp_path / f"runs.{suffix}")), example)


def test_log_confidence_is_kept_where_it_is_given(columns):
    exact = [-1e-9, -1e-20, 0.0, -0.5, -800.0]
    columns["log_confidence"] = exact
    columns["confidence"] = np.exp(exact).tolist()
    records = read_records(pa.table(columns))
    assert records.log_confidence.T[records.asked.T].tolist() == exact
    del columns["confidence"]
    assert read_records(pa.table(columns)).log_confidence[0, 0] == -1e-9


def test_confidence_fills_in_where_log_confidence_is_missing(columns):
    columns["log_confidence"] = [np.log(0.5), None, None, None, None]
    assert read_records(pd.DataFrame(columns)).confidence[1, 0] == 0.25


@pytest.mark.parametrize("confidence", [1e-300, 1e-20, 0.3, 1 - 1e-16, 1 - 1e-9])
def test_logarithm_of_a_confidence_keeps_its_digits(confidence, columns):
    columns["confidence"] = [confidence] * 5
    got = read_records(pa.table(columns)).log_confidence[0, 0]
    assert got == pytest.approx(np.log(confidence), rel=1e-15)
    assert np.exp(got) == pytest.approx(confidence, rel=1e-12)


def test_csv_keeps_leading_zeros_and_reads_whole_numbers(tmp_path):
    path = tmp_path / "runs.CSV"
    path.write_text(
        "query,model,confidence,cost_usd,correct\n007,NA,0.5,0,True\n08,NA,1,1e-3,false\n"
    )
    records = read_records(path)
    assert records.queries.tolist() == ["007", "08"]
    assert records.models == ("NA",)
    assert records.correct.tolist() == [[1.0], [0.0]]
    path.write_text("query,model,confidence,cost_usd,correct\n7,3,0.5,0,NA\n8,3,1,0,\n")
    records = read_records(path)
    assert records.queries.tolist() == [7, 8]
    assert records.models == ("3",)
    assert not records.labelled.any()


def test_only_what_is_needed_is_needed(columns):
    few = {name: columns[name] for name in ("query", "model", "confidence", "cost_usd")}
    records = read_records(pa.table(few))
    assert records.latency_s is None
    assert records.group is None
    assert not records.labelled.any()
    assert records.extra == {}


def test_labels_may_be_true_and_false_and_models_numbers(columns):
    columns["correct"] = [False, True, None, True, False]
    columns["model"] = [1, 1, 1, 2, 2]
    records = read_records(pd.DataFrame(columns))
    assert records.models == ("1", "2")
    assert records.correct[:2].tolist() == [[0, 1], [1, 0]]


def test_large_whole_numbers_are_carried_exactly(columns, tmp_path):
    columns["seed"] = [2**60 + 1] * 5
    for source in (pa.table(columns), pl.DataFrame(columns)):
        assert read_records(source).extra["seed"][0, 0] == 2**60 + 1
    write_table(pa.table(columns), tmp_path / "a.jsonl")
    assert read_records(tmp_path / "a.jsonl").extra["seed"][0, 0] == 2**60 + 1


def test_json_lines_may_have_holes_and_pythons_infinity(tmp_path):
    path = tmp_path / "runs.jsonl"
    rows = [
        {"query": 1, "model": "a", "log_confidence": -np.inf, "cost_usd": 1},
        {"query": 2, "model": "a", "log_confidence": -1.5, "cost_usd": 1, "note": [1]},
    ]
    path.write_text("\n\n".join(json.dumps(row) for row in rows))
    records = read_records(path)
    assert [type(query) for query in records.queries] == [int, int]
    assert records.log_confidence.tolist() == [[-np.inf], [-1.5]]
    assert records.extra["note"].tolist() == [[None], [[1]]]


def test_json_lines_without_a_query_are_refused(tmp_path):
    path = tmp_path / "runs.jsonl"
    rows = [{"query": q, "model": "a", "confidence": 0.5, "cost_usd": 1} for q in (1, None)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(RecordsError, match="`query`"):
        read_records(path)


def test_a_whole_number_of_400_digits_is_infinite(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"query": 1, "model": "a", "confidence": 0.5, "cost_usd": 1' + 400 * "0" + "}")
    with pytest.raises(RecordsError, match="`cost_usd`"):
        read_records(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"", r"a.parquet\" is empty \(0 bytes\)"),
        ("a.csv", b"", r"is empty \(0 bytes\)"),
        ("a.csv", b"\n\n", r"cannot be read as \.csv.*[Ee]mpty"),
        ("a.csv", b"query,model\n1\n", r"cannot be read as \.csv.*Expected 2 columns, got 1"),
        ("a.csv", b"query,model\n\xff\xfe,1\n", r"cannot be read as \.csv.*UTF"),
        ("a.parquet", b"query,model\n1,2\n", r"cannot be read as \.parquet.*another kind"),
        ("a.jsonl", b'{"query": 1}\n{"que', r"line 2 of .* is not \(Unterminated string"),
        ("a.jsonl", b'{"query": "\xff"}', r"cannot be read as \.jsonl.*utf-8"),
        ("a.ndjson", b"[1, 2]", r"one JSON object; line 1 of .* is of type list"),
        ("a.jsonl", b"[" * 100_000, "nested too deeply"),
        ("a.jsonl", b"\n \n", "no JSON object on any line"),
        ("a.xlsx", b"x", r'must end in one of \.parquet.*ends in "\.xlsx"'),
        ("table", b"x", r'must end in one of .*ends in ""'),
    ],
)
def test_damaged_files_are_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_records(tmp_path / name)


def test_a_parquet_file_cut_short_is_said_to_be(records, tmp_path):
    write_table(records.to_frame(), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    for end in (len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.parquet").write_bytes(whole[:end])
        with pytest.raises(FileFormatError, match="cut short"):
            read_records(tmp_path / "a.parquet")


def test_a_missing_file_is_named_with_the_one_beside_it(tmp_path):
    (tmp_path / "runs_train.csv").write_text("x")
    with pytest.raises(FileFormatError, match=r'no file .*Did you mean "runs_train.csv"'):
        read_records(tmp_path / "run_train.csv")
    with pytest.raises(FileFormatError, match=r"no file .*nowhere"):
        read_records(tmp_path / "nowhere" / "a.csv")
    with pytest.raises(FileFormatError, match="is a folder"):
        read_records(tmp_path)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_header_alone_is_no_table(suffix, records, tmp_path):
    write_table(records.to_frame().slice(0, 0), tmp_path / f"a.{suffix}")
    with pytest.raises(RecordsError, match="columns but no rows"):
        read_records(tmp_path / f"a.{suffix}")


def test_semicolons_are_recognised(tmp_path):
    (tmp_path / "a.csv").write_text("query;model;confidence\n1;a;0.5\n")
    with pytest.raises(MissingColumnError, match="not to be separated by commas"):
        read_records(tmp_path / "a.csv")


@pytest.mark.parametrize("source", [[{"query": 1}], {"query": [1]}, 3, None])
def test_what_is_no_table_is_named(source):
    with pytest.raises(RecordsError, match=f"path or a dataframe.*got {type(source).__name__}"):
        read_records(source)


def test_columns_of_one_name_are_refused(columns):
    table = pa.table(columns)
    with pytest.raises(RecordsError, match=r"(?s)must be distinct.*query"):
        read_records(table.append_column("query", table["query"]))
    frame = pd.DataFrame(columns)
    with pytest.raises(RecordsError, match="query"):
        read_records(pd.concat([frame, frame[["query"]]], axis=1))


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(FileFormatError, match=r"cannot be written as \.csv"):
        write_table(pa.table({"a": [[1], [2]]}), path)
    with pytest.raises(ZeroDivisionError), replaced_file(path) as temporary:
        temporary.write_text(str(1 // 0))
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_writing_needs_a_known_suffix_and_a_folder(records, tmp_path):
    with pytest.raises(FileFormatError, match="must end in one of"):
        write_table(records.to_frame(), tmp_path / "a.txt")
    with pytest.raises(FileFormatError, match=r"no folder .*gone"):
        write_table(records.to_frame(), tmp_path / "gone" / "a.csv")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(FileFormatError, match="is a folder"):
        write_table(records.to_frame(), tmp_path / "b.csv")


def test_any_dataframe_can_be_written(columns, tmp_path):
    write_table(pl.DataFrame(columns), tmp_path / "a.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").num_rows == 5
