"""Ask, and fail fast or ask, against rules written out query by query."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcascade.cascade import Policy
from jaxcascade.economics import (
    ask_policy,
    bootstrap_weights,
    confidence_from_tokens,
    fail_fast_policy,
    loop_curves,
    policy_ledger,
    simulated_records,
)
from jaxcascade.errors import InvalidInputError, RecordsError, UnknownModelError
from jaxcascade.records import Records

FAST, REASONING = "llama3.1-405b", "qwen3-235b"
UTILISATIONS, REJECTIONS = (0.0, 0.4, 1.0), (0.0, 0.1, 0.2)


@pytest.fixture(scope="module")
def halves():
    records = simulated_records(jax.random.key(2), 900)
    return records.take(np.arange(300)), records.take(np.arange(300, 900))


def small_records(confidence) -> Records:
    confidence = np.asarray(confidence, float)
    n = len(confidence)
    with np.errstate(divide="ignore"):
        logs = np.log(confidence)
    cost = np.tile([0.1, 1.0], (n, 1))
    return Records(np.arange(n), ("fast", "slow"), logs, np.ones((n, 2)), cost)


def by_sorting(train, test, utilisation, rejection):
    """Rates, error and cost by the definition: sort, cut, count."""
    fast, slow = train.log_confidence.T
    n = len(fast)
    first = np.sort(fast)
    if utilisation == 0:
        fail, upto = -np.inf, np.inf
    else:
        count = round(utilisation * rejection * n + 1e-6)
        fail = first[count - 1] if count else -np.inf
        count = round((utilisation * rejection + 1 - utilisation) * n + 1e-6)
        upto = first[count - 1] if count else -np.inf
    passed = (fast > fail) & (fast <= upto)
    worst = np.sort(slow[passed])
    held = int(np.ceil(rejection * len(worst) - 1e-9))
    reject = worst[held - 1] if held else -np.inf
    fast, slow = test.log_confidence.T
    passed = (fast > fail) & (fast <= upto)
    human = (fast <= fail) | (passed & (slow <= reject))
    right = np.where(passed, test.correct[:, 1], test.correct[:, 0])
    cost = np.where(passed, test.cost_usd[:, 1], 0) + (utilisation > 0) * test.cost_usd[:, 0]
    return 1 - passed.mean(), human.mean(), right[~human].mean(), cost.mean()


def test_curves_are_those_of_the_rule_written_out(halves):
    train, test = halves
    curves = loop_curves(train, test, utilisations=UTILISATIONS, rejections=REJECTIONS)
    for i, u in enumerate(UTILISATIONS):
        for j, r in enumerate(REJECTIONS):
            spared, human, accuracy, cost = by_sorting(train, test, u, r)
            assert curves.spared[i, j] == pytest.approx(spared)
            assert curves.human_share[i, j] == pytest.approx(human)
            assert curves.conditional_accuracy[i, j] == pytest.approx(accuracy)
            assert curves.joint_error[i, j] == pytest.approx((1 - human) * (1 - accuracy))
            assert curves.outcome.cost_usd[i, j] == pytest.approx(cost)
    np.testing.assert_allclose(curves.auarc, curves.conditional_accuracy.mean(axis=1))
    assert np.all(curves.num_undefined == 0)
    table = curves.table().to_pydict()
    assert table["utilisation"][4] == 0.4
    assert table["rejection"][4] == 0.1
    assert table["accuracy_when_answered"][4] == curves.conditional_accuracy[1, 1]


def test_weights_give_a_curve_for_each_draw(halves):
    train, test = halves
    settings = {"utilisations": UTILISATIONS, "rejections": REJECTIONS}
    weight = bootstrap_weights(jax.random.key(3), 600, 5)
    weight[0] = 1.0 / 600
    drawn = loop_curves(train, test, weight=weight, **settings)
    once = loop_curves(train, test, **settings)
    assert drawn.auarc.shape == (5, 3)
    np.testing.assert_allclose(drawn.auarc[0], once.auarc)
    np.testing.assert_allclose(drawn.outcome.answered_by[0], once.outcome.answered_by)
    assert np.all(np.std(drawn.auarc, axis=0) > 0)


@given(
    utilisation=st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]),
    rejection=st.sampled_from([0.0, 0.1, 0.3, 1.0]),
)
def test_without_ties_the_rates_are_those_asked_for(utilisation, rejection):
    """r (u + 1 - u) = r: the printed rule's thresholds give the person the share asked for."""
    rng = np.random.default_rng(1)
    records = small_records(rng.permuted(np.linspace(0.01, 0.99, 400)).reshape(200, 2))
    rule = fail_fast_policy(
        records, records.confidence, utilisation=utilisation, rejection=rejection
    )
    ledger = policy_ledger(records, records.confidence, {"rule": rule})
    passed = np.mean(ledger.cost_usd > 0.5)
    assert passed == pytest.approx(1 - utilisation, abs=1 / 200)
    assert ledger.abstained.mean() == pytest.approx(rejection, abs=2 / 200)


def test_ties_hold_back_the_share_asked_for_or_more():
    records = small_records([[0.3, 0.5]] * 4 + [[0.8, 0.9]] * 6)
    rule = fail_fast_policy(records, records.confidence, utilisation=0.5, rejection=0.4)
    # Q(0.2) = 0.3 and Q(0.7) = 0.8: four queries fail fast, none is left for the fast model.
    assert rule.rules["fast"].breakpoints == pytest.approx((0.3, 0.8))
    assert rule.rules["fast"].actions == ("abstain", "slow", "accept")
    ask = ask_policy(records, records.confidence, rejection=0.1)
    abstained = policy_ledger(records, records.confidence, {"ask": ask}).abstained
    assert abstained.mean() == 0.4


def test_confidences_of_zero_can_be_rejected():
    records = small_records([[0.0, 0.0]] * 3 + [[0.5, 0.5]] * 7)
    rule = ask_policy(records, records.log_confidence, rejection=0.2)
    abstained = policy_ledger(records, records.log_confidence, {"ask": rule}).abstained
    assert abstained.mean() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("utilisation", "rejection", "start", "actions"),
    [
        (0.0, 0.0, "slow", {"slow": ("accept",)}),
        (1.0, 0.0, "fast", {"fast": ("accept",)}),
        (1.0, 1.0, "fast", {"fast": ("abstain",)}),
        (0.5, 0.0, "fast", {"fast": ("slow", "accept"), "slow": ("accept",)}),
        (0.5, 1.0, "fast", {"fast": ("abstain", "slow"), "slow": ("abstain",)}),
    ],
)
def test_at_the_ends_intervals_vanish(utilisation, rejection, start, actions):
    records = small_records(np.linspace(0.1, 0.9, 40).reshape(20, 2))
    if utilisation == 0:
        policy = ask_policy(records, records.confidence, rejection=rejection)
    else:
        policy = fail_fast_policy(
            records, records.confidence, utilisation=utilisation, rejection=rejection
        )
    assert isinstance(policy, Policy)
    assert policy.start == start
    assert {name: rule.actions for name, rule in policy.rules.items()} == actions


def test_accuracy_of_nothing_is_undefined_and_does_not_count(halves):
    train, test = halves
    curves = loop_curves(train, test, utilisations=(0.0,), rejections=(0.0, 1.0))
    assert np.isnan(curves.conditional_accuracy[0, 1])
    assert curves.num_undefined.tolist() == [1]
    assert curves.auarc[0] == curves.conditional_accuracy[0, 0]


def test_long_answers_are_unsure_answers(halves):
    train, _ = halves
    by_length = confidence_from_tokens(train, REASONING, 9_000.0)
    tokens = train.extra["output_tokens"][:, 1]
    np.testing.assert_allclose(by_length.confidence[:, 1], 1 / (1 + tokens / 9_000))
    np.testing.assert_array_equal(by_length.log_confidence[:, 0], train.log_confidence[:, 0])
    ask = ask_policy(by_length, by_length.confidence, rejection=0.1)
    abstained = policy_ledger(by_length, by_length.confidence, {"ask": ask}).abstained[0] > 0
    assert tokens[abstained].min() > tokens[~abstained].max()
    assert abstained.sum() == 30


def test_what_cannot_be_learnt_is_said(halves):
    train, _ = halves
    with pytest.raises(InvalidInputError, match=r"`utilisation` must be a share .* got 1.5"):
        fail_fast_policy(train, train.confidence, utilisation=1.5, rejection=0.1)
    with pytest.raises(InvalidInputError, match="`rejection` must be a share"):
        ask_policy(train, train.confidence, rejection=-0.1)
    with pytest.raises(InvalidInputError, match='two different ones; got "a", "a"'):
        fail_fast_policy(train, train.confidence, utilisation=0.5, rejection=0.1, models=("a", "a"))
    with pytest.raises(InvalidInputError, match="must name the fast and the reasoning model"):
        loop_curves(train.select([FAST]), train)
    with pytest.raises(RecordsError, match=f"No query was put to {REASONING}"):
        ask_policy(train, np.full((300, 2), np.nan), rejection=0.1)
    with pytest.raises(InvalidInputError, match="`typical_tokens` must be above 0"):
        confidence_from_tokens(train, FAST, 0.0)
    with pytest.raises(UnknownModelError, match="huge"):
        confidence_from_tokens(train, "huge", 1.0)
    with pytest.raises(RecordsError, match="needs the column `output_tokens`"):
        confidence_from_tokens(small_records([[0.1, 0.2]]), "slow", 1.0)
    without = train.take(np.arange(5))
    without.extra["output_tokens"][0, 0] = np.nan
    with pytest.raises(RecordsError, match=r"above 0 in every run .* not in 1 of them"):
        confidence_from_tokens(without, FAST, 1.0)
