"""The worked case: its world is what it says, methods cost what they do, parts are counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.decisions import (
    METHODS,
    PARTS,
    ScreeningWorld,
    compare_screening,
    simulated_candidates,
    value_of_asking,
)
from jaxcascade.decisions.screening import INTERVIEW, REJECT

WORLD = ScreeningWorld()


@pytest.fixture(scope="module")
def many():
    return jax.tree.map(np.asarray, simulated_candidates(jax.random.key(0), 40_000, WORLD))


@pytest.fixture(scope="module")
def results():
    return compare_screening(jax.random.key(1), 10, num_labelled=100, num_candidates=400)


def test_candidates_are_as_described(many):
    fit = many.truth == 1
    # Four standard errors of a share of 40,000, and of 8,000 who are fit.
    assert fit.mean() == pytest.approx(0.2, abs=0.008)
    assert many.group.mean() == pytest.approx(0.4, abs=0.01)
    assert many.screen[fit].mean() == pytest.approx(0.9, abs=0.014)
    assert many.screen[~fit].mean() == pytest.approx(0.15, abs=0.008)
    assert set(np.unique(many.rating)) == set(range(11))
    # Symmetric: how typical of the fit and of the unfit sum to 10, but for rounding at halves.
    assert np.abs(many.rating.sum(axis=-1) - 10.0).max() <= 1.0


def test_errors_correlate_as_those_of_language_models(many):
    wrong = (many.rating[..., 1] > many.rating[..., 0]) != (many.truth == 1)[:, None]
    pairs = np.triu_indices(5, 1)
    by_state = [np.corrcoef(wrong[many.truth == state].T)[pairs].mean() for state in (0, 1)]
    assert np.mean(by_state) == pytest.approx(0.55, abs=0.03)


def test_the_best_belief_is_calibrated_and_no_other_is_better(many):
    chance = many.belief[:, 1]
    order = np.argsort(chance)
    for part in np.array_split(order, 10):
        error = np.sqrt(max(chance[part].mean() * (1 - chance[part].mean()), 1e-4) / len(part))
        assert abs(many.truth[part].mean() - chance[part].mean()) < 4 * error
    loss = -np.log(many.belief[np.arange(len(chance)), many.truth]).mean()
    slope = np.log(many.rating[:, 0, 1] + 0.5) - np.log(many.rating[:, 0, 0] + 0.5)
    rival = 1 / (1 + np.exp(-(slope + np.log(0.25))))
    assert loss < -np.log(np.where(many.truth == 1, rival, 1 - rival)).mean()


def test_methods_without_beliefs_cost_what_their_shares_say(results):
    at = {name: place for place, name in enumerate(results.methods)}
    assert tuple(at) == tuple(METHODS)
    unfit = results.cost_usd[:, at["interview all"]] / 2_500 / 1_000
    np.testing.assert_allclose(
        results.cost_usd[:, at["reject all"]], 40_000 * 1_000 * (1 - unfit), rtol=1e-9
    )
    screened = at["screen all, interview who passes"]
    assert (results.screened[:, screened] == 1).all()
    missed = results.missed[:, screened] * (1 - unfit)
    wasted = results.interviewed[:, screened] - (1 - unfit) + missed
    np.testing.assert_allclose(
        results.cost_usd[:, screened],
        1_000 * (150 + 40_000 * missed + 2_500 * wasted),
        rtol=1e-9,
    )


def test_nothing_beats_knowing_the_world_and_copies_of_one_voice_are_the_worst(results):
    at = {name: place for place, name in enumerate(results.methods)}
    mean = np.asarray(results.cost_usd).mean(axis=0)
    screened = [name for name in at if name.endswith(", screen")]
    assert min(screened, key=lambda name: mean[at[name]]) == "best possible, screen"
    assert mean[at["sum (naive Bayes), screen"]] > mean[at["median, screen"]]
    assert mean[at["median, screen"]] > mean[at["tempered pool, screen"]]


def test_all_parts_together_are_the_tempered_pool_with_a_screen(results):
    at = {name: place for place, name in enumerate(results.methods)}
    assert results.saved_usd.shape == (10, 2 ** len(PARTS))
    np.testing.assert_array_equal(results.saved_usd[:, 0], 0.0)
    none = results.cost_usd[:, at["best rater, likelier state"]]
    for subset, name in (
        (-1, "tempered pool, screen"),
        (0b0100, "best rater, by cost"),
        (0b0110, "best rater fitted, by cost"),
        (0b1101, "median, screen"),
    ):
        np.testing.assert_allclose(
            results.saved_usd[:, subset], none - results.cost_usd[:, at[name]], rtol=1e-9
        )


def test_what_is_set_is_what_is_done():
    """A screen that knows, and costs nothing, leaves no mistake to anybody who asks it."""
    world = ScreeningWorld(sensitivity=1.0, specificity=1.0, screen_usd=0.0)
    found = simulated_candidates(jax.random.key(2), 500, world)
    done = METHODS["screen all, interview who passes"](None, found, world)
    np.testing.assert_array_equal(done.interview, found.truth == INTERVIEW)
    worth = value_of_asking(jnp.array([[0.7, 0.3]]), world.costs, world.screen)
    assert float(worth[0, 0]) == pytest.approx(0.7 * 2_500)
    assert world.costs.actions[REJECT] == "reject"
    assert world.costs.threshold("reject", "interview") == pytest.approx(2_500 / 42_500)
