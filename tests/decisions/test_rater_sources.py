"""Sources made of raters against the model they come from, and tests that are not known exactly."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.decisions import (
    DawidSkene,
    EchoModel,
    FactorCopula,
    RaterPosterior,
    TemperedPool,
    cost_matrix,
    joined,
    rater_sources,
    screening_tests,
    sequential_plan,
    uncertain_tests,
)
from jaxcascade.errors import InvalidInputError
from tests.decisions.sites import some_sites

STATES = ("no", "yes")
COSTS = cost_matrix({"leave": {"no": 0, "yes": 10}, "act": {"no": 10, "yes": 0}})
PRICES = np.array([0.1, 0.2, 0.3])
MODELS = (
    DawidSkene(),
    DawidSkene(misled_prior=None),
    EchoModel(num_levels=2),
    EchoModel(num_levels=4),
    FactorCopula(num_levels=3),
)


def posterior(model, num_groups=1, **given):
    """Twenty possible draws in the place of a fit, some parameters as given."""
    rng, log_prior = np.random.default_rng(0), jnp.log(jnp.array([0.5, 0.5]))
    said = jnp.asarray(rng.normal(size=(4, 3, 2)))
    coded = model.coded(said, jnp.ones((4, 3), bool), jnp.zeros(4, int), num_groups)
    sites = some_sites(rng, model.start(coded, log_prior), 20)
    sites |= {name: jnp.full_like(sites[name], value) for name, value in given.items()}
    return RaterPosterior(model, tuple("abc"), STATES, num_groups, log_prior, sites, {})


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{type(m).__name__}")
def test_joint_answers_are_as_probable_as_under_the_model(model):
    """Of every pattern of answers, in each state: all levels that make it, summed."""
    fitted = posterior(model)
    sources = rater_sources(fitted, PRICES, num_draws=20)
    np.testing.assert_allclose(sources.weight.sum(), 1.0, rtol=1e-12)
    num_levels = model.level_count(2)
    patterns = np.array(list(itertools.product(range(num_levels), repeat=3)))
    picks = jax.nn.one_hot(patterns, num_levels)
    coded = (picks, jnp.zeros(len(patterns), int), 1)
    told = jax.jit(jax.vmap(lambda draw: model.log_belief(draw, coded, jnp.zeros(2))))(fitted.sites)
    chance = np.exp(np.asarray(told)).mean(axis=0)
    yes = patterns >= (num_levels + 1) // 2
    p_yes = np.asarray(sources.p_yes)
    for answers in itertools.product([False, True], repeat=3):
        side = np.where(np.array(answers)[:, None, None], p_yes, 1.0 - p_yes)
        expected = chance[(yes == answers).all(axis=1)].sum(axis=0)
        np.testing.assert_allclose(side.prod(axis=0) @ sources.weight, expected, rtol=1e-10)


def test_a_second_rater_that_agrees_is_worth_less_where_items_mislead():
    """Against sources of the same sensitivity and specificity that err independently."""
    fitted = posterior(EchoModel(num_levels=2), accuracy=3.0, share=0.5, misled=0.15)
    tied = rater_sources(fitted, PRICES, num_draws=20)
    alone = np.asarray(tied.p_yes @ tied.weight)
    free = screening_tests(alone[:, 1], 1.0 - alone[:, 0], PRICES)
    prior = jnp.array([0.5, 0.5])
    tied_usd, free_usd = (
        float(sequential_plan(prior, COSTS, sources).expected_usd) for sources in (tied, free)
    )
    assert free_usd + 0.1 < tied_usd < float(COSTS.value(prior))


def test_cuts_move_what_counts_as_a_yes():
    fitted = posterior(EchoModel(num_levels=4))
    rates = [
        rater_sources(fitted, PRICES, cut=np.full(3, cut)).p_yes.mean() for cut in (0, 1, 2, 3)
    ]
    assert rates[0] == pytest.approx(1.0)
    assert rates[0] > rates[1] > rates[2] > rates[3] > 0


def test_what_makes_no_sources():
    with pytest.raises(InvalidInputError, match="it is of `TemperedPool`"):
        rater_sources(posterior(TemperedPool()), PRICES)
    with pytest.raises(InvalidInputError, match=r"without groups; it is of `EchoModel`.* 2 groups"):
        rater_sources(posterior(EchoModel(num_levels=2), num_groups=2), PRICES)
    with pytest.raises(InvalidInputError, match="`num_draws` must be from 1 to 20; got 21"):
        rater_sources(posterior(DawidSkene()), PRICES, num_draws=21)
    with pytest.raises(InvalidInputError, match=r"each of the 3 raters; its shape is \(2,\)"):
        rater_sources(posterior(EchoModel(num_levels=4)), PRICES, cut=np.array([1, 2]))


def test_uncertain_tests_are_right_on_average_and_known_ones_in_the_limit():
    laws = np.array([[9.0, 1.0], [3.0, 2.0]]), np.array([[17.0, 3.0], [5.0, 5.0]])
    found = uncertain_tests(jax.random.key(1), *laws, np.array([1.0, 2.0]), num_draws=4000)
    mean = np.asarray(found.p_yes @ found.weight)
    # Standard errors of the means are at most .2 / sqrt(4000).
    np.testing.assert_allclose(mean[:, 1], [0.9, 0.6], atol=0.012)
    np.testing.assert_allclose(mean[:, 0], [0.15, 0.5], atol=0.012)
    sure = uncertain_tests(
        jax.random.key(1), 1e9 * laws[0], 1e9 * laws[1], np.array([1.0, 2.0]), num_draws=3
    )
    known = screening_tests(np.array([0.9, 0.6]), np.array([0.85, 0.5]), np.array([1.0, 2.0]))
    np.testing.assert_allclose(sure.p_yes, np.tile(known.p_yes, (1, 1, 3)), atol=1e-4)


def test_sources_joined_are_all_of_them():
    first = screening_tests(np.array([0.9]), np.array([0.8]), np.array([0.5]))
    second = screening_tests(np.array([0.7, 0.6]), np.array([0.75, 0.9]), np.array([0.2, 0.1]))
    both = screening_tests(
        np.array([0.9, 0.7, 0.6]), np.array([0.8, 0.75, 0.9]), np.array([0.5, 0.2, 0.1])
    )
    prior = jnp.array([[0.7, 0.3], [0.2, 0.8]])
    np.testing.assert_allclose(
        sequential_plan(prior, COSTS, joined(first, second)).expected_usd,
        sequential_plan(prior, COSTS, both).expected_usd,
        rtol=1e-12,
    )
    drawn = uncertain_tests(jax.random.key(0), np.ones((1, 2)), np.ones((1, 2)), np.ones(1))
    mixed = joined(drawn, second)
    assert mixed.p_yes.shape == (3, 2, 64)
    np.testing.assert_allclose(mixed.weight.sum(), 1.0, rtol=1e-12)


@pytest.mark.parametrize("law", [np.array([[1.0, 0.0]]), np.ones((2, 2)), np.ones(2)])
def test_laws_that_are_none(law):
    with pytest.raises(InvalidInputError, match="`sensitivity` must hold two shapes above 0"):
        uncertain_tests(jax.random.key(0), law, np.ones((1, 2)), np.ones(1))
