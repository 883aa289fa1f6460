"""The verbs about later traffic: `monitor` and `segments`."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from jaxcascade.cascade import Prices, loss
from jaxcascade.economics import policy_ledger, segments
from jaxcascade.records import read_records
from jaxcascade.tuning import load_frontier


def test_like_queries_are_not_flagged(run, example):
    words = ["monitor", example / "frontier.json", example / "test.parquet"]
    result = run(*words)
    assert result.status == 0, result.err
    assert "No drift found" in result.out
    assert "Calibration may still hold within 5 percentage points" in result.out
    content = json.loads(run(*words, "--json").out)
    assert content["drift"] is False
    assert content["calibration"]["holds"] is True
    assert [row["model"] for row in content["models"]] == list(
        load_frontier(example / "frontier.json").models
    )
    assert all(row["first_alarm"] is None and not row["drift"] for row in content["models"])
    assert all(row["num_queries"] == 1500 for row in content["models"])


def test_lower_confidence_is_flagged_without_labels(run, example, tmp_path):
    rows = pd.read_parquet(example / "test.parquet").drop(columns="correct")
    changed = rows.model == "gpt-4o"
    rows.loc[changed, "log_confidence"] = 2 * rows.loc[changed, "log_confidence"] - 0.2
    rows["confidence"] = np.exp(rows.log_confidence)
    rows.to_parquet("new.parquet")
    frontier = example / "frontier.json"
    result = run("monitor", frontier, "new.parquet", "--json", "m.json")
    assert result.status == 0, result.err
    assert "Drift: the confidence of gpt-4o is not as in training." in result.out
    content = json.loads((tmp_path / "m.json").read_text())
    assert content["drift"] is True
    assert content["calibration"] is None
    drifted = {row["model"]: row for row in content["models"]}
    assert drifted["gpt-4o"]["drift"]
    assert drifted["gpt-4o"]["largest_e_value"] >= 60
    assert 0 < drifted["gpt-4o"]["first_alarm"] <= 1500
    assert not drifted["llama3.1-8b"]["drift"]


def test_reversed_labels_break_calibration(run, example, tmp_path):
    rows = pd.read_parquet(example / "test.parquet")
    rows["correct"] = 1 - rows.correct
    rows[(rows.model != "gpt-4o") | (rows.index % 2 == 0)].to_parquet("new.parquet")
    words = ["monitor", example / "frontier.json", "new.parquet", "--alpha", "0.01", "--in-order"]
    result = run(*words, "--json", "m.json")
    assert result.status == 0
    assert "Calibration fails: llama3.1-8b" in result.out
    assert '"gpt-4o" was asked only' in result.out
    content = json.loads((tmp_path / "m.json").read_text())
    assert content["calibration"]["holds"] is False
    assert content["in_order"] is True
    assert content["alpha"] == 0.01


def test_what_monitor_cannot_use(run, example, frontier, tmp_path):
    new = example / "test.parquet"
    del frontier["reference"]
    (tmp_path / "older.json").write_text(json.dumps(frontier))
    result = run("monitor", "older.json", new)
    assert result.status == 2
    assert "no training confidences" in result.err
    assert "Run `jaxcascade tune` anew" in result.err
    result = run("monitor", example / "frontier.json", new, "--alpha", "2")
    assert result.status == 2
    assert "`alpha`" in result.err


@pytest.fixture
def grouped(example, tmp_path):
    rows = pd.read_parquet(example / "test.parquet")
    rows["group"] = np.where(rows["query"].astype("category").cat.codes % 3 == 0, "a", "b")
    rows.to_parquet(tmp_path / "grouped.parquet")
    return tmp_path / "grouped.parquet"


def test_segments_tells_what_the_policy_does_in_each(run, example, grouped):
    path = example / "frontier.json"
    words = ["segments", path, grouped, "--price-error", "0.004"]
    result = run(*words)
    assert result.status == 0, result.err
    assert "A policy per group does not clearly pay" in result.out
    assert re.search(r"it (saves|loses) \$", result.out)
    (content,) = json.loads(run(*words, "--json").out)["points"]
    frontier, records = load_frontier(path), read_records(grouped)
    point, price = frontier.at_price(0.004), Prices(0.004)
    assert content["price_of_error"] == 0.004
    assert content["policy"] == point.policy.describe()
    ledger = policy_ledger(
        frontier.arrange(records), frontier.calibrate(records), {"it": point.policy}
    )
    expected = segments(ledger)
    losses = np.asarray(loss(expected.outcome, price))[:, 0]
    assert [row["group"] for row in content["segments"]] == ["a", "b"]
    for g, row in enumerate(content["segments"]):
        assert row["num_queries"] == expected.num_queries[g]
        assert row["loss"] == pytest.approx(losses[g], rel=1e-12)
        assert row["error"] == pytest.approx(expected.outcome.error[g, 0], rel=1e-12)
        assert f"{row['error']:.1%}" in result.out
    # Groups made at random deserve no policy of their own.
    assert content["loss_from_sharing"] <= 2 * content["loss_from_sharing_standard_error"]


def test_segments_without_a_price_takes_all(run, example, grouped, tmp_path):
    path = example / "frontier.json"
    result = run("segments", path, grouped, "--report", "s.html", "--json", "s.json")
    assert result.status == 0, result.err
    points = json.loads((tmp_path / "s.json").read_text())["points"]
    prices = load_frontier(path).error_prices
    np.testing.assert_allclose([point["price_of_error"] for point in points], prices)
    assert "does a policy per group clearly pay" in result.out
    assert f"--price-error {prices[len(prices) // 2]:.3g}" in result.out
    page = (tmp_path / "s.html").read_text()
    assert page.count("<svg") == 2
    assert "Groups that differ" in page


def test_what_segments_cannot_use(run, example, grouped):
    pd.read_parquet(grouped).drop(columns="group").to_parquet("plain.parquet")
    result = run("segments", example / "frontier.json", "plain.parquet")
    assert result.status == 2
    assert "no column `group`" in result.err
    result = run("segments", example / "frontier.json", grouped, "--price-error", "-1")
    assert result.status == 2
    assert "`--price-error` must be above 0" in result.err
