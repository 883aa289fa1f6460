"""The joint fit: recovery of a simulated pool, and what rows and weights may do to it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcascade.calibration import LogisticCalibration
from jaxcascade.cascade import (
    fit_cascade,
    fit_weighted,
    in_cost_order,
    observations,
    transforms,
)
from jaxcascade.errors import PrecisionError, RecordsError, UnknownModelError
from jaxcascade.records import Records
from tests.cascade.oracle import Law, gumbel_sample
from tests.cases import toy_model

TRUTH = toy_model().select(["a", "c"])
N = 1500


def simulated(seed=0, n=N, names=("small", "large")):
    """Two models whose calibrated confidence is the truth; raw confidence bends it."""
    rng = np.random.default_rng(seed)
    tau = float(TRUTH.copula.tau[0, 1])
    pairs = gumbel_sample(rng, tau, n)
    phi = np.stack([Law(TRUTH, j).icdf(pairs[:, j]) for j in range(2)], axis=1)
    correct = (rng.random((n, 2)) < phi).astype(float)
    # phi = sigmoid(-1 + 0.7 xi) with xi = -log(1 - p), so the calibrators are known too.
    xi = (np.log(phi) - np.log1p(-phi) + 1.0) / 0.7
    return Records(
        queries=np.arange(n),
        models=names,
        log_confidence=np.log(-np.expm1(-np.maximum(xi, 1e-3))),
        correct=correct,
        cost_usd=np.tile([0.001, 0.02], (n, 1)) * rng.uniform(0.5, 1.5, (n, 2)),
        latency_s=np.tile([0.1, 0.5], (n, 1)),
    ), phi


WEAK = LogisticCalibration(intercept_scale=100.0, slope_mean=0.0, slope_scale=100.0)


def replaced(records, **changes):
    names = ("queries", "models", "log_confidence", "correct", "cost_usd", "latency_s", "group")
    return Records(**({name: getattr(records, name) for name in names} | changes))


@pytest.fixture(scope="module")
def fitted():
    records, phi = simulated()
    return records, phi, fit_cascade(records, calibration=WEAK)


def test_recovers_the_model_it_was_simulated_from(fitted):
    records, phi, fit = fitted
    model = fit.model
    assert model.models == ("small", "large")
    # Coefficients of about 0.7 with standard errors of about 0.05 at 1500 labels.
    np.testing.assert_allclose(np.asarray(model.calibrator.coefficients)[:, 0], 0.7, atol=0.2)
    np.testing.assert_allclose(model.calibrator.intercept, -1.0, atol=0.35)
    found = np.asarray(model.calibrate(jnp.asarray(records.log_confidence)))
    assert np.abs(found - phi).mean() < 0.03
    np.testing.assert_allclose(model.copula.tau[0, 1], TRUTH.copula.tau[0, 1], atol=0.06)
    np.testing.assert_allclose(model.cost_usd, records.cost_usd.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.latency_s, [0.1, 0.5], rtol=1e-12)
    for j in range(2):
        law = jax.tree.map(lambda leaf, j=j: leaf[j], model.marginal)
        atoms = [
            (found[:, j] == found[:, j].min()).mean(),
            (found[:, j] == found[:, j].max()).mean(),
        ]
        np.testing.assert_allclose([law.atom_low, law.atom_high], atoms, atol=1e-12)
        values = np.sort(found[:, j])
        gap = np.abs(np.asarray(law.cdf(jnp.asarray(values))) - stats.rankdata(values, "max") / N)
        assert gap.max() < 1.6 / np.sqrt(N)
        np.testing.assert_allclose(law.mean(), found[:, j].mean(), atol=1e-2)


def test_copulas_are_symmetric_and_the_story_is_told(fitted):
    fit = fitted[2]
    np.testing.assert_array_equal(fit.model.copula.theta, fit.model.copula.theta.T)
    assert np.isfinite(fit.copula_log_likelihood[0, 1])
    assert np.all(np.diag(fit.copula_log_likelihood) == 0)
    assert np.all(np.isfinite(fit.marginal_log_likelihood))
    assert np.all(fit.marginal_steps > 0)


def test_transforms_are_equal_off_atoms_and_jump_on_them(fitted):
    records, _, fit = fitted
    confidence = fit.model.calibrate(jnp.asarray(records.log_confidence))
    left, right = (np.asarray(t) for t in transforms(fit.model.marginal, confidence))
    for j in range(2):
        law = jax.tree.map(lambda leaf, j=j: leaf[j], fit.model.marginal)
        np.testing.assert_allclose(left[:, j], law.cdf_left(confidence[:, j]), atol=1e-14)
        np.testing.assert_allclose(right[:, j], law.cdf(confidence[:, j]), atol=1e-14)


def leaves(model):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array))]


def test_weight_zero_equals_leaving_the_query_out():
    records, _ = simulated(1, 600)
    records = in_cost_order(records)
    keep = np.arange(600) % 3 > 0
    whole = fit_weighted(observations(records), jnp.asarray(keep, float), records.models)
    part = fit_cascade(records.take(np.flatnonzero(keep)))
    x = jnp.linspace(0.01, 0.99, 60)[:, None] * jnp.ones(2)
    one, other = whole.model, part.model
    np.testing.assert_allclose(one.cost_usd, other.cost_usd, rtol=1e-12)
    np.testing.assert_allclose(one.calibrator.intercept, other.calibrator.intercept, atol=1e-7)
    np.testing.assert_allclose(one.copula.tau, other.copula.tau, atol=1e-4)
    cdfs = [jax.vmap(lambda law, c: law.cdf(c), (0, 1), 1)(m.marginal, x) for m in (one, other)]
    np.testing.assert_allclose(*cdfs, atol=1e-4)


def test_missing_cells_and_unlabelled_rows():
    records, _ = simulated(2, 600)
    missing, unlabelled = np.zeros((600, 2), bool), np.zeros((600, 2), bool)
    missing[:150, 1], unlabelled[300:400, 0] = True, True
    blank = {
        name: np.where(missing, np.nan, getattr(records, name))
        for name in ("log_confidence", "correct", "cost_usd", "latency_s")
    }
    blank["correct"] = np.where(unlabelled, np.nan, blank["correct"])
    fit = fit_cascade(replaced(records, **blank))
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves(fit.model))
    np.testing.assert_allclose(fit.model.cost_usd[1], np.nanmean(blank["cost_usd"][:, 1]))
    # The complete model is the same for marginals of what was asked, labelled or not.
    calibrated = np.asarray(fit.model.calibrate(jnp.asarray(blank["log_confidence"])))
    assert np.isnan(calibrated[:150, 1]).all()
    low = np.nanmin(calibrated, axis=0)
    np.testing.assert_array_equal(fit.model.marginal.low, low)
    # Calibration sees labelled cells only: the same as a fit to those queries alone.
    alone = fit_cascade(records.take(np.flatnonzero(~unlabelled[:, 0])))
    np.testing.assert_allclose(
        fit.model.calibrator.intercept[0], alone.model.calibrator.intercept[0], atol=1e-7
    )


def test_a_pair_without_common_queries_is_independent():
    records, _ = simulated(3, 600)
    missing = np.zeros((600, 2), bool)
    missing[:300, 0], missing[300:, 1] = True, True
    blank = {
        name: np.where(missing, np.nan, getattr(records, name))
        for name in ("log_confidence", "correct", "cost_usd", "latency_s")
    }
    fit = fit_cascade(replaced(records, **blank))
    assert fit.model.copula.tau[0, 1] == 0
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves(fit.model))


def test_models_stand_in_the_order_of_cost():
    records, _ = simulated(0, 600, names=("dear", "cheap"))
    turned = replaced(records, cost_usd=records.cost_usd[:, ::-1])
    assert in_cost_order(turned).models == ("cheap", "dear")
    assert in_cost_order(records).models == ("dear", "cheap")
    np.testing.assert_array_equal(in_cost_order(turned).correct, records.correct[:, ::-1])


@pytest.mark.parametrize("name", ["accept", "abstain"])
def test_names_of_actions_are_refused(name):
    records, _ = simulated(0, 50, names=(name, "other"))
    with pytest.raises(RecordsError, match=f'found "{name}". Rename the model'):
        fit_cascade(records)


def test_a_model_without_labels_is_refused():
    records, _ = simulated(0, 50)
    correct = records.correct.copy()
    correct[:, 1] = np.nan
    with pytest.raises(RecordsError, match="large"):
        fit_cascade(replaced(records, correct=correct))


def test_single_precision_is_refused():
    records, _ = simulated(0, 50)
    with jax.enable_x64(False), pytest.raises(PrecisionError, match="jax_enable_x64"):
        fit_cascade(records)


def test_unknown_latency_stays_unknown():
    records, _ = simulated(0, 600)
    model = fit_cascade(replaced(records, latency_s=None)).model
    assert np.isnan(model.latency_s).all()


def test_select_and_index():
    model = toy_model()
    part = model.select(["c", "a"])
    assert part.models == ("c", "a")
    np.testing.assert_allclose(part.cost_usd, [9e-3, 1e-3])
    np.testing.assert_allclose(part.copula.tau[0, 1], 0.35)
    np.testing.assert_allclose(part.marginal.low, [0.3, 0.2])
    with pytest.raises(UnknownModelError, match='No model "z"'):
        model.index("z")


def test_constant_confidence_is_a_point_and_knows_nothing_of_others():
    records, _ = simulated(0, 600)
    log_confidence = records.log_confidence.copy()
    log_confidence[:, 0] = np.log(0.8)
    model = fit_cascade(replaced(records, log_confidence=log_confidence)).model
    assert model.marginal.low[0] == model.marginal.high[0]
    assert model.marginal.atom_high[0] == 1
    assert model.copula.tau[0, 1] == 0
    np.testing.assert_allclose(model.marginal.low[0], records.correct[:, 0].mean(), atol=0.02)
