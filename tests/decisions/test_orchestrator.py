"""From ratings to decisions: by hand where little is learnt, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logit

from jaxcascade.decisions import (
    Orchestrator,
    best_rater,
    cost_matrix,
    evidence_of_probabilities,
    judged,
    screening_tests,
)
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Laplace

STATES = ("no", "yes")
COSTS = cost_matrix({"leave": {"no": 0, "yes": 16}, "act": {"no": 1, "yes": 0}})
METHOD = Laplace(num_draws=100)


def world(seed, n):
    """Three raters, the first right most often, the third saying the same of every item."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    place = (2 * truth - 1)[:, None] * np.array([1.5, 0.7]) + rng.normal(size=(n, 2))
    yes = np.column_stack([1.0 / (1.0 + np.exp(-2.0 * place)), np.full(n, 0.7)])
    return np.stack([1.0 - yes, yes], axis=-1), truth


def seen(seed, n, **options):
    chance, truth = world(seed, n)
    for row in options.get("silent", ()):
        chance[row] = np.nan
    return evidence_of_probabilities(chance, ["good", "poor", "same"], STATES), truth


@pytest.fixture(scope="module")
def fitted():
    evidence, truth = seen(0, 120)
    screen = screening_tests(np.array([0.95]), np.array([0.9]), np.array([0.05]))
    orchestrator = Orchestrator(COSTS, sources=screen, source_names=("person",))
    return orchestrator.fit(jax.random.key(0), evidence, truth, method=METHOD)


def test_decisions_follow_from_beliefs_and_costs(fitted):
    evidence, _ = seen(1, 60)
    found = fitted.decide(evidence)
    p = np.asarray(found.probability)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-12)
    usd = p @ np.asarray(COSTS.usd).T
    np.testing.assert_array_equal(found.action, usd.argmin(axis=1))
    np.testing.assert_allclose(found.expected_usd, usd.min(axis=1), rtol=1e-12)
    # One source: its worth by hand.
    yes = p * np.array([0.1, 0.95])
    after = sum((side @ np.asarray(COSTS.usd).T).min(axis=1) for side in (yes, p - yes))
    worth = np.maximum(usd.min(axis=1) - after - 0.05, 0.0)
    np.testing.assert_allclose(found.worth_asking, worth, atol=1e-12)
    table = found.table()
    assert table.column_names == [
        "item",
        "p_no",
        "p_yes",
        "action",
        "expected_usd",
        "perfect_information_usd",
        "worth_asking_usd",
        "next_source",
    ]
    asks = [name == "person" for name in table.column("next_source").to_pylist()]
    assert asks == (worth > 0).tolist()
    assert 0 < sum(asks) < 60


def test_an_item_that_nobody_rated_has_the_prior(fitted):
    evidence, _ = seen(1, 5, silent=[2])
    prior = np.array([0.9, 0.1])
    found = fitted.decide(evidence, prior=prior)
    np.testing.assert_allclose(found.probability[2], prior, rtol=1e-12)
    assert found.action[2] == 1
    assert np.abs(np.asarray(found.probability[1]) - prior).max() > 0.01


def test_the_report_judges_beside_simpler_ways(fitted):
    evidence, truth = seen(2, 400)
    report = fitted.report(
        jax.random.key(1),
        evidence,
        truth,
        group=np.arange(400) % 2,
        group_names=["north", "south"],
    )
    ways = {row.way: row for row in report.ways}
    assert list(ways) == ["TemperedPool", "prior alone", "median of raters", "good alone, fitted"]
    assert ways["TemperedPool"].log_loss < ways["prior alone"].log_loss == pytest.approx(np.log(2))
    # Half of the items are "no": acting always, as the prior has it, costs that half.
    assert ways["prior alone"].usd == pytest.approx(np.mean(truth == 0))
    assert all(row.excess_usd == pytest.approx(row.usd) for row in report.ways)
    text = str(report)
    assert "good alone, fitted" in text
    assert "demographic_parity" in text
    assert "south" in text


def test_judging_by_hand():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    found = judged("by hand", p, np.array([0, 1, 1]), COSTS)
    assert found.log_loss == pytest.approx(-np.log([0.9, 0.8, 0.4]).mean())
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.36) / 3)
    assert found.error == pytest.approx(1 / 3)
    # Everybody is acted on: the threshold is 1/17.
    assert found.usd == pytest.approx(1 / 3)
    assert found.standard_error_usd == pytest.approx(np.std([1, 0, 0], ddof=1) / np.sqrt(3))
    several = cost_matrix({"a": {"x": 0, "y": 1, "z": 2}, "b": {"x": 1, "y": 0, "z": 1}})
    three = judged("three", np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]), np.array([0, 2]), several)
    assert (three.usd, three.excess_usd) == (pytest.approx(0.5), pytest.approx(0.0))


def test_the_best_rater_is_that_of_least_log_loss():
    evidence, truth = seen(0, 200)
    ratio = np.asarray(evidence.ratios[..., 1])
    right = np.where(truth[:, None] == 1, ratio, -ratio)
    losses = np.log1p(np.exp(-(right + np.where(truth[:, None] == 1, 1, -1) * logit(0.4))))
    expected = evidence.raters[int(losses.mean(axis=0).argmin())]
    assert best_rater(evidence, truth, jnp.log(jnp.array([0.6, 0.4]))) == expected == "good"


def test_without_labels_there_is_no_best_rater():
    evidence, truth = seen(0, 120)
    found = Orchestrator(COSTS).fit(jax.random.key(0), evidence, method=METHOD)
    assert found.alone is None
    ways = [row.way for row in found.report(jax.random.key(1), evidence, truth).ways]
    assert ways == ["TemperedPool", "prior alone", "median of raters"]


def test_what_is_refused(fitted):
    evidence, truth = seen(0, 10)
    with pytest.raises(InvalidInputError, match="`source_names` must name each of the 0 sources"):
        Orchestrator(COSTS, source_names=("person",))
    screen = screening_tests(np.array([0.9]), np.array([0.8]), np.array([1.0]))
    three = cost_matrix({"leave": {"x": 0, "y": 1, "z": 2}, "act": {"x": 1, "y": 0, "z": 0}})
    with pytest.raises(InvalidInputError, match=r"answer in each of the 3 states.*theirs are 2"):
        Orchestrator(three, sources=screen, source_names=("person",))
    other = cost_matrix({"leave": {"yes": 0, "no": 1}, "act": {"yes": 1, "no": 0}})
    with pytest.raises(InvalidInputError, match="states of the costs, yes, no, in that order"):
        Orchestrator(other).fit(jax.random.key(0), evidence, truth)
    with pytest.raises(InvalidInputError, match="`truth` must be known of one item or more"):
        fitted.report(jax.random.key(0), evidence, np.full(10, -1))
    with pytest.raises(InvalidInputError, match="must have the raters of the fit"):
        fitted.decide(evidence.of_raters(("good",)))
