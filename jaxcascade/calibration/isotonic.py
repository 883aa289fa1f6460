"""Isotonic regression: the best non-decreasing map, and nothing else assumed."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcascade.calibration.base import Calibration, Calibrator


class IsotonicCalibrator(Calibrator):
    """Linear interpolation between fitted values, constant beyond the ends.

    Attributes:
        knots: Training confidences in increasing order.
        values: Fitted probability at each knot.
    """

    knots: Float[Array, "*batch n"]
    values: Float[Array, "*batch n"]

    def __call__(self, log_confidence: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.interp(jnp.exp(log_confidence), self.knots, self.values)


class IsotonicCalibration(Calibration):
    """Pool-adjacent-violators, started from a pinch of the average.

    Attributes:
        prior_strength: Answers' worth of the overall accuracy mixed into each block, so that
            a block of one right answer is not taken for certainty.
    """

    prior_strength: float = 1.0

    def fit(
        self,
        log_confidence: Float[Array, " n"],
        correct: Float[Array, " n"],
        weight: Float[Array, " n"],
    ) -> IsotonicCalibrator:
        used = weight > 0
        correct = jnp.where(used, correct, 0.0)
        confidence = jnp.where(used, jnp.exp(log_confidence), jnp.inf)
        # Within a tie the right answers come first: they then violate the order and are pooled.
        order = jnp.lexsort((-correct, confidence))
        accuracy = weight @ correct / jnp.maximum(weight.sum(), 1e-300)
        mass, total = weight[order], (weight * correct)[order]
        starts = _pool(mass, total)
        block_mass = jax.ops.segment_sum(mass, starts, num_segments=mass.size)
        block_total = jax.ops.segment_sum(total, starts, num_segments=mass.size)
        shrunk = (block_total + self.prior_strength * accuracy) / (block_mass + self.prior_strength)
        # Shrinking blocks of unequal size can disturb their order.
        values = jax.lax.cummax(shrunk[starts])
        highest = jnp.max(jnp.where(used, confidence, -jnp.inf))
        return IsotonicCalibrator(jnp.minimum(confidence[order], highest), values)


def _pool(mass: Float[Array, " n"], total: Float[Array, " n"]) -> Array:
    """Returns for each row the index of the first row of its block."""
    n = mass.size

    def push(stack, row):
        starts, masses, totals, depth = stack
        index, row_mass, row_total = row

        def violates(state):
            depth, block_mass, block_total, _ = state
            before = jnp.maximum(depth - 1, 0)
            # Means compared by cross-multiplication: blocks without mass pool with any.
            return (depth > 0) & (totals[before] * block_mass >= block_total * masses[before])

        def merge(state):
            depth, block_mass, block_total, _ = state
            before = depth - 1
            return before, block_mass + masses[before], block_total + totals[before], starts[before]

        depth, block_mass, block_total, start = jax.lax.while_loop(
            violates, merge, (depth, row_mass, row_total, index)
        )
        stack = (
            starts.at[depth].set(start),
            masses.at[depth].set(block_mass),
            totals.at[depth].set(block_total),
            depth + 1,
        )
        return stack, None

    indices = jnp.arange(n)
    empty = (jnp.zeros(n, indices.dtype), jnp.zeros(n), jnp.zeros(n), jnp.zeros((), indices.dtype))
    (starts, _, _, depth), _ = jax.lax.scan(push, empty, (indices, mass, total))
    is_start = jnp.zeros(n, bool).at[jnp.where(indices < depth, starts, n)].set(True, mode="drop")
    return jax.lax.cummax(jnp.where(is_start, indices, 0))
