"""People in the ledger against sums written out; the drag's identity; prices."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcascade.cascade import Prices
from jaxcascade.economics import (
    Human,
    accuracy_drag,
    ask_policy,
    bootstrap_weights,
    fail_fast_policy,
    mean_doubt,
    policy_ledger,
    simulated_records,
    with_human,
)
from jaxcascade.errors import InvalidInputError

BY_LEVEL = {f"level {i}": 0.01 * i for i in range(1, 6)}


@pytest.fixture(scope="module")
def records():
    return simulated_records(jax.random.key(5), 500)


@pytest.fixture(scope="module")
def ledger(records):
    rules = {
        "ask": ask_policy(records, records.confidence, rejection=0.2),
        "fail fast": fail_fast_policy(records, records.confidence, utilisation=0.5, rejection=0.2),
        "never": ask_policy(records, records.confidence, rejection=0.0),
    }
    return policy_ledger(records, records.confidence, rules)


def humans(records):
    return [
        (Human(0.05, 2.0, 60.0), np.full(500, 0.05)),
        (Human(BY_LEVEL, 2.0, 60.0), np.array([BY_LEVEL[g] for g in records.group])),
        (Human(lambda doubt: 0.1 * doubt, 2.0, 60.0), 0.1 * mean_doubt(records.confidence)),
    ]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["constant", "group", "doubt"])
def test_what_was_given_up_becomes_an_answer(records, ledger, which):
    human, errors = humans(records)[which]
    found = with_human(ledger, human, doubt=mean_doubt(records.confidence))
    prices = Prices(error=10.0, latency=0.01, abstention=7.0)
    taken = ledger.abstained
    expected = (
        ledger.cost_usd
        + 2.0 * taken
        + 0.01 * (ledger.latency_s + 60.0 * taken)
        + 10.0 * np.where(taken > 0, errors, ledger.wrong)
    )
    np.testing.assert_allclose(found.losses(prices), expected, rtol=1e-12)
    assert found.models == (*ledger.models, "a person")
    outcome = found.outcomes()
    np.testing.assert_allclose(outcome.answered_by[:, -1], taken.mean(axis=1))
    np.testing.assert_allclose(outcome.answered_by.sum(axis=1), 1.0)
    assert np.all(outcome.abstention == 0)


def test_the_price_of_abstention_is_what_the_person_costs(records, ledger):
    """At that price the ledger loses the same with the person as without."""
    prices = Prices(error=10.0, latency=0.01)
    human, _ = humans(records)[0]
    price = human.price_of_abstention(prices)
    assert price == pytest.approx(2.0 + 0.6 + 0.5)
    np.testing.assert_allclose(
        with_human(ledger, human).losses(prices),
        ledger.losses(prices._replace(abstention=price)),
        rtol=1e-12,
    )
    human, _ = humans(records)[1]
    deferred = accuracy_drag(ledger, human).deferred
    for row in (0, 1):
        price = human.price_of_abstention(prices, float(deferred[row]))
        np.testing.assert_allclose(
            with_human(ledger, human).losses(prices)[row].mean(),
            ledger.losses(prices._replace(abstention=price))[row].mean(),
            rtol=1e-12,
        )


@given(draws=st.integers(1, 3), seed=st.integers(0, 50))
def test_the_accuracy_drag_is_a_covariance_exactly(records, ledger, draws, seed):
    human, errors = humans(records)[1]
    weight = bootstrap_weights(jax.random.key(seed), 500, draws)
    found = accuracy_drag(ledger, human, weight=weight)
    share = weight @ ledger.abstained.T
    by_covariance = found.overall[:, :2] + found.covariance[:, :2] / share[:, :2]
    np.testing.assert_allclose(found.deferred[:, :2], by_covariance, rtol=1e-12)
    direct = (weight @ (ledger.abstained * errors).T)[:, :2] / share[:, :2]
    np.testing.assert_allclose(found.deferred[:, :2], direct, rtol=1e-12)
    np.testing.assert_allclose(found.overall[:, 0], weight @ errors, rtol=1e-12)
    assert np.isnan(found.deferred[:, 2]).all()


def test_hard_queries_are_hard_for_people_too(records, ledger):
    human, _ = humans(records)[1]
    assert np.all(accuracy_drag(ledger, human).drag[:2] > 0.005)
    alike, _ = humans(records)[0]
    np.testing.assert_allclose(accuracy_drag(ledger, alike).drag[:2], 0.0, atol=1e-15)


def test_what_is_not_known_stays_unknown(records):
    half = records.take(np.arange(500))
    half.correct[:100] = np.nan
    ask = {"ask": ask_policy(half, half.confidence, rejection=0.2)}
    before = policy_ledger(half, half.confidence, ask)
    after = with_human(before, Human(0.05))
    np.testing.assert_array_equal(np.isnan(after.wrong), np.isnan(before.wrong))
    assert np.isnan(after.wrong).any()


def test_doubt_leaves_out_models_that_were_not_asked():
    confidence = np.array([[0.2, 0.6], [np.nan, 0.9]])
    np.testing.assert_allclose(mean_doubt(confidence), [0.6, 0.1])


def test_bad_people_are_refused(records, ledger):
    with pytest.raises(InvalidInputError, match=r"`error_rate` must lie in \[0, 1\]; got 1.2"):
        Human(1.2)
    with pytest.raises(InvalidInputError, match=r'of the group "a" must lie in \[0, 1\]; got -0.1'):
        Human({"a": -0.1})
    with pytest.raises(InvalidInputError, match="`cost_usd` must be at least 0; got -1"):
        Human(0.1, cost_usd=-1)
    with pytest.raises(InvalidInputError, match="is a function of `doubt`"):
        with_human(ledger, Human(lambda doubt: doubt))
    with pytest.raises(InvalidInputError, match=r"one rate per query, 500; .* shape \(1,\)"):
        with_human(ledger, Human(lambda doubt: doubt[:1]), doubt=np.zeros(500))
    with pytest.raises(InvalidInputError, match=r"must lie in \[0, 1\]; got 2.0"):
        with_human(ledger, Human(lambda doubt: doubt + 2), doubt=np.zeros(500))
    with pytest.raises(InvalidInputError, match='none for "level 2"'):
        with_human(ledger, Human({"level 1": 0.1}))
    with pytest.raises(InvalidInputError, match="differs between queries"):
        Human(BY_LEVEL).price_of_abstention(Prices(error=1.0))
    with pytest.raises(InvalidInputError, match="have no `group`"):
        Human(BY_LEVEL).errors(3)
