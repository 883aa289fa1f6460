from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.calibration import LogisticCalibrator, one_sided
from jaxcascade.cascade import Policy
from jaxcascade.errors import UnknownModelError
from jaxcascade.records import Records
from jaxcascade.reports import model_rows, policy_rows
from jaxcascade.reports.tables import beyond_chance, pattern
from jaxcascade.tuning import HeldOut, evaluate

from .conftest import make_frontier, make_records


def tiny() -> Records:
    """Four queries and two models; the second is asked three times and labelled twice."""
    missing = np.nan
    confidence = np.array([[0.5, 1.0], [0.75, 1.0], [0.5, 0.5], [0.75, missing]])
    return Records(
        queries=np.arange(4),
        models=("small", "large"),
        log_confidence=np.log(confidence),
        correct=np.array([[0, 1], [1, 1], [0, missing], [1, missing]]),
        cost_usd=np.array([[1, 4], [2, 6], [3, 5], [2, missing]], float),
        latency_s=np.array([[0.1, 1.0], [0.3, missing], [0.1, 2.0], [0.3, missing]]),
    )


def identity(k: int) -> LogisticCalibrator:
    """The sigmoid of -log(1 - p) is 1 / (2 - p)."""
    column = jnp.ones((k, 1))
    return LogisticCalibrator(jnp.zeros(k), column, 0 * column, 9 * column, one_sided)


def test_model_rows_by_hand():
    frontier = make_frontier(("small", "large"))._replace(calibrators=identity(2))
    small, large = model_rows(frontier, tiny())
    low, high = 1 / 1.5, 1 / 1.25
    assert (small.model, small.num_labelled, large.num_labelled) == ("small", 4, 2)
    assert small.accuracy == 0.5
    assert (small.cost_usd, large.cost_usd) == (2.0, 5.0)
    assert small.latency_s == pytest.approx(0.2)
    assert large.latency_s == pytest.approx(1.5)
    # The two wrong answers have the lower confidence.
    assert small.auroc == 1.0
    assert small.brier == pytest.approx((low**2 + (1 - high) ** 2) / 2)
    assert small.ece == pytest.approx((low + 1 - high) / 2)
    assert (small.certain, large.certain) == (0.0, pytest.approx(2 / 3))
    assert (large.accuracy, np.isnan(large.auroc)) == (1.0, True)


def test_constant_signal_is_not_informative():
    frontier = make_frontier(("small", "large"))
    flat = LogisticCalibrator(
        jnp.zeros(2), jnp.array([[1.0], [0.0]]), jnp.zeros((2, 1)), jnp.ones((2, 1)), one_sided
    )
    first, second = model_rows(frontier._replace(calibrators=flat), make_records(frontier.models))
    assert (first.informative, second.informative) == (True, False)


@pytest.mark.parametrize(("auroc", "expected"), [(0.5, False), (0.55, False), (0.7, True)])
def test_beyond_chance(auroc, expected):
    assert beyond_chance(auroc, 50, 50) is expected


def test_models_without_runs_or_labels_have_empty_rows():
    frontier = make_frontier(("small", "middle", "large"))
    records = make_records(("large", "small"))
    records = replace(records, correct=np.full_like(records.correct, np.nan), latency_s=None)
    small, middle, _ = model_rows(frontier, records)
    assert np.isnan([small.accuracy, small.ece, small.latency_s, middle.cost_usd]).all()
    assert (small.num_labelled, middle.num_labelled) == (0, 0)
    assert small.cost_usd == pytest.approx(1e-4)


def test_a_model_that_a_policy_asks_must_be_recorded():
    frontier = make_frontier(("small", "large"))
    with pytest.raises(UnknownModelError, match='asks "large"'):
        model_rows(frontier, make_records(("small",)))


def test_neighbours_that_ask_the_same_way_are_merged():
    first, cascade, gives_up = policy_rows(make_frontier(("small", "large")))
    assert [row.num_points for row in (first, cascade, gives_up)] == [1, 2, 1]
    assert (cascade.lowest_price, cascade.highest_price) == pytest.approx((1e-3, 1e-2))
    assert (cascade.point, cascade.policy) == (
        2,
        "small: to large up to 0.6, else accept",
    )
    assert cascade.expected_error == pytest.approx(0.4 / 3)
    assert cascade.error == pytest.approx(0.5 / 3)
    assert cascade.error_given_answered == pytest.approx(0.5 / 3 / 0.8)
    assert cascade.cost_usd == pytest.approx(6e-5)
    assert (cascade.latency_s, cascade.abstention) == pytest.approx((0.5, 0.2))
    # Losses of 3 and 0.9 * 3 at the third price.
    assert (cascade.gain_usd, cascade.gain_standard_error) == pytest.approx((0.3, 0.15))
    assert cascade.saving == pytest.approx(0.1)


def test_the_same_way_met_again_is_a_row_of_its_own():
    single, cascade = Policy.single("a"), Policy.threshold_cascade(["a", "b"], [0.5])
    rows = policy_rows(make_frontier(("a", "b"), [single, cascade, single]))
    assert [row.policy for row in rows] == ["a", cascade.describe(), "a"]


def test_pattern_sees_what_is_done_and_not_at_which_confidence():
    one, other = (Policy.threshold_cascade(["a", "b"], [t]) for t in (0.2, 0.3))
    assert pattern(one) == pattern(other) != pattern(Policy.single("a"))


def test_counts_are_those_of_the_evaluation():
    frontier, records = make_frontier(("small", "large")), make_records(("small", "large"))
    evaluation = evaluate(frontier, records)
    row = policy_rows(frontier, evaluation)[0]
    assert row.error == pytest.approx(1 - records.correct[:, 0].mean())
    assert row.cost_usd == pytest.approx(1e-5)
    assert (row.gain_usd, row.saving) == (0, 0)


def test_without_held_out_queries_gains_are_unknown():
    frontier = make_frontier(("small", "large"))._replace(held_out=None)
    assert all(np.isnan(row.gain_usd) for row in policy_rows(frontier))


def test_no_loss_is_no_saving():
    frontier = make_frontier(("small", "large"))
    zero = np.zeros(4)
    frontier = frontier._replace(held_out=HeldOut(zero, zero, zero, 0.0))
    assert [row.saving for row in policy_rows(frontier)] == [0, 0, 0]
