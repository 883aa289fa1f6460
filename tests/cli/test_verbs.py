"""Every verb, as a user runs it."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from jaxcascade.tuning import load_frontier


def test_help_names_every_verb(run):
    result = run("--help")
    assert result.status == 0
    for verb in ("demo", "tune", "evaluate", "replay", "check"):
        assert verb in result.out


def test_prices_give_exactly_the_geometric_grid(example):
    frontier = load_frontier(example / "frontier.json")
    np.testing.assert_allclose(frontier.error_prices, np.geomspace(0.0005, 0.05, 7), rtol=1e-12)


def test_tune_prints_models_policies_and_verdict(run, example):
    result = run("tune", example / "train.parquet", "--prices", "0.001", "0.01", "3")
    assert result.status == 0
    assert result.err == ""
    assert "300 queries, 3 models" in result.out
    assert "llama3.1-70b" in result.out
    assert "held-out training queries" in result.out


def test_tune_json_on_standard_output_is_json_alone(run, example):
    result = run("tune", example / "train.parquet", "--prices", "0.001", "0.01", "3", "--json")
    content = json.loads(result.out)
    assert len(content["points"]) == 3
    assert {"verdict", "points"} == set(content)


def test_evaluate_agrees_with_replay(run, example, tmp_path):
    frontier, test = example / "frontier.json", example / "test.parquet"
    assert run("evaluate", frontier, test, "--json", "e.json").status == 0
    assert run("replay", frontier, test, "--out", "d.parquet").status == 0
    points = json.loads((tmp_path / "e.json").read_text())["points"]
    decisions = pd.read_parquet(tmp_path / "d.parquet")
    for number, point in enumerate(points):
        rows = decisions[decisions.point == number]
        assert point["num_queries"] == len(rows) == 1500
        assert point["cost_usd"] == pytest.approx(rows.cost_usd.mean(), rel=1e-12)
        assert point["error"] == pytest.approx(1 - rows.correct.mean(), abs=1e-12)
        loss = rows.cost_usd.mean() + point["price_of_error"] * (1 - rows.correct.mean())
        assert point["loss"] == pytest.approx(loss, rel=1e-12)


def test_replay_follows_the_file_alone(run, example, tmp_path):
    """A reader of the JSON can repeat the decisions by hand."""
    frontier = json.loads((example / "frontier.json").read_text())
    test = pd.read_parquet(example / "test.parquet")
    wide = {
        name: test.pivot(index="query", columns="model", values=name) for name in test.columns[2:]
    }
    run("replay", example / "frontier.json", example / "test.parquet", "--out", "d.parquet")
    decisions = pd.read_parquet(tmp_path / "d.parquet")
    calibrators = {model["name"]: model["calibrator"] for model in frontier["models"]}

    def calibrated(name: str, query) -> float:
        calibrator = calibrators[name]
        with np.errstate(divide="ignore"):
            signal = -np.log(-np.expm1(wide["log_confidence"].loc[query, name]))
        signal = np.clip(signal, calibrator["lowest"][0], calibrator["highest"][0])
        return 1 / (1 + np.exp(-calibrator["intercept"] - calibrator["coefficients"][0] * signal))

    for row in decisions.sample(300, random_state=0).itertuples():
        policy = frontier["points"][row.point]["policy"]
        path = [policy["start"]]
        while True:
            rule = policy["rules"][path[-1]]
            action = rule["actions"][
                np.searchsorted(rule["breakpoints"], calibrated(path[-1], row.query))
            ]
            if action == "accept":
                break
            path.append(action)
        assert row.path == ">".join(path)
        assert row.answered_by == path[-1]
        assert row.correct == wide["correct"].loc[row.query, path[-1]]
        assert row.cost_usd == pytest.approx(sum(wide["cost_usd"].loc[row.query, m] for m in path))


def test_decisions_have_the_columns_of_the_design(run, example, tmp_path):
    run("replay", example / "frontier.json", example / "test.parquet", "--out", "d.parquet")
    table = pq.read_table(tmp_path / "d.parquet")
    assert table.column_names == [
        "point", "query", "answered_by", "path", "cost_usd", "latency_s", "correct",
    ]  # fmt: skip
    assert table.num_rows == 7 * 1500


def test_abstention_is_priced(run, example, tmp_path):
    words = ["tune", example / "train.parquet", "--prices", "0.02", "1", "3"]
    words += ["--price-abstention", "0.005", "--out", "f.json", "--json", "t.json"]
    result = run(*words)
    assert result.status == 0
    run("replay", "f.json", example / "test.parquet", "--out", "d.csv")
    decisions = pd.read_csv(tmp_path / "d.csv")
    given_up = decisions[decisions.point == 2]
    assert given_up.answered_by.isna().mean() > 0.2
    assert given_up.correct[given_up.answered_by.isna()].isna().all()
    evaluated = run("evaluate", "f.json", example / "test.parquet", "--json", "e.json")
    for text in (result.out, evaluated.out):
        assert "wrong, of all" in text
    points = json.loads((tmp_path / "e.json").read_text())["points"]
    for number, point in enumerate(points):
        answered = decisions[(decisions.point == number) & decisions.answered_by.notna()]
        expected = 1 - answered.correct.mean() if len(answered) else None
        assert point["error_given_answered"] == pytest.approx(expected, abs=1e-12)
        assert point["error"] == pytest.approx((answered.correct == 0).sum() / 1500, abs=1e-12)
    gaps = [point["error_given_answered"] - point["error"] for point in points]
    assert max(gaps) > 0.01
    for point in json.loads((tmp_path / "t.json").read_text())["points"]:
        for name in ("expected_error", "training_error"):
            assert point[f"{name}_given_answered"] >= point[name] * (1 - 1e-9)


def test_where_nothing_is_answered_no_error_is_told(run, example, frontier, tmp_path):
    for point in frontier["points"]:
        point["prices"]["abstention"] = 0.001
        name = point["policy"]["start"]
        point["policy"]["rules"] = {name: {"breakpoints": [], "actions": ["abstain"]}}
    (tmp_path / "f.json").write_text(json.dumps(frontier))
    assert run("evaluate", "f.json", example / "test.parquet", "--json", "e.json").status == 0
    points = json.loads((tmp_path / "e.json").read_text())["points"]
    assert [point["abstention"] for point in points] == pytest.approx([1] * 7)
    assert [point["error_given_answered"] for point in points] == [None] * 7


def test_replay_needs_no_labels(run, example, rows, tmp_path):
    rows.drop(columns="correct").to_parquet("unlabelled.parquet")
    assert (
        run("replay", example / "frontier.json", "unlabelled.parquet", "--out", "d.jsonl").status
        == 0
    )
    decisions = pd.read_json(tmp_path / "d.jsonl", lines=True)
    assert decisions.correct.isna().all()
    assert decisions.cost_usd.notna().all()


def test_a_missing_run_leaves_cost_empty(run, example, rows, tmp_path):
    frontier = load_frontier(example / "frontier.json")
    start = frontier.points[0].policy.start
    rows[~((rows["query"] == rows["query"][0]) & (rows.model == start))].to_parquet("gap.parquet")
    result = run("replay", example / "frontier.json", "gap.parquet", "--out", "d.parquet")
    assert result.status == 0
    decisions = pd.read_parquet(tmp_path / "d.parquet")
    gap = decisions[(decisions["query"] == rows["query"][0]) & (decisions.point == 0)].iloc[0]
    assert gap.isna().cost_usd
    assert gap.isna().answered_by
    assert gap.path == start


def test_check_reports_fit(run, example):
    result = run("check", example / "train.parquet", "--json")
    content = json.loads(result.out)
    assert [row["model"] for row in content["models"]] == ["llama3.1-8b", "llama3.1-70b", "gpt-4o"]
    for row in content["models"]:
        assert 0 < row["ece"] < 0.1
        assert row["distance"] < 0.05
    for row in content["prospects"]:
        assert 0 < row["loss_at_least"] <= row["loss_at_most"] <= row["single_loss"] * (1 + 1e-9)
    # At the dearest errors there is something to gain by a cascade, at the cheapest nothing.
    ratios = [row["loss_at_least"] / row["single_loss"] for row in content["prospects"]]
    assert ratios[0] > 0.999
    assert ratios[-2] < 0.95
    result = run("check", example / "train.parquet")
    assert result.status == 0
    assert "no policy loses less than" in result.out


def test_check_without_bounds(run, rows, tmp_path):
    """A model that is sure, and right, where the other is not: nothing is known of the chain."""
    first = rows[rows.model == "gpt-4o"].drop(columns="log_confidence")
    opposite = first.assign(
        model="opposite", confidence=1.3 - first.confidence.clip(0.3), correct=1 - first.correct
    )
    pd.concat([first, opposite]).to_parquet("two.parquet")
    result = run("check", "two.parquet", "--copula", "gaussian", "--json")
    assert result.status == 0, result.err
    content = json.loads(result.out)
    assert content["prospects"][0]["loss_at_least"] is None
    result = run("check", "two.parquet", "--copula", "gaussian")
    assert result.status == 0
    assert "No bounds" in result.out


def test_models_may_have_odd_names(run, rows, tmp_path):
    names = {
        "llama3.1-8b": "small, cheap",
        "llama3.1-70b": "mittelgroß 模型",
        "gpt-4o": 'the "big" one',
    }
    rows.replace({"model": names}).to_csv("odd.csv", index=False)
    words = ["tune", "odd.csv", "--prices", "0.001", "0.1", "3", "--out", "f.json"]
    result = run(*words, "--models", '"small, cheap",mittelgroß 模型,"the ""big"" one"')
    assert result.status == 0, result.err
    assert load_frontier(tmp_path / "f.json").models == tuple(names.values())
    assert "small, cheap" in result.out


def test_report_is_written(run, example, tmp_path):
    words = ["evaluate", example / "frontier.json", example / "test.parquet", "--report", "r.html"]
    assert run(*words).status == 0
    assert "gpt-4o" in (tmp_path / "r.html").read_text()


@pytest.mark.slow
def test_a_new_process_keeps_its_compilations(example, tmp_path):
    """The second start finds what the first compiled, in the user's cache folder."""
    command = [sys.executable, "-m", "jaxcascade", "check", str(example / "train.parquet")]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Kendall's tau" in done.stdout
    assert done.stderr == ""
    assert any((tmp_path / "jaxcascade").iterdir())


def test_demo_reports_on_the_queries_that_it_evaluated(run, tmp_path):
    result = run("demo", "--report", "r.html")
    assert result.status == 0
    assert "on test queries" in result.out
    assert "1,500 test queries" in (tmp_path / "r.html").read_text()
