"""Probabilities of staying within limits, against a law that is known."""

import numpy as np
import pytest
from scipy.stats import norm

from jaxcascade.cascade import Outcome
from jaxcascade.economics import Limits, SystemMixture, best_within, cautious_within, chance_within
from jaxcascade.errors import InfeasibleError, InvalidInputError

NAMES = ("cheap", "middle", "dear")
ERROR, COST, SPREAD = np.array([0.4, 0.3, 0.2]), np.array([1.0, 2.0, 4.0]), 0.02


def made_draws(num_draws=20_000):
    rng = np.random.default_rng(0)
    error = ERROR + SPREAD * rng.normal(size=(num_draws, 3))
    blank = np.zeros_like(error)
    cost = np.broadcast_to(COST, error.shape)
    return Outcome(error, blank, cost, blank, np.zeros((num_draws, 3, 1)))


def test_chances_are_those_of_the_normal_law():
    mixture = SystemMixture(("cheap", "dear"), np.array([0.5, 0.5]))
    found = chance_within(mixture, NAMES, made_draws(), Limits(error=0.31, cost_usd=2.5))
    expected = norm.cdf(0.01 / (SPREAD * 0.5**0.5))
    assert found["error"] == pytest.approx(expected, abs=0.01)
    assert found["cost_usd"] == 1.0
    assert found["all"] == found["error"]
    nobody = chance_within(mixture, NAMES, made_draws(), Limits(cost_usd=2.4))
    assert nobody["all"] == 0.0


def test_a_plain_optimum_misses_half_the_time_and_a_cautious_one_as_often_as_it_says():
    draws, limits = made_draws(), Limits(error=0.25)
    plain = best_within(NAMES, draws, limits)
    chance = chance_within(plain.mixture, NAMES, draws, limits)["all"]
    assert chance == pytest.approx(0.5, abs=0.02)
    for asked in (0.8, 0.95):
        found = cautious_within(NAMES, draws, limits, chance=asked)
        reached = chance_within(found.mixture, NAMES, draws, limits)["all"]
        assert asked <= reached <= asked + 0.01
        assert found.value > plain.value
    easy = cautious_within(NAMES, draws, Limits(error=0.5), chance=0.9)
    assert easy.mixture.systems == ("cheap",)


def test_what_cannot_be_sure_is_said():
    with pytest.raises(InfeasibleError, match=r"probability of 99%.* The least error is"):
        cautious_within(NAMES, made_draws(500), Limits(error=0.201), chance=0.99)
    with pytest.raises(InfeasibleError, match="The least error is"):
        cautious_within(NAMES, made_draws(500), Limits(error=0.01))
    with pytest.raises(InvalidInputError, match="`chance` must lie between 0 and 1; got 1"):
        cautious_within(NAMES, made_draws(10), Limits(error=0.3), chance=1.0)
