"""Evaluating and differentiating elementwise functions whose loops have a run-time length.

A function here takes arrays of one shape and type and returns a tuple of such arrays, element by
element; what couples the elements is only the length of its loops, which suits the hardest one.
"""

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

__all__ = ["combine", "evaluator", "is_zero", "log_derivative_limit", "smooth"]

# Five thousand doubles: the dozen arrays of one block stay in the second-level cache, which is
# two to four times faster on a CPU than one pass over a million. Small calls are not cut, since
# the map around the blocks takes time to compile.
_BLOCK_SIZE = 5000
_LARGEST_UNCUT = 10_000

Arrays: TypeAlias = tuple[Array, ...]
Elementwise: TypeAlias = Callable[..., Arrays]

# Unit tangents of (a, b, x, y); the last one keeps x + y = 1.
_DIRECTIONS = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, -1))


@functools.cache
def evaluator(function: Elementwise) -> Elementwise:
    """Makes an elementwise function that takes a `vmap` axis as one more axis of its arrays.

    Otherwise `vmap` would turn the run-time length of a loop into one length per element, and each
    of its steps into a masked update.
    """

    @custom_vmap
    def evaluate(*operands: Array) -> Arrays:
        return _in_blocks(function, operands)

    @evaluate.def_vmap
    def _(axis_size, in_batched, *operands):
        stacked = tuple(
            operand if batched else jnp.broadcast_to(operand, (axis_size, *operand.shape))
            for operand, batched in zip(operands, in_batched, strict=True)
        )
        results = evaluate(*stacked)
        return results, tuple(True for _ in results)

    return evaluate


@functools.cache
def smooth(function: Elementwise) -> Elementwise:
    """Makes an elementwise function of `(a, b, x, y)` differentiable at will along `x + y = 1`.

    Its rule evaluates the partial derivatives by forward mode on primal values, as a function that
    is smooth again. No loop is ever transposed, so reverse mode works at any order. Partials are
    clipped at the limit of `log_derivative_limit`.
    """

    @jax.custom_jvp
    def evaluate(*operands: Array) -> Arrays:
        return evaluator(function)(*operands)

    @functools.partial(evaluate.defjvp, symbolic_zeros=True)
    def _(operands, tangents):
        values = evaluate(*operands)
        moving = tuple(i for i in range(3) if not is_zero(tangents[i]))
        partials = smooth(_partials(function, moving))(*operands) if moving else ()
        limit = math.exp(log_derivative_limit(operands[0].dtype))
        partials = [jnp.clip(partial, -limit, limit) for partial in partials]
        moves = tuple(tangents[i] for i in moving)
        slopes = tuple(
            combine(moves, tuple(partials[k :: len(values)]), value)
            for k, value in enumerate(values)
        )
        return values, slopes

    return evaluate


@functools.cache
def _partials(function: Elementwise, moving: tuple[int, ...]) -> Elementwise:
    """All results differentiated in the first moving argument, then in the next, and so on.

    One pass: the function itself is evaluated once, with all tangents along.
    """

    def derivatives(*operands: Array) -> Arrays:
        def push(*units: Array) -> Arrays:
            tangents = tuple(
                jnp.full_like(o, 1) * unit for o, unit in zip(operands, units, strict=True)
            )
            return jax.jvp(function, operands, tangents)[1]

        units = jnp.asarray([_DIRECTIONS[i] for i in moving], operands[0].dtype)
        columns = jax.vmap(push)(*units.T)
        return tuple(column[row] for row in range(len(moving)) for column in columns)

    return derivatives


def is_zero(tangent: Array | SymbolicZero) -> bool:
    """Whether a tangent is known to be zero at trace time."""
    return isinstance(tangent, SymbolicZero)


def combine(tangents: tuple, partials: tuple[Array, ...], like: Array) -> Array:
    """Σ partial · tangent, over the tangents that are not known to be zero."""
    total = jnp.zeros_like(like)
    for tangent, partial in zip(tangents, partials, strict=True):
        if not is_zero(tangent):
            total = total + partial * tangent
    return total


def log_derivative_limit(dtype: jnp.dtype) -> float:
    """Logarithm of the largest derivative ever returned, in place of an infinite one.

    It leaves room for further factors up to 1/eps: an overflow followed by a zero would be NaN.
    """
    limits = jnp.finfo(dtype)
    return math.log(float(limits.max)) + math.log(float(limits.eps))


def _in_blocks(function: Elementwise, operands: Arrays) -> Arrays:
    shape, size = operands[0].shape, operands[0].size
    if size <= _LARGEST_UNCUT:
        return function(*operands)
    num_blocks = math.ceil(size / _BLOCK_SIZE)
    padding = num_blocks * _BLOCK_SIZE - size
    blocks = tuple(
        jnp.pad(operand.ravel(), (0, padding), mode="edge").reshape(num_blocks, _BLOCK_SIZE)
        for operand in operands
    )
    results = lax.map(lambda block: function(*block), blocks)
    return tuple(result.ravel()[:size].reshape(shape) for result in results)
