"""Rules against the tuned optimum: each loss against a replay of its own, the choice by search."""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcascade.cascade import Policy, Prices
from jaxcascade.economics import compare_rules, policy_ledger, simulated_records
from jaxcascade.economics.human import rule_policy
from jaxcascade.errors import InvalidInputError
from jaxcascade.records import read_records
from jaxcascade.tuning import POOL

DATA = Path(__file__).parents[2].parent / "shared" / "data"
ERROR_PRICES = np.array([0.5, 10.0])
UTILISATIONS, REJECTIONS = (0.0, 0.5, 1.0), (0.0, 0.1, 0.3)


@pytest.fixture(scope="module")
def halves():
    records = simulated_records(jax.random.key(11), 900)
    return records.take(np.arange(300)), records.take(np.arange(300, 900))


@pytest.fixture(scope="module")
def compared(halves):
    return compare_rules(
        jax.random.key(0),
        *halves,
        error_prices=ERROR_PRICES,
        abstention_price=1.5,
        latency_price=0.001,
        method=POOL,  # compiles fastest
        utilisations=UTILISATIONS,
        rejections=REJECTIONS,
    )


def test_the_rule_is_the_best_in_training_and_losses_are_those_of_a_replay(halves, compared):
    train, test = halves
    frontier = compared.frontier
    inside, outside = (np.asarray(frontier.calibrate(half)) for half in halves)
    assert frontier.models == train.models
    for p, point in enumerate(frontier.points):
        assert point.prices == Prices(ERROR_PRICES[p], 0.001, 1.5)

        def mean(records, confidence, policy, prices=point.prices):
            return policy_ledger(records, confidence, {"it": policy}).losses(prices).mean()

        rules = {(u, r): rule_policy(train, inside, u, r) for u in UTILISATIONS for r in REJECTIONS}
        scores = {pair: mean(train, inside, rule) for pair, rule in rules.items()}
        best = min(scores, key=scores.get)
        assert (compared.utilisation[p], compared.rejection[p]) == best
        ask = min((pair for pair in scores if pair[0] == 0), key=scores.get)
        expected = [mean(test, outside, rules[pair]) for pair in (ask, best)]
        expected.append(mean(test, outside, point.policy))
        np.testing.assert_allclose(compared.losses[p], expected, rtol=1e-12)
    gain = compared.losses[:, 1] - compared.losses[:, 2]
    np.testing.assert_allclose(compared.saving_usd, gain, atol=1e-15)


def test_the_standard_error_is_that_of_paired_differences(compared):
    for p, point in enumerate(compared.frontier.points):
        pair = compared.ledger.select([f"rule {p}", f"tuned {p}"]).losses(point.prices)
        difference = pair[0] - pair[1]
        assert compared.saving_standard_error[p] == pytest.approx(
            difference.std(ddof=1) / np.sqrt(600)
        )


def test_the_table_has_a_row_per_price(compared):
    rows = compared.table().to_pylist()
    assert [row["error_price"] for row in rows] == ERROR_PRICES.tolist()
    for p, row in enumerate(rows):
        assert row["saving"] == pytest.approx(1 - row["tuned_loss"] / row["rule_loss"])
        assert row["tuned_policy"] == compared.frontier.points[p].policy.describe()
        assert isinstance(compared.frontier.points[p].policy, Policy)


def test_rules_need_a_person_that_can_be_paid(halves):
    with pytest.raises(InvalidInputError, match=r"`abstention_price` must be finite.*got inf"):
        compare_rules(
            jax.random.key(0), *halves, error_prices=ERROR_PRICES, abstention_price=np.inf
        )


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="recorded runs of others are not shipped")
@pytest.mark.parametrize(("small", "bound"), [("llama3.2-3b", 0.98), ("llama3.1-8b", 1.0)])
def test_on_recorded_runs_the_optimum_loses_less_than_the_rule(small, bound):
    train, test = (read_records(DATA / f"mmlu_{half}.parquet") for half in ("train", "test"))
    found = compare_rules(
        jax.random.key(1),
        train,
        test,
        models=(small, "gpt-4o"),
        error_prices=np.geomspace(0.003, 0.3, 8),
        abstention_price=0.01,
    )
    assert np.exp(np.mean(np.log(found.losses[:, 2] / found.losses[:, 1]))) < bound
