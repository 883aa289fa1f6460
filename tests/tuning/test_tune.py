"""The main job on the built-in example: order, guard, held-out folds, refusals."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.cascade import Policy, Prices, loss, observations, replayed_outcomes, stack_policies
from jaxcascade.errors import InvalidInputError, PrecisionError, RecordsError
from jaxcascade.records import Records
from jaxcascade.tuning import (
    BEST_SINGLE,
    COUNTED_PAIRS,
    POOL,
    RATIONAL_TUNING,
    THRESHOLDS,
    tune,
)
from jaxcascade.tuning.choose import Choice

PRICES = np.array([5e-4, 9e-4, 6e-3, 1.3e-2, 0.1])
KEY = jax.random.key(0)


def replaced(records, **changes):
    names = ("queries", "models", "log_confidence", "correct", "cost_usd", "latency_s", "group")
    return Records(**({name: getattr(records, name) for name in names} | changes))


def test_points_stand_in_the_order_of_prices(frontier, train):
    np.testing.assert_allclose(frontier.error_prices, PRICES)
    assert frontier.models == train.models  # cheapest first already
    for point in frontier.points:
        assert set(point.policy.rules) <= set(frontier.models)
        assert point.best_single in frontier.models
        assert point.prices.abstention == np.inf
        assert point.expected.abstention == 0
        np.testing.assert_allclose(point.training.answered_by.sum(), 1.0)


def training_loss(tuned, records, policies):
    model = tuned.fit.model
    confidence = model.calibrate(jnp.asarray(records.log_confidence))
    arrays = stack_policies(policies, model.models)
    return replayed_outcomes(
        arrays, confidence, observations(records), jnp.ones(len(records.queries))
    )


@pytest.mark.parametrize("method", [None, RATIONAL_TUNING, THRESHOLDS, POOL])
def test_what_it_did_in_training_is_a_replay(tuned, train, method):
    if method is not None:
        tuned = tune(KEY, train, error_prices=PRICES, method=method)
    points = tuned.frontier.points
    outcome = training_loss(tuned, train, [p.policy for p in points])
    for name in ("error", "abstention", "cost_usd", "latency_s", "answered_by"):
        for at, point in enumerate(points):
            np.testing.assert_allclose(
                getattr(point.training, name), getattr(outcome, name)[at], rtol=1e-9, atol=1e-12
            )


@pytest.mark.parametrize("method", [BEST_SINGLE, COUNTED_PAIRS])
def test_where_only_counting_decides_it_never_counts_worse_than_a_single_model(train, method):
    tuned = tune(KEY, train, error_prices=PRICES, method=method)
    trained = training_loss(tuned, train, [Policy.single(name) for name in train.models])
    for point in tuned.frontier.points:
        losses = np.asarray(trained.cost_usd + point.prices.error * trained.error)
        assert train.models[int(losses.argmin())] == point.best_single
        assert float(loss(point.training, point.prices)) <= losses.min() + 1e-12


def test_single_models_are_always_candidates(tuned, train):
    """At prices beyond all break-even prices the guard is the answer."""
    low = tune(KEY, train, error_prices=np.array([1e-7, 1e-6])).frontier
    assert [p.policy for p in low.points] == [Policy.single(train.models[0])] * 2


def test_the_same_key_gives_the_same_frontier(tuned, train):
    again = tune(KEY, train, error_prices=PRICES).frontier
    assert [p.policy for p in again.points] == [p.policy for p in tuned.frontier.points]
    np.testing.assert_array_equal(again.held_out.policy_loss, tuned.frontier.held_out.policy_loss)


def test_best_single_is_the_envelope(train):
    frontier = tune(KEY, train, error_prices=PRICES, method=BEST_SINGLE).frontier
    for point in frontier.points:
        assert point.policy == Policy.single(point.best_single)
        assert point.kind == "single"
    np.testing.assert_allclose(frontier.held_out.gain, 0, atol=1e-15)


def test_counted_pairs_are_the_best_pairs_of_the_records(train):
    """Against every pair at every threshold that the data can tell apart."""
    tuned = tune(KEY, train, error_prices=PRICES, method=COUNTED_PAIRS)
    phi = np.asarray(tuned.fit.model.calibrate(jnp.asarray(train.log_confidence)))
    wrong, cost = 1 - train.correct, train.cost_usd
    for point in tuned.frontier.points:
        price = point.prices.error
        losses = [(cost[:, j] + price * wrong[:, j]).mean() for j in range(3)]
        for i, j in [(0, 1), (0, 2), (1, 2)]:
            for t in np.unique(phi[:, i]):
                passed = phi[:, i] <= t
                row = cost[:, i] + passed * cost[:, j]
                losses.append((row + price * np.where(passed, wrong[:, j], wrong[:, i])).mean())
        found = float(loss(point.training, point.prices))
        # 64 of 300 thresholds are tried: the best of all is within two queries.
        assert min(losses) - 1e-12 <= found <= min(losses) + 2 * price / 300


def test_abstention_and_latency_have_prices(train):
    person = tune(KEY, train, error_prices=PRICES, abstention_price=5e-5, method=POOL).frontier
    assert max(p.expected.abstention for p in person.points) > 0.1
    slow = tune(KEY, train, error_prices=PRICES, latency_price=1.0, method=POOL).frontier
    for point in slow.points:  # a second costs more than an error: the fastest model alone
        assert point.policy == Policy.single("llama3.2-3b")


def test_a_model_that_tells_nothing_is_no_obstacle(train):
    constant = train.log_confidence.copy()
    constant[:, 0] = np.log(0.6)
    reverse = train.log_confidence.copy()
    reverse[:, 1] = np.log(1 - 0.9 * np.exp(train.log_confidence[:, 1]))
    for log_confidence in (constant, reverse):
        records = replaced(train, log_confidence=log_confidence)
        for abstention in (np.inf, 1e-4):
            frontier = tune(KEY, records, error_prices=PRICES, abstention_price=abstention).frontier
            assert all(np.isfinite(p.expected.error) for p in frontier.points)


def test_missing_cells_and_labels(train):
    rng = np.random.default_rng(0)
    gone, unlabelled = rng.random((300, 3)) < 0.1, rng.random((300, 3)) < 0.2
    names = ("log_confidence", "correct", "cost_usd", "latency_s")
    cells = {name: np.where(gone, np.nan, getattr(train, name)) for name in names}
    cells["correct"] = np.where(unlabelled, np.nan, cells["correct"])
    frontier = tune(KEY, replaced(train, **cells), error_prices=PRICES).frontier
    assert np.all(np.isfinite(frontier.held_out.policy_loss))
    assert all(np.isfinite(p.training.error) for p in frontier.points)


def test_held_out_never_uses_a_querys_own_fold(train, monkeypatch):
    """A stub in place of the fit: what judges a query was chosen with that query at weight 0."""
    module = sys.modules["jaxcascade.tuning.tune"]
    real_fit, real_choose = module.fit_weighted, module.choose_policies
    weights, calls = [], []

    def fit(data, weight, *settings):
        weights.append(np.asarray(weight))
        return real_fit(data, weight, *settings)

    def choose(model, data, weight, prices, method):
        assert np.array_equal(weight, weights[-1])
        # Each fold gets another single model, so that its losses are known by name.
        number = len(calls)
        calls.append(np.asarray(weight))
        count = len(PRICES)
        policies = tuple(Policy.single(train.models[number % 3]) for _ in range(count))
        blank = real_choose(model, data, weight, prices, method)
        return Choice(policies, blank.kinds, blank.expected, blank.training, np.zeros(count, int))

    monkeypatch.setattr(module, "fit_weighted", fit)
    monkeypatch.setattr(module, "choose_policies", choose)
    held_out = tune(KEY, train, error_prices=PRICES, method=BEST_SINGLE).frontier.held_out
    assert len(calls) == 6
    assert calls[0].all()
    left_out = np.stack([w == 0 for w in calls[1:]])
    np.testing.assert_array_equal(left_out.sum(axis=0), 1)  # each query in one fold
    losses = train.cost_usd[None] + PRICES[:, None, None] * (1 - train.correct)
    judge = 1 + left_out.argmax(axis=0)
    expected = losses[:, np.arange(300), judge % 3]
    np.testing.assert_allclose(held_out.policy_loss, expected.mean(axis=1), rtol=1e-10)
    np.testing.assert_allclose(held_out.single_loss, losses[:, :, 0].mean(axis=1), rtol=1e-10)
    gain = losses[:, :, 0] - expected
    np.testing.assert_allclose(
        held_out.gain_standard_error, 1.5 * gain.std(axis=1, ddof=1) / np.sqrt(300), rtol=1e-9
    )


def test_progress_speaks_of_each_step(train):
    words = []
    tune(KEY, train, error_prices=PRICES, method=BEST_SINGLE, progress=words.append)
    assert words[0] == "fitting the joint model"
    assert words[-1] == "checking on held-out queries, part 5 of 5"


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ([], "non-empty.* list of finite prices above 0"),
        ([0.0, 1.0], "above 0 dollars; got"),
        ([-1.0], "above 0 dollars"),
        ([np.nan], "finite"),
        ([np.inf], "finite"),
        ([[1.0]], "non-empty.* list"),
        ([2.0, 1.0], "increas"),
    ],
)
def test_impossible_prices_are_refused(train, prices, message):
    with pytest.raises(InvalidInputError, match=message):
        tune(KEY, train, error_prices=np.array(prices), method=BEST_SINGLE)


@pytest.mark.parametrize("count", [0, -1])
def test_a_frontier_needs_a_point(train, count):
    with pytest.raises(InvalidInputError, match="num_prices"):
        tune(KEY, train, num_prices=count, method=BEST_SINGLE)


@pytest.mark.parametrize("name", ["latency_price", "abstention_price"])
@pytest.mark.parametrize("price", [-1.0, float("nan")])
def test_negative_prices_are_refused(train, name, price):
    with pytest.raises(InvalidInputError, match=f"`{name}` must be at least 0"):
        tune(KEY, train, **{name: price})


def test_what_cannot_be_tuned_is_refused(train):
    with pytest.raises(RecordsError, match="at least two values to choose between"):
        tune(KEY, train.select(train.models[:1]))
    with pytest.raises(RecordsError, match="at least 10 labelled queries; the records have 9"):
        tune(KEY, train.take(np.arange(9)))
    with pytest.raises(InvalidInputError, match="needs the seconds of every call"):
        tune(KEY, replaced(train, latency_s=None), latency_price=1.0)
    with jax.enable_x64(False), pytest.raises(PrecisionError, match="double precision"):
        tune(KEY, train)


def test_one_model_and_a_person(train):
    frontier = tune(
        KEY, train.select(train.models[1:2]), error_prices=PRICES, abstention_price=1e-4
    ).frontier
    assert frontier.points[-1].expected.abstention > 0


def test_the_default_grid_spans_the_break_even_prices(train):
    frontier = tune(KEY, train, num_prices=4, method=BEST_SINGLE).frontier
    assert len(frontier.points) == 4
    assert frontier.points[0].best_single == train.models[0]
    assert frontier.points[-1].best_single == train.models[-1]


def test_loss_falls_when_a_price_falls(frontier):
    losses = [float(loss(p.training, p.prices)) for p in frontier.points]
    assert np.all(np.diff(losses) > 0)
    cheaper = Prices(float(PRICES[2]) / 2)
    point = frontier.points[2]
    assert loss(point.training, cheaper) < loss(point.training, point.prices)
