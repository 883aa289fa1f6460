"""Bounds on rates against linear programs, their multipliers, their price, and swapped labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from jaxcascade.decisions import cost_matrix, decide
from jaxcascade.decisions.parity import counterfactual, parity_decisions, price_of_fairness
from jaxcascade.errors import InvalidInputError

TWO = cost_matrix({"reject": {"unfit": 0.0, "fit": 40e3}, "meet": {"unfit": 2500.0, "fit": 0.0}})
MORE = cost_matrix(
    {
        "reject": {"unfit": 0.0, "fair": 5.0, "fit": 20.0},
        "wait": {"unfit": 1.0, "fair": 4.0, "fit": 15.0},
        "call": {"unfit": 2.0, "fair": 2.0, "fit": 5.0},
        "meet": {"unfit": 8.0, "fair": 3.0, "fit": 0.0},
    }
)
SETTINGS = {
    "two": (TWO, ("meet",), "fit"),
    "more": (MORE, ("call", "meet"), "fit"),
}


def case(seed, costs, num_groups=3, size=60):
    rng = np.random.default_rng(seed)
    group = rng.choice(list("abcdef")[:num_groups], size)
    strength = np.full((num_groups, len(costs.states)), 1.0)
    strength[:, 0] += np.arange(num_groups)
    belief = np.array([rng.dirichlet(strength["abcdef".index(g)]) for g in group])
    if len(costs.states) == 2:
        belief[:, 1] *= 0.2
        belief[:, 0] = 1 - belief[:, 1]
    return group, belief


def by_linear_program(group, belief, costs, tolerance, favourable, positive):
    """Shares of items and the middle of the band, all at once."""
    usd = belief @ np.asarray(costs.usd).T
    good = np.isin(costs.actions, favourable)
    with_it, without = usd[:, good].min(axis=1), usd[:, ~good].min(axis=1)
    weight = belief[:, costs.states.index(positive)] if positive else np.ones(len(group))
    rows = []
    for name in np.unique(group):
        rate = np.where(group == name, weight, 0)
        rate = rate / rate.sum()
        rows += [np.append(rate, -1.0), np.append(-rate, 1.0)]
    found = linprog(
        np.append(with_it - without, 0.0),
        A_ub=np.array(rows),
        b_ub=np.full(len(rows), tolerance),
        bounds=[(0, 1)] * (len(group) + 1),
        method="highs",
    )
    assert found.status == 0
    return found.fun + without.sum()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("equal", ["demographic parity", "equal opportunity"])
@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.05, 0.2, 1.0])
def test_cost_is_that_of_the_linear_program(setting, equal, tolerance):
    costs, favourable, positive = SETTINGS[setting]
    positive = positive if equal == "equal opportunity" else None
    for seed in range(6):
        group, belief = case(seed, costs, num_groups=2 + seed % 4)
        found = parity_decisions(
            group, belief, costs, tolerance, favourable=favourable, positive=positive
        )
        exact = by_linear_program(group, belief, costs, tolerance, favourable, positive)
        assert found.usd == pytest.approx(exact, rel=1e-9)
        assert np.ptp(found.rate) <= 2 * tolerance + 1e-12
        assert found.usd >= found.unbounded_usd - 1e-9
        in_part = (found.share > 0) & (found.share < 1)
        assert all(in_part[group == name].sum() <= 1 for name in found.groups)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=14),
    st.sampled_from([0.0, 0.1, 0.25]),
)
def test_ties_and_small_groups(items, tolerance):
    group = np.array([str(g) for g, _ in items])
    p = np.array([b for _, b in items]) / 4
    belief = np.stack([1 - p, p], axis=1)
    costs = cost_matrix({"no": {"bad": 0.0, "good": 1.0}, "yes": {"bad": 1.0, "good": 0.0}})
    found = parity_decisions(group, belief, costs, tolerance, favourable=["yes"])
    exact = by_linear_program(group, belief, costs, tolerance, ["yes"], None)
    assert found.usd == pytest.approx(exact, abs=1e-9)
    assert np.ptp(found.rate) <= 2 * tolerance + 1e-12
    assert found.usd_per_point >= 0
    for name in found.groups:
        own = group == name
        for value in np.unique(p[own]):
            assert np.ptp(found.share[own & (p == value)]) == 0


@pytest.mark.parametrize("equal", ["demographic parity", "equal opportunity"])
@pytest.mark.parametrize("tolerance", [0.0, 0.03, 0.5])
def test_a_multiplier_is_a_shift_of_the_threshold(equal, tolerance):
    """Optimality: decisions follow the shifted thresholds, and the shifts balance."""
    group, belief = case(3, TWO, size=200)
    positive = "fit" if equal == "equal opportunity" else None
    found = parity_decisions(group, belief, TWO, tolerance, favourable=["meet"], positive=positive)
    gain = belief @ (np.asarray(TWO.usd)[0] - np.asarray(TWO.usd)[1])
    weight = belief[:, 1] if positive else np.ones(200)
    at = np.searchsorted(found.groups, group)
    margin = gain - found.shift_usd[at] * weight
    clear = np.abs(margin) > 1e-6
    np.testing.assert_array_equal(found.share[clear], margin[clear] > 0)
    assert np.bincount(at, found.shift_usd[at] * weight).sum() == pytest.approx(0, abs=1e-6)
    if tolerance == 0.5:
        assert not found.shift_usd.any()
        np.testing.assert_array_equal(found.action, decide(TWO, belief).action)
    else:
        middle = (found.rate.min() + found.rate.max()) / 2
        raised, lowered = found.shift_usd > 1e-9, found.shift_usd < -1e-9
        assert raised.any()
        assert lowered.any()
        np.testing.assert_allclose(found.rate[raised], middle + tolerance, atol=1e-12)
        np.testing.assert_allclose(found.rate[lowered], middle - tolerance, atol=1e-12)


def test_the_best_action_of_either_kind_is_taken():
    group = np.tile(["a", "b"], 40)
    belief = np.random.default_rng(5).dirichlet([0.6, 0.3, 0.3], 80)
    found = parity_decisions(group, belief, MORE, 0.0, favourable=["call", "meet"])
    usd = belief @ np.asarray(MORE.usd).T
    best = np.where(found.share >= 0.5, 2 + usd[:, 2:].argmin(axis=1), usd[:, :2].argmin(axis=1))
    np.testing.assert_array_equal(found.action, best)
    assert set(best.tolist()) == {0, 1, 2, 3}


def test_equal_items_share_what_is_left_and_one_half_is_enough_to_act():
    costs = cost_matrix({"no": {"bad": 0.0, "good": 1.0}, "yes": {"bad": 1.0, "good": 0.0}})
    p = np.array([0.9, 0.8, 0.7, 0.1, 0.8, 0.25, 0.25, 0.1])
    found = parity_decisions(
        list("aaaabbbb"), np.stack([1 - p, p], axis=1), costs, 0.0, favourable=["yes"]
    )
    # From rates of 3/4 and 1/4: one down for 0.4 and one up for 0.5, or two of the same, 1.0.
    assert found.rate.tolist() == [0.5, 0.5]
    assert found.share.tolist() == [1, 1, 0, 0, 1, 0.5, 0.5, 0]
    assert found.action.tolist() == [1, 1, 0, 0, 1, 1, 1, 0]
    assert found.usd - found.unbounded_usd == pytest.approx(0.4 + 0.5)


def test_items_without_a_claim_are_decided_by_cost_alone():
    costs = cost_matrix(
        {"no": {"x": 0.0, "y": 2.0, "z": 5.0}, "yes": {"x": 2.0, "y": 0.0, "z": 0.0}}
    )
    belief = np.array(
        [[1.0, 0, 0], [0, 1.0, 0], [0.5, 0, 0.5], [0, 0, 1.0], [0.9, 0, 0.1], [0, 1.0, 0]]
    )
    found = parity_decisions(list("aaabbc"), belief, costs, 0.0, favourable=["yes"], positive="z")
    assert found.share[[0, 1, 5]].tolist() == [0, 1, 1]
    assert np.isnan(found.rate[2])
    assert found.rate[0] == pytest.approx(found.rate[1])
    assert found.shift_usd[2] == 0


def test_the_price_of_fairness_falls_as_bounds_widen():
    group, belief = case(1, TWO, num_groups=4, size=400)
    grid = np.linspace(0, 0.3, 31)
    price = price_of_fairness(group, belief, TWO, grid[::-1], favourable=["meet"])
    np.testing.assert_array_equal(price.tolerance, grid)
    assert np.all(np.diff(price.usd) <= 1e-6)
    assert np.all(np.diff(price.usd, 2) >= -1e-6)
    assert np.all(price.gap <= 2 * grid + 1e-12)
    np.testing.assert_array_equal(price.extra_usd, price.usd - price.usd[-1])
    lines = str(price).splitlines()
    assert len(lines) == 32
    assert lines[1].split() == [
        "0.0000", "0.0000", f"{price.usd[0]:,.2f}", f"{price.extra_usd[0]:,.2f}",
        f"{price.usd_per_point[0]:,.2f}",
    ]  # fmt: skip


@pytest.mark.parametrize("positive", [None, "fit"])
def test_the_slope_is_that_of_the_cost(positive):
    group, belief = case(2, TWO, num_groups=3, size=150)
    for tolerance in (0.0313, 0.0527, 0.0811):
        step = 1e-6
        low, mid, high = (
            parity_decisions(group, belief, TWO, t, favourable=["meet"], positive=positive)
            for t in (tolerance - step, tolerance, tolerance + step)
        )
        # The gap is twice the tolerance.
        slope = (low.usd - high.usd) / (4 * step) / 100
        assert mid.usd_per_point == pytest.approx(slope, rel=1e-5)
        assert slope > 0


def test_a_swapped_label_changes_nothing_without_a_bound_and_something_with_one():
    group, belief = case(4, TWO, size=300)
    gain = belief @ (np.asarray(TWO.usd)[0] - np.asarray(TWO.usd)[1])
    blind = counterfactual(lambda _: gain > 0, group)
    assert (blind.share, blind.items.size) == (0.0, 0)
    bound = parity_decisions(group, belief, TWO, 0.0, favourable=["meet"])
    shift = dict(zip(bound.groups, bound.shift_usd, strict=True))
    found = counterfactual(lambda labels: gain > np.vectorize(shift.get)(labels), group)
    lowest, highest = min(shift.values()), max(shift.values())
    between = np.flatnonzero((gain > lowest) & (gain <= highest))
    np.testing.assert_array_equal(found.items, between)
    assert found.share == between.size / 300 > 0


def test_only_the_groups_that_are_named_are_tried():
    group = np.array(["a", "b"])
    only_b = lambda labels: labels == "b"  # noqa: E731
    assert counterfactual(only_b, group, ["b"]).items.tolist() == [0]
    assert counterfactual(only_b, group).items.tolist() == [0, 1]
    longer = counterfactual(lambda labels: labels == "longer", group, ["longer"])
    assert longer.items.tolist() == [0, 1]


GIVEN = {
    "group": ["a", "b"],
    "probability": np.array([[0.5, 0.5], [0.9, 0.1]]),
    "costs": TWO,
    "tolerance": 0.1,
    "favourable": ["meet"],
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tolerance": -0.01}, "`tolerance` must be at least 0"),
        ({"tolerance": float("nan")}, "`tolerance` must be at least 0"),
        ({"favourable": []}, "some actions of `costs`, not all: reject, meet; got none"),
        ({"favourable": ["meet", "reject"]}, "not all"),
        ({"favourable": ["hire"]}, "got hire"),
        ({"positive": "good"}, '`positive` must be one of unfit, fit; got "good"'),
        ({"group": ["a"]}, "a row per item"),
        ({"probability": np.array([[0.5, 0.6], [0.9, 0.1]])}, "sum to 1"),
    ],
)
def test_what_cannot_be_decided(change, words):
    given = GIVEN | change
    arguments = [given.pop(name) for name in ("group", "probability", "costs", "tolerance")]
    with pytest.raises(InvalidInputError, match=words):
        parity_decisions(*arguments, **given)
    if "tolerance" in change:
        with pytest.raises(InvalidInputError, match=words):
            price_of_fairness(*arguments[:3], [0.1, arguments[3]], **given)


def test_a_rule_that_returns_something_else():
    with pytest.raises(InvalidInputError, match=r"one decision per item, 2; got \(3,\)"):
        counterfactual(lambda _: np.zeros(3), ["a", "b"])
    with pytest.raises(InvalidInputError, match="`group` is empty"):
        counterfactual(lambda labels: labels, [])
