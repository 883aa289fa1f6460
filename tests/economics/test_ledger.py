"""Ledgers against the definition, query by query."""

import numpy as np
import pandas as pd
import pytest

from jaxcascade.cascade import Policy, Prices, loss
from jaxcascade.cascade.policy import Rule
from jaxcascade.economics import policy_ledger, router_ledger, single_ledger
from jaxcascade.errors import InvalidInputError, PolicyError, RecordsError, UnknownModelError
from jaxcascade.records import read_records

MODELS = ("large", "small", "middle")
POLICIES = {
    "alone": Policy.single("small"),
    "chain": Policy.threshold_cascade(["small", "middle", "large"], [0.6, 0.5]),
    "careful": Policy(
        "small",
        {
            "small": Rule((0.2, 0.7), ("abstain", "large", "accept")),
            "large": Rule((0.4,), ("abstain", "accept")),
        },
    ),
}


def made_records(seconds=True, missing=0.0, num_queries=80):
    rng = np.random.default_rng(3)
    rows = [
        {
            "query": q,
            "model": model,
            "confidence": rng.uniform(),
            "correct": int(rng.uniform() < 0.6),
            "cost_usd": price * rng.uniform(0.5, 1.5),
            "latency_s": 10 * price * rng.uniform(0.5, 1.5),
            "carbon_g": rng.uniform(),
            "rude": bool(rng.uniform() < 0.3),
            "group": "even" if q % 2 == 0 else "odd",
        }
        for q in range(num_queries)
        for model, price in zip(MODELS, (1.0, 0.1, 0.3), strict=True)
        if model == "small" or rng.uniform() >= missing
    ]
    frame = pd.DataFrame(rows)
    return read_records(frame if seconds else frame.drop(columns="latency_s"))


def by_hand(records, policy):
    """Follows a policy with plain Python: (wrong, abstained, cost, seconds, carbon, rude)."""
    at = {name: j for j, name in enumerate(records.models)}
    rows = []
    for q in range(records.num_queries):
        model, cost, seconds, carbon = policy.start, 0.0, 0.0, 0.0
        while True:
            j = at[model]
            if not records.asked[q, j]:
                rows.append([np.nan] * 6)
                break
            cost += records.cost_usd[q, j]
            seconds += records.latency_s[q, j]
            carbon += records.extra["carbon_g"][q, j]
            rule = policy.rules[model]
            sure = np.exp(records.log_confidence[q, j])
            action = rule.actions[sum(sure > edge for edge in rule.breakpoints)]
            if action == "accept":
                wrong = 1.0 - records.correct[q, j]
                rude = float(records.extra["rude"][q, j])
                rows.append([wrong, 0.0, cost, seconds, carbon, rude])
                break
            if action == "abstain":
                rows.append([0.0, 1.0, cost, seconds, carbon, 0.0])
                break
            model = action
    return np.array(rows).T


METRICS = {"carbon_g": "calls", "rude": "answer"}


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_ledger_holds_what_following_each_policy_by_hand_gives(missing):
    records = made_records(missing=missing)
    ledger = policy_ledger(records, records.confidence, POLICIES, metrics=METRICS)
    for row, policy in enumerate(POLICIES.values()):
        found = [
            cells[row]
            for cells in (
                ledger.wrong,
                ledger.abstained,
                ledger.cost_usd,
                ledger.latency_s,
                *ledger.metrics.values(),
            )
        ]
        np.testing.assert_allclose(found, by_hand(records, policy), rtol=1e-12)
    assert np.isnan(ledger.wrong).any() == (missing > 0)


def test_losses_and_means_are_those_of_the_definition():
    records = made_records()
    ledger = policy_ledger(records, records.confidence, POLICIES, metrics=METRICS)
    prices = Prices(error=2.0, latency=0.05, abstention=0.7)
    expected = (
        ledger.cost_usd + 2.0 * ledger.wrong + 0.05 * ledger.latency_s + 0.7 * ledger.abstained
    )
    np.testing.assert_allclose(ledger.losses(prices), expected, rtol=1e-14)
    weight = np.random.default_rng(0).dirichlet(np.ones(80), size=(4,))
    outcome = ledger.outcomes(weight)
    assert outcome.answered_by.shape == (4, 3, 3)
    np.testing.assert_allclose(outcome.answered_by.sum(-1) + outcome.abstention, 1.0, rtol=1e-12)
    np.testing.assert_allclose(loss(outcome, prices), weight @ expected.T, rtol=1e-12)
    charged = ledger.charged({"carbon_g": 0.5, "rude": -0.1})
    extra = 0.5 * ledger.metrics["carbon_g"] - 0.1 * ledger.metrics["rude"]
    np.testing.assert_allclose(charged.losses(prices), expected + extra, rtol=1e-12)


def test_single_models_and_routers():
    records = made_records()
    assert records.latency_s is not None
    alone = single_ledger(records, metrics=METRICS)
    np.testing.assert_array_equal(alone.wrong, 1.0 - records.correct.T)
    np.testing.assert_array_equal(alone.cost_usd, records.cost_usd.T)
    chosen = [MODELS[q % 3] for q in range(records.num_queries)]
    sent = router_ledger(records, chosen, overhead_usd=0.01, overhead_s=0.2, metrics=METRICS)
    at = np.arange(80) % 3
    np.testing.assert_array_equal(sent.wrong[0], 1.0 - records.correct[np.arange(80), at])
    np.testing.assert_allclose(sent.cost_usd[0], records.cost_usd[np.arange(80), at] + 0.01)
    np.testing.assert_allclose(sent.latency_s[0], records.latency_s[np.arange(80), at] + 0.2)
    both = alone.join(sent)
    assert both.systems == (*MODELS, "router")
    assert both.select(["router"]).outcomes().error == sent.outcomes().error
    even = both.take(np.arange(0, 80, 2))
    assert even.group is not None
    assert set(even.group) == {"even"}
    np.testing.assert_array_equal(even.wrong, both.wrong[:, ::2])


def test_what_is_not_comparable_does_not_count():
    records = made_records(missing=0.3)
    ledger = single_ledger(records)
    full = records.asked.all(axis=1)
    np.testing.assert_array_equal(ledger.known, full)
    np.testing.assert_allclose(ledger.outcomes().error, 1.0 - records.correct[full].mean(axis=0))


def test_seconds_that_were_not_recorded_cannot_be_priced():
    ledger = single_ledger(made_records(seconds=False))
    assert not ledger.has_latency
    with pytest.raises(InvalidInputError, match="`latency_s` is missing"):
        ledger.losses(Prices(error=1.0, latency=0.1))
    assert np.isfinite(ledger.losses(Prices(error=1.0))).all()


def test_what_cannot_be_done_is_said():
    records = made_records()
    ledger = single_ledger(records, metrics=METRICS)
    with pytest.raises(InvalidInputError, match='no system "medium"'):
        ledger.select(["medium"])
    with pytest.raises(InvalidInputError, match="must be distinct"):
        ledger.join(ledger)
    with pytest.raises(InvalidInputError, match="same queries"):
        ledger.join(router_ledger(records.take(np.arange(9)), ["small"] * 9))
    with pytest.raises(InvalidInputError, match="same metrics"):
        ledger.join(router_ledger(records, ["small"] * 80))
    with pytest.raises(InvalidInputError, match='no metric "noise"'):
        ledger.charged({"noise": 1.0})
    with pytest.raises(InvalidInputError, match="must be finite"):
        ledger.charged({"rude": np.inf})
    with pytest.raises(InvalidInputError, match='no further column "noise"'):
        single_ledger(records, metrics={"noise": "calls"})
    with pytest.raises(InvalidInputError, match=r'"calls" .* or "answer"'):
        single_ledger(records, metrics={"rude": "sum"})
    with pytest.raises(InvalidInputError, match="one model per query, 80; got 2"):
        router_ledger(records, ["small", "large"])
    with pytest.raises(UnknownModelError, match="huge"):
        router_ledger(records, ["huge"] * 80)
    with pytest.raises(PolicyError, match="huge"):
        policy_ledger(records, records.confidence, {"x": Policy.single("huge")})
    blank = records.take(np.arange(3))
    blank.correct[:] = np.nan
    with pytest.raises(RecordsError, match="No query can be compared"):
        single_ledger(blank).outcomes()
