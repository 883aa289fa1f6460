"""The worked case's world is what it says."""

import jax
import numpy as np
import pytest

from jaxcascade.decisions import ScreeningWorld, simulated_candidates

WORLD = ScreeningWorld()


@pytest.fixture(scope="module")
def many():
    return jax.tree.map(np.asarray, simulated_candidates(jax.random.key(0), 40_000, WORLD))


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
