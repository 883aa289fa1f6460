"""Kendall's rank correlation with ties, for all pairs of columns at once."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Num

__all__ = ["kendall_tau"]

# Rows compared with as many others at once: their table, a row of pairs for each column, stays in
# the second-level cache.
_SIDE = 64


def kendall_tau(
    x: Float[Array, "n k"], weights: Num[Array, "n k"] | Bool[Array, "n k"] | None = None
) -> Float[Array, "k k"]:
    """Kendall's τ-b between the columns of a table, in O(n² k²) operations.

    Args:
        x: One row per query, one column per model. Infinities are ranks like others; a NaN in a
            cell that is not missing makes every entry of its column NaN.
        weights: Nonnegative weight of each cell. Zero means missing: for a pair of columns, only
            rows present in both count, and the value of a missing cell is ignored (it may be
            NaN). A row's weight in a pair of columns is the geometric mean of its two weights, so
            whole-number weights, equal along a row, amount to repeated rows.

    Returns:
        Symmetric matrix of τ-b in [−1, 1], 1 on the diagonal. Where τ-b is undefined, because a
        column does not vary over the common rows, the value is 0, on the diagonal too.

    References:
        Kendall (1945), The treatment of ties in ranking problems, Biometrika 33(3).

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.1, 0.3, 0.9], [0.2, 0.5, 0.8], [0.2, 0.9, 0.1], [0.4, 0.6, 0.2]])
        >>> print(f"{kendall_tau(x)[0, 1]:.6f}")
        0.547723
    """
    num_rows, num_columns = x.shape
    side = max(1, min(num_rows, _SIDE))
    num_blocks = max(1, math.ceil(num_rows / side))

    def in_blocks(table: Array, fill: float) -> Array:
        padded = jnp.pad(table, ((0, num_blocks * side - num_rows), (0, 0)), constant_values=fill)
        return padded.reshape(num_blocks, side, num_columns).swapaxes(1, 2)

    if weights is None:
        # Signs and their counts in a block are whole numbers, exact in single precision.
        shares, count_type = None, jnp.float32
    else:
        present = weights > 0
        # Square roots, so that a product over both columns is the geometric mean of their weights.
        roots = jnp.where(present, jnp.sqrt(jnp.where(present, weights, 1).astype(x.dtype)), 0)
        shares, count_type = in_blocks(roots, 0.0), x.dtype
        x = jnp.where(present, x, 0)
    # A comparison with NaN, which fills up the last block, is never true.
    values = in_blocks(x, jnp.nan)

    def pairs(left: Array, right: Array, combine: Callable[[Array, Array], Array]) -> Array:
        return combine(left[:, :, None], right[:, None, :]).reshape(num_columns, -1)

    def add_block(sums: tuple, block: tuple) -> tuple[tuple, None]:
        first, second = block
        # Compared, not subtracted: the difference of two infinities is no number.
        order = pairs(values[first], values[second], _sign)
        order = order.astype(count_type)
        if shares is None:
            concordant, differ = order @ order.T, jnp.sum(order**2, axis=1)[:, None]
        else:
            both = pairs(shares[first], shares[second], jnp.multiply)
            signed = both * order
            concordant, differ = signed @ signed.T, (signed * order) @ both.T
        # Off the diagonal, a block stands for its mirror image too.
        times = jnp.where(first == second, 1, 2).astype(x.dtype)
        concordance, untied = sums
        return (concordance + times * concordant, untied + times * differ), None

    zeros = jnp.zeros((num_columns, num_columns), x.dtype)
    blocks = tuple(jnp.asarray(index) for index in np.triu_indices(num_blocks))
    (concordance, untied), _ = lax.scan(add_block, (zeros, zeros), blocks)
    # untied[c, d]: weight of the pairs, present in both columns, that differ in column c.
    defined = (untied > 0) & (untied.T > 0)
    scale = jnp.sqrt(jnp.where(defined, untied, 1)) * jnp.sqrt(jnp.where(defined, untied.T, 1))
    known = jnp.where(jnp.isnan(x).any(axis=0), jnp.nan, 1.0).astype(x.dtype)
    return jnp.where(defined, concordance / scale, 0) * known[:, None] * known


def _sign(left: Array, right: Array) -> Array:
    return (left > right).astype(jnp.int8) - (left < right).astype(jnp.int8)
