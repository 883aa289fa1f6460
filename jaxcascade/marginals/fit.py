"""Fitting the law of a calibrated confidence, many models at once."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, polygamma
from jaxtyping import Array, Float, Int

from jaxcascade.marginals.base import InteriorLaw, Marginal
from jaxcascade.marginals.laws import BetaMixture, HistogramLaw

_SMALLEST, _LARGEST = 0.05, 1000.0
_FEWEST_INTERIOR = 5


class MarginalFit(NamedTuple):
    """A fitted marginal and its story."""

    marginal: Marginal
    log_likelihood: Float[Array, ""]
    num_steps: Int[Array, ""]


class MarginalMethod(eqx.Module):
    """A way of fitting the interior law; atoms and support are the same for all."""

    @abc.abstractmethod
    def fit_interior(
        self, z: Float[Array, " n"], weight: Float[Array, " n"]
    ) -> tuple[InteriorLaw, Int[Array, ""]]:
        """Fits values in (0, 1); rows of weight 0 do not count. Also returns the steps taken."""

    def fit(self, confidence: Float[Array, " n"], weight: Float[Array, " n"]) -> MarginalFit:
        """Fits support, atoms and interior of one model's calibrated confidences.

        The ends of the support are the extremes of the data, and what lies exactly there is
        the atom's, even a single value: the interior then never touches its own ends, where a
        beta density may be infinite (arXiv:2501.09345, section 3.2).

        Args:
            confidence: Calibrated confidences; ignored where `weight` is 0.
            weight: How much each row counts.
        """
        used = weight > 0
        low = jnp.min(jnp.where(used, confidence, jnp.inf))
        high = jnp.max(jnp.where(used, confidence, -jnp.inf))
        share = weight / weight.sum()
        atom_high = jnp.sum(share, where=used & (confidence == high))
        atom_low = jnp.where(low < high, jnp.sum(share, where=used & (confidence == low)), 0.0)
        inside = used & (confidence > low) & (confidence < high)
        width = jnp.where(high > low, high - low, 1.0)
        z = jnp.where(inside, (confidence - low) / width, 0.5)
        interior, steps = self.fit_interior(z, jnp.where(inside, weight, 0.0))
        # Weights that should cancel exactly may leave a rounding error of interior mass.
        atom_high = jnp.where(jnp.any(inside), atom_high, 1.0 - atom_low)
        marginal = Marginal(low, high, atom_low, atom_high, interior)
        log_prob = jnp.where(used, marginal.log_prob(jnp.where(used, confidence, high)), 0.0)
        return MarginalFit(marginal, weight @ log_prob, steps)


class BetaMixtureMethod(MarginalMethod):
    """Two scaled betas by expectation maximisation from several starts.

    Attributes:
        prior_strength: Pseudo-observations of a flat law in each component: just enough to
            keep a component alive that loses all its points. A whole one is far from weak: it
            forbids narrow components, and cost 44 nats on 283 real values with a component of
            concentration 300. 0 is maximum likelihood within the bounds 0.05 and 1000 on
            concentrations.
        max_steps: Most EM steps.
        tolerance: EM stops when a step gains less log-likelihood per observation.
    """

    prior_strength: float = 0.01
    max_steps: int = eqx.field(static=True, default=500)
    tolerance: float = 1e-9

    def fit_interior(
        self, z: Float[Array, " n"], weight: Float[Array, " n"]
    ) -> tuple[BetaMixture, Int[Array, ""]]:
        starts = jax.vmap(_start, in_axes=(0, None, None))(jnp.asarray(_STARTS), z, weight)
        laws, values, steps = jax.vmap(self._maximise, in_axes=(0, None, None))(starts, z, weight)
        best = jax.tree.map(lambda leaf: leaf[jnp.argmax(values)], laws)
        # A law with seven parameters cannot be learnt from a handful of points: flat then.
        enough = jnp.sum(weight > 0) >= _FEWEST_INTERIOR
        flat = BetaMixture(jnp.full(2, 0.5), jnp.ones(2), jnp.ones(2))
        return jax.tree.map(lambda a, b: jnp.where(enough, a, b), best, flat), steps.max()

    def _maximise(
        self, start: BetaMixture, z: Float[Array, " n"], weight: Float[Array, " n"]
    ) -> tuple[BetaMixture, Float[Array, ""], Int[Array, ""]]:
        threshold = self.tolerance * jnp.maximum(weight.sum(), 1.0)

        def step(state):
            law, value, _, count = state
            law, new_value = self._em_step(law, z, weight)
            return law, new_value, new_value - value, count + 1

        def improving(state):
            return (state[3] < self.max_steps) & (jnp.abs(state[2]) > threshold)

        first = (start, jnp.array(-jnp.inf), jnp.array(jnp.inf), jnp.array(0))
        law, value, _, count = jax.lax.while_loop(improving, step, first)
        return law, value, count

    def _em_step(
        self, law: BetaMixture, z: Float[Array, " n"], weight: Float[Array, " n"]
    ) -> tuple[BetaMixture, Float[Array, ""]]:
        """Returns the next law and the penalised log-likelihood of the given one."""
        log_joint = law.component_log_prob(z) + jnp.log(law.weights)
        log_total = jax.nn.logsumexp(log_joint, axis=1)
        responsibility = weight[:, None] * jnp.exp(log_joint - log_total[:, None])
        count = responsibility.sum(axis=0) + jnp.maximum(self.prior_strength, 1e-12)
        # The expected log of a uniform and of its complement is -1: the flat pseudo-data.
        mean_log1 = (jnp.log(z) @ responsibility - self.prior_strength) / count
        mean_log0 = (jnp.log1p(-z) @ responsibility - self.prior_strength) / count
        a, b = _newton_step(law.concentration1, law.concentration0, mean_log1, mean_log0)
        prior = -(law.concentration1 + law.concentration0 - 2.0)
        prior = prior - jax.scipy.special.betaln(law.concentration1, law.concentration0)
        value = weight @ log_total + self.prior_strength * jnp.sum(prior + jnp.log(law.weights))
        return BetaMixture(count / count.sum(), a, b), value


class HistogramMethod(MarginalMethod):
    """A histogram on arcsine-spaced knots, smoothed by a pinch of the flat law.

    Attributes:
        num_cells: Number of cells.
        prior_strength: Pseudo-observations of the flat law.
    """

    num_cells: int = eqx.field(static=True, default=32)
    prior_strength: float = 4.0

    def fit_interior(
        self, z: Float[Array, " n"], weight: Float[Array, " n"]
    ) -> tuple[HistogramLaw, Int[Array, ""]]:
        knots = jnp.sin(0.5 * jnp.pi * jnp.linspace(0.0, 1.0, self.num_cells + 1)) ** 2
        below = jnp.sum(jnp.where(z[:, None] <= knots, weight[:, None], 0.0), axis=0)
        levels = (below + self.prior_strength * knots) / (weight.sum() + self.prior_strength)
        return HistogramLaw(knots, levels), jnp.array(0)


# Each start splits the values at one of these ranks and fits each side by moments.
_STARTS = np.array([0.15, 0.35, 0.5, 0.65, 0.85])


def _start(
    rank: Float[Array, ""], z: Float[Array, " n"], weight: Float[Array, " n"]
) -> BetaMixture:
    order = jnp.argsort(z)
    share = jnp.cumsum(weight[order]) / jnp.maximum(weight.sum(), 1e-300)
    upper = jnp.zeros_like(z).at[order].set(jnp.where(share > rank, 1.0, 0.0))
    sides = weight[:, None] * jnp.stack([1.0 - upper, upper], axis=1)
    total = jnp.maximum(sides.sum(axis=0), 1e-300)
    mean = jnp.clip(z @ sides / total, 1e-3, 1 - 1e-3)
    variance = jnp.sum(sides * (z[:, None] - mean) ** 2, axis=0) / total
    # Moments of a beta: mean (1 - mean) / (1 + a + b) is its variance.
    size = jnp.clip(mean * (1 - mean) / jnp.maximum(variance, 1e-6) - 1.0, 0.5, 200.0)
    weights = jnp.stack([rank, 1.0 - rank])
    return BetaMixture(weights, *(_bounded(c) for c in (mean * size, (1 - mean) * size)))


def _bounded(concentration: Float[Array, " m"]) -> Float[Array, " m"]:
    return jnp.clip(concentration, _SMALLEST, _LARGEST)


def _newton_step(
    a: Float[Array, " m"],
    b: Float[Array, " m"],
    mean_log1: Float[Array, " m"],
    mean_log0: Float[Array, " m"],
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """One damped Newton step on the concave (a-1) E log z + (b-1) E log(1-z) - log B(a, b)."""
    common, curvature = digamma(a + b), polygamma(1, a + b)
    gradient_a, gradient_b = mean_log1 - digamma(a) + common, mean_log0 - digamma(b) + common
    diagonal_a, diagonal_b = polygamma(1, a) - curvature, polygamma(1, b) - curvature
    determinant = diagonal_a * diagonal_b - curvature**2
    step_a = (diagonal_b * gradient_a + curvature * gradient_b) / determinant
    step_b = (diagonal_a * gradient_b + curvature * gradient_a) / determinant
    new_a, new_b = (jnp.clip(c + s, c / 3, 3 * c) for c, s in ((a, step_a), (b, step_b)))
    return _bounded(new_a), _bounded(new_b)
