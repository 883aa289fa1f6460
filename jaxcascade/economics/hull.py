"""The best that one budget buys: the lower convex hull of systems, walked price by price."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcascade.cascade import Outcome
from jaxcascade.economics.budgets import averaged
from jaxcascade.economics.limits import QUANTITIES, check_known
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning import break_even_prices


class Hull(NamedTuple):
    """Corners of the lower convex hull, by increasing budget; mixtures of neighbours between.

    Attributes:
        systems: The system at each corner.
        budget: What the corner spends of the limited quantity; increasing.
        value: What it brings of the other; decreasing.
        shadow_price: What one unit more of the budget saves between a corner and the next.
    """

    systems: tuple[str, ...]
    budget: Float[np.ndarray, " h"]
    value: Float[np.ndarray, " h"]
    shadow_price: Float[np.ndarray, " h-1"]

    def at(self, budget: Float[np.ndarray, "*b"] | float) -> Float[np.ndarray, "*b"]:
        """Returns the least value within a budget; NaN where nothing is within it."""
        found = np.interp(budget, self.budget, self.value)
        return np.where(np.asarray(budget) < self.budget[0], np.nan, found)


def budget_hull(
    systems: Sequence[str], outcome: Outcome, budget: str = "cost_usd", minimise: str = "error"
) -> Hull:
    """Walks the hull: which systems are best at some budget, and what more of it would save.

    For a limit on one quantity this is `best_within` at all limits at once.

    Args:
        systems: Their names.
        outcome: Last axis the systems; averaged over draws, where there are any.
        budget: "error", "cost_usd", "latency_s" or "abstention".
        minimise: Another of these.

    Raises:
        InvalidInputError: A quantity is none of these, or unknown for some system.
    """
    for name, value in (("budget", budget), ("minimise", minimise)):
        if value not in QUANTITIES:
            raise InvalidInputError(
                f'`{name}` must be one of {", ".join(QUANTITIES)}; got "{value}".'
            )
    means = averaged(outcome)
    spent, value = np.asarray(getattr(means, budget)), np.asarray(getattr(means, minimise))
    check_known(spent, budget)
    check_known(value, minimise)
    steps = break_even_prices(spent, value)
    corners = [int(np.lexsort((value, spent))[0]), *(above for _, _, above in steps)]
    spent, value = spent[corners], value[corners]
    names = tuple(systems[s] for s in corners)
    return Hull(names, spent, value, -np.diff(value) / np.diff(spent))
