"""From records to draws: what counts, what is refused, and whether methods agree."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.calibration import LogisticCalibration, beta_calibration
from jaxcascade.cascade import observations
from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.posterior import Laplace, Nuts, Variational, infer, infer_evidence, look
from jaxcascade.posterior.diagnostics import diagnose

FEW = Laplace(num_draws=200)


def test_a_query_of_weight_zero_does_not_count(few_records):
    records = few_records
    data = observations(records)
    weight = jnp.ones(120).at[100:].set(0.0)
    calibration = LogisticCalibration()
    _, evidence = look(data, weight, records.models, calibration)
    wild = data._replace(
        log_confidence=data.log_confidence.at[100:].set(-5.0),
        correct=1.0 - data.correct,
        cost_usd=data.cost_usd.at[100:].set(9.0),
    )
    wild = wild._replace(correct=data.correct.at[100:].set(0.0))
    frame, other = look(wild, weight, records.models, calibration)
    base, _ = look(data, weight, records.models, calibration)
    for one, two in zip(jax.tree.leaves(frame), jax.tree.leaves(base), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9)
    for name in ("signal", "place", "end", "asked", "labelled", "correct"):
        np.testing.assert_allclose(getattr(evidence, name)[:100], getattr(other, name)[:100])
    assert np.all(np.asarray(other.asked[100:]) == 0)


def test_missing_cells_labels_and_a_constant_confidence_are_no_obstacle(few_records):
    records = few_records
    hole = np.random.default_rng(0).random((120, 3)) < 0.2
    confidence = np.where(hole, np.nan, records.log_confidence)
    confidence[:, 1] = np.where(hole[:, 1], np.nan, np.log(0.9))
    correct = np.where(hole, np.nan, records.correct)
    correct[:30, 0] = np.nan
    cost, seconds = (np.where(hole, np.nan, part) for part in (records.cost_usd, records.latency_s))
    rough = dataclasses.replace(
        records, log_confidence=confidence, correct=correct, cost_usd=cost, latency_s=seconds
    )
    posterior = infer(jax.random.key(0), rough, method=FEW)
    for name, values in posterior.sites.items():
        assert np.all(np.isfinite(values)), name
    at = posterior.frame.models.index(records.models[1])
    law = jax.tree.map(lambda leaf: leaf[0, at], posterior.models().marginal)
    assert float(law.low) == float(law.high)
    assert float(law.atom_high) == 1.0


@pytest.mark.slow
def test_accuracy_is_that_of_the_labels(posterior, few_records):
    """The mean of the fitted law is the share of right answers, within its own uncertainty."""
    accuracy = jax.vmap(jax.vmap(lambda law: law.mean()))(posterior.models().marginal)
    records = few_records.select(posterior.frame.models)
    seen = records.correct.mean(axis=0)
    expected_noise = np.sqrt(seen * (1 - seen) / 120)
    assert np.all(np.abs(np.asarray(accuracy).mean(axis=0) - seen) < 0.5 * expected_noise)
    ratio = np.asarray(accuracy).std(axis=0) / expected_noise
    assert np.all((ratio > 0.7) & (ratio < 1.2))


def test_more_labels_less_doubt(posterior, few_records):
    data = observations(few_records.select(posterior.frame.models))
    weight = jnp.ones(120).at[30:].set(0.0)
    frame, evidence = look(data, weight, posterior.frame.models, LogisticCalibration())
    less = infer_evidence(jax.random.key(0), frame, evidence, method=FEW)
    for name in ("intercept", "tau", "history"):
        wide, narrow = (np.asarray(p.sites[name]).std(axis=0) for p in (less, posterior))
        # Priors hold some of them together: a fifth more on average, and not the double of four
        # times as many labels.
        assert np.mean(wide / narrow) > 1.15, name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"coupled": True}, "`coupled` needs `neighbours`"),
        ({"calibration": beta_calibration()}, "`calibration` must be a logistic"),
    ],
)
def test_what_cannot_be_is_refused(few_records, settings, words):
    with pytest.raises(InvalidInputError, match=words):
        infer(jax.random.key(0), few_records, method=FEW, **settings)


def test_one_model_is_no_cascade(few_records):
    with pytest.raises(InvalidInputError, match="at least two models"):
        infer(jax.random.key(0), few_records.select(["gpt-4o"]), method=FEW)


def test_a_model_without_labels_is_refused(few_records):
    correct = few_records.correct.copy()
    correct[:, 0] = np.nan
    with pytest.raises(RecordsError, match="label"):
        infer(jax.random.key(0), dataclasses.replace(few_records, correct=correct), method=FEW)


def test_thin_keeps_what_there_is(posterior):
    few = posterior.thin(10)
    assert few.num_draws == 10
    np.testing.assert_array_equal(few.sites["tau"][0], posterior.sites["tau"][0])
    with pytest.raises(InvalidInputError, match="`num_draws` must be from 1 to 200"):
        posterior.thin(201)


def moments(posterior, names):
    return {name: posterior.sites[name] for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("method", [Laplace(), Variational(num_steps=4000)], ids=["laplace", "svi"])
def test_methods_agree_with_nuts(few_records, method):
    """Means within a third of a standard deviation, and spreads within a third."""
    names = ("intercept", "slope", "tau", "history")
    # Of the mixtures' components NUTS itself has but some twenty effective draws on so few labels,
    # too few to hold others against.
    sampled = infer(jax.random.key(1), few_records, method=Nuts(), check=False)
    assert diagnose(sampled).severity != "bad"
    assert float(jnp.mean(sampled.diagnostics["diverging"])) < 0.01
    found = infer(jax.random.key(2), few_records, method=method, check=False)
    for name in names:
        theirs, ours = (np.asarray(p.sites[name]) for p in (sampled, found))
        spread = theirs.std(axis=0)
        assert np.all(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 0.35 * spread), name
        assert np.all(np.abs(np.log(ours.std(axis=0) / spread)) < 0.35), name


@pytest.mark.slow
def test_a_coupled_chain_tells_about_the_same(few_records):
    names = ("intercept", "slope", "tau")
    settings = {"neighbours": True, "check": False}
    modular = infer(jax.random.key(1), few_records, method=Laplace(), **settings)
    coupled = infer(jax.random.key(1), few_records, method=Nuts(), coupled=True, **settings)
    for name in names:
        one, other = (np.asarray(p.sites[name]) for p in (modular, coupled))
        assert np.all(np.abs(one.mean(axis=0) - other.mean(axis=0)) < other.std(axis=0)), name


@pytest.mark.slow
def test_many_data_sets_at_once(few_records):
    """`vmap` over bootstrap weights gives what one data set at a time gives."""
    data, models = observations(few_records), few_records.models
    weights = jax.random.multinomial(jax.random.key(0), 120, jnp.full((3, 120), 1 / 120))

    def one(weight):
        frame, evidence = look(data, weight, models, LogisticCalibration())
        return infer_evidence(jax.random.key(5), frame, evidence, method=FEW).sites

    together = jax.vmap(one)(weights)
    for row in range(3):
        alone = one(weights[row])
        for name in ("slope", "tau", "weight"):
            np.testing.assert_allclose(
                together[name][row].mean(axis=0), alone[name].mean(axis=0), rtol=1e-2, atol=1e-2
            )
