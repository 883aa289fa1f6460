"""Calls exchanged, and calls weighted anew: what equal treatment would give, and how sure one is.

A call is a set of items ranked together, which depend on each other; so whole calls are resampled.
Under equal treatment the order of groups in one call could as well have been that of another.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxcascade.decisions.gaps import HALF_ITEM
from jaxcascade.decisions.groups import group_codes
from jaxcascade.economics.bootstrap import block_sizes


class Calls(NamedTuple):
    """Items sorted by size of the call, call and place.

    Attributes:
        call: Position of each item's call.
        place: Of the item in its call, by any name.
        group: Label.
        selected: Whether the item is.
        size: Items of each call, rising.
    """

    call: Int[np.ndarray, " i"]
    place: Shaped[np.ndarray, " i"]
    group: Shaped[np.ndarray, " i"]
    selected: Bool[np.ndarray, " i"]
    size: Int[np.ndarray, " c"]


def sorted_calls(
    call: Shaped[np.ndarray, " i"],
    place: Shaped[np.ndarray, " i"],
    group: Shaped[np.ndarray, " i"],
    selected: Bool[np.ndarray, " i"],
) -> Calls:
    """Puts items, in any order, into that of `Calls`."""
    of_item, _ = group_codes(call)
    size = np.bincount(of_item)
    order = np.lexsort((np.unique(place, return_inverse=True)[1], of_item, size[of_item]))
    size = np.sort(size)
    number = np.repeat(np.arange(size.size), size)
    return Calls(number, place[order], group[order], selected[order], size)


def exchanged_hits(
    generator: np.random.Generator, calls: Calls, codes: Int[np.ndarray, " i"], num_draws: int
) -> Int[np.ndarray, "d g"]:
    """Selections of each group when calls of one size exchange their orders of groups.

    Args:
        generator: Of random numbers.
        calls: Ranks stay with their calls.
        codes: Group of each item by position.
        num_draws: Permutations `d`.
    """
    start = np.cumsum(calls.size) - calls.size
    item = np.flatnonzero(calls.selected)
    at = calls.call[item]
    parts = []
    for rows in block_sizes(num_draws, max(calls.size.size, item.size)):
        # Sizes are whole and sorted, so that a fraction added shuffles within each size only.
        other = np.argsort(calls.size + generator.random((rows, calls.size.size)), axis=1)
        chosen = codes[start[other[:, at]] + item - start[at]]
        count = [(chosen == g).sum(axis=1) for g in range(codes.max() + 1)]
        parts.append(np.stack(count, axis=1))
    return np.concatenate(parts)


def bootstrapped_rates(
    generator: np.random.Generator, calls: Calls, codes: Int[np.ndarray, " i"], num_draws: int
) -> Float[np.ndarray, "d g"]:
    """Draws of the share selected, by kind of item: the Bayesian bootstrap of calls.

    Args:
        generator: Of random numbers.
        calls: Each has one weight.
        codes: Kind of each item by position.
        num_draws: Draws `d`.
    """
    shape = (calls.size.size, codes.max() + 1)
    items, hits = np.zeros(shape), np.zeros(shape)
    np.add.at(items, (calls.call, codes), 1.0)
    np.add.at(hits, (calls.call, codes), calls.selected.astype(float))
    parts = []
    for rows in block_sizes(num_draws, calls.size.size):
        weight = generator.standard_exponential((rows, calls.size.size))
        half = generator.standard_gamma(HALF_ITEM, (2, rows, shape[1]))
        parts.append((weight @ hits + half[0]) / (weight @ items + half.sum(axis=0)))
    return np.concatenate(parts)


def p_values(
    observed: Float[np.ndarray, " m"], alike: Float[np.ndarray, "d m"], *, one_sided: bool = False
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Probabilities of what is as extreme: of each by itself, and of the most extreme of all.

    Args:
        observed: As counted.
        alike: Draws of the same under equal treatment.
        one_sided: Whether only low values are extreme.

    Returns:
        Plain p-values, and those of Westfall and Young's single step, in standard deviations.

    References:
        Westfall and Young (1993), Resampling-based multiple testing, section 2.3; Phipson and Smyth
        (2010), Permutation p-values should never be zero.
    """
    spread = alike.std(axis=0)
    # Permutations change nothing where groups always stand in the same places: no evidence.
    known = spread > 1e-12
    scale = np.where(known, spread, 1.0)
    far, usual = (
        np.where(known, (alike.mean(axis=0) - values) / scale, 0.0) for values in (observed, alike)
    )
    if not one_sided:
        far, usual = np.abs(far), np.abs(usual)
    # Rates are multiples of one over a count: equal ones must count as equal.
    reached = far - 1e-9
    own = (usual >= reached).sum(axis=0)
    together = (usual.max(axis=1)[:, None] >= reached).sum(axis=0)
    return (own + 1) / (len(usual) + 1), (together + 1) / (len(usual) + 1)
