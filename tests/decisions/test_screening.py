"""The worked case: methods cost what they do, parts are counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jaxcascade.decisions import (
    METHODS,
    PARTS,
    ScreeningWorld,
    compare_screening,
    simulated_candidates,
    value_of_asking,
)
from jaxcascade.decisions.screening import _stacked
from jaxcascade.decisions.screening_world import INTERVIEW, REJECT


@pytest.fixture(scope="module")
def results():
    return compare_screening(jax.random.key(1), 10, num_labelled=100, num_candidates=400)


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


def test_stacking_is_scikit_learns():
    rng = np.random.default_rng(0)
    before, told = rng.normal(0, 2, (60, 4, 2)), rng.normal(0, 2, (30, 4, 2))
    truth = (rng.random(60) < 0.3).astype(int)
    log_prior = np.log([0.7, 0.3])
    found = _stacked(*map(jnp.asarray, (before, truth, told, log_prior)))
    # Its offset takes up the prior.
    peer = LogisticRegression(C=0.1, tol=1e-10).fit(before[..., 1] - before[..., 0], truth)
    np.testing.assert_allclose(found, peer.predict_proba(told[..., 1] - told[..., 0]), atol=1e-6)
