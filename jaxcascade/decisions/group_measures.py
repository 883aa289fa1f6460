"""Rates, mean dollars and calibration errors of groups: counted, drawn, and drawn as if alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxcascade.calibration import reliability_curve
from jaxcascade.decisions.gaps import HALF_ITEM, divided, partially_pooled
from jaxcascade.economics.bootstrap import weight_blocks

_BINS = 15
# Typical calibration errors of a bin, before any are seen.
_BIN_ERROR = 0.1


class Measure(NamedTuple):
    """One metric of every group; draws of a group without any item mean nothing.

    Attributes:
        name: Of the metric.
        count: Relevant items.
        estimate: As counted; NaN without any item.
        draws: Of its posterior.
        alike: Draws of what would be counted were groups alike, or beliefs calibrated.
    """

    name: str
    count: Int[np.ndarray, " g"]
    estimate: Float[np.ndarray, " g"]
    draws: Float[np.ndarray, "d g"]
    alike: Float[np.ndarray, "d g"]

    def at_least(self, minimum: int) -> "Measure":
        """Leaves out groups with fewer items."""
        kept = self.count >= minimum
        return Measure(self.name, *(column[..., kept] for column in self[1:]))


def share(
    generator: np.random.Generator,
    name: str,
    among: Bool[np.ndarray, "g n"],
    good: Bool[np.ndarray, " n"],
    num_draws: int,
) -> Measure:
    """Share of each group's items that are good, with Jeffreys' posterior."""
    count = among.sum(axis=1)
    hits = (among & good).sum(axis=1)
    shape = (num_draws, count.size)
    draws = generator.beta(hits + HALF_ITEM, count - hits + HALF_ITEM, shape)
    common = hits.sum() / max(count.sum(), 1)
    alike = generator.binomial(count, common, shape) / np.maximum(count, 1)
    return Measure(name, count, divided(hits, count), draws, alike)


def mean(
    generator: np.random.Generator,
    key: Array,
    name: str,
    among: Bool[np.ndarray, "g n"],
    values: Float[np.ndarray, " n"],
    num_draws: int,
) -> Measure:
    """Mean value of each group's items, with the Bayesian bootstrap: weights by key."""
    count = among.sum(axis=1)
    columns = [
        _mean_draws(jax.random.fold_in(key, g), values[at], num_draws) for g, at in enumerate(among)
    ]
    draws = np.stack(columns, axis=1)
    alike = generator.standard_normal(draws.shape) * draws.std(axis=0)
    return Measure(name, count, divided(among @ values, count), draws, alike)


def calibration_error(
    generator: np.random.Generator,
    among: Bool[np.ndarray, "g n"],
    belief: Float[np.ndarray, " n"],
    state: Float[np.ndarray, " n"],
    num_draws: int,
) -> Measure:
    """Calibration error of beliefs on each group's items, in bins of equal count."""
    parts = [_error(generator, belief[at], state[at], num_draws) for at in among]
    estimate, draws, alike = (np.stack(column, axis=-1) for column in zip(*parts, strict=True))
    return Measure("ece", among.sum(axis=1), estimate, draws, alike)


def _mean_draws(
    key: Array, values: Float[np.ndarray, " n"], num_draws: int
) -> Float[np.ndarray, " d"]:
    if not values.size:
        return np.zeros(num_draws)
    return np.concatenate([block @ values for block in weight_blocks(key, values.size, num_draws)])


def _error(
    generator: np.random.Generator,
    belief: Float[np.ndarray, " n"],
    state: Float[np.ndarray, " n"],
    num_draws: int,
) -> tuple[float, Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """Calibration error, draws of it, and draws of it were the belief calibrated.

    Resampling would double the noise that a mean of absolute values turns into error, so the
    signed errors of the bins are drawn instead, shrunk towards their mean. In repeated samples,
    90 % intervals held the true error 82 to 95 times in 100 at 300 items and more, 76 at 50.
    """
    if not belief.size:
        return float("nan"), np.zeros(num_draws), np.zeros(num_draws)
    bins = min(_BINS, belief.size)
    curve = reliability_curve(jnp.asarray(belief), jnp.asarray(state), bins)
    spread = reliability_curve(jnp.asarray(belief), jnp.asarray(belief * (1 - belief)), bins)
    size, accuracy = np.asarray(curve.count), np.asarray(curve.accuracy)
    error = accuracy - np.asarray(curve.confidence)
    expected = np.asarray(spread.accuracy)
    # What was seen is too steady in small bins, what was believed is wrong where this is needed.
    noise = np.sqrt((expected + accuracy * (1 - accuracy)) / (2 * size))
    drawn = partially_pooled(generator, error, noise, _BIN_ERROR, num_draws)
    calibrated = generator.standard_normal((num_draws, bins)) * np.sqrt(expected / size)
    weight = size / size.sum()
    return float(weight @ np.abs(error)), np.abs(drawn) @ weight, np.abs(calibrated) @ weight
