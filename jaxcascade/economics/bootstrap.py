"""How sure the records are of means: the Bayesian bootstrap of queries, paired over systems."""

from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import Outcome
from jaxcascade.economics.ledger import Ledger
from jaxcascade.errors import InvalidInputError

# Weights held at once: 32 MiB.
_BLOCK = 1 << 22


def bootstrap_weights(
    key: Array, num_queries: int, num_draws: int = 2000
) -> Float[np.ndarray, "d n"]:
    """Draws weights of queries: the posterior of their law that assumes nothing about it.

    Args:
        key: Random key.
        num_queries: At least 1.
        num_draws: Draws `d`, at least 1.

    Returns:
        Draws of Dirichlet(1, …, 1); each row adds up to 1.

    Raises:
        InvalidInputError: A number is below 1.

    References:
        Rubin (1981), The Bayesian bootstrap, Annals of Statistics 9(1).

    Example:
        >>> import jax
        >>> bootstrap_weights(jax.random.key(0), num_queries=3, num_draws=2).sum(axis=1)
        array([1., 1.])
    """
    return np.concatenate(list(weight_blocks(key, num_queries, num_draws)))


def bootstrap_outcomes(key: Array, ledger: Ledger, num_draws: int = 2000) -> Outcome:
    """Draws each system's mean outcome from its posterior given the records.

    The weights of a draw are the same for all systems, so that draws of differences are as narrow
    as comparing systems on the same queries allows.

    Args:
        key: Random key.
        ledger: Queries that cannot be compared do not count.
        num_draws: Draws `d`.

    Returns:
        Leading axes (draws, systems).

    Raises:
        RecordsError: No query can be compared.
    """
    comparable = ledger.take(ledger.known)
    num_queries = max(comparable.queries.size, 1)
    parts = [comparable.outcomes(weight) for weight in weight_blocks(key, num_queries, num_draws)]
    return Outcome(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def weight_blocks(
    key: Array, num_queries: int, num_draws: int
) -> Iterator[Float[np.ndarray, "b n"]]:
    """Yields the draws in order, a few at a time; how many there are at once changes none."""
    for name, number in (("num_queries", num_queries), ("num_draws", num_draws)):
        if number < 1:
            raise InvalidInputError(f"`{name}` must be at least 1; got {number}.")
    generator = generator_of(key)
    for rows in block_sizes(num_draws, num_queries):
        weight = generator.standard_exponential((rows, num_queries))
        yield weight / weight.sum(axis=1, keepdims=True)


def generator_of(key: Array) -> np.random.Generator:
    """Returns a generator on the host, in double precision whatever JAX is set to."""
    # No slower than JAX on a CPU.
    return np.random.default_rng(np.asarray(jax.random.bits(key, (4,))))


def block_sizes(num_draws: int, width: int) -> Iterator[int]:
    """Yields how many draws of so many numbers to hold at once, until there are all."""
    rows = max(_BLOCK // width, 1)
    for start in range(0, num_draws, rows):
        yield min(rows, num_draws - start)
