"""The joint model in NumPyro.

Three parts: labels given confidences, each model's law of confidence, and the dependence of
pairs. The first two have a likelihood of their own each. The third needs the levels that the
second one gives.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from jaxcascade.copulas import CensoredPairs, Copula, censored_log_likelihood
from jaxcascade.marginals import BetaMixture
from jaxcascade.posterior.evidence import Evidence
from jaxcascade.posterior.priors import Priors

# Where the beta functions are accurate.
SMALLEST, LARGEST = 0.05, 1000.0

Sites = dict[str, Any]


def calibration_model(
    evidence: Evidence, priors: Priors, log_odds_shift: Float[Array, "n k"] | float = 0.0
) -> None:
    """Bayesian logistic regression per model on standardised signals, partially pooled.

    Args:
        evidence: The records.
        priors: Hyperparameters.
        log_odds_shift: What is known of an answer beyond its own signal.
    """
    k = evidence.signal.shape[1]
    intercept_mean = numpyro.sample("intercept_mean", dist.Normal(0.0, priors.intercept_scale))
    intercept_spread = numpyro.sample(
        "intercept_spread", dist.LogNormal(jnp.log(priors.intercept_spread), priors.spread_scale)
    )
    slope_mean = numpyro.sample("slope_mean", dist.Normal(priors.slope_center, priors.slope_scale))
    slope_spread = numpyro.sample(
        "slope_spread", dist.LogNormal(jnp.log(priors.slope_spread), priors.spread_scale)
    )
    with numpyro.plate("model", k):
        intercept = numpyro.sample("intercept", dist.Normal(intercept_mean, intercept_spread))
        steepness = numpyro.sample("steepness", dist.Normal(slope_mean, slope_spread))
        slope = numpyro.deterministic("slope", jax.nn.softplus(steepness))
        with numpyro.plate("query", evidence.signal.shape[0], dim=-2):
            answers = dist.Bernoulli(logits=intercept + slope * evidence.signal + log_odds_shift)
            _observe("correct", answers, evidence.correct, evidence.labelled)


def confidence_model(evidence: Evidence, priors: Priors) -> Sites:
    """Atoms at both ends by their counts, and between them a mixture of two ordered betas.

    Returns:
        The parameters' values.
    """
    n, k = evidence.place.shape
    with numpyro.plate("model", k):
        strength = jnp.array(priors.atom_strength)
        atoms = numpyro.sample("atoms", dist.Dirichlet(strength))
        even = dist.Beta(priors.weight_strength, priors.weight_strength)
        width = dist.LogNormal(jnp.log(priors.concentration_center), priors.concentration_scale)
        law: Sites = {
            "weight": numpyro.sample("weight", even),
            "low_center": numpyro.sample("low_center", dist.Normal(-1.0, priors.center_scale)),
            "gap": numpyro.sample("gap", dist.HalfNormal(priors.gap_scale)),
            "concentration": numpyro.sample("concentration", width.expand([2]).to_event(1)),
        }
        between = mixture(**law)
        with numpyro.plate("query", n, dim=-2):
            ends: Any = dist.Categorical(probs=atoms)
            _observe("end", ends, evidence.end, evidence.asked)
            counts = jnp.where(evidence.inside, evidence.asked, 0.0)
            _observe("place", InteriorPlace(between), evidence.place, counts)
    return {"atoms": atoms, **law}


def margins_model(evidence: Evidence, priors: Priors) -> None:
    """What each model's own runs tell: labels, and the law of its confidence."""
    calibration_model(evidence, priors)
    confidence_model(evidence, priors)


def _observe(name: str, law: dist.Distribution, value: Array, weight: Float[Array, "n k"]) -> None:
    """Observes cells as often as their weight tells; NumPyro itself allows no scale of zero."""
    counts = weight > 0
    with numpyro.handlers.scale(scale=jnp.where(counts, weight, 1.0)):
        numpyro.sample(name, law.mask(counts), obs=value)


def joint_model(
    evidence: Evidence,
    priors: Priors,
    family: type[Copula],
    pairs: tuple[tuple[int, int], ...],
) -> None:
    """All of it with one likelihood, dependence included, its feedback on the margins too.

    Proper where `pairs` are neighbours: then confidences are a Markov chain. With all pairs it
    would be a composite likelihood, which counts each model's confidences once for each partner.
    """
    sites = confidence_model(evidence, priors)
    first, second = np.array(pairs).T
    with numpyro.plate("pair", len(pairs)):
        strength = priors.tau_strength
        share = numpyro.sample("tau_share", dist.Beta(strength, strength))
        history = numpyro.sample("history", dist.Normal(0.0, priors.history_scale))
    lowest, highest = family.tau_range
    tau = numpyro.deterministic("tau", lowest + (highest - lowest) * share)
    left = pair_signals(evidence, pairs)
    shift = jnp.zeros_like(evidence.signal).at[:, second].add(history * left)
    calibration_model(evidence, priors, shift)
    weight = jnp.sqrt(evidence.asked[:, first] * evidence.asked[:, second])
    u_left, u = levels(evidence, sites)
    counted = atom_log_masses(u_left, u)

    def one(pair: tuple[Array, ...]) -> Array:
        i, j, tau, weight = pair
        data = CensoredPairs(u_left[:, i], u[:, i], u_left[:, j], u[:, j], weight)
        twice = weight * (counted[:, i] + counted[:, j])
        return censored_log_likelihood(family.from_tau(tau), data) - jnp.sum(twice)

    terms = jax.lax.map(one, (jnp.asarray(first), jnp.asarray(second), tau, weight.T))
    numpyro.factor("dependence", jnp.sum(terms))


def levels(evidence: Evidence, sites: Sites) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
    """Returns F(x-) and F(x) of every confidence, given the values of `confidence_model`.

    Off the atoms, where the two are the same, F(x-) is given as 1, above any F(x): no atom.
    """
    law = mixture(*(sites[name] for name in ("weight", "low_center", "gap", "concentration")))
    low, middle, high = jnp.moveaxis(sites["atoms"], -1, 0)
    between = low + middle * jax.vmap(lambda law, z: law.cdf(z), (0, 1), 1)(law, evidence.place)
    at_low, at_high = evidence.end == 0, evidence.end == 2
    # XLA may compute `between` twice, a rounding apart, which would pass for an atom of no mass.
    left = jnp.where(at_low, 0.0, jnp.where(at_high, 1.0 - high, 1.0))
    return left, jnp.where(at_low, low, jnp.where(at_high, 1.0, between))


def atom_log_masses(u_left: Float[Array, "n k"], u: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Returns log(F(x) - F(x-)) on atoms, from `levels`, and 0 off them.

    A rectangle or strip of a copula holds the masses of its atoms, which the margins' likelihood
    has counted already: the two together need it divided by them.
    """
    on_atom = u > u_left
    return jnp.where(on_atom, jnp.log(jnp.where(on_atom, u - u_left, 1.0)), 0.0)


class PairResiduals(NamedTuple):
    """How an earlier model's signal is cleared of what the later one's tells.

    Attributes:
        slope: Of the regression of the earlier signal on the later, per pair.
        scale: Standard deviation of what is left.
    """

    slope: Float[Array, "*batch pairs"]
    scale: Float[Array, "*batch pairs"]


def pair_residuals(evidence: Evidence, pairs: tuple[tuple[int, int], ...]) -> PairResiduals:
    """Regresses each earlier signal on the later one's."""
    first, second = np.array(pairs).T
    x, y = evidence.signal[:, second], evidence.signal[:, first]
    weight = jnp.sqrt(evidence.asked[:, first] * evidence.asked[:, second])
    total = jnp.maximum(weight.sum(axis=0), 1e-300)
    mean_x, mean_y = (jnp.sum(weight * part, axis=0) / total for part in (x, y))
    variance = jnp.sum(weight * (x - mean_x) ** 2, axis=0)
    covariance = jnp.sum(weight * (x - mean_x) * (y - mean_y), axis=0)
    slope = jnp.where(variance > 1e-9 * total, covariance / jnp.maximum(variance, 1e-300), 0.0)
    left = y - mean_y - slope * (x - mean_x)
    scale = jnp.sqrt(jnp.sum(weight * left**2, axis=0) / total)
    return PairResiduals(slope, jnp.where(scale > 1e-6, scale, 1.0))


def pair_signals(evidence: Evidence, pairs: tuple[tuple[int, int], ...]) -> Float[Array, "n pairs"]:
    """What each earlier signal tells beyond the later one's, in standard deviations."""
    first, second = np.array(pairs).T
    slope, scale = pair_residuals(evidence, pairs)
    left = (evidence.signal[:, first] - slope * evidence.signal[:, second]) / scale
    return jnp.where(evidence.asked[:, first] > 0, left, 0.0)


def mixture(
    weight: Float[Array, "*batch"],
    low_center: Float[Array, "*batch"],
    gap: Float[Array, "*batch"],
    concentration: Float[Array, "*batch 2"],
) -> BetaMixture:
    """Returns the law between the ends from its parameters; `weight` is the lower component's."""
    center = jax.nn.sigmoid(low_center[..., None] + gap[..., None] * jnp.array([0.0, 1.0]))
    return BetaMixture(
        jnp.stack([weight, 1.0 - weight], axis=-1),
        jnp.clip(concentration * center, SMALLEST, LARGEST),
        jnp.clip(concentration * (1.0 - center), SMALLEST, LARGEST),
    )


class InteriorPlace(dist.Distribution):
    """A `BetaMixture` as NumPyro wants it."""

    support = dist.constraints.unit_interval  # pyright: ignore[reportAssignmentType]
    pytree_data_fields = ("law",)

    def __init__(self, law: BetaMixture, *, validate_args=None):
        self.law = law
        super().__init__(batch_shape=law.weights.shape[:-1], validate_args=validate_args)

    def log_prob(self, value):
        return self.law.log_prob(value)

    def sample(self, key, sample_shape=()):
        assert key is not None
        uniform, normal = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        first = jax.random.uniform(uniform, shape) < self.law.weights[..., 0]
        a, b = (
            jnp.where(first, part[..., 0], part[..., 1])
            for part in (self.law.concentration1, self.law.concentration0)
        )
        return jax.random.beta(normal, a, b, shape)
