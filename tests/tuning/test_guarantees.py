"""Bounds against SciPy and plain loops; levels by simulation; a frontier against hand counts."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import beta, binom, binomtest

from jaxcascade.cascade import Policy, Prices, Rule
from jaxcascade.errors import InvalidInputError, PrecisionError, RecordsError, UnknownModelError
from jaxcascade.records import Records, read_records
from jaxcascade.tuning import (
    AnsweredError,
    Betting,
    Bonferroni,
    ExactBinomial,
    FixedSequence,
    HoeffdingBentkus,
    Holm,
    JointError,
    MeanCost,
    MeanLoss,
    dearest_paths,
    evaluate,
    guarantees,
    mean_bounds,
    mean_p_values,
    risk_bounds,
    tune,
)

KEY = jax.random.key(3)
DATA = Path(__file__).parents[2].parent / "shared" / "data"
BOUNDS = {"binomial": ExactBinomial(), "hb": HoeffdingBentkus(), "betting": Betting()}
FALSE_ALARM = 1e-6  # chance that a test of a level fails though the level holds
SOME_COUNTS = [(0, 1), (1, 1), (0, 50), (1, 50), (49, 50), (50, 50), (37, 300), (900, 12_000)]


def coins(num_ones, num):
    return np.repeat([1.0, 0.0], [num_ones, num - num_ones])


# --- One mean -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("ones", "num"), SOME_COUNTS)
@pytest.mark.parametrize("delta", [0.1, 0.05, 1e-5])
def test_exact_binomial_matches_scipy(ones, num, delta):
    found = mean_bounds(coins(ones, num), delta, ExactBinomial())
    expected = 1.0 if ones == num else beta.ppf(1 - delta, ones + 1, num - ones)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    for limit in (0.01, 0.13, 0.8):
        test = binomtest(ones, num, limit, alternative="less")
        p_value = mean_p_values(coins(ones, num), limit, ExactBinomial())
        np.testing.assert_allclose(p_value, test.pvalue, rtol=1e-9, atol=1e-300)
    interval = binomtest(ones, num, 0.5, alternative="less").proportion_ci(1 - delta, "exact")
    np.testing.assert_allclose(found, interval.high, rtol=1e-9)


def hoeffding_bentkus(values, limit):
    """The p-value of Angelopoulos et al. (2021), arXiv:2110.01052, as printed."""
    n, mean = len(values), np.mean(values)
    a = min(mean, limit)
    terms = [x * math.log(x / y) for x, y in ((a, limit), (1 - a, 1 - limit)) if x > 0]
    tail = binom.cdf(math.ceil(np.sum(values)), n, limit)
    return min(1.0, math.exp(-n * sum(terms)), math.e * tail)


@pytest.mark.parametrize("delta", [0.1, 1e-4])
@pytest.mark.parametrize("kind", ["coins", "spread", "narrow", "zeros", "ones", "single"])
def test_hoeffding_bentkus_matches_its_formula(kind, delta):
    rng = np.random.default_rng(0)
    values = {
        "coins": coins(7, 90),
        "spread": rng.beta(0.4, 2.0, 80),
        "narrow": rng.uniform(0.3, 0.31, 200),
        "zeros": np.zeros(40),
        "ones": np.ones(40),
        "single": np.array([0.25]),
    }[kind]
    for limit in (0.02, 0.3, 0.7, 0.99):
        found = mean_p_values(values, limit, HoeffdingBentkus())
        np.testing.assert_allclose(found, hoeffding_bentkus(values, limit), rtol=1e-8)
    bound = float(mean_bounds(values, delta, HoeffdingBentkus()))
    if kind == "ones":
        assert bound == 1.0
        return
    # Bentkus' part jumps nowhere in the limit, so the bound is where the p-value is delta.
    expected = brentq(lambda t: hoeffding_bentkus(values, t) - delta, np.mean(values), 1 - 1e-14)
    np.testing.assert_allclose(bound, expected, rtol=1e-9)


def fortunes(values, limit, delta, most):
    """One side of the hedged capital of Waudby-Smith and Ramdas (2024), one value at a time."""
    n, fortune, way = len(values), 1.0, [1.0]
    seen = []
    variance = 0.25
    for x in values:
        bet = min(math.sqrt(2 * math.log(1 / delta) / (n * variance)), most / (1 - limit))
        fortune *= 1 - bet * (x - limit)
        way.append(fortune)
        seen.append(x)
        t = len(seen)
        means = [(0.5 + sum(seen[:i])) / (i + 1) for i in range(1, t + 1)]
        squares = sum((y - mean) ** 2 for y, mean in zip(seen, means, strict=True))
        variance = (0.25 + squares) / (t + 1)
    return way


@pytest.mark.parametrize("most", [0.5, 0.75])
@pytest.mark.parametrize("kind", ["coins", "spread", "narrow", "losses"])
def test_betting_matches_a_plain_loop(kind, most):
    rng = np.random.default_rng(1)
    values = {
        "coins": rng.permutation(coins(4, 90)),
        "spread": rng.beta(0.4, 2.0, 80),
        "narrow": rng.uniform(0.3, 0.31, 60),
        "losses": 0.9 * (rng.random(100) < 0.1) + rng.uniform(0.0, 0.1, 100),
    }[kind]
    method = Betting(most)
    for delta in (0.1, 0.01):
        for limit in (0.05, 0.2, 0.4, 0.9):
            found = mean_p_values(values, limit, method, delta=delta)
            expected = 1 / max(fortunes(values, limit, delta, most))
            np.testing.assert_allclose(found, expected, rtol=1e-9)

        def distance(t, delta=delta):
            return max(fortunes(values, t, delta, most)) - 1 / delta

        found = float(mean_bounds(values, delta, method))
        np.testing.assert_allclose(found, brentq(distance, 1e-6, 1 - 1e-6), rtol=1e-8)


@pytest.mark.parametrize("name", BOUNDS)
def test_a_p_value_is_small_just_where_the_bound_is_below_the_limit(name):
    rng = np.random.default_rng(2)
    values = (rng.random((30, 120)) < rng.uniform(0.0, 0.5, (30, 1))).astype(float)
    for delta in (0.2, 0.01):
        bounds = mean_bounds(values, delta, BOUNDS[name])
        # A fortune that was lost again still refutes: bets may bound below the mean of all values.
        assert name == "betting" or np.all(bounds >= values.mean(axis=1))
        for limit in (0.05, 0.2, 0.4):
            p_values = mean_p_values(values, limit, BOUNDS[name], delta=delta)
            np.testing.assert_array_equal(p_values <= delta, bounds <= limit)


@pytest.mark.parametrize("name", BOUNDS)
def test_what_is_not_known_is_left_out(name):
    rng = np.random.default_rng(3)
    values = (rng.random((2, 3, 80)) < 0.2).astype(float)
    gone = rng.permuted(np.broadcast_to(np.arange(80) < 20, values.shape), axis=-1)
    values[gone] = np.nan
    values[0, 1] = np.nan
    found = mean_bounds(values, 0.1, BOUNDS[name])
    p_values = mean_p_values(values, 0.35, BOUNDS[name])
    assert found.shape == p_values.shape == (2, 3)
    assert (found[0, 1], p_values[0, 1]) == (1.0, 1.0)
    for at in np.ndindex(2, 3):
        if at != (0, 1):
            row = values[at][~np.isnan(values[at])]
            np.testing.assert_allclose(found[at], mean_bounds(row, 0.1, BOUNDS[name]), rtol=1e-10)
            expected = mean_p_values(row, 0.35, BOUNDS[name])
            np.testing.assert_allclose(p_values[at], expected, rtol=1e-10)


@pytest.mark.parametrize("name", BOUNDS)
def test_units_do_not_matter(name):
    values, upper = np.array([coins(3, 40), coins(9, 40)]), np.array([0.02, 5.0])
    for function, argument in ((mean_bounds, 0.1), (mean_p_values, 0.01)):
        found = function(values * upper[:, None], argument, BOUNDS[name], upper=upper)
        for row, unit, mine in zip(values, upper, found, strict=True):
            if function is mean_bounds:
                expected = unit * mean_bounds(row, 0.1, BOUNDS[name])
            else:
                expected = mean_p_values(row, 0.01 / unit, BOUNDS[name])
            np.testing.assert_allclose(mine, expected, rtol=1e-9)
    limits = np.array([0.01, 0.01 * upper[1] / upper[0]])
    one_each = mean_p_values(values * upper[:, None], limits, BOUNDS[name], upper=upper)
    np.testing.assert_allclose(one_each, mean_p_values(values, 0.5, BOUNDS[name]), rtol=1e-9)
    # Nothing can exceed the limit, so nothing is in doubt.
    assert mean_p_values(np.array([0.0, 0.5]), 0.5, BOUNDS[name], upper=0.5) == 0.0


def test_bounds_go_through_vmap_and_jit():
    values = jnp.asarray(np.random.default_rng(4).random((3, 30)) < 0.3, float)
    delta = jnp.array(0.1)
    for bound in BOUNDS.values():
        found = jax.jit(jax.vmap(bound.upper, in_axes=(0, None)))(values, delta)
        np.testing.assert_allclose(found, mean_bounds(values, 0.1, bound), rtol=1e-12)


LAWS = {
    "rare": (lambda rng, shape: (rng.random(shape) < 0.03).astype(float), 0.03),
    "even": (lambda rng, shape: (rng.random(shape) < 0.5).astype(float), 0.5),
    "narrow": (lambda rng, shape: rng.uniform(0.1, 0.3, shape), 0.2),
    "loss": (
        lambda rng, shape: 0.9 * (rng.random(shape) < 0.1) + 0.1 * rng.beta(1, 9, shape),
        0.1,
    ),
}


@pytest.mark.parametrize(
    ("name", "law"),
    [
        *((name, law) for name in BOUNDS for law in ("rare", "even")),
        *((name, law) for name in ("hb", "betting") for law in ("narrow", "loss")),
    ],
)
def test_the_level_holds(name, law):
    """Fails with a probability below 1e-6 where the level holds."""
    draw, mean = LAWS[law]
    num, delta = 4000, 0.1
    values = draw(np.random.default_rng(5), (num, 100))
    most = binom.isf(FALSE_ALARM, num, delta)
    assert np.sum(mean_bounds(values, delta, BOUNDS[name]) < mean) <= most
    assert np.sum(mean_p_values(values, mean, BOUNDS[name], delta=delta) <= delta) <= most


def test_which_bound_is_tighter():
    """As `docs/guarantees.md` says."""
    rng = np.random.default_rng(6)
    errors = (rng.random((50, 750)) < 0.15).astype(float)
    widths = {name: mean_bounds(errors, 0.05, bound).mean() for name, bound in BOUNDS.items()}
    assert widths["binomial"] < widths["betting"] < widths["hb"]
    losses = 0.05 + 0.9 * (rng.random((50, 750)) < 0.05)
    assert np.all(mean_bounds(losses, 0.05, Betting()) < mean_bounds(losses, 0.05, BOUNDS["hb"]))


# --- Many hypotheses ----------------------------------------------------------------------------


def holm_loop(p_values, delta):
    rejected, left = [False] * len(p_values), len(p_values)
    for at in np.argsort(p_values):
        if p_values[at] > delta / left:
            break
        rejected[at], left = True, left - 1
    return rejected


def test_corrections_match_plain_loops():
    p_values = np.random.default_rng(7).beta(0.3, 2.0, (200, 6))
    found = {c: c.rejects(p_values, 0.1) for c in (Bonferroni(), Holm(), FixedSequence())}
    bonferroni, holm, sequence = found.values()
    for row, p in enumerate(p_values):
        assert bonferroni[row].tolist() == [x <= 0.1 / 6 for x in p]
        assert holm[row].tolist() == holm_loop(p, 0.1)
        first = next((i for i, x in enumerate(p) if x > 0.1), 6)
        assert sequence[row].tolist() == [i < first for i in range(6)]
    assert holm.sum() > bonferroni.sum()


@pytest.mark.parametrize("shared", [True, False], ids=["alike", "independent"])
def test_family_wise_error_where_every_risk_is_at_the_limit(shared):
    """Fails with a probability below 1e-6 where the level holds."""
    rng, num, count, limit, delta = np.random.default_rng(8), 3000, 12, 0.2, 0.1
    draws = rng.random((num, 1 if shared else count, 250))
    shift = rng.random((1, count, 1)) * 0.3 if shared else 0.0
    values = ((draws + shift) % 1.0 < limit).astype(float)
    p_values = mean_p_values(values, limit, ExactBinomial())
    most = binom.isf(FALSE_ALARM, num, delta)
    failed = {}
    for correction in (Bonferroni(), Holm(), FixedSequence()):
        failed[type(correction)] = correction.rejects(p_values, delta).any(axis=1).sum()
        assert failed[type(correction)] <= most
    # The sequence uses up its level; without correction it is far exceeded.
    assert failed[FixedSequence] > 0.6 * delta * num
    assert np.sum((p_values <= delta).any(axis=1)) > 2 * delta * num


# --- A frontier ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certified(frontier, test_records):
    return guarantees(KEY, frontier, test_records, limit=0.2, delta=0.1)


def different(frontier):
    policies = [point.policy for point in frontier.points]
    return [p for p, policy in enumerate(policies) if policy not in policies[:p]]


def test_bounds_of_a_frontier(frontier, test_records, certified):
    seen = evaluate(frontier, test_records).outcome
    bounds = certified.bounds
    n = test_records.num_queries
    np.testing.assert_array_equal(bounds.num_queries, n)
    np.testing.assert_allclose(bounds.counted, seen.error, rtol=1e-10)
    np.testing.assert_allclose(certified.cost_usd, seen.cost_usd, rtol=1e-10)
    ones = np.round(n * np.asarray(seen.error))
    count = len(different(frontier))
    np.testing.assert_allclose(bounds.alone, beta.isf(0.1, ones + 1, n - ones), rtol=1e-9)
    shared = beta.isf(0.1 / count, ones + 1, n - ones)
    np.testing.assert_allclose(bounds.together, shared, rtol=1e-9)
    again = risk_bounds(jax.random.key(9), frontier, test_records, 0.1)
    np.testing.assert_allclose(again.together, bounds.together)


def test_points_with_one_policy_count_once(frontier, test_records):
    twice = frontier._replace(points=frontier.points * 2)
    once = risk_bounds(KEY, frontier, test_records, 0.1)
    np.testing.assert_allclose(
        risk_bounds(KEY, twice, test_records, 0.1).together, np.tile(once.together, 2)
    )


@pytest.mark.parametrize("correction", [Bonferroni(), Holm(), FixedSequence()])
@pytest.mark.parametrize("limit", [0.13, 0.2, 0.3])
def test_certified_points_are_those_of_the_correction(frontier, test_records, correction, limit):
    found = guarantees(KEY, frontier, test_records, limit, 0.1, correction=correction)
    wrong = np.round(found.bounds.counted * test_records.num_queries)
    p_values = binom.cdf(wrong, test_records.num_queries, limit)
    np.testing.assert_allclose(found.p_value, p_values, rtol=1e-8)
    safest_first = sorted(
        different(frontier),
        key=lambda p: frontier.points[p].expected.error + frontier.points[p].training.error,
    )
    rejected = correction.rejects(p_values[safest_first], 0.1)
    policies = [frontier.points[p].policy for p in safest_first]
    for p, point in enumerate(frontier.points):
        assert found.is_certified[p] == rejected[policies.index(point.policy)]
    if found.is_certified.any():
        cheapest = found.cost_usd[found.is_certified].min()
        assert found.is_certified[found.cheapest]
        assert found.cost_usd[found.cheapest] == cheapest
    else:
        assert found.cheapest is None


def test_the_order_comes_from_predictions_alone(frontier, test_records):
    """The first in the sequence keeps nothing, so nothing is certified, whatever the others do."""

    def predict(point, error):
        parts = (part._replace(error=np.array(error)) for part in (point.expected, point.training))
        return point._replace(**dict(zip(("expected", "training"), parts, strict=True)))

    errors = evaluate(frontier, test_records).outcome.error
    limit = float(np.min(errors)) + 0.04
    worst_first = [predict(p, 1 - e) for p, e in zip(frontier.points, errors, strict=True)]
    good = guarantees(KEY, frontier, test_records, limit, 0.1)
    bad = guarantees(KEY, frontier._replace(points=tuple(worst_first)), test_records, limit, 0.1)
    assert good.is_certified.any()
    assert not good.is_certified.all()
    assert not bad.is_certified.any()


@pytest.fixture(scope="module")
def abstaining(frontier):
    """One policy that gives up what the small model is least sure of, one that gives up all."""
    small, large = frontier.models[0], frontier.models[-1]
    some = Policy(small, {
        small: Rule((0.4, 0.8), ("abstain", large, "accept")), large: Rule((), ("accept",)),
    })  # fmt: skip
    never = Policy(small, {small: Rule((), ("abstain",))})
    points = [frontier.points[0]._replace(policy=policy) for policy in (some, never)]
    return frontier._replace(points=tuple(points))


def by_hand(frontier, records):
    """Wrong (NaN where given up) and cost of every query under the abstaining policy."""
    at = [records.models.index(frontier.models[i]) for i in (0, -1)]
    phi = np.asarray(frontier.calibrate(records))[:, 0]
    cost, wrong = records.cost_usd[:, at], 1 - records.correct[:, at]
    middle = (phi > 0.4) & (phi <= 0.8)
    wrong = np.where(phi <= 0.4, np.nan, np.where(middle, wrong[:, 1], wrong[:, 0]))
    return wrong, cost[:, 0] + np.where(middle, cost[:, 1], 0.0)


def test_risks_by_hand(abstaining, test_records):
    wrong, cost = by_hand(abstaining, test_records)
    given_up = np.isnan(wrong)
    assert 0 < given_up.sum() < given_up.size
    prices = Prices(error=0.02, abstention=0.005)
    total = cost + np.where(given_up, 0.005, 0.02 * np.nan_to_num(wrong))
    for risk, values in (
        (JointError(), np.nan_to_num(wrong)),
        (AnsweredError(), wrong[~given_up]),
        (MeanCost(1.0), cost),
        (MeanLoss(prices, 1.0), total),
    ):
        found = risk_bounds(KEY, abstaining, test_records, 0.1, risk, HoeffdingBentkus())
        assert found.num_queries[0] == values.size
        np.testing.assert_allclose(found.counted[0], values.mean(), rtol=1e-10)
        expected = brentq(lambda t, v=values: hoeffding_bentkus(v, t) - 0.05, values.mean(), 0.9)
        np.testing.assert_allclose(found.together[0], expected, rtol=1e-8)
        outcome = abstaining.points[0].expected._replace(
            error=np.array(0.1), abstention=np.array(0.2), cost_usd=np.array(0.003)
        )
        predicted = {
            JointError: 0.1, AnsweredError: 0.125, MeanCost: 0.003, MeanLoss: 0.003 + 0.002 + 0.001
        }  # fmt: skip
        np.testing.assert_allclose(risk.predicted(outcome), predicted[type(risk)])


def test_of_a_policy_that_never_answers_nothing_is_said(abstaining, test_records):
    found = risk_bounds(KEY, abstaining, test_records, 0.1, AnsweredError())
    assert (found.num_queries[1], found.alone[1], found.together[1]) == (0, 1.0, 1.0)
    assert np.isnan(found.counted[1])
    assert risk_bounds(KEY, abstaining, test_records, 0.1).counted[1] == 0.0


def test_the_dearest_path(abstaining, test_records):
    top = np.nanmax(test_records.select(abstaining.models).cost_usd, axis=0)
    found = dearest_paths(abstaining, test_records)
    np.testing.assert_allclose(found, [top[0] + top[-1], top[0]], rtol=1e-12)
    cost = np.asarray(by_hand(abstaining, test_records)[1])
    assert cost.max() <= found[0]


def test_the_dearest_of_several_ways(frontier, test_records):
    small, middle, large = frontier.models
    forked = Policy(small, {
        small: Rule((0.3, 0.8), (large, middle, "accept")),
        middle: Rule((), ("accept",)), large: Rule((), ("accept",)),
    })  # fmt: skip
    top = np.nanmax(test_records.select(frontier.models).cost_usd, axis=0)
    assert top[2] > top[1]
    for policy, expected in (
        (forked, top[0] + top[2]),
        (Policy.threshold_cascade(frontier.models, [0.5, 0.5]), top.sum()),
        (Policy.single(middle), top[1]),
    ):
        point = frontier.points[0]._replace(policy=policy)
        found = dearest_paths(frontier._replace(points=(point,)), test_records)
        np.testing.assert_allclose(found, [expected], rtol=1e-12)


def test_each_policy_has_its_own_largest_cost(abstaining, test_records):
    largest = dearest_paths(abstaining, test_records)
    found = risk_bounds(KEY, abstaining, test_records, 0.1, MeanCost(largest))
    alone = abstaining._replace(points=abstaining.points[1:])
    expected = risk_bounds(KEY, alone, test_records, 0.1, MeanCost(float(largest[1])))
    np.testing.assert_allclose(found.alone[1], expected.alone[0])
    assert np.all(found.counted < found.alone)
    assert np.all(found.alone < found.together)


def test_queries_that_cannot_be_judged_are_left_out(frontier, test_records):
    """Of 400 queries, 50 are not labelled and 50 were never run."""
    whole = test_records.take(np.arange(300))
    cells = {
        name: getattr(test_records, name).copy()
        for name in ("log_confidence", "correct", "cost_usd")
    }
    for name, start in (("log_confidence", 350), ("correct", 300), ("cost_usd", 350)):
        cells[name][start:] = np.nan
    holes = Records(test_records.queries, test_records.models, **cells)
    found, expected = (risk_bounds(KEY, frontier, r, 0.1) for r in (holes, whole))
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    cost = risk_bounds(KEY, frontier, holes, 0.1, MeanCost(1.0))
    np.testing.assert_array_equal(cost.num_queries, 350)


# --- Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delta": 0.0}, "`delta` must lie strictly between 0 and 1; got 0.0"),
        ({"delta": 1.5}, "`delta` must lie strictly between 0 and 1; got 1.5"),
        ({"delta": float("nan")}, "`delta` must lie strictly between 0 and 1"),
        ({"upper": 0.9}, "2 values exceed it, the largest is 1. State a limit"),
        ({"upper": 0.0}, "`upper` must be finite and above 0; got 0.0"),
        ({"upper": np.inf}, "`upper` must be finite and above 0; got inf"),
        ({"values": np.zeros(0)}, "at least one known value; it has the shape \\(0,\\)"),
        ({"values": np.full((2, 3), np.nan)}, "at least one known value"),
        ({"values": np.array([0.5, -0.1])}, "must be at least 0; the smallest is -0.1"),
        ({"values": np.array([0.5, 1.0, 0.2])}, "`ExactBinomial` needs values that are 0 or"),
    ],
)
def test_bad_values(change, message):
    given = {"values": coins(2, 5), "delta": 0.1, "bound": ExactBinomial(), "upper": 1.0} | change
    with pytest.raises(InvalidInputError, match=message):
        mean_bounds(**given)
    with pytest.raises(InvalidInputError, match=message):
        mean_p_values(limit=0.3, **given)


@pytest.mark.parametrize("limit", [0.0, -1.0, np.inf, np.nan])
def test_bad_limits(frontier, test_records, limit):
    with pytest.raises(InvalidInputError, match="`limit` must be finite and above 0; got"):
        mean_p_values(coins(2, 5), limit, ExactBinomial())
    with pytest.raises(InvalidInputError, match="`limit` must lie strictly between 0 and 1"):
        guarantees(KEY, frontier, test_records, limit, 0.1)


def test_a_limit_in_percent_is_refused(frontier, test_records):
    with pytest.raises(InvalidInputError, match="strictly between 0 and 1, which no query can"):
        guarantees(KEY, frontier, test_records, 5.0, 0.1)


def test_bad_bets():
    with pytest.raises(InvalidInputError, match="`most` must lie strictly between 0 and 1; got 1"):
        Betting(1.0)


def test_bad_frontiers(frontier, test_records):
    with pytest.raises(InvalidInputError, match="one number or one per point of the frontier, 5"):
        risk_bounds(KEY, frontier, test_records, 0.1, MeanCost(np.ones(3)))
    with pytest.raises(InvalidInputError, match="`upper` must be at least as large as any value"):
        risk_bounds(KEY, frontier, test_records, 0.1, MeanCost(1e-7))
    with pytest.raises(InvalidInputError, match="`delta` must lie strictly"):
        risk_bounds(KEY, frontier, test_records, 2.0)
    with pytest.raises(UnknownModelError, match="The frontier asks"):
        risk_bounds(KEY, frontier, test_records.select(test_records.models[:1]), 0.1)
    with pytest.raises(RecordsError, match="Point 0 of the frontier cannot be judged: no query"):
        risk_bounds(KEY, frontier, test_records.take(np.arange(0)), 0.1)


def test_single_precision_is_refused():
    with jax.enable_x64(False), pytest.raises(PrecisionError, match="need double precision"):
        mean_bounds(coins(2, 5), 0.1, ExactBinomial())


# --- Recorded runs ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(
    not DATA.is_dir(), reason="the recorded runs of others are not shipped with the package"
)
def test_the_level_holds_on_recorded_runs():
    """MMLU, drawn with replacement, so that the truth is known; fails by chance below 1e-6."""
    train, test = (read_records(DATA / f"mmlu_{half}.parquet") for half in ("train", "test"))
    frontier = tune(KEY, train, num_prices=12).frontier
    truth = np.asarray(evaluate(frontier, test).outcome.error)
    limit, delta, num, failed, missed = float(np.median(truth)), 0.1, 150, 0, 0
    for seed in range(num):
        drawn = test.take(np.random.default_rng(seed).integers(0, test.num_queries, 400))
        found = guarantees(jax.random.key(seed), frontier, drawn, limit, delta)
        failed += bool(np.any(found.is_certified & (truth > limit)))
        missed += bool(np.any(found.bounds.together < truth))
    assert max(failed, missed) <= binom.isf(FALSE_ALARM, num, delta)
