"""Pairs of models of which each may give a query up: early, or after both have been asked."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxcascade.cascade import (
    ABSTAIN,
    ACCEPT,
    CascadeModel,
    Outcome,
    PolicyArrays,
    ThresholdTables,
)

_NEVER = 1e30


def best_abstaining_pairs(
    tables: ThresholdTables,
    asking_usd: Float[Array, " k"],
    error: Float[np.ndarray, " p"],
    abstention: Float[np.ndarray, " p"],
    num_thresholds: int = 32,
) -> PolicyArrays:
    """Finds the best thresholds of every pair at each price, as the fitted model sees it.

    The first model gives up at confidences up to a, passes on up to b and accepts above; the
    second gives up at confidences up to c. With F(x, c) the loss on queries of which the first is
    at most x sure, the loss is a sum of one part in (b, c) and one in (a, c), so that for every c
    both are minimised by a running minimum over a <= b. Either model may never give up, and the
    first need not pass on.

    Args:
        tables: Joint model on a grid; thresholds are its edges.
        asking_usd: Dollars per call, latency priced in.
        error: Prices of an error.
        abstention: Prices of giving up; infinite for never.
        num_thresholds: How many edges are tried, besides the ends.

    Returns:
        A block over all prices for each pair.
    """
    # Infinity times a probability of zero would be NaN.
    abstention = np.minimum(abstention, _NEVER)
    num_edges = tables.edges.shape[1]
    inner = np.unique(np.linspace(1, num_edges - 2, num_thresholds).astype(int))
    tried = np.array([0, *inner, num_edges - 1])
    edges = np.asarray(tables.edges)[:, tried]
    levels, wrong = (np.asarray(part)[:, tried] for part in (tables.levels, tables.wrong))
    k = len(edges)
    # One model makes no pair, and policies of none.
    blocks = [_pair(k, (0, 0), np.zeros((3, 0)), np.zeros(0, bool))]
    for first, second in itertools.combinations(range(k), 2):
        given = (
            levels[first][:, None] * np.asarray(part[first, second])[np.ix_(tried, tried)]
            for part in (tables.levels_given, tables.wrong_given)
        )
        doubted, mistaken = given
        passed = error[:, None, None] * mistaken + abstention[:, None, None] * doubted
        passed = passed + (float(asking_usd[second]) * levels[first])[:, None]
        kept = error[:, None] * wrong[first]
        upper = passed + kept[:, :, None]
        lower = (abstention[:, None] * levels[first])[:, :, None] - passed
        least = np.minimum.accumulate(lower, axis=1)
        flat = (upper + least).reshape(error.size, -1).argmin(axis=1)
        b, c = np.unravel_index(flat, upper.shape[1:])
        before = np.arange(tried.size) <= b[:, None]
        a = np.where(before, lower[np.arange(error.size), :, c], np.inf).argmin(axis=1)
        thresholds = np.stack([edges[first, a], edges[first, b], edges[second, c]])
        idle = (a == 0) & (b == tried.size - 1)
        blocks.append(_pair(k, (first, second), thresholds, idle))
    return PolicyArrays(*map(np.concatenate, zip(*blocks, strict=True)))


def _pair(
    k: int,
    pair: tuple[int, int],
    thresholds: Float[np.ndarray, "3 p"],
    idle: Bool[np.ndarray, " p"],
) -> PolicyArrays:
    """Makes policies; where the first model would only pass on, the second is asked alone."""
    first, second = pair
    low, high, last = thresholds
    count = low.size
    breakpoints = np.full((count, k, 2), np.inf)
    actions = np.full((count, k, 3), ACCEPT)
    breakpoints[:, first] = np.stack([low, high], axis=1)
    actions[:, first] = ABSTAIN, second, ACCEPT
    breakpoints[:, second, 0] = last
    actions[:, second, 0] = ABSTAIN
    return PolicyArrays(np.where(idle, second, first), breakpoints, actions)


def abstaining_pair_outcomes(
    model: CascadeModel, tables: ThresholdTables, policies: PolicyArrays
) -> Outcome:
    """Predicts policies of `best_abstaining_pairs` by looking them up; exact for pairs.

    Args:
        model: Models in the order of the tables.
        tables: Those that the policies were found on.
        policies: With a leading axis.
    """
    rows = jnp.arange(len(policies.start))
    first = jnp.asarray(policies.start)
    second = jnp.asarray(policies.actions)[rows, first, 1]
    alone = second < 0
    # Any model stands for the one that is not asked.
    second = jnp.where(alone, 0, second)

    def place(models: Int[Array, " c"], thresholds: Float[Array, " c"]) -> Int[Array, " c"]:
        return jax.vmap(jnp.searchsorted)(tables.edges[models], thresholds)

    breakpoints = jnp.asarray(policies.breakpoints)
    a, b = (place(first, breakpoints[rows, first, i]) for i in (0, 1))
    b = jnp.where(alone, a, b)
    c = place(second, breakpoints[rows, second, 0])
    upto_a, upto_b = tables.levels[first, a], tables.levels[first, b]

    def between(given: Float[Array, "k k e e"]) -> Float[Array, " c"]:
        """Joint probability that the first falls between its thresholds."""
        above = upto_b * given[first, second, b, c]
        return above - upto_a * given[first, second, a, c]

    passed, doubted = upto_b - upto_a, between(tables.levels_given)
    seconds = model.latency_s
    by_model = jnp.zeros((len(rows), len(model.models)))
    by_model = by_model.at[rows, first].set(1.0 - upto_b).at[rows, second].set(passed - doubted)
    return Outcome(
        error=tables.wrong[first, b] + between(tables.wrong_given),
        abstention=upto_a + doubted,
        cost_usd=model.cost_usd[first] + passed * model.cost_usd[second],
        latency_s=seconds[first] + jnp.where(passed > 0, passed * seconds[second], 0.0),
        answered_by=by_model,
    )
