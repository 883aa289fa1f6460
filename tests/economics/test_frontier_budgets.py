"""Budgets over a frontier, on its records and on others."""

from pathlib import Path

import numpy as np
import pytest

from jaxcascade.cascade import Policy
from jaxcascade.economics import Limits, candidate_ledger, policy_ledger, within_budget
from jaxcascade.errors import InfeasibleError, UnknownModelError
from jaxcascade.records import read_records
from jaxcascade.tuning import tune
from tests.reports.conftest import make_frontier, make_records

DATA = Path(__file__).parents[2].parent / "shared" / "data"
MODELS = ("small", "middle", "large")


@pytest.fixture(scope="module")
def frontier():
    return make_frontier(MODELS)


@pytest.fixture(scope="module")
def records():
    return make_records(MODELS, n=200)


def test_single_models_and_policies_are_replayed_under_their_own_names(frontier, records):
    ledger = candidate_ledger(frontier, records)
    assert ledger.systems[:3] == MODELS
    assert len(ledger.systems) == 3 + 3  # one point of the frontier is a single model
    confidence = np.asarray(frontier.calibrate(records))
    for name, point in zip(ledger.systems[3:], frontier.points[1:], strict=True):
        alone = policy_ledger(records, confidence, {"x": point.policy})
        row = ledger.position(name)
        np.testing.assert_array_equal(ledger.wrong[row], alone.wrong[0])
        np.testing.assert_array_equal(ledger.cost_usd[row], alone.cost_usd[0])


def test_a_model_without_runs_is_no_candidate(records):
    frontier = make_frontier(MODELS, [Policy.threshold_cascade(["small", "large"], [0.5])])
    ledger = candidate_ledger(frontier, records.select(["small", "large"]))
    assert ledger.systems[:2] == ("small", "large")
    assert "middle" not in ledger.systems
    with pytest.raises(UnknownModelError, match="large"):
        candidate_ledger(frontier, records.select(["small", "middle"]))


def test_what_is_found_is_what_is_counted(frontier, records):
    ledger = candidate_ledger(frontier, records)
    means = ledger.outcomes()
    limits = Limits(cost_usd=float(np.median(means.cost_usd)), abstention=0.05)
    found = within_budget(frontier, records, limits, "error")
    counted = found.mixture.outcome(ledger)
    assert float(counted.error) == pytest.approx(found.value, abs=1e-12)
    assert float(counted.cost_usd) <= limits.cost_usd * (1 + 1e-9)
    assert float(counted.abstention) <= 0.05 + 1e-9
    seconds = within_budget(frontier, records, Limits(late=0.5), "error", latency_limit_s=0.6)
    rows = [ledger.position(name) for name in seconds.mixture.systems]
    assert seconds.mixture.shares @ (ledger.latency_s[rows] > 0.6).mean(axis=1) <= 0.5 + 1e-9
    with pytest.raises(InfeasibleError, match="The least cost in dollars is"):
        within_budget(frontier, records, Limits(cost_usd=1e-9))


@pytest.mark.slow
@pytest.mark.skipif(
    not DATA.is_dir(), reason="the recorded runs of others are not shipped with the package"
)
def test_limits_hold_on_unseen_queries_of_mmlu_within_sampling_error():
    """A mixture chosen on 300 unseen queries: what it misses on others is noise and a bit more."""
    import jax

    train, test = (read_records(DATA / f"mmlu_{half}.parquet") for half in ("train", "test"))
    pool = ["llama3.2-1b", "llama3.1-8b", "llama3.1-70b", "llama3.1-405b"]
    frontier = tune(jax.random.key(0), train.select(pool)).frontier
    ledger = candidate_ledger(frontier, test.select(pool))
    excess = []
    for seed in range(40):
        order = np.random.default_rng(seed).permutation(test.num_queries)
        chosen = within_budget(frontier, test.select(pool).take(order[:300]), Limits(error=0.2))
        excess.append(float(chosen.mixture.outcome(ledger.take(order[300:])).error) - 0.2)
    assert abs(np.mean(excess)) < 0.015
    assert np.std(excess) < 0.035
