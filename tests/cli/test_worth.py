"""`jaxcascade worth`, as a user runs it."""

import json

import numpy as np
import pandas as pd
import pytest

from jaxcascade.cascade import Outcome
from jaxcascade.economics import break_even_price
from jaxcascade.records import read_records
from jaxcascade.tuning import load_frontier, replay_policies
from tests.cli.test_bad_input import refused

FEW = ("--draws", "200")
MODELS = ("llama3.1-8b", "llama3.1-70b", "gpt-4o")


@pytest.fixture
def table(example):
    return example / "test.parquet"


def test_numbers_are_those_of_the_table(run, table, tmp_path):
    words = ("--price-error", "0.01", "--price-latency", "0.002", "--json", "w.json")
    result = run("worth", table, *words, *FEW)
    assert result.status == 0, result.err
    assert result.err == ""
    content = json.loads((tmp_path / "w.json").read_text())
    rows = pd.read_parquet(table)
    losses = {}
    for name, of_model in rows.groupby("model"):
        losses[name] = (
            of_model.cost_usd.mean()
            + 0.01 * (1 - of_model.correct.mean())
            + 0.002 * of_model.latency_s.mean()
        )
    assert content["best"] == min(losses, key=losses.__getitem__)
    assert content["num_queries"] == 1500
    for row in content["systems"]:
        assert row["loss_low"] < losses[row["system"]] < row["loss_high"]
        assert row["loss"] == pytest.approx(losses[row["system"]], rel=0.01)
    assert sum(row["probability_best"] for row in content["systems"]) == pytest.approx(1)
    mean = {
        row["system"]: Outcome(
            *(np.array(row[name]) for name in ("error", "abstention", "cost_usd", "latency_s")),
            np.ones(1),
        )
        for row in content["systems"]
    }
    assert content["break_even"]
    for step in content["break_even"]:
        price = break_even_price(mean[step["other"]], mean[step["accurate"]], 0.002)
        assert step["price"] == pytest.approx(float(price))
        assert step["low"] < step["price"] < (step["high"] or np.inf)
    assert [row["model"] for row in content["self_knowledge"]] == list(MODELS)
    assert all(row["knows_when_wrong"] == "yes" for row in content["self_knowledge"])
    assert f"{content['best']} loses the least" in result.out
    assert "better from there on" in result.out


def test_a_frontier_takes_part_where_it_asks_several_models(run, example, table, tmp_path):
    frontier = load_frontier(example / "frontier.json")
    kinds = [len(point.policy.rules) > 1 for point in frontier.points]
    several, one = kinds.index(True), kinds.index(False)
    words = ("--frontier", example / "frontier.json", "--json", "w.json", *FEW)
    price = frontier.error_prices[several]
    result = run("worth", table, "--price-error", price, *words)
    assert result.status == 0, result.err
    assert frontier.points[several].policy.start in result.out
    content = json.loads((tmp_path / "w.json").read_text())
    row = content["systems"][-1]
    assert row["system"] == "recommended"
    seen = replay_policies(frontier, read_records(table))
    assert row["cost_usd"] == pytest.approx(np.asarray(seen.cost_usd)[several].mean())
    result = run("worth", table, "--price-error", frontier.error_prices[one], *words)
    assert f"recommends {frontier.points[one].policy.start} alone" in result.out
    result = run("worth", table, "--price-error", price, "--price-latency", "0.1", *words)
    assert "tuned at $0 per second, not $0.100" in result.out


def test_a_belief_about_the_price(run, table, tmp_path):
    words = ("--elicit-error", "0.001", "0.01", "0.1", "--json", "w.json", *FEW)
    result = run("worth", table, *words)
    assert result.status == 0, result.err
    content = json.loads((tmp_path / "w.json").read_text())
    belief = content["belief"]
    assert belief["median"] == pytest.approx(0.01)
    assert content["prices"]["error"] == belief["mean"] > 0.01
    assert belief["best"] == content["best"]
    assert belief["perfect_information"] > 0
    assert sum(belief["probability_best"].values()) == pytest.approx(1)
    assert "to know the price would be worth" in " ".join(result.out.split())


def test_metrics_are_priced(run, table, tmp_path):
    rows = pd.read_parquet(table)
    rows["carbon_g"] = 2.0
    rows.to_parquet("m.parquet")
    words = ("--price-error", "0.01", *FEW, "--json", "-")
    plain, priced = (
        json.loads(run("worth", "m.parquet", *words, *more).out)
        for more in ((), ("--metric", "carbon_g=0.5"))
    )
    for one, other in zip(plain["systems"], priced["systems"], strict=True):
        assert other["cost_usd"] == pytest.approx(one["cost_usd"] + 1.0)


def test_a_report_is_written(run, table, tmp_path):
    result = run("worth", table, "--price-error", "0.01", "--report", "w.html", *FEW)
    assert result.status == 0, result.err
    page = (tmp_path / "w.html").read_text()
    for words in ("The best system by price", "Who knows when it is wrong", "loses the least"):
        assert words in page
    assert page.count("<svg") == 5


def test_queries_that_do_not_count_are_counted(run, table):
    rows = pd.read_parquet(table)
    rows = rows[~((rows.model == "gpt-4o") & (rows["query"].isin(rows["query"].unique()[:30])))]
    rows.drop(columns="latency_s").to_parquet("gap.parquet")
    result = run("worth", "gap.parquet", "--price-error", "0.01", "--report", "r.html", *FEW)
    assert result.status == 0, result.err
    assert "30 of 1500 queries do not count" in result.out
    refused(
        run("worth", "gap.parquet", "--price-error", "1", "--price-latency", "1"), "latency_price"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), ("--price-error", "--elicit-error")),
        (("--price-error", "-1"), ("--price-error",)),
        (("--price-error", "inf"), ("--price-error",)),
        (("--price-error", "1", "--price-latency", "nan"), ("--price-latency",)),
        (("--price-error", "1", "--price-abstention", "-2"), ("--price-abstention",)),
        (("--elicit-error", "3", "2", "1"), ("--elicit-error", "increasing")),
        (("--price-error", "1", "--metric", "carbon"), ("--metric", "carbon")),
        (("--price-error", "1", "--metric", "carbon=much"), ("--metric", "much")),
        (("--price-error", "1", "--metric", "carbon=2"), ('"carbon"',)),
        (("--price-error", "1", "--draws", "3"), ("--draws", "50")),
        (("--price-error", "1", "--models", "gpt-5"), ("gpt-5",)),
        (("--price-error", "1", "--frontier", "no.json"), ("no.json",)),
        (("--price-error", "1", "--report", "no/such.html"), ("no folder",)),
    ],
)
def test_unusable_requests(run, table, words, told, tmp_path):
    refused(run("worth", table, *words), *told)
    assert list(tmp_path.iterdir()) == []


def test_frontiers_at_several_prices_of_a_second_are_mapped(run, example, table, tmp_path):
    content = json.loads((example / "frontier.json").read_text())
    for point in content["points"]:
        point["prices"]["latency"] = 0.01
    (tmp_path / "dearer.json").write_text(json.dumps(content))
    both = ("--frontier", "dearer.json", "--frontier", example / "frontier.json")
    prices = ("--price-error", "0.01", "--price-latency", "0.001")
    result = run("worth", *both, table, *prices, "--report", "w.html", *FEW)
    assert result.status == 0, result.err
    assert "The frontier was tuned at $0 per second, not $0.00100." in result.out
    assert "Cascades against gpt-4o alone" in (tmp_path / "w.html").read_text()
    refused(
        run("worth", *both[2:], *both[2:], table, *prices, "--report", "x.html"),
        "increasing prices of a second",
    )
