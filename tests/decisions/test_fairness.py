"""Metrics by group: counted by hand, their intervals in repeated samples, and what is not known."""

import jax
import numpy as np
import pytest

from jaxcascade.decisions import cost_matrix
from jaxcascade.decisions.fairness import fairness
from jaxcascade.decisions.fairness_report import GAP
from jaxcascade.errors import InvalidInputError, PosteriorWarning

KEY = jax.random.key(0)
COSTS = cost_matrix(
    {"reject": {"unfit": 0.0, "fit": 40e3}, "meet": {"unfit": 2500.0, "fit": 100.0}}
)


def table(counts):
    """Items of (group, truth, action): number."""
    rows = [row for row, number in counts.items() for _ in range(number)]
    group, truth, action = zip(*rows, strict=True)
    return np.array(group), np.array(truth), np.array(action)


BY_HAND = table(
    {
        ("a", 1, 1): 16, ("a", 1, 0): 4, ("a", 0, 1): 3, ("a", 0, 0): 27,
        ("b", 1, 1): 12, ("b", 1, 0): 8, ("b", 0, 1): 8, ("b", 0, 0): 12,
    }
)  # fmt: skip


def test_metrics_counted_by_hand():
    group, truth, action = BY_HAND
    found = fairness(KEY, group, action, truth=truth, costs=COSTS)
    expected = {
        ("favourable_rate", "a"): 19 / 50,
        ("favourable_rate", "b"): 20 / 40,
        ("demographic_parity", GAP): 0.12,
        ("four_fifths", GAP): 0.76,
        ("true_positive_rate", "a"): 0.8,
        ("true_positive_rate", "b"): 0.6,
        ("equal_opportunity", GAP): 0.2,
        ("false_positive_rate", "a"): 0.1,
        ("false_positive_rate", "b"): 0.4,
        ("equalised_odds", GAP): 0.3,
        ("realised_cost_usd", "a"): (4 * 40e3 + 16 * 100 + 3 * 2500) / 50,
        ("realised_cost_usd", "b"): (8 * 40e3 + 12 * 100 + 8 * 2500) / 40,
        ("realised_cost_gap_usd", GAP): 341200 / 40 - 169100 / 50,
    }
    for (metric, label), value in expected.items():
        assert found.row(metric, label).estimate == pytest.approx(value, rel=1e-12), metric
    assert {(row.metric, row.group) for row in found.rows} == set(expected)
    counts = [found.row(*row).count for row in list(expected)[:7]]
    assert counts == [50, 40, 90, 90, 20, 20, 40]
    assert found.row("equalised_odds").count == 90
    assert all(row.lower <= row.estimate <= row.upper and row.enough for row in found.rows)


def oracle(group, action, truth, belief):
    """The same metrics in plain loops."""
    usd = np.asarray(COSTS.usd)
    rates, hits, alarms, expected, realised = [], [], [], [], []
    for name in np.unique(group):
        own = group == name
        good = action == 1
        rates.append(good[own].mean())
        hits.append(good[own & (truth == 1)].mean())
        alarms.append(good[own & (truth == 0)].mean())
        pairs = zip(action[own], belief[own], strict=True)
        expected.append(np.mean([usd[a] @ [1 - p, p] for a, p in pairs]))
        known = zip(action[own], truth[own], strict=True)
        realised.append(np.mean([usd[a, int(t)] for a, t in known if t in (0, 1)]))
    return {
        "demographic_parity": max(rates) - min(rates),
        "four_fifths": min(rates) / max(rates),
        "equal_opportunity": max(hits) - min(hits),
        "equalised_odds": max(np.ptp(hits), np.ptp(alarms)),
        "expected_cost_gap_usd": max(expected) - min(expected),
        "realised_cost_gap_usd": max(realised) - min(realised),
    }


@pytest.mark.parametrize("unknown", [-1.0, np.nan])
def test_gaps_match_plain_loops(unknown):
    rng = np.random.default_rng(1)
    group = rng.choice(["x", "y", "z"], 500, p=[0.5, 0.3, 0.2])
    belief = rng.beta(1, 2, 500)
    truth = np.where(rng.random(500) < 0.1, unknown, rng.random(500) < belief)
    action = (belief > np.where(group == "x", 0.4, 0.25)).astype(int)
    found = fairness(KEY, group, action, truth=truth, probability=belief, costs=COSTS, num_draws=50)
    for metric, value in oracle(group, action, truth, belief).items():
        assert found.row(metric).estimate == pytest.approx(value, rel=1e-12), metric


def test_calibration_error_in_bins_of_equal_count():
    rng = np.random.default_rng(2)
    size = 15 * 8
    belief, truth = rng.random(2 * size), rng.integers(0, 2, 2 * size)
    group = np.repeat(["a", "b"], size)
    found = fairness(KEY, group, truth, truth=truth, probability=belief, num_draws=50)
    errors = []
    for own in (slice(size), slice(size, None)):
        order = np.argsort(belief[own])
        p, y = (x[own][order].reshape(15, 8).mean(axis=1) for x in (belief, truth))
        errors.append(np.abs(p - y).mean())
    assert [found.row("ece", g).estimate for g in "ab"] == pytest.approx(errors)
    assert found.row("calibration").estimate == pytest.approx(abs(errors[0] - errors[1]))


def test_which_actions_are_favourable_is_told():
    group, action = np.repeat(["a", "b"], 20), np.tile([0, 1, 2, 2], 10)
    assert fairness(KEY, group, action).row("favourable_rate", "a").estimate == 0.25
    both = fairness(KEY, group, action, favourable=(1, 2))
    assert both.row("favourable_rate", "b").estimate == 0.75
    flags = fairness(KEY, group, action == 2)
    assert flags.row("favourable_rate", "a").estimate == 0.5


def test_intervals_of_rates_cover_as_often_as_they_say():
    rng = np.random.default_rng(3)
    rates = np.repeat([0.1, 0.3, 0.5, 0.8], 60)
    group = np.repeat(np.arange(240), 60)
    action = rng.random(group.size) < rates[group]
    names, covered = [f"{g:03d}" for g in range(240)], 0
    found = fairness(KEY, [names[g] for g in group], action, num_draws=400)
    for name, rate in zip(names, rates, strict=True):
        row = found.row("favourable_rate", name)
        covered += row.lower <= rate <= row.upper
    assert 0.86 <= covered / 240 <= 0.94


@pytest.mark.parametrize("apart", [0.0, 0.15])
def test_intervals_of_the_gap_cover_and_chance_is_not_taken_for_a_gap(apart):
    """Four groups: the plain bootstrap of the gap never has 0 in it."""
    rng = np.random.default_rng(4)
    rate = 0.4 + np.array([0.0, 0.0, 0.0, apart])
    covered = denied = likely = 0
    group = np.repeat(list("abcd"), 80)
    for key in jax.random.split(KEY, 240):
        action = rng.random(320) < np.repeat(rate, 80)
        found = fairness(key, group, action, num_draws=300, tolerance=0.1)
        gap, ratio = found.row("demographic_parity"), found.row("four_fifths")
        covered += gap.lower <= apart <= gap.upper
        denied += ratio.upper < rate.min() / rate.max() or ratio.lower > rate.min() / rate.max()
        likely += gap.beyond > 0.9
    assert covered >= 0.86 * 240
    assert denied <= 0.12 * 240
    if apart == 0:
        assert likely <= 0.05 * 240
    else:
        assert likely >= 0.15 * 240


@pytest.mark.parametrize("wrong", [False, True], ids=["calibrated", "overconfident"])
def test_intervals_of_calibration_errors(wrong):
    """The plain estimate is far above the truth, its interval is not."""
    rng = np.random.default_rng(5)
    covered, plain, size = 0, [], 300
    for key in jax.random.split(KEY, 100):
        belief = rng.random(size)
        chance = 0.5 + 0.5 * (belief - 0.5) if wrong else belief
        truth = (rng.random(size) < chance).astype(int)
        found = fairness(
            key, ["a"] * size, truth, truth=truth, probability=belief, num_draws=200
        ).row("ece", "a")
        covered += found.lower <= (0.125 if wrong else 0.0) <= found.upper
        plain.append(found.estimate / found.by_chance)
    assert covered >= 83
    if not wrong:
        assert np.mean(plain) == pytest.approx(1.0, abs=0.08)


def test_an_empty_group_is_not_zero():
    group, truth, action = BY_HAND
    truth = np.where(group == "b", 0, truth)
    with pytest.warns(PosteriorWarning, match=r"`true_positive_rate` is NaN .* relevant: b\."):
        found = fairness(KEY, group, action, truth=truth)
    row = found.row("true_positive_rate", "b")
    assert np.isnan([row.estimate, row.lower, row.upper]).all()
    assert (row.count, row.enough) == (0, False)
    gap = found.row("equal_opportunity")
    assert np.isnan([gap.estimate, gap.lower, gap.upper, gap.beyond]).all()
    assert not gap.enough
    assert not np.isnan(found.row("demographic_parity").estimate)
    assert "not enough data" in str(found)


def test_a_group_that_never_occurs_is_named():
    group, truth, action = BY_HAND
    with pytest.warns(PosteriorWarning) as caught:
        found = fairness(
            KEY, group, action, truth=truth, probability=truth, costs=COSTS,
            groups=["a", "b", "c"], num_draws=20,
        )  # fmt: skip
    assert len(caught) == 6
    assert {warning.filename for warning in caught} == {__file__}
    rows = [row for row in found.rows if row.group == "c"]
    assert len(rows) == 6
    assert np.isnan([row[2:5] for row in rows]).all()
    gap = found.row("demographic_parity")
    assert gap.estimate == pytest.approx(0.12)
    assert not gap.enough


def test_what_may_be_tolerated_decides_the_probability():
    group, _, action = BY_HAND
    found = [
        fairness(KEY, group, action, tolerance=t).row("demographic_parity").beyond
        for t in (0.0, 0.1, 0.5)
    ]
    assert found[0] == 1 > found[1] > 0.2
    assert found[2] < 0.01
    costs = {"costs": COSTS, "probability": np.full(90, 0.1)}
    usd = [
        fairness(KEY, group, action, tolerance_usd=t, **costs).row("expected_cost_gap_usd").beyond
        for t in (None, 1e9)
    ]
    assert np.isnan(usd[0])
    assert usd[1] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"group": []}, "one label per item"),
        ({"action": [1]}, "`action` must have one value per item, 90"),
        ({"action": np.full(90, 0.5)}, "positions of actions"),
        ({"truth": np.full(90, 2)}, "`truth` must be 0 or 1.* 90 values are not, the first 2"),
        ({"probability": np.full(90, 1.5)}, r"must lie in \[0, 1\]"),
        ({"level": 1.0}, "`level`"),
        ({"minimum": 0}, "`minimum` must be at least 1"),
        ({"num_draws": 0}, "`num_draws` must be at least 1"),
        ({"groups": ["a"]}, "labels that `groups` has not: b"),
        ({"costs": COSTS}, "needs `probability` or `truth`"),
        ({"costs": COSTS, "probability": np.ones(90), "action": np.full(90, 2)}, "found 2 to 2"),
        (
            {"costs": cost_matrix({"go": {"a": 1, "b": 2, "c": 3}}), "truth": np.ones(90)},
            "two states",
        ),
    ],
)
def test_what_cannot_be_compared(change, words):
    given = {"group": BY_HAND[0], "action": BY_HAND[2]} | change
    with pytest.raises(InvalidInputError, match=words):
        fairness(KEY, given.pop("group"), given.pop("action"), **given)
