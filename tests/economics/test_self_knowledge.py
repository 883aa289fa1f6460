"""Who knows when it is wrong, against brute force, scikit-learn and models made to know."""

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxcascade.economics import cascade_error, deferral_curve, self_knowledge
from jaxcascade.errors import InvalidInputError, UnknownModelError
from jaxcascade.records import Records
from tests.economics.test_ledger import made_records

KEY = jax.random.key(0)
RATES = (0.0, 0.15, 0.4, 1.0)


def records_of(confidence, correct):
    """One model per column."""
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, float)
    names = tuple(f"m{j}" for j in range(confidence.shape[1]))
    cost = np.ones_like(confidence)
    return Records(np.arange(len(confidence)), names, np.log(confidence), correct, cost)


def passed_by_lot(confidence, rate):
    """Probability that each query is passed on: the least confident first, ties by lot."""
    left, passed = rate * len(confidence), np.zeros(len(confidence))
    for value in sorted(set(confidence)):
        tied = confidence == value
        share = np.clip(left / tied.sum(), 0.0, 1.0)
        passed[tied] = share
        left -= share * tied.sum()
    return passed


def test_reductions_and_auroc_of_confidences_with_ties():
    rng = np.random.default_rng(0)
    confidence = np.round(rng.uniform(0.1, 0.9, (90, 2)), 1)
    correct = rng.uniform(size=(90, 2)) < confidence
    records = records_of(confidence, correct)
    for j, found in enumerate(self_knowledge(KEY, records, rates=RATES, num_draws=50)):
        wrong = 1.0 - correct[:, j]
        for r, rate in enumerate(RATES):
            parts = cascade_error(passed_by_lot(confidence[:, j], rate), wrong, wrong)
            assert found.reduction[r] == pytest.approx(parts.reduction, abs=1e-12)
            oracle = passed_by_lot(-wrong, rate)
            most = cascade_error(oracle, wrong, wrong).reduction
            if 0 < rate < 1:
                assert found.attained[r] == pytest.approx(parts.reduction / most, rel=1e-10)
        assert np.isnan(found.attained[[0, 3]]).all()
        assert found.auroc == pytest.approx(roc_auc_score(correct[:, j], confidence[:, j]))
        assert (found.model, found.num_queries) == (f"m{j}", 90)


def test_intervals_are_those_of_weighting_queries_anew():
    rng = np.random.default_rng(1)
    confidence = np.round(rng.uniform(0.1, 0.9, (150, 1)), 2)
    correct = rng.uniform(size=(150, 1)) < confidence
    found = self_knowledge(KEY, records_of(confidence, correct), num_draws=2000)[0]
    weights = rng.dirichlet(np.ones(150), 600)
    aurocs = [roc_auc_score(correct[:, 0], confidence[:, 0], sample_weight=w) for w in weights]
    low, high = np.quantile(aurocs, [0.05, 0.95])
    assert (found.auroc_band.low, found.auroc_band.high) == pytest.approx((low, high), abs=0.009)


def test_verdicts_on_models_that_know_do_not_know_and_too_few_queries():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.05, 0.95, (2000, 4))
    chance = np.stack([confidence[:, 0], np.full(2000, 0.6), confidence[:, 2], np.ones(2000)], 1)
    correct = (rng.uniform(size=(2000, 4)) < chance).astype(float)
    # Twelve labels: the confidence seems to know (AUROC 0.71), but it may be chance.
    confidence[:12, 2] = np.linspace(0.1, 0.9, 12)
    correct[:12, 2] = np.arange(12) % 2
    correct[10, 2] = 1.0
    correct[12:, 2] = np.nan
    found = self_knowledge(KEY, records_of(confidence, correct), num_draws=300)
    assert [one.verdict for one in found] == ["yes", "no", "unclear", "unclear"]
    assert found[2].num_queries == 12
    assert found[2].auroc_band.low < 0.55 < found[2].auroc_band.middle
    assert np.isnan(found[3].auroc)
    assert np.isnan(found[3].auroc_band.low)
    assert np.isnan(found[3].attained).all()
    np.testing.assert_allclose(found[3].reduction, 0.0, atol=1e-12)


def test_an_oracle_attains_everything():
    rng = np.random.default_rng(3)
    correct = (rng.uniform(size=(100, 1)) < 0.7).astype(float)
    found = self_knowledge(KEY, records_of(0.3 + 0.5 * correct, correct), num_draws=100)[0]
    np.testing.assert_allclose(found.attained, 1.0, rtol=1e-9)
    assert (found.auroc, found.auroc_band.low, found.verdict) == (1.0, 1.0, "yes")


def test_a_curve_is_the_cascade_at_every_rate():
    """At interior ranks without ties, against the records themselves."""
    records = made_records(num_queries=100, missing=0.3)
    curve = deferral_curve(KEY, records, "small", "large", [0.0, 0.25, 1.0], num_draws=4000)
    pair = records.select(["small", "large"])
    both = pair.take(np.flatnonzero(pair.asked.all(axis=1)))
    assert both.latency_s is not None
    sure, wrong, n = both.log_confidence[:, 0], 1.0 - both.correct, both.num_queries
    passed = np.stack([passed_by_lot(sure, rate) for rate in (0.0, 0.25, 1.0)])
    expected = {
        "error": (1 - passed) @ wrong[:, 0] / n + passed @ wrong[:, 1] / n,
        "cost_usd": both.cost_usd[:, 0].mean() + passed @ both.cost_usd[:, 1] / n,
        "latency_s": both.latency_s[:, 0].mean() + passed @ both.latency_s[:, 1] / n,
        "reduction": passed @ wrong[:, 0] / n - passed.mean(axis=1) * wrong[:, 0].mean(),
    }
    for name, values in expected.items():
        band = getattr(curve, name)
        spread = np.maximum(band.high - band.low, 1e-9)
        assert np.all(np.abs(band.middle - values) < 0.08 * spread), name
    # Nothing passed on, or all: no reduction, in any draw.
    np.testing.assert_allclose(curve.reduction.high[[0, 2]], 0.0, atol=1e-12)
    error = wrong.mean(axis=0)
    spread = 2 * 1.645 * np.sqrt(error * (1 - error) / (n + 1))
    np.testing.assert_allclose((curve.error.high - curve.error.low)[[0, 2]], spread, rtol=0.1)


def test_seconds_need_not_be_recorded():
    curve = deferral_curve(KEY, made_records(seconds=False), "small", "large", [0.5], num_draws=20)
    assert np.isnan(curve.latency_s.middle).all()
    assert np.isfinite(curve.cost_usd.middle).all()


def test_what_cannot_be_judged_is_said():
    records = made_records(num_queries=9)
    for rates in ([-0.1], [1.1], [], [np.nan]):
        with pytest.raises(InvalidInputError, match="`rates` must be a row of shares"):
            self_knowledge(KEY, records, rates=rates)
    with pytest.raises(UnknownModelError, match="huge"):
        deferral_curve(KEY, records, "small", "huge", [0.5])
    records.correct[:, records.model_index("large")] = np.nan
    assert [one.model for one in self_knowledge(KEY, records, num_draws=9)] == ["small", "middle"]
    with pytest.raises(InvalidInputError, match='both "small" and "large"'):
        deferral_curve(KEY, records, "small", "large", [0.5])
    records.correct[:] = np.nan
    with pytest.raises(InvalidInputError, match="No run is labelled"):
        self_knowledge(KEY, records)
