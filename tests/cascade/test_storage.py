"""A joint model survives the way through a file, and a spoilt file is refused."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.calibration import IsotonicCalibration
from jaxcascade.cascade import (
    Policy,
    expected_outcome,
    fit_cascade,
    load_model,
    observations,
    save_model,
)
from jaxcascade.copulas import (
    Clayton,
    Copula,
    Frank,
    Gaussian,
    Independence,
    Joe,
    SurvivalGumbel,
    student_t,
)
from jaxcascade.errors import FileFormatError, InvalidInputError
from jaxcascade.marginals import HistogramMethod
from jaxcascade.records import example_records

MODELS = ["llama3.2-3b", "gpt-4o-mini", "gpt-4o"]
RECORDS = example_records("train").select(MODELS)


@pytest.fixture(scope="module", params=["default", "alternatives"])
def model(request):
    if request.param == "default":
        return fit_cascade(RECORDS).model
    return fit_cascade(
        RECORDS,
        calibration=IsotonicCalibration(),
        marginal=HistogramMethod(),
        copula=Independence,
    ).model


def test_round_trip_is_exact(model, tmp_path):
    save_model(model, tmp_path / "m.json")
    again = load_model(tmp_path / "m.json")
    assert jax.tree.structure(again) == jax.tree.structure(model)
    for mine, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    policy = Policy.threshold_cascade(MODELS, [0.6, 0.7])
    assert expected_outcome(again, policy).error == expected_outcome(model, policy).error
    confidence = again.calibrate(observations(RECORDS.select(again.models)).log_confidence)
    assert bool(jnp.all((confidence > 0) & (confidence < 1)))


def test_draws_keep_their_axis(model, tmp_path):
    draws = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), model)
    save_model(draws, tmp_path / "m.json")
    assert load_model(tmp_path / "m.json").cost_usd.shape == (2, 3)


def test_unrecorded_latency_stays_unknown(tmp_path):
    silent = type(RECORDS)(
        RECORDS.queries, RECORDS.models, RECORDS.log_confidence, RECORDS.correct, RECORDS.cost_usd
    )
    save_model(fit_cascade(silent).model, tmp_path / "m.json")
    assert np.isnan(load_model(tmp_path / "m.json").latency_s).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.update(version=99), "version"),
        (lambda c: c.update(format="jaxcascade.frontier"), "format"),
        (lambda c: c.pop("model"), 'lacks the member "model"'),
        (lambda c: c["model"].update(type="Gumbel", theta=1.0), "no member"),
        (lambda c: c["model"].update(cost_usd=[1.0]), "3 values, one per model"),
        (lambda c: c["model"]["copula"].pop("theta"), 'lacks the member "theta"'),
        (lambda c: c["model"]["marginal"].update(low="high"), "array of numbers"),
        (lambda c: c["model"]["calibrator"].update(transform="print"), "must be one of"),
    ],
)
def test_a_spoilt_file_is_refused(spoil, message, tmp_path):
    path = tmp_path / "m.json"
    save_model(fit_cascade(RECORDS).model, path)
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match=message):
        load_model(path)


def test_nothing_is_left_where_writing_fails(tmp_path):
    model = fit_cascade(RECORDS).model
    with pytest.raises(FileFormatError, match="no folder"):
        save_model(model, tmp_path / "nowhere" / "m.json")
    assert list(tmp_path.iterdir()) == []


def test_what_a_file_cannot_hold_is_refused_before_it_is_written(model, tmp_path):
    other = eqx.tree_at(lambda m: m.copula, model, student_t(4.0).from_tau(model.copula.tau))
    with pytest.raises(InvalidInputError, match=r"StudentT.* cannot be kept in a file"):
        save_model(other, tmp_path / "m.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", [Clayton, Frank, Gaussian, Joe, SurvivalGumbel])
def test_every_family_of_copulas_can_be_kept(family: type[Copula], model, tmp_path):
    taus = jnp.asarray(model.copula.tau)
    save_model(eqx.tree_at(lambda m: m.copula, model, family.from_tau(taus)), tmp_path / "m.json")
    again = load_model(tmp_path / "m.json").copula
    assert type(again) is family
    np.testing.assert_allclose(again.tau, taus, atol=1e-9)
