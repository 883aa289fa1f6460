"""Kendall's rank correlation with ties, for all pairs of columns at once."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num

__all__ = ["kendall_tau"]

# Pairs of rows compared at once, times the number of columns; a few tables of this size fit in the
# second-level cache.
_BLOCK_SIZE = 2**14


def kendall_tau(
    x: Float[Array, "n k"], weights: Num[Array, "n k"] | None = None
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
    if weights is None:
        weights = jnp.ones_like(x)
    present = weights > 0
    # Square roots, so that a product over both columns is the geometric mean of their weights.
    roots = jnp.where(present, jnp.sqrt(jnp.where(present, weights, 1).astype(x.dtype)), 0)
    x = jnp.where(present, x, 0)

    side = max(1, min(num_rows, math.isqrt(_BLOCK_SIZE // max(1, num_columns))))
    num_blocks = max(1, math.ceil(num_rows / side))
    padding = ((0, num_blocks * side - num_rows), (0, 0))
    values, shares = (
        jnp.pad(table, padding).reshape(num_blocks, side, num_columns) for table in (x, roots)
    )

    def add_block(sums: tuple, block: tuple) -> tuple[tuple, None]:
        first, second = block
        both = (shares[first][:, None] * shares[second]).reshape(-1, num_columns)
        # Compared, not subtracted: the difference of two infinities is no number.
        left, right = values[first][:, None], values[second]
        order = (left > right).astype(x.dtype) - (left < right).astype(x.dtype)
        order = order.reshape(-1, num_columns)
        signed = both * order
        # Off the diagonal, a block stands for its mirror image too.
        times = jnp.where(first == second, 1, 2).astype(x.dtype)
        concordance, untied = sums
        concordance = concordance + times * (signed.T @ signed)
        return (concordance, untied + times * ((signed * order).T @ both)), None

    zeros = jnp.zeros((num_columns, num_columns), x.dtype)
    blocks = tuple(jnp.asarray(index) for index in np.triu_indices(num_blocks))
    (concordance, untied), _ = lax.scan(add_block, (zeros, zeros), blocks)
    # untied[c, d]: weight of the pairs, present in both columns, that differ in column c.
    defined = (untied > 0) & (untied.T > 0)
    scale = jnp.sqrt(jnp.where(defined, untied, 1)) * jnp.sqrt(jnp.where(defined, untied.T, 1))
    known = jnp.where(jnp.isnan(x).any(axis=0), jnp.nan, 1.0)
    return jnp.where(defined, concordance / scale, 0) * known[:, None] * known
