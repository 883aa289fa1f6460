"""Evidence by hand and against NumPy: ratings, probabilities, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcascade.decisions.evidence import (
    Evidence,
    evidence_of_probabilities,
    evidence_of_ratings,
    log_likelihood_of_ratings,
    log_ratio_of_probability,
    probability_of_log_ratio,
)
from jaxcascade.errors import InvalidInputError

STATES = ("unfit", "fit")
NAN = np.nan


def test_ratings_by_hand():
    rating = np.array([[[[8.0, 6.0], [4.0, NAN]], [[5.0, 5.0], [NAN, NAN]]]])
    found = evidence_of_ratings(rating, ["a", "b"], STATES)
    np.testing.assert_allclose(found.log_likelihood, [[np.log([7.5, 4.5]), [0.0, 0.0]]], rtol=1e-12)
    assert found.known.tolist() == [[True, False]]
    assert (found.raters, found.states, found.items) == (("a", "b"), STATES, (0,))
    np.testing.assert_allclose(found.ratios[0, 0], [0.0, np.log(4.5 / 7.5)], rtol=1e-12)
    higher = evidence_of_ratings(rating, ["a", "b"], STATES, ["x"], floor=2.0)
    np.testing.assert_allclose(higher.ratios[0, 0, 1], np.log(6.0 / 9.0), rtol=1e-12)
    assert higher.items == ("x",)


def test_ratings_against_numpy_where_many_are_missing():
    rng = np.random.default_rng(0)
    rating = rng.integers(0, 11, (40, 3, 4, 3)).astype(float)
    rating[rng.random(rating.shape) < 0.5] = NAN
    found = evidence_of_ratings(rating, ["a", "b", "c"], ["w", "x", "y", "z"])
    whole = (~np.isnan(rating)).any(axis=-1).all(axis=-1)
    np.testing.assert_array_equal(found.known, whole)
    assert 0 < whole.mean() < 1
    np.testing.assert_array_equal(found.log_likelihood[~whole], 0.0)
    np.testing.assert_allclose(
        found.log_likelihood[whole], np.log(np.nanmean(rating[whole], axis=-1) + 0.5), rtol=1e-12
    )


@given(st.integers(0, 1000), st.integers(1, 4), st.sampled_from([(), (3,), (2, 2)]))
def test_repeats_are_averaged_in_any_order_and_copies_of_them_say_no_more(seed, repeats, lead):
    rng = np.random.default_rng(seed)
    rating = jnp.asarray(rng.uniform(0, 10, (*lead, repeats)))
    once = log_likelihood_of_ratings(rating)
    np.testing.assert_allclose(once, np.log(np.mean(rating, axis=-1) + 0.5), rtol=1e-12)
    again = jnp.concatenate([rating[..., ::-1], rating], axis=-1)
    np.testing.assert_allclose(log_likelihood_of_ratings(again), once, rtol=1e-12, atol=1e-14)
    gaps = jnp.concatenate([rating, jnp.full((*lead, 2), NAN)], axis=-1)
    np.testing.assert_array_equal(log_likelihood_of_ratings(gaps, ~jnp.isnan(gaps)), once)
    none = log_likelihood_of_ratings(gaps, jnp.zeros(gaps.shape, bool))
    np.testing.assert_array_equal(none, np.zeros(lead))


@given(st.integers(0, 1000))
def test_a_constant_per_item_and_rater_changes_no_ratio(seed):
    rng = np.random.default_rng(seed)
    log_likelihood = jnp.asarray(rng.normal(size=(5, 3, 4)))
    constant = jnp.asarray(rng.normal(0, 10, (5, 3, 1)))
    names = (("a", "b", "c"), ("w", "x", "y", "z"), tuple(range(5)))
    one = Evidence(log_likelihood, jnp.ones((5, 3), bool), *names)
    other = Evidence(log_likelihood + constant, jnp.ones((5, 3), bool), *names)
    np.testing.assert_allclose(other.ratios, one.ratios, atol=1e-12)
    np.testing.assert_array_equal(one.ratios[..., 0], 0.0)


def test_probabilities_by_hand():
    probability = np.array([[[0.2, 0.8], [0.0, 1.0], [NAN, 0.5]], [[0.1, 0.3], [0.5, 0.5], [1, 0]]])
    found = evidence_of_probabilities(probability, ["a", "b", "c"], STATES, ["x", "y"])
    assert found.known.tolist() == [[True, True, False], [True, True, True]]
    ratio = np.log([[4, 99, 1], [3, 1, 1 / 99]])
    np.testing.assert_allclose(found.ratios[..., 1], ratio, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        np.exp(found.log_likelihood[0, 0]), np.array([0.2, 0.8]) / 0.5, rtol=1e-12
    )


def test_what_tokens_that_name_no_state_take_is_left_out():
    found = evidence_of_probabilities(np.array([[[0.002, 0.006]]]), ["a"], STATES)
    assert float(found.ratios[0, 0, 1]) == pytest.approx(np.log(3), rel=1e-12)


def test_what_a_prior_of_its_own_made_a_rater_say_is_no_evidence():
    """A rater that repeats its prior has seen nothing."""
    priors = np.array([[0.9, 0.1], [0.5, 0.5]])
    said = np.array([[[0.9, 0.1], [0.9, 0.1]]])
    found = evidence_of_probabilities(said, ["a", "b"], STATES, prior=priors)
    np.testing.assert_allclose(found.ratios[0, :, 1], [0.0, np.log(1 / 9)], atol=1e-14)
    shared = evidence_of_probabilities(said, ["a", "b"], STATES, prior=priors[0])
    np.testing.assert_allclose(shared.ratios[0, :, 1], 0.0, atol=1e-14)


def test_floors_of_several_states_against_numpy():
    probability = np.random.default_rng(1).dirichlet(0.2 * np.ones(3), (30, 2))
    prior = np.array([0.5, 0.3, 0.2])
    found = evidence_of_probabilities(
        probability, ["a", "b"], ["x", "y", "z"], prior=prior, floor=0.05
    )
    share = np.clip(probability, 0.05, 0.95)
    share /= share.sum(axis=-1, keepdims=True)
    assert (probability < 0.05).any()
    np.testing.assert_allclose(found.log_likelihood, np.log(share / prior), rtol=1e-10, atol=1e-12)


def test_two_states_have_one_ratio():
    probability = np.array([0.0, 0.001, 0.3, 0.5, 0.99, 1.0, NAN])
    found = log_ratio_of_probability(jnp.asarray(probability))
    inside = np.clip(probability, 0.01, 0.99)
    np.testing.assert_allclose(found, np.log(inside / (1 - inside)), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(probability_of_log_ratio(found), inside, rtol=1e-12)
    assert float(log_ratio_of_probability(jnp.array(1.0), 0.2)) == pytest.approx(np.log(4))
    assert probability_of_log_ratio(jnp.array([-1e4, 1e4])).tolist() == [0.0, 1.0]
    both = np.stack([1 - probability, probability], axis=-1)[:-1, None]
    evidence = evidence_of_probabilities(both, ["a"], STATES)
    np.testing.assert_allclose(evidence.ratios[:, 0, 1], found[:-1], rtol=1e-12, atol=1e-14)


def test_evidence_survives_jit_and_vmap():
    rating = np.random.default_rng(2).uniform(0, 10, (6, 2, 3, 2))
    names = (["a", "b"], ["x", "y", "z"], range(6))
    found = evidence_of_ratings(rating, *names)
    traced = jax.jit(lambda x: evidence_of_ratings(x, *names))(rating)
    np.testing.assert_allclose(traced.log_likelihood, found.log_likelihood, rtol=1e-12)
    assert traced.items == found.items
    each = jax.vmap(lambda one: one.ratios)(found)
    np.testing.assert_array_equal(each, found.ratios)
    nothing = jax.jit(lambda x: evidence_of_probabilities(x, ["a"], STATES))(np.zeros((1, 1, 2)))
    assert nothing.known.tolist() == [[False]]
    assert nothing.log_likelihood.tolist() == [[[0.0, 0.0]]]


@pytest.mark.parametrize(
    ("rating", "words"),
    [
        ([3.0, 95.0, 60.0], r"in \[0, 10\]; 2 values of 3 outside, the largest 95. Are these perc"),
        ([3.0, 11.0], r"1 value of 2 outside, the largest 11. A reply that states no such"),
        ([-1.0, 99.0], r"2 values of 2 outside, the largest 99 and the smallest -1. A reply"),
        ([NAN, 1.0], "1 value that `known` says are there are NaN. Mark them as not known"),
    ],
)
def test_ratings_out_of_range(rating, words):
    with pytest.raises(InvalidInputError, match=words):
        log_likelihood_of_ratings(jnp.array(rating))
    known = (jnp.array(rating) >= 0) & (jnp.array(rating) <= 10)
    assert np.isfinite(float(log_likelihood_of_ratings(jnp.array(rating), known)))


@pytest.mark.parametrize("floor", [0.0, -1.0, np.nan, np.inf])
def test_floors_out_of_range(floor):
    with pytest.raises(InvalidInputError, match="`floor` must be above 0"):
        log_likelihood_of_ratings(jnp.zeros(2), floor=floor)
    with pytest.raises(InvalidInputError, match="`floor` must be above 0 and below one half"):
        log_ratio_of_probability(jnp.array(0.3), floor)
    with pytest.raises(InvalidInputError, match=r"below an even share of 2 states, 0\.5"):
        evidence_of_probabilities(np.full((1, 1, 2), 0.5), ["a"], STATES, floor=floor)


@pytest.mark.parametrize(
    ("said", "prior", "words"),
    [
        ([0.5, 1.2], None, r"`probability` must lie in \[0, 1\]; 1 value of 2 outside, the larg"),
        ([30.0, 70.0], None, "Are these percentages. Divide them all by 100"),
        ([0.0, 0.0], None, "there is 1 reply with 0 for every state"),
        ([0.5, 0.5], [0.0, 1.0], "`prior` must be above 0 in every state and sum to 1"),
        ([0.5, 0.5], [0.5, 0.6], "sum to 1; got"),
        ([0.5, 0.5], [[0.5, 0.5]] * 3, r"shape \(2,\), or \(1, 2\) .* it has \(3, 2\)"),
    ],
)
def test_what_are_no_probabilities(said, prior, words):
    prior = None if prior is None else np.array(prior)
    with pytest.raises(InvalidInputError, match=words):
        evidence_of_probabilities(np.array([[said]]), ["a"], STATES, prior=prior)


def test_a_single_probability_is_checked_too():
    with pytest.raises(InvalidInputError, match="`probability` must lie in"):
        log_ratio_of_probability(jnp.array([0.3, 1.01, NAN]))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((["a"], STATES, ["x"]), r"1 items, 1 raters and 2 states.*\(1, 1, 2\).*\(1, 2, 2\)"),
        ((["a", "a"], STATES, ["x"]), '`raters` must be distinct; got "a", "a"'),
        ((["a", "b"], ["s", "s"], ["x"]), "`states` must be distinct"),
        ((["a", "b"], STATES, ["x", "y"]), "2 items"),
    ],
)
def test_names_and_shapes_must_agree(names, words):
    with pytest.raises(InvalidInputError, match=words):
        evidence_of_ratings(np.ones((1, 2, 2, 1)), *names)


def test_evidence_is_of_states_and_of_numbers():
    with pytest.raises(InvalidInputError, match='two states or more; got "fit"'):
        evidence_of_ratings(np.ones((1, 1, 1, 1)), ["a"], ["fit"])
    known = jnp.array([[True, False]])
    with pytest.raises(InvalidInputError, match="1 cell of items and raters has NaN"):
        Evidence(jnp.full((1, 2, 2), NAN), known, ("a", "b"), STATES, ("x",))


def test_some_raters_in_another_order():
    rating = np.arange(12.0).reshape(2, 3, 2, 1) % 11
    found = evidence_of_ratings(rating, ["a", "b", "c"], STATES)
    fewer = found.of_raters(("c", "a"))
    np.testing.assert_array_equal(fewer.ratios, found.ratios[:, np.array([2, 0])])
    assert fewer.raters == ("c", "a")
    with pytest.raises(InvalidInputError, match='must be among "a", "b", "c"; got "d"'):
        found.of_raters(("d",))
