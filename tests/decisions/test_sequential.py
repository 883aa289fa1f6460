"""Sequential plans against exact values, plain recursion on beliefs, and simulation of the plan."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.decisions import (
    STOP,
    Costs,
    Sources,
    cost_matrix,
    outcome_number,
    screening_tests,
    sequential_plan,
    value_of_asking,
)
from jaxcascade.decisions.sequential import first_question, plan_cost
from jaxcascade.errors import InvalidInputError

# A missed hire, an interview; and whether a good candidate's interview is a cost.
WASTED = cost_matrix({"reject": {"unfit": 0, "fit": 40e3}, "meet": {"unfit": 2500, "fit": 0}})
ALWAYS = cost_matrix({"reject": {"unfit": 0, "fit": 40e3}, "meet": {"unfit": 2500, "fit": 2500}})
SCREEN = screening_tests(np.array([0.9]), np.array([0.85]), np.array([150.0]))
FOUR = screening_tests(
    np.array([0.70, 0.85, 0.80, 0.90]),
    np.array([0.75, 0.80, 0.92, 0.85]),
    np.array([0.02, 0.30, 1.0, 150.0]),
)
PRIORS = np.array([0.02, 0.05, 0.2, 0.5, 0.9])
# Exact values of the project's specification of these decisions.
EXACT = {
    "wasted": [175.235700, 283.165000, 474.201000, 555.840000, 174.819000],
    "always": [218.100100, 400.790000, 964.301000, 1795.715000, 2422.794000],
}


def beliefs(p):
    return jnp.stack([1.0 - jnp.asarray(p), jnp.asarray(p)], axis=-1)


def first_asked(p, source, costs):
    """Expected cost of one question now, and the best of all others after it."""
    rest = np.delete(np.arange(4), source)
    others = Sources(FOUR.p_yes[rest], FOUR.weight, FOUR.price_usd[rest])
    total = float(FOUR.price_usd[source])
    for side in (FOUR.p_yes[source, :, 0], 1 - FOUR.p_yes[source, :, 0]):
        joint = np.asarray(beliefs(p) * side)
        after = sequential_plan(jnp.asarray(joint / joint.sum()), costs, others).expected_usd
        total += joint.sum() * float(after)
    return total


@pytest.mark.parametrize(("name", "costs"), [("wasted", WASTED), ("always", ALWAYS)])
def test_expected_costs_are_the_exact_ones(name, costs):
    plan = sequential_plan(beliefs(PRIORS), costs, FOUR)
    np.testing.assert_allclose(plan.expected_usd, EXACT[name], rtol=0, atol=5e-7)
    # Several first questions may be equally good; these are among the best.
    for p, first, exact in zip(PRIORS, (0, 1, 0, 0, 0), EXACT[name], strict=True):
        assert first_asked(p, first, costs) == pytest.approx(exact, abs=5e-7)


@pytest.mark.parametrize(
    ("costs", "p", "worth"),
    [(WASTED, 0.05, 1443.75), (WASTED, 0.2, 900.0), (WASTED, 2500 / 42500, 1764.7058823529412),
     (ALWAYS, 0.05, 1331.25), (ALWAYS, 0.2, 950.0)],
)  # fmt: skip
def test_one_answer_is_worth_the_exact_value(costs, p, worth):
    assert float(value_of_asking(beliefs(p), costs, SCREEN)[0]) == pytest.approx(worth, rel=1e-12)


def myopic(p, costs, asked=()):
    """Asks what is worth the most above its price, while anything is."""
    net = np.array(value_of_asking(beliefs(p), costs, FOUR) - FOUR.price_usd)
    net[list(asked)] = -np.inf
    if len(asked) == 4 or net.max() <= 0:
        return float(costs.value(beliefs(p)))
    t = int(net.argmax())
    yes = np.array([1 - p, p]) * np.asarray(FOUR.p_yes)[t, :, 0]
    no = np.array([1 - p, p]) - yes
    after = sum(side.sum() * myopic(side[1] / side.sum(), costs, (*asked, t)) for side in (yes, no))
    return float(FOUR.price_usd[t]) + after


def test_the_myopic_rule_loses_what_is_known():
    found = [myopic(p, WASTED) for p in PRIORS]
    exact = [238.830766, 591.0, 693.922038, 1250.0, 250.0]
    np.testing.assert_allclose(found, exact, rtol=0, atol=5e-7)


def random_case(seed, m, s=3, u=4, a=3):
    keys = jax.random.split(jax.random.key(seed), 5)
    sources = Sources(
        jax.random.uniform(keys[0], (m, s, u)),
        jax.random.dirichlet(keys[1], jnp.ones(u)),
        0.1 * jax.random.uniform(keys[2], (m,)),
    )
    usd = 3.0 * jax.random.normal(keys[3], (a, s))
    names = tuple("xyz"[:a]), tuple("pqr"[:s])
    return Costs(usd, *names), sources, jax.random.dirichlet(keys[4], jnp.ones(s), (6,))


def recursion(joint, costs, sources, asked=frozenset()):
    """Least expected cost by the book, on the belief over state and factor."""
    least = float(np.min(np.asarray(costs.usd) @ joint.sum(axis=1)))
    for t in set(range(len(sources.price_usd))) - asked:
        p_yes = np.asarray(sources.p_yes)[t]
        total = float(sources.price_usd[t])
        for side in (joint * p_yes, joint * (1 - p_yes)):
            chance = side.sum()
            total += chance * recursion(side / chance, costs, sources, asked | {t})
        least = min(least, total)
    return least


@pytest.mark.parametrize(("seed", "m"), [(0, 1), (1, 2), (2, 3), (3, 3)])
def test_sources_that_err_together_are_planned_for_as_by_plain_recursion(seed, m):
    costs, sources, prior = random_case(seed, m)
    plan = sequential_plan(prior, costs, sources)
    for i, p in enumerate(np.asarray(prior)):
        joint = p[:, None] * np.asarray(sources.weight)
        expected = recursion(joint, costs, sources)
        assert float(plan.expected_usd[i]) == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_following_the_plan_costs_what_it_says():
    """Every state, factor and vector of answers, weighted by its probability."""
    m = 4
    costs, sources, prior = random_case(7, m)
    plan = sequential_plan(prior, costs, sources)
    p_yes, usd = np.asarray(sources.p_yes), np.asarray(costs.usd)
    for i, p in enumerate(np.asarray(prior)):
        total = 0.0
        for answers in itertools.product([False, True], repeat=m):
            known, price = {}, 0.0
            while (t := int(plan.ask[i, outcome_number(known, m)])) != STOP:
                assert t not in known
                known[t], price = answers[t], price + float(sources.price_usd[t])
            action = int(plan.action[i, outcome_number(known, m)])
            sides = np.where(np.array(answers)[:, None, None], p_yes, 1 - p_yes)
            chance = p * (sides.prod(axis=0) @ np.asarray(sources.weight))
            total += chance @ (usd[action] + price)
        assert total == pytest.approx(float(plan.expected_usd[i]), rel=1e-12)


def test_a_plan_costs_no_more_than_acting_now_or_than_the_myopic_rule():
    p = np.linspace(0.001, 0.999, 41)
    plan = np.asarray(sequential_plan(beliefs(p), WASTED, FOUR).expected_usd)
    assert np.all(plan <= np.asarray(WASTED.value(beliefs(p))) + 1e-9)
    assert np.all(plan <= [myopic(q, WASTED) + 1e-9 for q in p])
    # Concave in the prior, and never worth more than to know.
    assert np.all(np.diff(plan, 2) < 1e-9)
    worth = np.asarray(value_of_asking(beliefs(p), WASTED, FOUR))
    assert np.all(worth >= -1e-9)
    assert np.all(worth <= np.asarray(WASTED.perfect_information(beliefs(p)))[:, None] + 1e-9)


def test_what_tells_nothing_is_never_asked_and_what_is_free_and_certain_is_asked_first():
    sources = Sources(
        jnp.array([[[0.4], [0.4]], [[0.0], [1.0]]]), jnp.ones(1), jnp.array([0.01, 0.0])
    )
    plan = sequential_plan(beliefs(0.3), WASTED, sources)
    assert int(plan.ask[0]) == 1
    assert float(plan.expected_usd) == pytest.approx(0.0)
    dear = screening_tests(np.array([0.9]), np.array([0.9]), np.array([1e9]))
    plan = sequential_plan(beliefs(0.3), WASTED, dear)
    assert np.all(plan.ask == STOP)


def test_an_echo_is_worth_less_than_a_second_opinion():
    """Two sources that always agree, against two that err apart; each as good as the other."""
    alike = Sources(
        jnp.broadcast_to(jnp.array([[0.0, 1.0], [0.0, 1.0]]), (2, 2, 2)),
        jnp.array([0.5, 0.5]),
        jnp.full(2, 10.0),
    )
    p_yes = jnp.array([[0.0, 0.2, 0.0, 1.0], [0.0, 0.8, 1.0, 1.0]])
    weight = jnp.array([0.1, 0.5, 0.3, 0.1])
    echo = Sources(jnp.stack([p_yes, p_yes]), weight, jnp.full(2, 10.0))
    apart = Sources((p_yes @ weight)[None, :, None].repeat(2, 0), jnp.ones(1), jnp.full(2, 10.0))
    cost = [float(sequential_plan(beliefs(0.1), WASTED, s).expected_usd) for s in (echo, apart)]
    assert cost[0] > cost[1]
    # What says the same in every state says nothing.
    assert int(sequential_plan(beliefs(0.1), WASTED, alike).ask[0]) == STOP


def test_the_expected_cost_has_the_derivatives_of_its_plan():
    costs, sources, prior = random_case(9, 3)

    def value(price):
        priced = Sources(sources.p_yes, sources.weight, price)
        return sequential_plan(prior[0], costs, priced).expected_usd

    slope, h = jax.grad(value)(sources.price_usd), 1e-6
    for t in range(3):
        step = h * (jnp.arange(3) == t)
        difference = (value(sources.price_usd + step) - value(sources.price_usd - step)) / (2 * h)
        assert float(slope[t]) == pytest.approx(float(difference), abs=1e-6)
    # A price is paid as often as its source is asked.
    assert np.all((np.asarray(slope) >= 0) & (np.asarray(slope) <= 1 + 1e-12))


def test_what_sources_cannot_be():
    with pytest.raises(InvalidInputError, match=r"`sensitivity` must lie in \[0, 1\]"):
        screening_tests(np.array([1.2]), np.array([0.5]), np.array([1.0]))
    with pytest.raises(InvalidInputError, match="`price_usd` must be at least 0"):
        screening_tests(np.array([0.9]), np.array([0.5]), np.array([-1.0]))
    with pytest.raises(InvalidInputError, match="one source or more; `p_yes` has none"):
        screening_tests(np.zeros(0), np.zeros(0), np.zeros(0))
    words = (
        r"`weight` must have the shape \(1,\) and `price_usd` \(4,\); they have \(2,\) and \(4,\)"
    )
    with pytest.raises(InvalidInputError, match=words):
        Sources(FOUR.p_yes, jnp.array([0.5, 0.5]), FOUR.price_usd)


def test_an_exact_plan_takes_eight_sources():
    nine = screening_tests(np.full(9, 0.9), np.full(9, 0.9), np.ones(9))
    for planned in (sequential_plan, first_question):
        with pytest.raises(InvalidInputError, match="1 to 8 sources; there are 9"):
            planned(beliefs(0.2), WASTED, nine)
    with pytest.raises(InvalidInputError, match="1 to 8 sources; there are 9"):
        plan_cost(beliefs(0.2), WASTED, nine, jnp.full(3**9, STOP))


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3), (251,), (7, 100)])
def test_items_are_planned_for_alike_however_many_there_are(shape):
    """Batches of any size, the last made up with copies; and the first question alone."""
    p = np.random.default_rng(3).random(shape)
    plan = sequential_plan(beliefs(p), WASTED, FOUR)
    assert plan.expected_usd.shape == shape
    assert plan.ask.shape == plan.action.shape == (*shape, 81)
    first = first_question(beliefs(p), WASTED, FOUR)
    np.testing.assert_allclose(first.expected_usd, plan.expected_usd, rtol=1e-12)
    np.testing.assert_array_equal(first.source == STOP, plan.ask[..., 0] == STOP)
    usd = plan_cost(beliefs(p), WASTED, FOUR, plan.ask)
    np.testing.assert_allclose(usd, plan.expected_usd, rtol=1e-12)
    for i in np.ndindex(*shape) if len(p.ravel()) < 10 else [(0, 0), (-1, -1)][: len(shape) - 1]:
        alone = sequential_plan(beliefs(p[i]), WASTED, FOUR)
        np.testing.assert_allclose(plan.expected_usd[i], alone.expected_usd, rtol=1e-12)
        np.testing.assert_array_equal(plan.action[i], alone.action)


def test_a_policy_of_all_items_costs_what_its_questions_and_actions_do():
    """Source 2 first; after its no, source 0. By hand."""
    ask = np.full(81, STOP)
    ask[outcome_number({}, 4)], ask[outcome_number({2: False}, 4)] = 2, 0
    found = plan_cost(beliefs(PRIORS), WASTED, FOUR, jnp.asarray(ask))
    p_yes, usd = np.asarray(FOUR.p_yes)[..., 0], np.asarray(WASTED.usd)
    for i, p in enumerate(PRIORS):
        joint = np.array([1 - p, p])
        yes, no = joint * p_yes[2], joint * (1 - p_yes[2])
        total = 1.0 + (usd @ yes).min() + 0.02 * no.sum()
        total += (usd @ (no * p_yes[0])).min() + (usd @ (no * (1 - p_yes[0]))).min()
        assert float(found[i]) == pytest.approx(total, rel=1e-12)
    never = plan_cost(beliefs(PRIORS), WASTED, FOUR, jnp.full(81, STOP))
    np.testing.assert_allclose(never, WASTED.value(beliefs(PRIORS)), rtol=1e-12)


@pytest.mark.parametrize(("at", "source"), [({}, 4), ({}, -2), ({1: True}, 1)])
def test_a_policy_cannot_ask_whom_it_has_asked_or_nobody(at, source):
    ask = jnp.full(81, STOP).at[outcome_number(at, 4)].set(source)
    with pytest.raises(InvalidInputError, match="source from 0 to 3 that the outcome has not"):
        plan_cost(beliefs(PRIORS), WASTED, FOUR, ask)
    with pytest.raises(InvalidInputError, match="each of the 81 outcomes; got 27"):
        plan_cost(beliefs(PRIORS), WASTED, FOUR, jnp.full(27, STOP))
