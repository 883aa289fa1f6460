"""What cannot be used: one message that names what and where, status 2, nothing written."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from tests.cli.conftest import small_table


def refused(result, *words: str) -> None:
    """Checks the message, the status, and that there is no traceback."""
    assert result.status == 2, result.out
    assert result.err.startswith("jaxcascade: ")
    assert "Traceback" not in result.err
    assert result.err.count("\n") == 1
    for word in words:
        assert word in result.err, result.err


def spoil(rows: pd.DataFrame, column: str, value, at: int = 5) -> pd.DataFrame:
    rows = rows.astype({column: object})
    rows.loc[at, column] = value
    return rows


def plain(rows: pd.DataFrame) -> pd.DataFrame:
    """The table with `confidence` alone."""
    return rows.drop(columns="log_confidence")


def unlabelled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(correct=rows.correct.where(rows.model != "gpt-4o"))


SPOILT = {
    "confidence above one": (
        lambda r: spoil(plain(r), "confidence", 1.37),
        ("`confidence`", "1.37", "llama3.1-8b"),
    ),
    "confidence NaN": (lambda r: spoil(plain(r), "confidence", float("nan")), ("`confidence`",)),
    "log confidence above zero": (
        lambda r: spoil(r.drop(columns="confidence"), "log_confidence", 0.5),
        ("`log_confidence`", "0.5"),
    ),
    "missing column": (lambda r: r.drop(columns="cost_usd"), ("`cost_usd`",)),
    "negative cost": (lambda r: spoil(r, "cost_usd", -1.0), ("`cost_usd`", "-1")),
    "missing cost": (lambda r: spoil(r, "cost_usd", None), ("`cost_usd`",)),
    "label of another kind": (lambda r: spoil(r, "correct", 2), ("`correct`", "2")),
    "duplicated row": (lambda r: pd.concat([r, r.iloc[[3]]]), ("llama3.1-8b",)),
    "no rows": (lambda r: r.iloc[:0], ("row",)),
    "no labels for a model": (unlabelled, ("gpt-4o", "`correct`")),
    "one model": (lambda r: r[r.model == "gpt-4o"], ("gpt-4o", "two")),
    "one query": (lambda r: r[r["query"] == r["query"][0]], ("10", "1")),
    "reserved name": (lambda r: r.replace({"model": {"gpt-4o": "accept"}}), ('"accept"',)),
}


@pytest.mark.parametrize("case", SPOILT)
def test_spoilt_table(run, rows, case, tmp_path):
    spoiler, words = SPOILT[case]
    table = spoiler(rows)
    for column in table.columns:
        if column in ("confidence", "log_confidence", "cost_usd", "correct"):
            table[column] = pd.to_numeric(table[column])
    table.to_parquet("t.parquet")
    refused(run("tune", "t.parquet", "--out", "f.json", "--report", "r.html"), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_wrong_type(run, rows, tmp_path):
    spoil(rows.drop(columns="log_confidence"), "confidence", "high").to_csv("t.csv", index=False)
    refused(run("tune", "t.csv", "--out", "f.json"), "`confidence`", "high")


@pytest.mark.parametrize("content", ["", "PAR1 and then nothing of the kind"])
def test_unreadable_file(run, tmp_path, content):
    (tmp_path / "t.parquet").write_text(content)
    refused(run("tune", "t.parquet"), "t.parquet")


def test_no_label_at_all(run, rows):
    rows.drop(columns="correct").to_parquet("t.parquet")
    refused(run("tune", "t.parquet"), "`correct`")


def test_missing_file(run):
    refused(run("tune", "nowhere.parquet"), "nowhere.parquet")


@pytest.mark.parametrize(
    "words",
    [
        ("--prices", "0", "1", "5"),
        ("--prices", "2", "1", "5"),
        ("--prices", "0.1", "1", "many"),
        ("--prices", "nan", "1", "5"),
        ("--price-latency", "-1"),
        ("--price-abstention", "-1"),
        ("--models", "llama3.1-8b,gpt-5"),
        ("--out", "no/such/folder/f.json"),
        ("--models", ""),
        ("--out", "."),
        ("--report", "r.html", "--json", "."),
    ],
)
def test_unusable_request(run, example, words, tmp_path):
    refused(run("tune", example / "train.parquet", *words))
    assert list(tmp_path.iterdir()) == []


def test_unpriced_seconds(run, rows):
    rows.drop(columns="latency_s").to_parquet("t.parquet")
    refused(run("tune", "t.parquet", "--price-latency", "0.1"), "`latency_price`", "latency_s")


def without(content: dict, *path) -> None:
    *parents, last = path
    for step in parents:
        content = content[step]
    del content[last]


def put(content: dict, value, *path) -> None:
    *parents, last = path
    for step in parents:
        content = content[step]
    content[last] = value


NONSENSE = {
    "another version": (lambda f: put(f, 2, "version"), "version"),
    "another format": (lambda f: put(f, "recipe", "format"), "format"),
    "no points": (lambda f: put(f, [], "points"), "points"),
    "missing member": (lambda f: without(f, "points", 0, "policy"), "policy"),
    "unknown model": (lambda f: put(f, "gpt-9", "points", 0, "policy", "start"), "gpt-9"),
    "unknown calibrator": (lambda f: put(f, "Oracle", "models", 0, "calibrator", "type"), "Oracle"),
    "calibrator without number": (
        lambda f: put(f, None, "models", 0, "calibrator", "intercept"), "calibrator"),
    "calibrator of text": (
        lambda f: put(f, "steep", "models", 0, "calibrator", "intercept"), "intercept"),
    "negative price": (lambda f: put(f, -1.0, "points", 0, "prices", "error"), "error"),
    "price of text": (lambda f: put(f, "dear", "points", 0, "prices", "error"), "error"),
    "models of text": (lambda f: put(f, "all", "models"), "models"),
    "two of a name": (lambda f: put(f, f["models"][1]["name"], "models", 0, "name"), "distinct"),
}  # fmt: skip


@pytest.mark.parametrize("case", NONSENSE)
def test_edited_frontier(run, example, frontier, case, tmp_path):
    spoiler, word = NONSENSE[case]
    spoiler(frontier)
    (tmp_path / "f.json").write_text(json.dumps(frontier))
    refused(run("evaluate", "f.json", example / "test.parquet", "--json", "e.json"), "f.json", word)
    refused(run("replay", "f.json", example / "test.parquet", "--out", "d.parquet"), "f.json", word)
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"]


RULES = {
    "breakpoints that fall": ([0.8, 0.3], ["accept", "gpt-4o", "accept"], "increase"),
    "too few actions": ([0.8], ["accept"], "one action more"),
    "circle": ([0.8], ["llama3.1-8b", "accept"], "twice"),
    "action of no kind": ([0.8], ["ponder", "accept"], "ponder"),
    "breakpoint of text": (["high"], ["gpt-4o", "accept"], "confidences"),
    "breakpoint above 1": ([7.3], ["gpt-4o", "accept"], "confidences in [0, 1]"),
}


@pytest.mark.parametrize("case", RULES)
def test_edited_rule(run, example, frontier, case, tmp_path):
    breakpoints, actions, word = RULES[case]
    rules = {"llama3.1-8b": {"breakpoints": breakpoints, "actions": actions}}
    if "gpt-4o" in actions:
        rules["gpt-4o"] = {"breakpoints": [], "actions": ["accept"]}
    frontier["points"][0]["policy"] = {"start": "llama3.1-8b", "rules": rules}
    (tmp_path / "f.json").write_text(json.dumps(frontier))
    refused(run("evaluate", "f.json", example / "test.parquet"), "f.json", word)


def test_truncated_frontier(run, example, tmp_path):
    text = (example / "frontier.json").read_text()
    (tmp_path / "f.json").write_text(text[: len(text) // 2])
    refused(run("evaluate", "f.json", example / "test.parquet"), "f.json", "cut short")


def test_table_without_a_model_that_is_needed(run, example, frontier, rows):
    needed = frontier["points"][-1]["policy"]["start"]
    rows[rows.model != needed].to_parquet("t.parquet")
    refused(run("evaluate", example / "frontier.json", "t.parquet"), needed)
    refused(run("replay", example / "frontier.json", "t.parquet", "--out", "d.parquet"), needed)


def test_evaluate_without_labels(run, example, rows):
    rows.drop(columns="correct").to_parquet("t.parquet")
    refused(run("evaluate", example / "frontier.json", "t.parquet"), "label")


@pytest.mark.parametrize(
    ("table", "note"),
    [
        (small_table(1), "right in all"),
        (small_table(0), "wrong in all"),
        (small_table([0, 1] * 20, confidence=0.7), "same confidence"),
        (small_table([0, 1] * 20, cost=0.0), "costs nothing"),
    ],
    ids=["all right", "all wrong", "constant confidence", "no cost"],
)
def test_odd_but_usable(run, table, note):
    table.to_parquet("t.parquet")
    result = run("tune", "t.parquet", "--out", "f.json", "--draws", "0")
    assert result.status == 0, result.err
    assert note in result.out
    assert "nan" not in result.out.lower()


def test_no_traceback_from_a_new_process(tmp_path):
    command = [sys.executable, "-m", "jaxcascade", "tune", "nowhere.csv"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        line for line in result.stderr.splitlines() if "nowhere" in line
    ]
    assert "Traceback" not in result.stderr
