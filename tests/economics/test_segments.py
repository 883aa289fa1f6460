"""Segments whose truth is known: alike, opposite, small, missing."""

from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest

from jaxcascade.calibration import LogisticCalibrator, log_odds
from jaxcascade.cascade import Outcome, Policy, Prices
from jaxcascade.economics import (
    Ledger,
    candidate_ledger,
    choose_per_segment,
    frontier_systems,
    loss_from_sharing,
    segment_frontier,
    segment_table,
    segments,
)
from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.records import read_records
from jaxcascade.tuning import Frontier, Point

PRICES = Prices(error=1.0)


def ledger_of(rng, error, sizes, group=None):
    """Free systems with the given error in each group (groups x systems), independently."""
    error = np.asarray(error)
    of_query = np.repeat(np.arange(len(sizes)), sizes)
    wrong = (rng.uniform(size=(of_query.size, error.shape[1])) < error[of_query]).astype(float).T
    systems = tuple(f"s{j}" for j in range(error.shape[1]))
    return Ledger(
        systems,
        systems,
        np.arange(of_query.size),
        wrong,
        0 * wrong,
        0 * wrong,
        0 * wrong,
        np.broadcast_to(np.arange(error.shape[1])[:, None], wrong.shape),
        group=np.array([f"g{g}" for g in of_query]) if group is None else group,
    )


def true_loss(choice, error, sizes):
    error = np.asarray(error)
    return np.average(error[np.arange(len(sizes)), choice.own], weights=sizes)


ALIKE = np.tile([0.30, 0.33, 0.36, 0.39], (6, 1))
OPPOSITE = np.array([[0.2, 0.4, 0.5], [0.4, 0.2, 0.5], [0.2, 0.4, 0.5], [0.4, 0.2, 0.5]])


def test_outcomes_of_a_segment_are_those_of_its_queries():
    ledger = ledger_of(np.random.default_rng(0), OPPOSITE, [30, 5, 20, 1])
    ledger.wrong[1, 3] = np.nan
    found = segments(ledger)
    assert found.names == ("g0", "g1", "g2", "g3")
    assert found.num_queries.tolist() == [29, 5, 20, 1]
    for g, name in enumerate(found.names):
        alone = ledger.take(ledger.group == name).outcomes()
        for one, other in zip(found.outcome, alone, strict=True):
            np.testing.assert_allclose(one[g], other, rtol=1e-12)


def test_alike_segments_share_and_shrinkage_loses_less_than_going_alone():
    sizes, losses, shared = [40] * 6, {True: [], False: []}, []
    for seed in range(60):
        ledger = ledger_of(np.random.default_rng(seed), ALIKE, sizes)
        for shrinkage, kept in losses.items():
            choice = choose_per_segment(ledger, PRICES, shrinkage=shrinkage)
            kept.append(true_loss(choice, ALIKE, sizes))
            if shrinkage:
                shared.append(np.mean(choice.own == choice.shared))
    assert np.mean(losses[True]) < np.mean(losses[False]) - 0.005
    assert np.mean(shared) > 0.75


def test_opposite_segments_go_their_own_ways():
    ledger = ledger_of(np.random.default_rng(1), OPPOSITE, [80] * 4)
    choice = choose_per_segment(ledger, PRICES)
    assert choice.own.tolist() == [0, 1, 0, 1]
    other = 1 - choice.shared
    assert np.all(choice.trust[:, other] > 0.8)
    assert choice.system_for("g1") == "s1"
    assert choice.system_for("never seen") == choice.systems[choice.shared]


def test_shrinkage_is_that_of_the_normal_model():
    """Against the formulas of DerSimonian and Laird, written out for one system."""
    sizes = np.array([15, 60, 25])
    ledger = ledger_of(np.random.default_rng(2), [[0.2, 0.6], [0.4, 0.3], [0.1, 0.4]], sizes)
    choice = choose_per_segment(ledger, PRICES)
    at = 1 - choice.shared
    extra = ledger.wrong[at] - ledger.wrong[choice.shared]
    parts = np.split(extra, np.cumsum(sizes)[:-1])
    d = np.array([part.mean() for part in parts])
    s2 = sum(((part - part.mean()) ** 2).sum() for part in parts) / (sizes.sum() - 3)
    w = sizes / s2
    q = np.sum(w * (d - np.sum(w * d) / w.sum()) ** 2)
    tau2 = max(0.0, (q - 2) / (w.sum() - np.sum(w**2) / w.sum()))
    assert tau2 > 0
    star = 1 / (tau2 + s2 / sizes)
    mu = np.sum(star * d) / star.sum()
    trust = tau2 / (tau2 + s2 / sizes)
    np.testing.assert_allclose(choice.trust[:, at], trust, rtol=1e-12)
    np.testing.assert_allclose(choice.difference[:, at], mu + trust * (d - mu), rtol=1e-12)


@pytest.mark.parametrize(
    ("error", "low", "high"), [(ALIKE, -0.02, 0.0), (OPPOSITE, 0.09, 0.11)], ids=["alike", "not"]
)
def test_the_gain_announced_is_the_gain_there_is(error, low, high):
    """The mean over data sets of the held-out gain lies at the truth; no winner's curse."""
    sizes = [60] * len(error)
    gains, errors, truths = [], [], []
    for seed in range(30):
        ledger = ledger_of(np.random.default_rng(seed), error, sizes)
        found = loss_from_sharing(jax.random.key(seed), ledger, PRICES, num_repeats=2)
        choice = choose_per_segment(ledger, PRICES)
        shared = np.average(np.asarray(error)[:, choice.shared], weights=sizes)
        truths.append(shared - true_loss(choice, error, sizes))
        gains.append(found.total_gain)
        errors.append(found.total_standard_error)
        assert found.total_gain == pytest.approx(np.average(found.gain, weights=sizes))
    assert low <= np.mean(truths) <= high
    slack = 2.5 * np.std(gains) / np.sqrt(30)
    assert np.mean(gains) == pytest.approx(np.mean(truths), abs=slack + 0.005)
    # Where all folds share, nothing is announced, with an error of zero.
    near = np.abs(np.array(gains) - truths) <= 2 * np.array(errors) + 1e-12
    assert np.mean(near) >= 0.9


def test_a_system_is_never_judged_by_the_queries_that_chose_it():
    """Pure noise: the best of many on the same queries looks good, held out it does not."""
    sizes = [20] * 5
    counted, held = [], []
    for seed in range(12):
        ledger = ledger_of(np.random.default_rng(seed), np.full((5, 30), 0.5), sizes)
        choice = choose_per_segment(ledger, PRICES, shrinkage=False)
        counted.append(-choice.difference[np.arange(5), choice.own].mean())
        held.append(
            loss_from_sharing(
                jax.random.key(seed), ledger, PRICES, shrinkage=False, num_repeats=2
            ).total_gain
        )
    assert np.mean(counted) > 0.1
    assert abs(np.mean(held)) < 0.03


def test_missing_groups_and_single_groups():
    rng = np.random.default_rng(3)
    group = np.array(["a", None, "b", float("nan")] * 10, object)
    ledger = ledger_of(rng, OPPOSITE[:1], [40], group)
    assert segments(ledger).names == ("(none)", "a", "b")
    one = ledger_of(rng, OPPOSITE[:1], [40])
    choice = choose_per_segment(one, PRICES)
    assert choice.own.tolist() == [choice.shared]
    assert loss_from_sharing(jax.random.key(0), one, PRICES).total_gain == 0
    lonely = ledger_of(rng, OPPOSITE[:2], [30, 1])
    found = loss_from_sharing(jax.random.key(0), lonely, PRICES)
    assert found.gain[1] == 0  # held out, its group is unseen, and it gets the shared system
    assert np.isnan(found.gain_standard_error[1])


def test_an_unseen_group_shares_even_where_most_groups_do_not():
    """Held out, the lonely query's group is unknown: the mean group is no reason to leave."""
    rng = np.random.default_rng(0)
    sizes = [400, 40, 40, 40, 1]
    ledger = ledger_of(rng, [[0.2, 0.6], *[[0.9, 0.1]] * 3, [0.5, 0.5]], sizes)
    choice = choose_per_segment(ledger, PRICES)
    assert choice.own[:4].tolist() == [0, 1, 1, 1]
    assert choice.shared == 0
    ledger.wrong[:, -1] = [0.0, 1.0]
    assert loss_from_sharing(jax.random.key(0), ledger, PRICES).gain[-1] == 0


def test_a_tie_is_no_reason_to_leave_the_shared_system():
    ledger = ledger_of(np.random.default_rng(0), [[0.0, 0.0], [1.0, 0.0]], [10, 10])
    choice = choose_per_segment(ledger, PRICES, shrinkage=False)
    assert choice.shared == 1
    assert choice.own.tolist() == [1, 1]


def frontier_of(points):
    one = np.ones((2, 1))
    calibrators = LogisticCalibrator(*map(jax.numpy.asarray, (one[:, 0], one, -one, one)), log_odds)
    return Frontier(("a", "b"), one[:, 0], one[:, 0], calibrators, points, None)


def grouped_records(rng, error, size):
    """Two models with the given error in each group (groups x models)."""
    n = len(error) * size
    group = np.repeat([f"g{g}" for g in range(len(error))], size)
    wrong = rng.random((n, 2)) < np.repeat(error, size, axis=0)
    frame = pd.DataFrame(
        {
            "query": np.repeat(np.arange(n), 2),
            "model": np.tile(["a", "b"], n),
            "confidence": 0.7,
            "correct": 1 - wrong.ravel().astype(int),
            "cost_usd": np.tile([0.01, 0.02], n),
            "group": np.repeat(group, 2),
        }
    )
    return read_records(frame)


@pytest.fixture
def by_price():
    records = grouped_records(np.random.default_rng(4), OPPOSITE[:, :2], 50)
    outcome = Outcome(*(np.array(0.5) for _ in range(4)), np.ones(2) / 2)
    points = tuple(
        Point(Prices(price), Policy.single("a"), "single", outcome, outcome, "a")
        for price in (0.001, 1.0, 10.0)
    )
    frontier, key = frontier_of(points), jax.random.key(1)
    return segment_frontier(key, frontier, records), frontier, records


def test_a_frontier_by_group_is_the_choice_at_each_of_its_prices(by_price):
    found, frontier, records = by_price
    ledger = candidate_ledger(frontier, records)
    keys = jax.random.split(jax.random.key(1), 3)
    for point, one, price in zip(found.points, keys, (0.001, 1.0, 10.0), strict=True):
        held_out = loss_from_sharing(one, ledger, Prices(price))
        np.testing.assert_allclose(point.held_out.gain, held_out.gain)
        assert point.choice.own.tolist() == choose_per_segment(ledger, Prices(price)).own.tolist()
    # Where errors are next to free, the cheaper model is the best everywhere.
    assert found.points[0].choice.own.tolist() == [0, 0, 0, 0]
    assert found.points[2].choice.own.tolist() == [0, 1, 0, 1]
    losses = np.array([ledger.losses(Prices(10.0))[:, records.group == f"g{g}"].mean(axis=1)
                       for g in range(4)])  # fmt: skip
    np.testing.assert_allclose(found.losses(found.points[2]), losses[:, 0])
    # Groups are of one size, so that all queries together are the mean of groups.
    means = [point.held_out.shared_loss.mean() for point in found.points]
    np.testing.assert_allclose(found.shared_loss, means)
    np.testing.assert_allclose(found.gain, [point.held_out.gain.mean() for point in found.points])


def test_a_price_between_points_is_taken_at_the_nearest(by_price):
    _, frontier, records = by_price
    found = segment_frontier(jax.random.key(0), frontier, records, [8.0])
    np.testing.assert_array_equal(found.error_prices, [8.0])
    with pytest.raises(InvalidInputError, match="price of an error must be above 0"):
        segment_frontier(jax.random.key(0), frontier, records, [0.0])


def test_the_table_has_a_row_per_price_and_group(by_price):
    found, _, records = by_price
    rows = segment_table(found).to_pylist()
    assert [(row["price_of_error"], row["group"]) for row in rows] == [
        (price, f"g{g}") for price in (0.001, 1.0, 10.0) for g in range(4)
    ]
    assert [row["own_policy"] for row in rows[8:]] == ["a", "b", "a", "b"]
    assert {row["policy"] for row in rows} == {"a"}
    np.testing.assert_allclose([row["gain"] for row in rows[8:]], found.points[2].held_out.gain)
    wrong = [1 - records.correct[records.group == f"g{g}", 0].mean() for g in range(4)]
    np.testing.assert_allclose([row["error"] for row in rows[:4]], wrong)


def test_candidates_are_single_models_and_distinct_policies():
    outcome = Outcome(*(np.array(0.5) for _ in range(4)), np.ones(2) / 2)
    cuts = (0.5, 0.5, 0.50000001)
    policies = [Policy.threshold_cascade(["a", "b"], [cut]) for cut in cuts]
    points = tuple(
        Point(Prices(1.0 + p), policy, "pair", outcome, outcome, "a")
        for p, policy in enumerate([*policies, Policy.single("b")])
    )
    found = frontier_systems(frontier_of(points))
    words = "a: to b up to 0.5, else accept"
    assert list(found) == ["a", "b", words, f"{words} (point 2)"]
    assert list(found.values())[2:] == [policies[0], policies[2]]


def test_what_cannot_be_done_is_said():
    rng = np.random.default_rng(5)
    ledger = ledger_of(rng, OPPOSITE, [3] * 4)
    with pytest.raises(InvalidInputError, match="no column `group`"):
        segments(replace(ledger, group=None))
    with pytest.raises(InvalidInputError, match="one set of prices"):
        choose_per_segment(ledger, Prices(error=np.array([1.0, 2.0])))
    with pytest.raises(InvalidInputError, match="`num_folds` must be at least 2"):
        loss_from_sharing(jax.random.key(0), ledger, PRICES, num_folds=1)
    with pytest.raises(RecordsError, match=r"in 20 parts .* there are 12"):
        loss_from_sharing(jax.random.key(0), ledger, PRICES, num_folds=20)
    ledger.wrong[0] = np.nan
    with pytest.raises(RecordsError, match="No query can be compared"):
        choose_per_segment(ledger, PRICES)
