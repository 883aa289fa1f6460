"""Accuracy against rejection, by brute force over the queries."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad

from jaxcascade.cascade import Outcome
from jaxcascade.economics import Ledger, auarc, error_given_answered, rejection_curve
from jaxcascade.errors import InvalidInputError


def made_ledger(wrong, given_up=None):
    wrong = np.asarray(wrong, float)[None]
    blank = np.zeros_like(wrong)
    given_up = blank if given_up is None else np.asarray(given_up, float)[None]
    answered_by = np.where(given_up > 0, -1, 0)
    return Ledger(("s",), ("m",), np.arange(wrong.size), wrong, given_up, blank, blank, answered_by)


def random_case(seed, levels, count=60, gives_up=0.1):
    rng = np.random.default_rng(seed)
    doubt = rng.integers(0, levels, count) / levels
    given_up = rng.random(count) < gives_up
    wrong = (rng.random(count) < doubt) & ~given_up
    return made_ledger(wrong, given_up), doubt


def drawn_accuracy(ledger, doubt, rate, rng):
    """Rejects as many queries as the rate says, in one random order among ties."""
    given_up, wrong = ledger.abstained[0] > 0, ledger.wrong[0]
    order = np.lexsort((rng.random(doubt.size), doubt, given_up))
    kept = order[: min(round((1 - rate) * doubt.size), int((~given_up).sum()))]
    return wrong[kept].sum(), kept.size


@pytest.mark.parametrize("levels", [4, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_ties_are_rejected_at_random_in_expectation(levels, seed):
    ledger, doubt = random_case(seed, levels)
    rates = np.array([0.0, 0.05, 0.3, 0.5, 0.9])  # whole queries of 60
    curve = rejection_curve(ledger, "s", doubt, rates)
    rng = np.random.default_rng(seed)
    for rate, realised, accuracy, error in zip(*curve, strict=True):
        draws = [drawn_accuracy(ledger, doubt, rate, rng) for _ in range(2000)]
        wrong, kept = np.mean(draws, axis=0)
        assert realised == pytest.approx(1 - kept / 60)
        noise = 5 * np.std(draws, axis=0)[0] / 2000**0.5 / 60 + 1e-12
        assert error == pytest.approx(wrong / 60, abs=noise)
        assert accuracy == pytest.approx(1 - wrong / kept, abs=noise * 60 / kept)


@pytest.mark.parametrize("seed", range(3))
def test_whole_ties_are_the_threshold_rule(seed):
    """Reject what is at least as uncertain as the least threshold that rejects enough."""
    ledger, doubt = random_case(seed, 4)
    given_up, wrong = ledger.abstained[0] > 0, ledger.wrong[0]
    rates = np.array([0.0, 0.1, 0.3, 0.6, 1.0])
    curve = rejection_curve(ledger, "s", doubt, rates, whole_ties=True)
    for rate, realised, accuracy, error in zip(*curve, strict=True):
        for threshold in (2.0, *np.unique(doubt)[::-1]):
            rejected = given_up | (doubt >= threshold)
            if rejected.mean() >= rate - 1e-12:
                break
        assert realised == pytest.approx(rejected.mean())
        assert error == pytest.approx(wrong[~rejected].sum() / 60)
        if rejected.all():
            assert np.isnan(accuracy)
        else:
            assert accuracy == pytest.approx(1 - wrong[~rejected].mean())
    assert realised == 1.0


def test_weights_count_as_copies():
    ledger, doubt = random_case(5, 6, count=20)
    copies = np.random.default_rng(0).integers(0, 4, (3, 20))
    weighted = rejection_curve(ledger, "s", doubt, weight=copies)
    for row, times in enumerate(copies):
        repeated = np.repeat(np.arange(20), times)
        expected = rejection_curve(ledger.take(repeated), "s", doubt[repeated])
        np.testing.assert_allclose(weighted.accuracy[row], expected.accuracy, rtol=1e-12)
        np.testing.assert_allclose(weighted.realised[row], expected.realised, atol=1e-12)


def test_auarc_of_a_known_law_is_within_its_interval():
    """P(wrong | doubt) = doubt, uniform: A(r) = 1 - (1 - r) / 2, and its mean over [0, 0.2]."""
    truth = quad(lambda r: 1 - (1 - r) / 2, 0, 0.2)[0] / 0.2
    inside = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        doubt = rng.random(300)
        found = auarc(
            jax.random.key(seed), made_ledger(rng.random(300) < doubt), "s", doubt, num_draws=200
        )
        assert found.low < found.value < found.high
        assert (found.level, found.num_undefined) == (0.9, 0)
        inside += found.low <= truth <= found.high
    # 36 are expected; as few as 30 in one case in 200.
    assert inside >= 30


def test_what_everything_rejected_leaves_is_not_counted():
    ledger, doubt = made_ledger([1, 0, 0, 1]), np.array([1.0, 1.0, 0.0, 0.0])
    rates = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    curve = rejection_curve(ledger, "s", doubt, rates, whole_ties=True)
    np.testing.assert_allclose(curve.realised, [0, 0.5, 0.5, 1, 1])
    np.testing.assert_allclose(curve.accuracy, [0.5, 0.5, 0.5, np.nan, np.nan])
    found = auarc(jax.random.key(0), ledger, "s", doubt, rates, whole_ties=True, num_draws=50)
    assert (found.value, found.num_undefined) == (0.5, 2)
    alone = auarc(jax.random.key(0), ledger, "s", doubt, rates[2:3], whole_ties=True, num_draws=50)
    assert (alone.low, alone.value, alone.high) == pytest.approx((0.5, 0.5, 0.5), abs=0.5)
    nothing = auarc(
        jax.random.key(0), made_ledger([0, 0], [1, 1]), "s", np.zeros(2), rates, num_draws=5
    )
    assert np.isnan(nothing.value)
    assert nothing.num_undefined == 5


def test_joint_and_conditional_error_are_not_the_same():
    """Of ten queries two are given up and two answered wrong: 20 % of all, 25 % of answered."""
    ledger = made_ledger([1, 1, *[0] * 8], [*[0] * 8, 1, 1])
    outcome = ledger.outcomes()
    assert float(outcome.error[0]) == pytest.approx(0.2)
    assert float(error_given_answered(outcome)[0]) == pytest.approx(0.25)
    nothing = Outcome(*map(np.array, (0.0, 1.0, 0.0, 0.0)), np.zeros(1))
    assert np.isnan(error_given_answered(nothing))


def test_bad_requests_are_refused():
    ledger, doubt = random_case(0, 5)
    with pytest.raises(InvalidInputError, match="one value per query, 60; got an array of shape"):
        rejection_curve(ledger, "s", doubt[:3])
    with pytest.raises(InvalidInputError, match=r"shares in \[0, 1\]"):
        rejection_curve(ledger, "s", doubt, np.array([0.5, 1.2]))
    with pytest.raises(InvalidInputError, match='no system "t"'):
        rejection_curve(ledger, "t", doubt)
    with pytest.raises(InvalidInputError, match="`level` must lie between 0 and 1"):
        auarc(jax.random.key(0), ledger, "s", doubt, level=1.0)
    answered = np.flatnonzero(ledger.abstained[0] == 0)
    doubt[answered[:2]] = np.nan
    with pytest.raises(InvalidInputError, match="missing for 2 answered queries"):
        rejection_curve(ledger, "s", doubt)
    ledger.wrong[:] = np.nan
    with pytest.raises(InvalidInputError, match="No query has a known outcome"):
        rejection_curve(ledger, "s", doubt)
