"""Policies that give up early: what is expected of them, against simulation and recorded runs.

Another package predicts probabilities above 1 for them.
"""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcascade.cascade import (
    Policy,
    Rule,
    chain_outcomes,
    expected_outcome,
    fit_cascade,
    markov_chain,
    stack_policies,
)
from jaxcascade.economics import error_given_answered, policy_ledger
from jaxcascade.records import read_records
from tests.tuning.test_simulation import GRID_ERROR, MODELS, NAMES, agrees, chain, simulate

DATA = Path(__file__).parents[2].parent / "shared" / "data"
N = 100_000


def early(seed, names=NAMES):
    """A policy with up to four intervals per model, giving up in one of them at every stage."""
    rng = np.random.default_rng(seed)
    rules = {}
    for position, name in enumerate(names):
        later = names[position + 1 :]
        edges = np.sort(rng.uniform(0.25, 0.98, 3 if later else 1))
        passing = [*later[:1], rng.choice(later)] if later else []
        actions = [*rng.permutation(["abstain", *passing]), "accept"]
        if rng.random() < 0.3 and not later:
            actions = actions[::-1]  # a model that is trusted only where it doubts
        rules[name] = Rule(tuple(edges.tolist()), tuple(map(str, actions)))
    return Policy(names[0], rules)


@pytest.mark.parametrize("seed", range(4))
def test_expectations_are_those_of_a_simulation(seed):
    """Exact where models remember intervals; on the grid, where they remember confidences."""
    model, policy = MODELS["Gumbel"], early(seed)
    found = expected_outcome(model, policy)
    assert float(found.abstention) > 0.05
    agrees(found, simulate("Gumbel", policy, seed, forgetful=True, n=N))
    row = chain_outcomes(model, chain("Gumbel"), stack_policies([policy], NAMES))
    row = jax.tree.map(lambda part: part[0], row)
    agrees(row, simulate("Gumbel", policy, seed, n=N), GRID_ERROR)


def test_nothing_expected_is_above_one():
    model = MODELS["Gumbel"]
    arrays = stack_policies([early(seed) for seed in range(60)], NAMES)
    found = chain_outcomes(model, chain("Gumbel"), arrays)
    answered = np.asarray(found.answered_by)
    assert np.all(answered >= -1e-12)
    np.testing.assert_allclose(answered.sum(axis=1) + found.abstention, 1.0, atol=1e-9)
    assert np.all((found.error >= -1e-12) & (found.error <= answered.sum(axis=1) + 1e-12))
    conditional = error_given_answered(found)
    assert np.all((conditional >= found.error - 1e-12) & (conditional <= 1.0))
    assert np.all(found.cost_usd <= np.sum(model.cost_usd) + 1e-9)


@pytest.mark.slow
@pytest.mark.skipif(
    not DATA.is_dir(), reason="the recorded runs of others are not shipped with the package"
)
def test_what_is_expected_is_what_happens_on_mmlu():
    """Of 40 policies that give up early, on the half that nothing was fitted to."""
    names = ("llama3.2-1b", "llama3.1-8b", "llama3.1-70b", "llama3.1-405b")
    train, test = (
        read_records(DATA / f"mmlu_{half}.parquet").select(names) for half in ("train", "test")
    )
    model = fit_cascade(train).model
    order = tuple(model.models)
    policies = [early(seed, order) for seed in range(40)]
    found = chain_outcomes(model, markov_chain(model, 128), stack_policies(policies, order))
    arranged = test.select(order)
    confidence = np.asarray(model.calibrate(arranged.log_confidence))
    ledger = policy_ledger(arranged, confidence, {str(s): p for s, p in enumerate(policies)})
    counted = ledger.outcomes()
    for name, tolerance in (("error", 0.02), ("abstention", 0.05)):
        difference = np.asarray(getattr(found, name)) - np.asarray(getattr(counted, name))
        assert np.sqrt(np.mean(difference**2)) < tolerance, name
        assert np.abs(difference).max() < 3 * tolerance, name
    ratio = np.asarray(found.cost_usd) / np.asarray(counted.cost_usd)
    # A fraction of the cheap policies' cost hangs on how many queries reach the dear models.
    assert np.sqrt(np.mean(np.log(ratio) ** 2)) < 0.15
    assert np.abs(np.log(ratio)).max() < 0.3
