"""The NumPyro model against SciPy, term by term."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro.infer.util import log_density, potential_energy
from scipy import stats
from scipy.special import expit

from jaxcascade.copulas import CensoredPairs, Gumbel, censored_log_likelihood
from jaxcascade.posterior import Priors
from jaxcascade.posterior.density import density_of
from jaxcascade.posterior.model import (
    InteriorPlace,
    calibration_model,
    confidence_model,
    joint_model,
    levels,
    margins_model,
    mixture,
    pair_signals,
)

PRIORS = Priors()


@pytest.fixture(scope="module")
def evidence(posterior):
    """Some queries, with weights of their own, a missing cell and a missing label."""
    part = jax.tree.map(lambda leaf: leaf[:20], posterior.evidence)
    weight = jnp.linspace(0.5, 2.0, 20)[:, None]
    asked = (part.asked * weight).at[3, 1].set(0.0)
    return part._replace(asked=asked, labelled=asked.at[5, 0].set(0.0))


@pytest.fixture(scope="module")
def sites(posterior):
    found = jax.tree.map(lambda leaf: leaf[7], posterior.sites)
    return found | {"tau_share": found["tau"] / 0.99}


def latent(sites, *names):
    return {name: sites[name] for name in names}


CALIBRATION = ("intercept_mean", "intercept_spread", "slope_mean", "slope_spread")
CALIBRATION += ("intercept", "steepness")
LAW = ("weight", "low_center", "gap", "concentration")


def calibration_by_hand(evidence, sites, shift=0.0):
    s = {name: np.asarray(value) for name, value in sites.items()}
    total = stats.norm(0, 1.5).logpdf(s["intercept_mean"])
    total += stats.lognorm(0.4, scale=1.0).logpdf(s["intercept_spread"])
    total += stats.norm(0.54, 0.5).logpdf(s["slope_mean"])
    total += stats.lognorm(0.4, scale=0.5).logpdf(s["slope_spread"])
    total += stats.norm(s["intercept_mean"], s["intercept_spread"]).logpdf(s["intercept"]).sum()
    total += stats.norm(s["slope_mean"], s["slope_spread"]).logpdf(s["steepness"]).sum()
    evidence = jax.tree.map(np.asarray, evidence)
    chance = expit(s["intercept"] + np.log1p(np.exp(s["steepness"])) * evidence.signal + shift)
    return total + np.sum(evidence.labelled * stats.bernoulli(chance).logpmf(evidence.correct))


def law_by_hand(evidence, sites):
    evidence = jax.tree.map(np.asarray, evidence)
    s = {name: np.asarray(value) for name, value in sites.items()}
    total = stats.beta(2, 2).logpdf(s["weight"]).sum()
    total += stats.norm(-1, PRIORS.center_scale).logpdf(s["low_center"]).sum()
    total += stats.halfnorm(scale=PRIORS.gap_scale).logpdf(s["gap"]).sum()
    total += stats.lognorm(1.2, scale=PRIORS.concentration_center).logpdf(s["concentration"]).sum()
    for j, atoms in enumerate(s["atoms"]):
        total += stats.dirichlet([0.5, 1.0, 0.5]).logpdf(atoms)
        weight = np.asarray(evidence.asked[:, j])
        total += weight @ np.log(atoms[np.asarray(evidence.end[:, j])])
        center = expit(s["low_center"][j] + np.array([0.0, s["gap"][j]]))
        a, b = s["concentration"][j] * center, s["concentration"][j] * (1 - center)
        place = np.asarray(evidence.place[:, j])
        low, high = (stats.beta(a[c], b[c]).pdf(place) for c in (0, 1))
        density = s["weight"][j] * low + (1 - s["weight"][j]) * high
        total += (weight * np.asarray(evidence.inside[:, j])) @ np.log(density)
    return total


def test_calibration_is_scipys(evidence, sites):
    found, _ = log_density(calibration_model, (evidence, PRIORS), {}, latent(sites, *CALIBRATION))
    assert float(found) == pytest.approx(calibration_by_hand(evidence, sites), rel=1e-9)


def test_law_of_confidence_is_scipys(evidence, sites):
    values = latent(sites, "atoms", *LAW)
    found, _ = log_density(confidence_model, (evidence, PRIORS), {}, values)
    assert float(found) == pytest.approx(law_by_hand(evidence, sites), rel=1e-9)


def test_joint_model_adds_dependence_and_history(evidence, sites):
    pairs = ((0, 1), (1, 2))
    chosen = sites | {
        "tau_share": jnp.array([0.3, 0.5]),
        "history": jnp.array([0.4, -0.2]),
    }
    names = ("tau_share", "history", "atoms", *LAW, *CALIBRATION)
    found, _ = log_density(
        joint_model, (evidence, PRIORS, Gumbel, pairs), {}, latent(chosen, *names)
    )
    left = np.asarray(pair_signals(evidence, pairs))
    shift = np.column_stack([np.zeros(len(left)), left * np.array([0.4, -0.2])])
    expected = calibration_by_hand(evidence, chosen, shift) + law_by_hand(evidence, chosen)
    expected += stats.beta(2, 2).logpdf([0.3, 0.5]).sum()
    expected += stats.norm(0, 0.5).logpdf([0.4, -0.2]).sum()
    below, upto = levels(evidence, chosen)
    for (i, j), share in zip(pairs, (0.3, 0.5), strict=True):
        weight = jnp.sqrt(evidence.asked[:, i] * evidence.asked[:, j])
        data = CensoredPairs(below[:, i], upto[:, i], below[:, j], upto[:, j], weight)
        copula = Gumbel.from_tau(jnp.array(0.99 * share))
        expected += float(censored_log_likelihood(copula, data))
        # The margins have counted the masses of atoms.
        for column in (i, j):
            end, of_end = np.asarray(evidence.end[:, column]), np.asarray(chosen["atoms"][column])
            masses = np.where(end == 1, 1.0, np.where(end == 0, of_end[0], of_end[2]))
            expected -= np.sum(np.asarray(weight) * np.log(masses))
    assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("blocks", [None, 3])
def test_unconstrained_density_is_numpyros(evidence, sites, blocks):
    model = margins_model if blocks is None else confidence_model
    names = ("atoms", *LAW) if blocks else ("atoms", *LAW, *CALIBRATION)
    density = density_of(model, (evidence, PRIORS), blocks)
    vector = density.pack(latent(sites, *names))
    free = density.unpack(vector)
    expected = -potential_energy(model, (evidence, PRIORS), {}, free)
    found = density.log_prob(vector)
    assert found.shape == (() if blocks is None else (3,))
    assert float(found.sum()) == pytest.approx(float(expected), rel=1e-10)
    back = density.constrain(vector)
    for name in names:
        np.testing.assert_allclose(back[name], sites[name], rtol=1e-9)


def test_blocks_are_independent(evidence, sites):
    density = density_of(confidence_model, (evidence, PRIORS), 3)
    vector = density.pack(latent(sites, "atoms", *LAW))
    before = density.log_prob(vector)
    after = density.log_prob(vector.at[1].add(0.1))
    np.testing.assert_array_equal(np.asarray(after != before), [False, True, False])


def test_a_folded_site_has_the_density_of_its_size_on_both_sides_of_zero(evidence, sites):
    plain = density_of(confidence_model, (evidence, PRIORS), 3)
    folded = density_of(confidence_model, (evidence, PRIORS), 3, folded=("gap",))
    chosen = latent(sites, "atoms", *LAW)
    at = folded.pack(chosen)
    # Without the volume of the logarithm.
    expected = plain.log_prob(plain.pack(chosen)) - jnp.log(sites["gap"])
    np.testing.assert_allclose(folded.log_prob(at), expected, rtol=1e-12)
    mirrored = jnp.where(at == sites["gap"][:, None], -at, at)
    assert not np.any(np.all(np.asarray(mirrored == at), axis=1))
    np.testing.assert_allclose(folded.log_prob(mirrored), expected, rtol=1e-12)
    np.testing.assert_array_equal(folded.constrain(mirrored)["gap"], sites["gap"])


def test_levels_are_those_of_the_marginal(posterior):
    sites = jax.tree.map(lambda leaf: leaf[3], posterior.sites)
    model = jax.tree.map(lambda leaf: leaf[3], posterior.models())
    own = jax.nn.sigmoid(sites["intercept"] + sites["slope"] * posterior.evidence.signal)
    below, upto = levels(posterior.evidence, sites)
    for j in range(3):
        law = jax.tree.map(lambda leaf, j=j: leaf[j], model.marginal)
        inside = np.asarray(posterior.evidence.inside[:, j])
        np.testing.assert_allclose(law.cdf(own[:, j])[inside], upto[inside, j], atol=1e-9)
        # Off the atoms the lower level is above the upper: no atom.
        np.testing.assert_array_equal(below[inside, j], 1.0)
        ends = np.asarray(posterior.evidence.end[:, j])
        assert np.all(upto[ends == 2, j] == 1.0)
        assert np.all(below[ends == 0, j] == 0.0)


def test_draws_of_places_follow_the_mixture():
    law = mixture(
        jnp.array([0.3, 0.8]),
        jnp.array([-2.0, 0.0]),
        jnp.array([3.0, 0.5]),
        jnp.array([[6.0, 9.0], [2.0, 40.0]]),
    )
    draws = np.asarray(InteriorPlace(law).sample(jax.random.key(0), (4000,)))
    for j in range(2):
        one = jax.tree.map(lambda leaf, j=j: leaf[j], law)
        # 1 in 1,000 such tests fails by chance; the seed is one that does not.
        assert (
            stats.kstest(draws[:, j], lambda z, one=one: np.asarray(one.cdf(jnp.asarray(z)))).pvalue
            > 1e-3
        )


@pytest.mark.slow
def test_numpyro_can_sample_the_prior(evidence):
    draws = numpyro.infer.Predictive(margins_model, num_samples=50)(
        jax.random.key(0), evidence, PRIORS
    )
    assert np.all(np.isfinite(draws["slope"]))
    assert np.all(np.asarray(draws["slope"]) > 0)


@pytest.mark.slow
def test_the_joint_density_has_finite_derivatives(evidence, sites):
    """Rows on atoms and off them; what is masked must not leak."""
    pairs = ((0, 1), (1, 2))
    chosen = sites | {"tau_share": jnp.array([0.3, 0.5]), "history": jnp.zeros(2)}
    density = density_of(joint_model, (evidence, PRIORS, Gumbel, pairs))
    vector = density.pack(chosen)
    gradient = jax.jit(jax.grad(density.log_prob))(vector)
    assert np.all(np.isfinite(gradient))
    step = 1e-6 * jnp.eye(vector.size)
    value = jax.jit(jax.vmap(density.log_prob))
    differences = (value(vector + step) - value(vector - step)) / 2e-6
    np.testing.assert_allclose(gradient, differences, rtol=1e-4, atol=1e-4)
