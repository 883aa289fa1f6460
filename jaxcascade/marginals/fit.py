"""Fitting the law of a calibrated confidence, many models at once."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.marginals.ascent import LARGEST, SMALLEST, Climb, begin, climb, mixture_data
from jaxcascade.marginals.base import InteriorLaw, Marginal
from jaxcascade.marginals.laws import BetaMixture, HistogramLaw

_FEWEST_INTERIOR = 5


class MarginalFit(NamedTuple):
    """A fitted marginal and its story.

    Attributes:
        marginal: The law.
        log_likelihood: Of the data under it, atoms included and priors not.
        num_steps: The most steps taken from one of the starts that came out best.
    """

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
    """Two scaled betas by maximum likelihood: a few steps from many starts, then on from the best.

    A step lies between one of expectation maximisation and one of Newton's method, and is never
    downhill: some twenty of them do what takes expectation maximisation hundreds.

    Attributes:
        prior_strength: Pseudo-observations of a flat law in each component: just enough to
            keep a component alive that loses all its points. A whole one is far from weak: it
            forbids narrow components, and cost 44 nats on 283 real values with a component of
            concentration 300. 0 is maximum likelihood within the bounds 0.05 and 1000 on
            concentrations.
        max_steps: Most steps from each start.
        tolerance: A start is done when a step promises less log-likelihood per observation.
    """

    prior_strength: float = 0.01
    max_steps: int = eqx.field(static=True, default=100)
    tolerance: float = 1e-9

    def fit_interior(
        self, z: Float[Array, " n"], weight: Float[Array, " n"]
    ) -> tuple[BetaMixture, Int[Array, ""]]:
        data = mixture_data(z, weight, jnp.asarray(self.prior_strength))
        threshold = self.tolerance * jnp.maximum(weight.sum(), 1.0)
        heats = _starts(z, weight).reshape(_NUM_HEATS, -1, 5)

        def heat(leaders: Climb, entry: tuple[Array, Array, Array]) -> tuple[Climb, None]:
            starts, limit, last = entry
            fresh = jax.vmap(begin)(starts)
            entrants = jax.tree.map(lambda old, new: jnp.where(last, old, new), leaders, fresh)
            climbed = jax.vmap(climb, (None, 0, None, None))(data, entrants, threshold, limit)
            states = jax.tree.map(lambda *parts: jnp.concatenate(parts), leaders, climbed)
            best = jax.lax.top_k(states.expansion.value, starts.shape[0])[1]
            return jax.tree.map(lambda leaf: leaf[best], states), None

        # The last heat is between the leaders: one loop, compiled once, for all.
        limits = [min(_NUM_SCREENING_STEPS, self.max_steps)] * _NUM_HEATS + [self.max_steps]
        last = jnp.arange(_NUM_HEATS + 1) == _NUM_HEATS
        entries = (jnp.concatenate([heats, heats[:1]]), jnp.array(limits), last)
        leaders, _ = jax.lax.scan(heat, jax.vmap(begin)(heats[0]), entries)
        best = leaders.parameters[0]
        found = BetaMixture(jax.nn.sigmoid(jnp.stack([best[0], -best[0]])), best[1::2], best[2::2])
        # A law with seven parameters cannot be learnt from a handful of points: flat then.
        enough = jnp.sum(weight > 0) >= _FEWEST_INTERIOR
        flat = BetaMixture(jnp.full(2, 0.5), jnp.ones(2), jnp.ones(2))
        law = jax.tree.map(lambda a, b: jnp.where(enough, a, b), found, flat)
        return law, leaders.num_steps.max()


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


# Each start gives one component the values between two ranks, and the rest to the other. Narrow
# windows find narrow components: on 197 columns, recorded, resampled from them, and simulated, one
# of these starts led to the best maximum known, and was among the first five after twelve steps.
_EDGES = np.linspace(0.0, 1.0, 21)
_WINDOWS = np.concatenate([np.array([[0.0, 0.5]]), np.stack([_EDGES[:-1], _EDGES[1:]], axis=1)])
_NUM_HEATS = 3
_NUM_SCREENING_STEPS = 12


def _starts(z: Float[Array, " n"], weight: Float[Array, " n"]) -> Float[Array, "s 5"]:
    """Log odds and both pairs of shapes, by the moments inside and outside each window."""
    order = jnp.argsort(z)
    z, weight = z[order], weight[order]
    share = jnp.cumsum(weight) / jnp.maximum(weight.sum(), 1e-300)
    within = (share > _WINDOWS[:, :1]) & (share <= _WINDOWS[:, 1:])
    sides = weight * jnp.stack([within, ~within], axis=1)
    total = jnp.maximum(sides.sum(axis=2), 1e-300)
    mean = jnp.clip(sides @ z / total, 1e-3, 1 - 1e-3)
    variance = jnp.maximum(sides @ z**2 / total - mean**2, 1e-6)
    # Moments of a beta: mean (1 - mean) / (1 + a + b) is its variance.
    size = jnp.clip(mean * (1 - mean) / variance - 1.0, 0.5, 500.0)
    shapes = jnp.clip(jnp.stack([mean * size, (1 - mean) * size], axis=2), SMALLEST, LARGEST)
    width = _WINDOWS[:, 1:] - _WINDOWS[:, :1]
    return jnp.concatenate([jnp.log(width / (1 - width)), shapes.reshape(-1, 4)], axis=1)
