"""`jaxcascade posterior`, as a user runs it."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from jaxcascade.posterior.storage import load_posterior
from tests.cli.test_bad_input import refused

# As many draws as `tune` takes for its bands: the programs are compiled already.
FEW = ("--draws", "400", "--prices", "0.001", "0.01", "2")


@pytest.fixture
def table(example):
    return example / "train.parquet"


def test_writes_draws_and_says_how_sure(run, table, tmp_path):
    result = run("posterior", table, "--out", "p.nc", "--json", "p.json", *FEW)
    assert result.status == 0, result.err
    assert result.err == ""
    for words in ("Kendall's tau", "beats single", "Draws are good", "written to p.nc"):
        assert words in result.out
    posterior = load_posterior(tmp_path / "p.nc")
    assert posterior.num_draws == 400
    content = json.loads((tmp_path / "p.json").read_text())
    tau = np.asarray(posterior.sites["tau"][:, 0])
    assert content["pairs"][0]["tau"]["mean"] == pytest.approx(tau.mean(), rel=1e-12)
    low, high = np.quantile(tau, [0.05, 0.95])
    assert content["pairs"][0]["tau"]["low"] == pytest.approx(low, rel=1e-12)
    assert f"{np.median(tau):.2f} ({low:.2f} to {high:.2f})" in result.out
    assert [row["price"] for row in content["prices"]] == pytest.approx([0.001, 0.01])
    for row in content["prices"]:
        assert row["loss"]["low"] < row["loss"]["middle"] < row["loss"]["high"]
        assert 0.0 <= row["beats_by"] <= row["beats"] <= 1.0
        assert set(row["used"]) == {"llama3.1-8b", "llama3.1-70b", "gpt-4o"}


def test_a_seed_gives_the_same_numbers(run, table):
    one, same, other = (
        run("posterior", table, "--json", "--seed", seed, *FEW).out for seed in ("1", "1", "2")
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--out", "posterior.json"), r"\.nc"),
        (("--out", "no/such/p.nc"), "no folder"),
        (("--predictive",), "--out"),
        (("--draws", "3"), "--draws.*50"),
        (("--chains", "2"), "--method nuts"),
        (("--method", "nuts", "--chains", "1"), "at least 2"),
        (("--prices", "2", "1", "5"), "--prices"),
        (("--models", "llama3.1-8b"), "two models"),
        (("--models", "llama3.1-8b,gpt-5"), "gpt-5"),
    ],
)
def test_unusable_request(run, table, words, told, tmp_path):
    result = run("posterior", table, *words)
    refused(result)
    assert re.search(told, result.err), result.err
    assert list(tmp_path.iterdir()) == []


def test_unusable_tables(run, table):
    refused(run("posterior", "nowhere.parquet"), "nowhere.parquet")
    rows = pd.read_parquet(table)
    rows[rows["query"].isin(rows["query"].unique()[:9])].to_parquet("few.parquet")
    refused(run("posterior", "few.parquet"), "at least 10", "9")
    rows.assign(correct=np.nan).to_parquet("t.parquet")
    refused(run("posterior", "t.parquet"), "label")
    rows.replace({"model": {"llama3.1-8b": "accept"}}).to_parquet("t.parquet")
    refused(run("posterior", "t.parquet", "--out", "p.nc"), "accept")


def test_another_kind_of_calibration_is_refused(run, table):
    result = run("posterior", table, "--calibration", "isotonic")
    assert result.status == 2
    assert "two-sided" in result.err


@pytest.mark.slow
def test_other_methods_and_all_groups(run, table, tmp_path):
    for words in (
        ("--method", "nuts", "--chains", "2"),
        ("--method", "svi", "--neighbours", "--copula", "frank", "--calibration", "temperature"),
    ):
        result = run("posterior", table, "--out", "p.nc", "--predictive", *FEW, *words)
        assert result.status == 0, result.err
        assert load_posterior(tmp_path / "p.nc").num_draws in (400, 800)
