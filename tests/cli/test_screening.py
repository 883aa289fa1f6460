"""The scenario with candidates, raters and a phone screen, as a user runs it."""

import json
import re

import numpy as np
import pytest

from jaxcascade.cli import main, screening
from jaxcascade.decisions import (
    METHODS,
    PARTS,
    ScreeningResults,
    ScreeningWorld,
    shapley,
    subsets,
)

NAMES = tuple(METHODS)
BASELINE, POOL = "best rater fitted, screen", "tempered pool, screen"
COUNT = 40
PARTS_USD = {"aggregation": -2e5, "calibration": 1e6, "costs": 3e6, "screen": 1.2e6}


def results_with(saved: float, noise: float = 0.0, together: float = 0.0) -> ScreeningResults:
    """Costs that all have their simulation's luck; the pool saves so much against the baseline.

    Noise is of the pool's cost alone, and averages to zero. Parts save what `PARTS_USD` says, and
    costs and screen `together` besides.
    """
    rng = np.random.default_rng(0)
    usual = 4e5 + rng.normal(0, 8e4, COUNT)
    interviews = usual[:, None] + 1e5 * (1.0 + np.arange(len(NAMES)))
    own = noise * np.where(np.arange(COUNT) % 2, 1.0, -1.0)
    interviews[:, NAMES.index(BASELINE)] = usual
    interviews[:, NAMES.index(POOL)] = usual - saved + own
    missed, screens = np.full_like(interviews, 2e5), np.full_like(interviews, 5e4)
    shares = np.broadcast_to(np.linspace(0.1, 0.8, len(NAMES)), interviews.shape)
    value = [
        sum(PARTS_USD[part] for part in parts) + together * ({"costs", "screen"} <= set(parts))
        for parts in subsets(PARTS)
    ]
    whole = np.array(value) * (1 + rng.normal(0, 0.1, (COUNT, 1)))
    return ScreeningResults(
        NAMES,
        cost_usd=missed + interviews + screens,
        missed_usd=missed,
        interviews_usd=interviews,
        screens_usd=screens,
        screened=shares,
        interviewed=shares,
        missed=shares,
        rate_gap=shares / 10 + rng.normal(0, 0.01, interviews.shape),
        missed_gap=-shares / 10,
        saved_usd=whole,
        error_correlation=np.full(COUNT, 0.55),
    )


@pytest.fixture
def demo(run, monkeypatch):
    """Runs the scenario on results that are given, and returns its JSON."""

    def call(results: ScreeningResults) -> dict:
        monkeypatch.setattr(screening, "compare_screening", lambda *_, **__: results)
        shown = run("demo", "--scenario", "screening", "--report", "r.html", "--json")
        assert (shown.status, shown.err) == (0, "")
        return json.loads(shown.out)

    return call


def test_thresholds_follow_from_the_dollars(demo):
    """40,000 p = 2,500 (1 - p); a screen is worth 150 dollars where two lines cross that."""
    found = demo(results_with(1e4))
    assert found["interview_threshold"] == pytest.approx(2500 / 42500)
    assert found["screen_worthwhile"] == pytest.approx([525 / 36375, 1975 / 6125], abs=1.1e-5)


def test_nothing_is_worth_a_screen_that_costs_too_much():
    assert np.isnan(screening.screen_range(ScreeningWorld(screen_usd=5_000.0))).all()


def test_costs_are_means_with_intervals(demo):
    results = results_with(1e4)
    rows = {row["name"]: row for row in demo(results)["methods"]}
    assert list(rows) == list(NAMES)
    for at, row in enumerate(rows.values()):
        cost = results.cost_usd[:, at]
        half = 1.96 * cost.std(ddof=1) / COUNT**0.5
        assert row["cost_usd"]["value"] == pytest.approx(cost.mean())
        assert row["cost_usd"]["low"] == pytest.approx(cost.mean() - half)
        assert row["cost_usd"]["high"] == pytest.approx(cost.mean() + half)
        parts = row["missed_usd"] + row["interviews_usd"] + row["screens_usd"]
        assert row["cost_usd"]["value"] == pytest.approx(parts)
        assert np.mean(cost < row["spread_usd"][0]) == pytest.approx(0.05)
        assert np.mean(cost > row["spread_usd"][1]) == pytest.approx(0.05)
        assert row["rate_gap"]["value"] == pytest.approx(results.rate_gap[:, at].mean())


def test_savings_are_paired(demo):
    """Costs that have the same luck differ by the same in all simulations."""
    results = results_with(3e4)
    found = demo(results)
    assert found["baseline"] == BASELINE
    rows = {row["name"]: row for row in found["savings"]}
    assert rows[POOL]["cheaper"] == 1.0
    usual = results.cost_usd[:, NAMES.index(BASELINE)].mean()
    for end in ("low", "value", "high"):
        assert rows[POOL]["saved_usd"][end] == pytest.approx(3e4)
        assert rows[POOL]["saved_share"][end] == pytest.approx(3e4 / usual)


def test_the_cheapest_methods_are_compared_and_the_baseline_is_not(demo):
    results = results_with(3e4)
    names = [row["name"] for row in demo(results)["savings"]]
    by_cost = [NAMES[at] for at in np.argsort(results.cost_usd.mean(axis=0), kind="stable")]
    assert names == [name for name in by_cost if name != BASELINE][:6]


@pytest.mark.parametrize(
    ("saved", "noise", "words"),
    [
        (5e4, 1e4, r"pool of all raters saves [\d.]+% \(95 % interval [\d.]+% to [\d.]+%\) again"),
        (-5e4, 1e4, r"raters costs [\d.]+% \(95 % interval [\d.]+% to [\d.]+%\) more than the b"),
        (5e3, 1e5, r"saves [\d.]+% \(95 % interval -[\d.]+% to [\d.]+%\), which may be chance, ag"),
        (-5e3, 1e5, r"costs [\d.]+% \(95 % interval -[\d.]+% to [\d.]+%\), which may be chance, m"),
    ],
)
def test_the_verdict_is_true_whichever_way_it_falls(demo, saved, noise, words):
    found = demo(results_with(saved, noise))
    told = found["verdict"].partition(" against $")[0]
    assert re.search(words, told)
    (row,) = (row for row in found["savings"] if row["name"] == POOL)
    assert f"{abs(row['saved_share']['value']):.1%}" in told


def test_parts_that_add_up_have_equal_shares_by_both_counts(demo):
    parts = {row["name"]: row for row in demo(results_with(1e4))["parts"]}
    total = sum(PARTS_USD.values())
    for name, usd in PARTS_USD.items():
        for kind in ("left_out", "shapley"):
            for end in ("low", "value", "high"):
                assert parts[name][kind][end] == pytest.approx(100 * usd / total)
    assert parts["sum"]["left_out"]["value"] == pytest.approx(100)


def test_parts_that_work_together_are_charged_twice_when_left_out(demo):
    results = results_with(1e4, together=1e6)
    rng = np.random.default_rng(1)
    noisy = results._replace(saved_usd=results.saved_usd + rng.normal(0, 3e5, (COUNT, 16)))
    parts = {row["name"]: row for row in demo(noisy)["parts"]}
    assert parts["sum"]["left_out"]["value"] > 110
    expected = shapley(noisy.saved_usd.mean(axis=0), PARTS).share_percent
    for name, share in zip(PARTS, expected, strict=True):
        row = parts[name]["shapley"]
        assert row["value"] == pytest.approx(float(share))
        # Noise of 16 means, each weighed a few times, over a total of 6 million: 0.3 to 1.5 %.
        assert 0.3 < row["high"] - row["low"] < 3
        assert row["low"] < row["value"] < row["high"]
    assert parts["sum"]["shapley"] == pytest.approx({"value": 100, "low": 100, "high": 100})


def test_tables_are_printed_and_the_report_written(run, monkeypatch, tmp_path):
    monkeypatch.setattr(screening, "compare_screening", lambda *_, **__: results_with(-3e4))
    result = run("demo", "--scenario", "screening", "--report", "s.html", "--json", "s.json")
    assert (result.status, result.err) == (0, "")
    found = json.loads((tmp_path / "s.json").read_text())
    printed = " ".join(result.out.split())
    for words in (*NAMES, "0.058824", "Shapley", "114%", "22 to 5 points", found["verdict"]):
        assert words in printed
    assert "Report written to s.html" in printed
    page = (tmp_path / "s.html").read_text()
    for name in ("cost", "composition", "gaps", "ablation"):
        assert f'<figure id="{name}">' in page
    assert found["verdict"] in page
    assert {path.name for path in tmp_path.iterdir()} == {"s.html", "s.json"}


def test_a_report_without_a_folder_is_refused_before_the_work(run, monkeypatch):
    monkeypatch.setattr(screening, "compare_screening", None)
    result = run("demo", "--scenario", "screening", "--report", "nowhere/r.html")
    assert result.status == 2
    assert "There is no folder nowhere" in result.err


@pytest.mark.slow
def test_the_whole_runs(monkeypatch, tmp_path):
    monkeypatch.setattr("jaxcascade.cli.entry._prepare_jax", lambda: None)
    monkeypatch.setattr(screening, "NUM_SIMULATIONS", 10)
    report, told = tmp_path / "r.html", tmp_path / "r.json"
    words = ["demo", "--scenario", "screening", "--report", str(report), "--json", str(told)]
    assert main(words) == 0
    found = json.loads(told.read_text())
    cost = {row["name"]: row["cost_usd"]["value"] for row in found["methods"]}
    assert min(cost, key=lambda name: cost[name]) == "best possible, screen"
    assert found["num_simulations"] == 10
