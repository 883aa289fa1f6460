"""The verb `budget`, as a user runs it."""

import json

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def budget(run, example):
    """Runs the verb on the example."""

    def call(*words):
        return run("budget", example / "frontier.json", example / "test.parquet", *words)

    return call


def test_the_mixture_is_within_the_budget_on_replayed_decisions(run, example, budget, tmp_path):
    """What is said to be attained, counted again from the decisions of `replay`."""
    found = json.loads(budget("--cost", "0.00022", "--json").out)
    assert found["minimise"] == "error"
    assert found["kind"] == "mixture"
    assert found["attained"]["cost_usd"] == pytest.approx(0.00022, rel=1e-9)
    assert found["shadow_prices"]["cost_usd"] > 0
    assert sum(part["share"] for part in found["mixture"]) == pytest.approx(1.0)
    run("replay", example / "frontier.json", example / "test.parquet", "--out", "d.parquet")
    decisions = pd.read_parquet(tmp_path / "d.parquet")
    points = json.loads((example / "frontier.json").read_text())["points"]
    test = pd.read_parquet(example / "test.parquet")
    run("evaluate", example / "frontier.json", example / "test.parquet", "--json", "e.json")
    words = [p["policy"] for p in json.loads((tmp_path / "e.json").read_text())["points"]]
    assert len(words) == len(points)
    error = 0.0
    for part in found["mixture"]:
        if part["system"] in words:
            rows = decisions[decisions.point == words.index(part["system"])]
        else:
            rows = test[test.model == part["system"]]
        error += part["share"] * (1 - rows.correct.mean())
    assert found["attained"]["error"] == pytest.approx(error, rel=1e-9)
    assert found["value"] == pytest.approx(error, rel=1e-9)


def test_tables_name_systems_limits_and_savings(budget):
    result = budget("--error", "0.2", "--latency-quantile", "0.9", "60", "--abstention", "0")
    assert result.status == 0, result.err
    assert result.err == ""
    assert "share of queries" in result.out
    assert "wrong, of all queries" in result.out
    assert "20.0 %" in result.out
    assert "later than the limit" in result.out
    assert "Minimised: cost_usd" in result.out


def test_a_chance_costs_something(budget):
    plain, sure = (
        json.loads(budget("--error", "0.2", *words, "--json").out)
        for words in ((), ("--chance", "0.95"))
    )
    assert plain["chance_within"]["all"] == pytest.approx(0.5, abs=0.1)
    assert 0.95 <= sure["chance_within"]["all"] < 0.98
    assert sure["value"] > plain["value"]
    assert sure["attained"]["error"] < plain["attained"]["error"]


def test_loss_at_prices(budget):
    words = ("--minimise", "loss", "--price-error", "0.01", "--cost", "1")
    found = json.loads(budget(*words, "--json").out)
    attained = found["attained"]
    assert found["value"] == pytest.approx(attained["cost_usd"] + 0.01 * attained["error"])
    assert found["kind"] == "single"
    assert found["shadow_prices"] == {"cost_usd": 0.0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cost", "1e-9"), "The least cost in dollars is 3.884e-05"),
        (("--error", "0.01", "--cost", "0.0003"), "The least error with cost in dollars at most"),
        (("--error", "0.12", "--chance", "0.999"), "The least error is"),
        ((), "There is no limit. Give one or more of --error"),
        (("--error", "-1"), "`--error` must be at least 0 and finite; got -1"),
        (("--error", "0.2", "--price-error", "1"), "Prices need `--minimise loss`"),
        (("--error", "0.2", "--minimise", "loss"), "needs a price of an error"),
        (("--latency-quantile", "2", "1"), "a level between 0 and 1"),
        (("--error", "0.3", "--chance", "2"), "`chance` must lie between 0 and 1"),
        (
            ("--cost", "1", "--minimise", "loss", "--price-error", "-1"),
            "Prices must be at least 0 dollars",
        ),
    ],
)
def test_what_cannot_be_had_is_status_2_and_one_message(budget, words, message):
    result = budget(*words)
    assert result.status == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


def test_seconds_that_were_not_recorded_cannot_be_limited(run, example, rows):
    rows.drop(columns="latency_s").to_parquet("silent.parquet")
    words = ("--latency", "3"), ("--latency-quantile", "0.9", "3")
    for limit in words:
        result = run("budget", example / "frontier.json", "silent.parquet", *limit)
        assert result.status == 2
        assert "Record it" in result.err
    result = run("budget", example / "frontier.json", "silent.parquet", "--error", "0.2", "--json")
    assert json.loads(result.out)["attained"]["latency_s"] is None
    assert np.isfinite(json.loads(result.out)["value"])


def test_a_report_shows_the_tables_and_where_the_mixture_lies(budget, tmp_path):
    result = budget("--cost", "0.00022", "--report", "b.html")
    assert result.status == 0, result.err
    assert "Report written to b.html" in result.out
    page = (tmp_path / "b.html").read_text()
    for words in ("What a budget buys", "Share of queries", "Minimised: error"):
        assert words in page
    assert page.count("<svg") == 1
