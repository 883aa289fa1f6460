"""Small tables and a runner for the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from jaxcascade.cli import main
from jaxcascade.records import example_records, write_table


class Run(NamedTuple):
    """What a run of the command line left."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys, monkeypatch, tmp_path) -> Callable[..., Run]:
    """Runs the command line in an empty folder, with its cache kept out of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxcascade.cli.entry._prepare_jax", lambda: None)

    def call(*words: str) -> Run:
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:  # argparse's own way out
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return Run(status, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def example(tmp_path_factory) -> Path:
    """A folder with three models of the built-in example as `train` and `test`, and a frontier."""
    folder = tmp_path_factory.mktemp("example")
    models = ["llama3.1-8b", "llama3.1-70b", "gpt-4o"]
    for half in ("train", "test"):
        write_table(example_records(half).select(models).to_frame(), folder / f"{half}.parquet")
    status = main(
        [
            "tune",
            f"{folder}/train.parquet",
            "--out",
            f"{folder}/frontier.json",
            "--prices",
            "0.0005",
            "0.05",
            "7",
        ]
    )
    assert status == 0
    return folder


@pytest.fixture
def rows(example) -> pd.DataFrame:
    """The training table, to spoil."""
    return pd.read_parquet(example / "train.parquet")


@pytest.fixture
def frontier(example) -> dict:
    """The frontier's JSON, to spoil."""
    return json.loads((example / "frontier.json").read_text())


def small_table(correct, confidence=None, cost=0.001, models=("a", "b"), count=40) -> pd.DataFrame:
    """A table of `count` queries in which every model answers alike."""
    rng = np.random.default_rng(0)
    parts = []
    for position, model in enumerate(models):
        parts.append(
            pd.DataFrame(
                {
                    "query": np.arange(count),
                    "model": model,
                    "confidence": rng.uniform(0.3, 0.99, count)
                    if confidence is None
                    else confidence,
                    "correct": correct,
                    "cost_usd": cost * (1 + position),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
