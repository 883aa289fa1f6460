"""What each part of a method contributes to what the whole of it saves.

Leaving one part out charges what several parts do together to each of them, or to none, so that
shares may sum to more than 100 % or to less. Shapley's value averages over all orders in which the
parts could have been added, and its shares sum to 100 %.
"""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.errors import InvalidInputError

MOST_PARTS = 12


class Contributions(NamedTuple):
    """What the parts contribute, in the order in which they were given.

    Attributes:
        contribution_usd: Dollars by part; negative for a part that does harm.
        share_percent: The same as percentages of `total_usd`, NaN where all parts together save
            nothing or lose. Where they save little, shares are large and mean little: average
            dollars over draws before taking shares, rather than shares.
        total_usd: What all parts together save over none.
    """

    contribution_usd: Float[Array, "*batch k"]
    share_percent: Float[Array, "*batch k"]
    total_usd: Float[Array, "*batch"]


def subsets(parts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Lists the subsets of parts in the order in which their values are to be given.

    The subset at position b has the parts whose bits are set in b, the first part's the lowest.

    Args:
        parts: Distinct names, at most 12.

    Raises:
        InvalidInputError: There are no parts, too many, or two of one name.

    Example:
        >>> subsets(["pool", "screen"])
        ((), ('pool',), ('screen',), ('pool', 'screen'))
    """
    _require_parts(parts)
    return tuple(
        tuple(part for bit, part in enumerate(parts) if number >> bit & 1)
        for number in range(2 ** len(parts))
    )


def leave_one_out(
    values: Float[Array | np.ndarray, "*batch c"], parts: Sequence[str]
) -> Contributions:
    """Returns what is lost when each part alone is left out of the whole.

    Args:
        values: Dollars that each subset of parts saves, in the order of `subsets`, over any one
            baseline; leading axes for draws or simulations.
        parts: Distinct names, at most 12.

    Returns:
        Contributions whose shares need not sum to 100.

    Raises:
        InvalidInputError: The parts are not usable, or the values are not one per subset.

    Example:
        >>> either_will_do = jnp.array([0.0, 10.0, 10.0, 10.0])
        >>> leave_one_out(either_will_do, ["pool", "screen"]).share_percent.tolist()
        [0.0, 0.0]
    """
    values = _checked(values, parts)
    whole = values.shape[-1] - 1
    without = whole - 2 ** np.arange(len(parts))
    return _contributions(values, values[..., whole, None] - values[..., without])


def shapley(values: Float[Array | np.ndarray, "*batch c"], parts: Sequence[str]) -> Contributions:
    """Returns what each part adds, averaged over all orders in which parts may be added; exact.

    Args:
        values: Dollars that each subset of parts saves, in the order of `subsets`, over any one
            baseline; leading axes for draws or simulations.
        parts: Distinct names, at most 12: each more doubles the work.

    Returns:
        Contributions that sum to the total, and shares that sum to 100, both up to rounding.

    Raises:
        InvalidInputError: The parts are not usable, or the values are not one per subset.

    References:
        Shapley (1953), A value for n-person games, Contributions to the Theory of Games II.

    Example:
        >>> either_will_do = jnp.array([0.0, 10.0, 10.0, 10.0])
        >>> shapley(either_will_do, ["pool", "screen"]).share_percent.tolist()
        [50.0, 50.0]
    """
    values = _checked(values, parts)
    weight = _weights(len(parts))
    # Differences come first: what adds nothing to any subset gets 0 and no rounding.
    added = [_added(values, bit) @ weight for bit in range(len(parts))]
    return _contributions(values, jnp.stack(added, axis=-1))


def _added(values: Float[Array, "*batch c"], bit: int) -> Float[Array, "*batch half"]:
    """What a part adds to each subset of the others, these in the order of `subsets`."""
    apart = values.reshape(*values.shape[:-1], -1, 2, 2**bit)
    return (apart[..., 1, :] - apart[..., 0, :]).reshape(*values.shape[:-1], -1)


def _weights(k: int) -> Float[np.ndarray, " half"]:
    """Share of the orders of k parts in which exactly a given subset comes before a given part."""
    sizes = [number.bit_count() for number in range(2 ** (k - 1))]
    return np.array([1 / (k * comb(k - 1, size)) for size in sizes])


def _contributions(
    values: Float[Array, "*batch c"], contribution: Float[Array, "*batch k"]
) -> Contributions:
    total = values[..., -1] - values[..., 0]
    saves = total > 0
    share = 100 * contribution / jnp.where(saves, total, 1.0)[..., None]
    return Contributions(contribution, jnp.where(saves[..., None], share, jnp.nan), total)


def _checked(
    values: Float[Array | np.ndarray, "*batch c"], parts: Sequence[str]
) -> Float[Array, "*batch c"]:
    _require_parts(parts)
    values = jnp.asarray(values)
    if values.shape[-1:] != (2 ** len(parts),):
        raise InvalidInputError(
            f"`values` must have {2 ** len(parts)} columns, one for each subset of {len(parts)} "
            f"parts in the order of `subsets`; it has the shape {values.shape}."
        )
    return values


def _require_parts(parts: Sequence[str]) -> None:
    if isinstance(parts, str) or not 1 <= len(parts) <= MOST_PARTS:
        found = f'the text "{parts}"' if isinstance(parts, str) else f"{len(parts)}"
        raise InvalidInputError(
            f"`parts` must be 1 to {MOST_PARTS} names, for every subset of them is valued; got "
            f"{found}. Group parts that belong together."
        )
    if len(set(parts)) < len(parts):
        raise InvalidInputError(f"`parts` must be distinct; got {', '.join(parts)}.")
