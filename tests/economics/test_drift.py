"""Monitoring on simulated traffic whose drift is known, and on recorded runs of others."""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcascade.calibration import LogisticCalibrator, log_odds
from jaxcascade.cascade import Outcome, Policy, Prices
from jaxcascade.economics import Watch, monitor
from jaxcascade.errors import InvalidInputError, UnknownModelError
from jaxcascade.records import Records, read_records
from jaxcascade.tuning import Frontier, Point, confidence_reference, tune

DATA = Path(__file__).parents[2].parent / "shared" / "data"
MODELS = ("small", "large")


def traffic(rng, n, shift=(0.0, 0.0), slant=0.0, labels=True):
    """Log-odds are normal; an answer is right with the confidence's probability, but for slant."""
    odds = rng.normal([0.5, 1.5], 1.0, size=(n, 2)) + np.array(shift)
    right = rng.uniform(size=(n, 2)) < 1 / (1 + np.exp(-odds + slant))
    return Records(
        queries=np.arange(n),
        models=MODELS,
        log_confidence=-np.logaddexp(0, -odds),
        correct=right.astype(float) if labels else np.full((n, 2), np.nan),
        cost_usd=np.broadcast_to([1.0, 2.0], (n, 2)).copy(),
    )


def frontier_of(records, kept=True):
    """A frontier with calibrators that change nothing."""
    k = len(records.models)
    one, end = np.ones((k, 1)), np.full((k, 1), 40.0)
    outcome = Outcome(*(np.array(0.5) for _ in range(4)), np.ones(k) / k)
    single = records.models[0]
    point = Point(Prices(1.0), Policy.single(single), "single", outcome, outcome, single)
    reference = confidence_reference(jax.random.key(9), records)
    return Frontier(
        records.models,
        np.ones(k),
        np.full(k, np.nan),
        LogisticCalibrator(*map(jax.numpy.asarray, (0 * one[:, 0], one, -end, end)), log_odds),
        (point,),
        None,
        reference=reference if kept else None,
    )


def alarms(new, rounds=100, seed=0, training=60, **settings):
    """Shares of rounds with an alarm of drift, and one about calibration."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(rounds):
        frontier = frontier_of(traffic(rng, training))
        seen = monitor(jax.random.key(number), frontier, new(rng), **settings)
        found.append((seen.drift.alarm, seen.calibration.alarm))
    return np.mean(found, axis=0)


def test_false_alarms_are_no_more_than_stated():
    """At a generous level, so that 100 rounds could show a breach; training is small on purpose."""
    drift, calibration = alarms(lambda rng: traffic(rng, 150), alpha=0.2, margin=0.0)
    bound = 0.2 + 2 * np.sqrt(0.2 * 0.8 / 100)
    assert drift <= bound
    assert calibration <= bound


@pytest.mark.parametrize(
    "new",
    [
        lambda rng: traffic(rng, 250, shift=(-1.0, 0.0)),
        lambda rng: traffic(rng, 250, shift=(0.0, 1.0)),
    ],
    ids=["one lower", "one higher"],
)
def test_a_shift_of_one_model_is_found_and_laid_at_its_door(new):
    rng = np.random.default_rng(3)
    shifted = alarms(new, rounds=15, training=200)
    assert shifted[0] == 1.0
    assert shifted[1] == 0.0
    seen = monitor(jax.random.key(0), frontier_of(traffic(rng, 300)), new(rng))
    assert sum(seen.drift.alarms) == 1


def test_a_change_of_spread_alone_is_found():
    def wide(rng):
        narrow = traffic(rng, 400)
        odds = log_odds(narrow.log_confidence)[..., 0]
        far = np.array([0.5, 1.5]) + 2.0 * (np.asarray(odds) - np.array([0.5, 1.5]))
        narrow.log_confidence[:] = -np.logaddexp(0, -far)
        return narrow

    assert alarms(wide, rounds=8, training=300)[0] == 1.0


def test_wrong_answers_without_a_shift_break_calibration_alone():
    drift, calibration = alarms(lambda rng: traffic(rng, 400, slant=1.2), rounds=15)
    assert drift <= 1 / 15
    assert calibration == 1.0


def test_a_later_change_is_found_in_order_and_the_alarm_comes_after_it():
    rng = np.random.default_rng(5)
    same, changed = traffic(rng, 300), traffic(rng, 300, shift=(-1.5, -1.5))
    both = Records(
        queries=np.arange(600),
        models=MODELS,
        log_confidence=np.concatenate([same.log_confidence, changed.log_confidence]),
        correct=np.full((600, 2), np.nan),
        cost_usd=np.ones((600, 2)),
    )
    seen = monitor(jax.random.key(0), frontier_of(traffic(rng, 300)), both, in_order=True)
    assert np.all(seen.drift.first_alarm > 300)
    assert np.all(seen.drift.first_alarm < 450)
    assert seen.calibration is None
    np.testing.assert_array_equal(seen.order, np.arange(600))


def test_missing_cells_and_models_do_not_count():
    rng = np.random.default_rng(6)
    frontier = frontier_of(traffic(rng, 100))
    new = traffic(rng, 80)
    gaps = traffic(rng, 80)
    for cells in (gaps.log_confidence, gaps.correct, gaps.cost_usd):
        cells[:] = getattr(new, "log_confidence" if cells is gaps.log_confidence else "correct")
        cells[::2, 0] = np.nan
    full = monitor(jax.random.key(0), frontier, new, in_order=True)
    seen = monitor(jax.random.key(0), frontier, gaps, in_order=True)
    assert seen.drift.count.tolist() == [40, 80]
    assert seen.calibration.count.tolist() == [40, 80]
    np.testing.assert_array_equal(seen.drift.log_e[1], full.drift.log_e[1])
    alone = monitor(jax.random.key(0), frontier, new.select(["large"]))
    assert alone.models == ("large",)
    assert alone.drift.log_threshold == pytest.approx(np.log(20))


def test_a_watch_tells_the_first_crossing_and_shares_alpha():
    log_e = np.array([[0.0, 4.0, 1.0], [0.0, 3.0, 3.6]])
    watch = Watch(log_e, np.array([3, 3]), 0.05)
    assert watch.log_threshold == pytest.approx(np.log(40))
    assert watch.first_alarm.tolist() == [2, -1]
    assert watch.alarms == (True, False)
    np.testing.assert_allclose(watch.e_value, np.exp([1.0, 3.6]))
    np.testing.assert_allclose(watch.largest, np.exp([4.0, 3.6]))
    assert np.isfinite(Watch(1e4 * log_e, watch.count, 0.05).e_value).all()


def test_what_cannot_be_judged_is_refused():
    rng = np.random.default_rng(7)
    new, frontier = traffic(rng, 20), frontier_of(traffic(rng, 20))
    key = jax.random.key(0)
    with pytest.raises(InvalidInputError, match=r"no training confidences.*Run `jaxcascade tune`"):
        monitor(key, frontier_of(traffic(rng, 20), kept=False), new)
    with pytest.raises(InvalidInputError, match="`alpha` must lie strictly between 0 and 1"):
        monitor(key, frontier, new, alpha=1.0)
    with pytest.raises(InvalidInputError, match="`margin` must be at least 0"):
        monitor(key, frontier, new, margin=-0.1)
    other = Records(
        np.arange(2), ("x", "y"), np.log(np.full((2, 2), 0.5)), np.ones((2, 2)), np.ones((2, 2))
    )
    with pytest.raises(UnknownModelError, match='none of the frontier\'s models, "small"'):
        monitor(key, frontier, other)
    with pytest.raises(UnknownModelError, match="none of the frontier"):
        monitor(key, frontier, new.take(np.arange(0)))


recorded = pytest.mark.skipif(
    not DATA.is_dir(), reason="the recorded runs of others are not shipped with the package"
)


@recorded
@pytest.mark.parametrize(("name", "expected"), [("medmcqa", True), ("mmlu", False)])
def test_harder_questions_are_flagged_and_like_ones_are_not(name, expected):
    train, test = (read_records(DATA / f"{name}_{half}.parquet") for half in ("train", "test"))
    for seed in range(5):
        seen = monitor(jax.random.key(seed), frontier_of(train), test.select(train.models))
        assert seen.drift.alarm == expected


@recorded
@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [("medmcqa", True), ("mmlu", False)])
def test_calibration_fails_on_harder_questions_only(name, expected):
    train, test = (read_records(DATA / f"{name}_{half}.parquet") for half in ("train", "test"))
    frontier = tune(jax.random.key(0), train, error_prices=np.array([1e-3])).frontier
    for seed in range(5):
        seen = monitor(jax.random.key(seed), frontier, test)
        assert seen.drift.alarm == expected
        assert seen.calibration is not None
        assert seen.calibration.alarm == expected
