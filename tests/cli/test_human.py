"""The scenario with a person in the loop, as a user runs it."""

import json

import pytest

from jaxcascade.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One run for all tests: most of its time is compilation."""
    folder = tmp_path_factory.mktemp("human")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("jaxcascade.cli.entry._prepare_jax", lambda: None)
        words = ["demo", "--scenario", "human", "--report", "r.html", "--json", "r.json"]
        assert main(words) == 0
    return folder


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "r.json").read_text())


def test_losses_are_the_sums_of_their_parts(content):
    """With the person in the loop: calls + person + waiting + mistakes."""
    assert [row["name"] for row in content["systems"]] == ["Ask", "Best rule", "Tuned"]
    for row in content["systems"]:
        assert row["human_usd"] == pytest.approx(0.6 * row["human_share"])
        total = row["model_usd"] + row["human_usd"]
        total += content["price_of_latency"] * row["latency_s"]
        total += content["price_of_error"] * row["error"]
        assert row["loss_usd"] == pytest.approx(total)


def test_savings_are_against_the_best_rule(content):
    rule = content["systems"][1]
    assert rule["saving"] == rule["saving_standard_error"] == 0
    for row in content["systems"]:
        assert row["saving"] == pytest.approx(1 - row["loss_usd"] / rule["loss_usd"])
    # On simulated queries the optimum may tie with the rule, but not be clearly worse.
    tuned = content["systems"][2]
    assert tuned["saving"] > -1.96 * tuned["saving_standard_error"]


def test_passing_on_the_hard_ones_drags(content):
    for row in content["drags"]:
        assert row["drag_low"] > 0
        assert row["no_easy_low"] > 0 > row["no_hardest_high"]


def test_the_report_has_tables_and_figures(folder, content):
    page = (folder / "r.html").read_text()
    for name in ("tokens", "drag", "rejection"):
        assert f'<figure id="{name}">' in page
    assert "queueing model" in page
    assert f"{content['systems'][2]['saving']:.1%}" in page
    assert {path.name for path in folder.iterdir()} == {"r.html", "r.json"}


def test_tables_are_printed(folder, run):
    result = run("demo", "--scenario", "human", "--report", "s.html")
    assert result.status == 0
    assert result.err == ""
    for words in ("Best rule", "AUARC", "no hardest ones", "reviewers", "Report written to s.html"):
        assert words in result.out


def test_an_unknown_scenario_is_refused(run):
    result = run("demo", "--scenario", "humans")
    assert result.status == 2
    assert "invalid choice: 'humans'" in result.err
