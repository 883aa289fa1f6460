"""The main job on recorded runs of others, which are at hand in development but not shipped."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet
import pytest

from jaxcascade.calibration import ece
from jaxcascade.cascade import fit_cascade, observations, transforms
from jaxcascade.cli import main
from jaxcascade.numerics.distance import cramer_von_mises
from jaxcascade.records import read_records, split, write_table

DATA = Path(__file__).parents[1].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the recorded runs of others are not shipped with the package"
)

LLAMA = ["llama3.2-1b", "llama3.2-3b", "llama3.1-8b", "llama3.1-70b", "llama3.1-405b"]
OTHERS = ["gpt-4o-mini", "qwen2.5-32b-coder-instruct", "qwen2.5-72b-instruct", "gpt-4o"]
PLAUT = ["Mistral", "Solar", "Yi-34b", "Mixtral", "gpt-3.5-turbo", "gpt-4-turbo"]

# arXiv:2501.09345: table 1 (accuracy), section 4.2 (ECE) and table 5 (distance) for MMLU.
PUBLISHED = {
    "llama3.2-1b": (42.5, 3.8, 0.031),
    "llama3.2-3b": (57.2, 4.0, 0.014),
    "llama3.1-8b": (63.4, 4.1, 0.016),
    "llama3.1-70b": (81.5, 2.4, 0.048),
    "llama3.1-405b": (85.2, 2.9, 0.024),
    "gpt-4o-mini": (74.9, 4.7, 0.032),
    "qwen2.5-32b-coder-instruct": (75.3, 5.3, 0.036),
    "qwen2.5-72b-instruct": (82.0, 4.9, 0.028),
    "gpt-4o": (83.6, 4.8, 0.029),
}


@pytest.fixture(scope="module")
def mmlu():
    return read_records(DATA / "mmlu_train.parquet"), read_records(DATA / "mmlu_test.parquet")


@pytest.fixture(scope="module")
def fitted(mmlu):
    return fit_cascade(mmlu[0]).model


def test_accuracies_are_the_published_ones(mmlu):
    accuracy = mmlu[1].summary().accuracy
    for model, (published, _, _) in PUBLISHED.items():
        assert round(100 * accuracy[model], 1) == published


def test_calibration_error_is_near_the_published_one(mmlu, fitted):
    """The prior, which the paper has not, moves it by half a point at most."""
    test = mmlu[1].select(fitted.models)
    confidence = fitted.calibrate(observations(test).log_confidence)
    for j, model in enumerate(fitted.models):
        found = 100 * float(ece(confidence[:, j], jnp.asarray(test.correct[:, j])))
        assert found == pytest.approx(PUBLISHED[model][1], abs=0.55), model


def test_goodness_of_fit_is_near_the_published_one(mmlu, fitted):
    test = mmlu[1].select(fitted.models)
    confidence = fitted.calibrate(observations(test).log_confidence)
    _, levels = transforms(fitted.marginal, confidence)
    for j, model in enumerate(fitted.models):
        found = cramer_von_mises(np.asarray(confidence[:, j]), np.asarray(levels[:, j]))
        assert found == pytest.approx(PUBLISHED[model][2], abs=0.006), model


def run_the_main_job(train, test, settings):
    """Runs three verbs in the present folder; returns the loss over the best single model's."""
    assert main(["tune", train, *settings, "--out", "f.json"]) == 0
    assert main(["evaluate", "f.json", test, "--json", "e.json", "--report", "r.html"]) == 0
    assert main(["replay", "f.json", test, "--out", "d.parquet"]) == 0
    return json.loads(Path("e.json").read_text())["mean_loss_ratio"]


@pytest.mark.parametrize(
    ("name", "pool", "bound"),
    [
        ("mmlu", LLAMA, 1.0),
        pytest.param("mmlu", OTHERS, 0.96, marks=pytest.mark.slow),
        ("mmlu", LLAMA + OTHERS, 0.99),
        # Test questions are much harder than the training ones here: no gain can be promised.
        pytest.param("medmcqa", LLAMA, 1.02, marks=pytest.mark.slow),
        pytest.param("medmcqa", OTHERS, 1.02, marks=pytest.mark.slow),
        pytest.param("medmcqa", LLAMA + OTHERS, 1.03, marks=pytest.mark.slow),
    ],
)
def test_the_main_job(name, pool, bound, tmp_path, capsys, monkeypatch):
    """Every file is written, nothing is said on standard error, and the advice holds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxcascade.cli.entry._prepare_jax", lambda: None)
    train, test = (str(DATA / f"{name}_{half}.parquet") for half in ("train", "test"))
    # Posterior intervals take most of the time, and change nothing that is asked here.
    settings = ["--draws", "0", "--models", ",".join(pool)]
    assert run_the_main_job(train, test, settings) < bound
    assert capsys.readouterr().err == ""
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"f.json", "e.json", "r.html", "d.parquet"}


def test_confidences_of_zero_and_twelve_other_models(tmp_path, capsys, monkeypatch):
    """Hellaswag has confidences of exactly 0 and 1, and no latency."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxcascade.cli.entry._prepare_jax", lambda: None)
    records = read_records(DATA / "plaut_hellaswag.parquet").select(PLAUT)
    train, test = split(jax.random.key(0), records, 300 / records.num_queries)
    write_table(train.to_frame(), "train.parquet")
    write_table(test.to_frame(), "test.parquet")
    ratio = run_the_main_job("train.parquet", "test.parquet", ["--draws", "0"])
    assert ratio < 1.01
    assert capsys.readouterr().err == ""
    points = json.loads(Path("f.json").read_text())["points"]
    decisions = pyarrow.parquet.read_table("d.parquet")
    assert decisions.num_rows == len(points) * test.num_queries
