"""Costs of actions: thresholds in closed form, dominated actions, and what cannot be."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.decisions import Costs, cost_matrix, decide
from jaxcascade.errors import InvalidInputError

HIRING = {"reject": {"unfit": 0.0, "fit": 40e3}, "meet": {"unfit": 2500.0, "fit": 0.0}}
TRIAGE = {
    "home": {"well": 0.0, "ill": 1e6, "dying": 5e6},
    "ward": {"well": 5e3, "ill": 1e4, "dying": 2e6},
    "intensive": {"well": 3e4, "ill": 3e4, "dying": 1e5},
}


@pytest.mark.parametrize(("if_fit", "exact"), [(0.0, 2500 / 42500), (2500.0, 2500 / 40000)])
def test_threshold_is_where_actions_cost_the_same(if_fit, exact):
    costs = cost_matrix(HIRING | {"meet": {"unfit": 2500.0, "fit": if_fit}})
    threshold = costs.threshold("reject", "meet")
    assert threshold == pytest.approx(exact, rel=1e-12)
    expected = costs.expected(jnp.array([1 - threshold, threshold]))
    assert float(expected[0]) == pytest.approx(float(expected[1]), rel=1e-12)
    sides = jnp.array([[1 - q, q] for q in (threshold - 1e-6, threshold + 1e-6)])
    assert costs.best(sides).tolist() == [0, 1]


def test_a_decision_is_the_cheapest_action_of_each_belief():
    costs = cost_matrix(TRIAGE)
    belief = np.random.default_rng(0).dirichlet(np.ones(3), (4, 5))
    usd = np.array([list(row.values()) for row in TRIAGE.values()])
    expected = np.einsum("as,bcs->bca", usd, belief)
    found = decide(costs, jnp.asarray(belief))
    np.testing.assert_array_equal(found.action, expected.argmin(axis=-1))
    np.testing.assert_allclose(found.expected_usd, expected.min(axis=-1), rtol=1e-12)
    known = expected.min(axis=-1) - belief @ usd.min(axis=0)
    np.testing.assert_allclose(found.perfect_information, known, rtol=1e-9)
    assert np.all(np.asarray(found.perfect_information) >= 0)


def test_states_are_told_by_name_not_by_order():
    table = {"reject": {"unfit": 0.0, "fit": 40e3}, "meet": {"fit": 0.0, "unfit": 2500.0}}
    np.testing.assert_array_equal(cost_matrix(table).usd, cost_matrix(HIRING).usd)


def test_what_never_pays_is_named():
    assert cost_matrix(HIRING).dominated() == ()
    more = HIRING | {"dither": {"unfit": 2500.0, "fit": 1.0}, "again": HIRING["meet"]}
    assert cost_matrix(more).dominated() == ("dither",)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "one action or more"),
        ({"go": {"only": 1.0}}, "two states or more"),
        ({"go": {"a": 1.0, "b": 2.0}, "stay": {"a": 1.0}}, 'must have the states a, b; "stay"'),
        ({"go": {"a": 1.0, "b": float("nan")}}, "finite"),
    ],
)
def test_what_is_no_cost_matrix(table, words):
    with pytest.raises(InvalidInputError, match=words):
        cost_matrix(table)


def test_what_does_not_fit_together():
    usd = jnp.zeros((2, 3))
    with pytest.raises(
        InvalidInputError, match=r"`usd` must have a row per .*\(3, 2\); .*\(2, 3\)"
    ):
        Costs(usd, ("a", "b", "c"), ("x", "y"))
    with pytest.raises(InvalidInputError, match="`states` must be distinct; got x, y, x"):
        Costs(usd, ("a", "b"), ("x", "y", "x"))
    hiring = cost_matrix(HIRING)
    for call in (hiring.expected, hiring.best, hiring.value, hiring.perfect_information):
        words = r"`probability` must have 2 columns, one for each of unfit, fit; .* \(4, 3\)"
        with pytest.raises(InvalidInputError, match=words):
            call(jnp.full((4, 3), 1 / 3))


def test_a_dominated_action_is_never_taken():
    more = HIRING | {"dither": {"unfit": 2500.0, "fit": 1.0}}
    p = jnp.linspace(0.0, 1.0, 101)
    chosen = cost_matrix(more).best(jnp.stack([1.0 - p, p], axis=-1))
    assert set(np.asarray(chosen).tolist()) == {0, 1}


def test_where_there_is_no_threshold():
    with pytest.raises(InvalidInputError, match="needs two states; there are 3"):
        cost_matrix(TRIAGE).threshold("home", "ward")
    with pytest.raises(InvalidInputError, match="must be cheaper than"):
        cost_matrix(HIRING).threshold("meet", "reject")
    with pytest.raises(InvalidInputError, match='`above` must be one of reject, meet; got "hire"'):
        cost_matrix(HIRING).threshold("reject", "hire")
