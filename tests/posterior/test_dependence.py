"""What belongs to pairs, against the conditional posterior by brute force on a grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.copulas import CensoredPairs, Frank, Gumbel, Independence, censored_log_likelihood
from jaxcascade.posterior import Priors
from jaxcascade.posterior.dependence import draw_history, draw_tau
from jaxcascade.posterior.model import levels, pair_signals

PRIORS = Priors()
PAIRS = ((0, 1), (1, 2))


def repeated(posterior, number, times):
    return jax.tree.map(
        lambda leaf: jnp.repeat(leaf[number : number + 1], times, 0), posterior.sites
    )


def moments_by_brute_force(evidence, sites, family, pair):
    """Mean and standard deviation of tau given the margins' values, on 400 points."""
    i, j = pair
    below, upto = levels(evidence, sites)
    data = CensoredPairs(
        below[:, i],
        upto[:, i],
        below[:, j],
        upto[:, j],
        evidence.asked[:, i] * evidence.asked[:, j],
    )
    low, high = family.tau_range
    share = (np.arange(400) + 0.5) / 400
    tau = low + (high - low) * share
    heights = jax.lax.map(
        lambda t: censored_log_likelihood(family.from_tau(t), data), jnp.asarray(tau)
    )
    log_density = np.asarray(heights) + np.log(share * (1 - share))
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = density @ tau
    return mean, np.sqrt(density @ (tau - mean) ** 2)


@pytest.mark.parametrize("family", [Gumbel, pytest.param(Frank, marks=pytest.mark.slow)])
def test_tau_given_one_law_is_that_of_the_grid(posterior, family):
    sites = repeated(posterior, 11, 3000)
    draws = np.asarray(
        draw_tau(jax.random.key(0), posterior.evidence, sites, family, PRIORS, PAIRS)
    )
    one = jax.tree.map(lambda leaf: leaf[0], sites)
    for p, pair in enumerate(PAIRS):
        mean, deviation = moments_by_brute_force(posterior.evidence, one, family, pair)
        # Five standard errors of 3,000 draws.
        assert abs(draws[:, p].mean() - mean) < 0.1 * deviation
        assert draws[:, p].std() == pytest.approx(deviation, rel=0.08)


@pytest.mark.slow
def test_tau_follows_the_laws_to_first_order(posterior):
    """Draws a fifth as far from their middle as they are: there the first order is all there is."""
    evidence, times = posterior.evidence, 200
    middle = jax.tree.map(lambda leaf: leaf.mean(axis=0), posterior.sites)
    every = jax.tree.map(
        lambda leaf, mean: mean + 0.2 * (leaf[::10] - mean), posterior.sites, middle
    )
    many = jax.tree.map(lambda leaf: jnp.repeat(leaf, times, 0), every)
    draws = draw_tau(jax.random.key(2), evidence, many, Gumbel, PRIORS, PAIRS[:1])
    found = np.asarray(draws).reshape(-1, times).mean(axis=1)
    expected = []
    for number in range(len(found)):
        sites = jax.tree.map(lambda leaf, number=number: leaf[number], every)
        expected.append(moments_by_brute_force(evidence, sites, Gumbel, PAIRS[0]))
    mean, deviation = np.array(expected).T
    noise = deviation.mean() / np.sqrt(times)
    # They move by about twice the noise of 200 draws.
    assert np.corrcoef(found, mean)[0, 1] > 0.7
    assert np.sqrt(np.mean((found - mean) ** 2)) < 2.0 * noise


@pytest.mark.slow
def test_tau_of_draws_is_near_that_of_brute_force(posterior):
    """Over all draws: levels that scatter take a little of tau, which the first order leaves in."""
    evidence, expected = posterior.evidence, []
    for number in range(0, 200, 5):
        sites = jax.tree.map(lambda leaf, number=number: leaf[number], posterior.sites)
        expected.append(moments_by_brute_force(evidence, sites, Gumbel, PAIRS[0]))
    mean, deviation = np.array(expected).T
    spread = np.sqrt(np.mean(deviation**2) + np.var(mean))
    draws = np.asarray(
        draw_tau(jax.random.key(2), evidence, posterior.sites, Gumbel, PRIORS, PAIRS[:1])
    )
    # 0.3 standard deviations here, where 120 queries tell; the rest is noise of 200 draws.
    assert abs(draws.mean() - mean.mean()) < 0.6 * spread
    assert draws.std() == pytest.approx(spread, rel=0.35)


def test_history_is_that_of_the_grid(posterior):
    evidence, sites = posterior.evidence, repeated(posterior, 5, 3000)
    draws = np.asarray(draw_history(jax.random.key(3), evidence, sites, PRIORS, PAIRS))
    left = np.asarray(pair_signals(evidence, PAIRS))
    gamma = np.linspace(-2.5, 2.5, 2001)
    for p, (_, later) in enumerate(PAIRS):
        own = sites["intercept"][0, later] + sites["slope"][0, later] * evidence.signal[:, later]
        log_odds = np.asarray(own)[:, None] + gamma * left[:, p : p + 1]
        correct = np.asarray(evidence.correct[:, later])[:, None]
        log_density = np.sum(correct * log_odds - np.logaddexp(0, log_odds), axis=0)
        log_density -= 0.5 * (gamma / PRIORS.history_scale) ** 2
        density = np.exp(log_density - log_density.max())
        density /= density.sum()
        mean = density @ gamma
        deviation = np.sqrt(density @ (gamma - mean) ** 2)
        # A normal law stands for the grid's: the mode is not quite the mean.
        assert abs(draws[:, p].mean() - mean) < 0.15 * deviation
        assert draws[:, p].std() == pytest.approx(deviation, rel=0.1)


def test_independence_has_no_tau(posterior):
    draws = draw_tau(
        jax.random.key(0), posterior.evidence, posterior.sites, Independence, PRIORS, PAIRS
    )
    assert np.all(np.asarray(draws) == 0.0)


def test_unasked_cells_do_not_count(posterior):
    evidence = posterior.evidence
    asked = evidence.asked.at[60:, 0].set(0.0)
    gone = evidence._replace(asked=asked, labelled=evidence.labelled * (asked > 0))
    wild = gone._replace(
        place=gone.place.at[60:, 0].set(0.999), signal=gone.signal.at[60:, 0].set(9.0)
    )
    key = jax.random.key(1)
    for draw in (
        lambda e: draw_tau(key, e, posterior.sites, Gumbel, PRIORS, PAIRS),
        lambda e: draw_history(key, e, posterior.sites, PRIORS, PAIRS),
    ):
        np.testing.assert_allclose(draw(gone), draw(wild), rtol=1e-9)
