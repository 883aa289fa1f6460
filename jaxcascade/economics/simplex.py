"""Linear programs over mixtures: few limits, many systems, exact to rounding."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

# On quantities that are scaled to [0, 1]. Values nearer than this are one value.
_SAME = 1e-11
_SMALLEST_PIVOT = 1e-9


class MixtureProgram(NamedTuple):
    """The mixture with the least mean of one quantity whose means of others stay within limits.

    Attributes:
        shares: Probability of each system; at most one more above 0 than there are limits.
        prices: What one unit more of each limit would save of the objective, at least 0. Where
            the optimum is degenerate this is one of several valid answers.
    """

    shares: Float[np.ndarray, " s"]
    prices: Float[np.ndarray, " m"]


def best_shares(
    objective: Float[np.ndarray, " s"],
    quantities: Float[np.ndarray, "m s"],
    limits: Float[np.ndarray, " m"],
    then: Float[np.ndarray, " s"] | None = None,
) -> MixtureProgram | None:
    """Minimises objective · x over probabilities x with quantities · x <= limits.

    The primal simplex method on a basis of (limits + 1) columns, which is inverted anew at every
    step: it is tiny, so errors do not add up. Ties are broken by Bland's rule while no progress
    is made, which cannot go round in circles.

    Args:
        objective: Finite, of each system.
        quantities: Finite; one row for each limit.
        limits: May be infinite.
        then: What to minimise among the optima, so that none of them is dominated.

    Returns:
        None where no mixture is within all limits.

    References:
        Bland (1977), New finite pivoting rules for the simplex method; Dantzig (1963).
    """
    # All mixtures have a sum of 1, so rows can be shifted and scaled to [0, 1].
    low, width = quantities.min(axis=1), np.ptp(quantities, axis=1)
    width = np.where(width > 0, width, np.where(low == 0, 1.0, np.abs(low)))
    bounds = (limits - low) / width
    if np.any(bounds < -_SAME):
        return None
    # Every system is within such a limit.
    narrow = bounds < 1.0
    num_rows, num_systems = int(narrow.sum()), objective.size
    scaled = (quantities - low[:, None])[narrow] / width[narrow, None]
    right = np.append(np.maximum(bounds[narrow], 0.0), 1.0)
    span = np.ptp(objective) or 1.0
    start = _least_excess(scaled, right[:-1])
    # Columns: systems, one slack for each limit, and one for each excess at the start.
    identity = np.eye(num_rows + 1, num_rows)
    columns = np.hstack([np.vstack([scaled, np.ones(num_systems)]), identity, -identity])
    slacks = num_systems + np.arange(num_rows)
    exceeded = scaled[:, start] > right[:-1]
    basis = np.append(np.where(exceeded, slacks + num_rows, slacks), start)
    is_excess = np.arange(columns.shape[1]) >= num_systems + num_rows
    everything = np.ones(columns.shape[1], bool)
    basis = _pivoted(columns, right, basis, is_excess.astype(float), everything)
    if is_excess[basis] @ _values(columns, right, basis) > _SAME * (num_rows + 1):
        return None
    # An excess of 0 that is left stands for the slack of its limit, of 0 as well.
    basis = np.where(is_excess[basis], basis - num_rows, basis)
    cost = np.append((objective - objective.min()) / span, np.zeros(2 * num_rows))
    basis = _pivoted(columns, right, basis, cost, ~is_excess)
    duals = cost[basis] @ np.linalg.inv(columns[:, basis])
    if then is not None:
        optimal = ~is_excess & (cost - duals @ columns <= _SAME)
        second = np.append((then - then.min()) / (np.ptp(then) or 1.0), np.zeros(2 * num_rows))
        basis = _pivoted(columns, right, basis, second, optimal)
    shares = np.zeros(columns.shape[1])
    shares[basis] = np.maximum(_values(columns, right, basis), 0.0)
    prices = np.zeros(limits.size)
    prices[narrow] = np.maximum(-duals[:-1], 0.0) * span / width[narrow]
    shares = np.where(shares < _SAME, 0.0, shares)[:num_systems]
    return MixtureProgram(shares / shares.sum(), prices)


def _least_excess(scaled: Float[np.ndarray, "r s"], bounds: Float[np.ndarray, " r"]) -> int:
    return int(np.argmin(np.maximum(scaled - bounds[:, None], 0.0).sum(axis=0)))


def _values(
    columns: Float[np.ndarray, "r c"], right: Float[np.ndarray, " r"], basis: Int[np.ndarray, " r"]
) -> Float[np.ndarray, " r"]:
    return np.linalg.solve(columns[:, basis], right)


def _pivoted(
    columns: Float[np.ndarray, "r c"],
    right: Float[np.ndarray, " r"],
    basis: Int[np.ndarray, " r"],
    cost: Float[np.ndarray, " c"],
    allowed: Bool[np.ndarray, " c"],
) -> Int[np.ndarray, " r"]:
    """Exchanges columns of a feasible basis until none that is allowed lowers the cost."""
    basis, stuck = basis.copy(), False
    while True:
        inverse = np.linalg.inv(columns[:, basis])
        values = np.maximum(inverse @ right, 0.0)
        reduced = cost - (cost[basis] @ inverse) @ columns
        better = allowed & (reduced < -_SAME)
        better[basis] = False
        if not better.any():
            return basis
        entering = int(np.argmax(better) if stuck else np.argmin(np.where(better, reduced, 0.0)))
        direction = inverse @ columns[:, entering]
        falls = direction > _SMALLEST_PIVOT
        ratios = np.where(falls, values / np.where(falls, direction, 1.0), np.inf)
        step = ratios.min()
        tied = np.flatnonzero(ratios <= step + _SAME)
        leaving = tied[np.argmin(basis[tied]) if stuck else np.argmax(direction[tied])]
        basis[leaving] = entering
        stuck = bool(step <= _SAME)
