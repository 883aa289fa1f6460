"""Kendall's rank correlation with ties, for all pairs of columns at once."""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Num

__all__ = ["kendall_tau"]

# Pairs of rows compared at once, times the number of columns; a few tables of this size fit in the
# second-level cache, which halves the time.
_BLOCK_SIZE = 2**14


def kendall_tau(
    x: Float[Array, "n k"], weights: Num[Array, "n k"] | None = None
) -> Float[Array, "k k"]:
    """Kendall's τ-b between the columns of a table, in O(n² k²) operations.

    Args:
        x: One row per query, one column per model.
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

    block_rows = max(1, min(num_rows, _BLOCK_SIZE // max(1, num_rows * num_columns)))
    num_blocks = math.ceil(num_rows / block_rows)
    padding = ((0, num_blocks * block_rows - num_rows), (0, 0))
    blocks = tuple(
        jnp.pad(table, padding).reshape(num_blocks, block_rows, num_columns) for table in (x, roots)
    )

    def add_block(sums: tuple, block: tuple) -> tuple[tuple, None]:
        values, block_roots = block
        both = (block_roots[:, None] * roots).reshape(-1, num_columns)
        order = jnp.sign(values[:, None] - x).reshape(-1, num_columns)
        signed = both * order
        concordance, untied = sums
        return (concordance + signed.T @ signed, untied + (signed * order).T @ both), None

    zeros = jnp.zeros((num_columns, num_columns), x.dtype)
    (concordance, untied), _ = lax.scan(add_block, (zeros, zeros), blocks)
    # untied[c, d]: weight of the pairs, present in both columns, that differ in column c.
    defined = (untied > 0) & (untied.T > 0)
    scale = jnp.sqrt(jnp.where(defined, untied, 1)) * jnp.sqrt(jnp.where(defined, untied.T, 1))
    return jnp.where(defined, concordance / scale, 0)
