"""Pairs of models over the whole box of shapes, and a slow integral for each."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.special import betainc, expit, logit

from jaxcascade.marginals import BetaMixture, Marginal

# Beyond it lies a part e^-45 of the support.
_FARTHEST = 45.0


class Pairs(NamedTuple):
    """The next model's law, how often the last one passes, its dependence, and a threshold.

    Shapes are log-uniform in [0.2, 200], levels in [1e-4, 1], Gumbel's theta in [1, 10].
    """

    concentration1: np.ndarray
    concentration0: np.ndarray
    weights: np.ndarray
    atoms: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: np.ndarray
    theta: np.ndarray
    threshold: np.ndarray

    @property
    def tau(self):
        return 1 - 1 / self.theta

    def take(self, at):
        return Pairs(*(part[at] for part in self))

    def laws(self):
        """Stacked marginals."""
        interior = (self.weights, self.concentration1, self.concentration0)
        ends = (self.low, self.high, *self.atoms.T)
        return Marginal(*map(jnp.asarray, ends), BetaMixture(*map(jnp.asarray, interior)))


def random_pairs(count, seed=0):
    rng = np.random.default_rng(seed)

    def log_uniform(low, high, size):
        return np.exp(rng.uniform(np.log(low), np.log(high), size))

    a, b = log_uniform(0.2, 200, (2, count, 2))
    weight = rng.random(count)
    low, high = rng.uniform(0, 0.5, count), rng.uniform(0.7, 1, count)
    fraction = rng.random(count) * (rng.random(count) < 0.8)
    return Pairs(
        a,
        b,
        np.stack([weight, 1 - weight], axis=1),
        rng.uniform(0, 0.3, (count, 2)) * (rng.random((count, 2)) < 0.7),
        low,
        high,
        log_uniform(1e-4, 1, count),
        log_uniform(1, 10, count),
        low + (high - low) * fraction,
    )


def gumbel_given(u, v, theta):
    """P(V <= v | U <= u) from the textbook formula."""
    with np.errstate(divide="ignore"):
        x, y = -np.log(u), -np.log(v)
    return np.exp(x - (x**theta + y**theta) ** (1 / theta))


def level_at(pairs, z):
    """Distribution function at fractions z of the supports, one row per pair."""
    below = sum(
        pairs.weights[:, i, None]
        * betainc(pairs.concentration1[:, i, None], pairs.concentration0[:, i, None], z)
        for i in (0, 1)
    )
    return pairs.atoms[:, :1] + (1 - pairs.atoms.sum(axis=1, keepdims=True)) * below


def reference(pairs, given=None, num_panels=600):
    """P(next above the threshold and wrong | last at most its level), 20 nodes to a panel.

    Args:
        pairs: Any number of them.
        given: P(V <= v | U <= u) from rows of u and v; Gumbel's by default.
        num_panels: Panels of equal length in the logit of the support.
    """
    given = given or (lambda u, v: gumbel_given(u, v, pairs.theta[:, None]))
    width = pairs.high - pairs.low
    start = (pairs.threshold - pairs.low) / width
    with np.errstate(divide="ignore"):
        first = np.clip(logit(start), -_FARTHEST, _FARTHEST)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    share = ((np.arange(num_panels)[:, None] + 0.5 + 0.5 * nodes) / num_panels).reshape(-1)
    length = (_FARTHEST - first)[:, None]
    y = first[:, None] + length * share
    weights = np.tile(0.5 * weights / num_panels, num_panels) * length * expit(y) * expit(-y)
    u = pairs.level[:, None]
    integral = np.sum(weights * given(u, level_at(pairs, expit(y))), axis=1)
    at_threshold = given(u, level_at(pairs, start[:, None]))[:, 0]
    return (1 - pairs.high) - (1 - pairs.threshold) * at_threshold + width * integral
