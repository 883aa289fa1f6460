"""Which prices of an error matter: those between which the best single model changes."""

import numpy as np
from jaxtyping import Float

_MARGIN = 3.0
_SAME_COST = 0.01


def break_even_prices(
    cost_usd: Float[np.ndarray, " k"], error: Float[np.ndarray, " k"]
) -> list[tuple[float, int, int]]:
    """Returns the prices at which the best single model changes, increasing.

    Args:
        cost_usd: Dollars per query of each model, all other prices included.
        error: Probability of a wrong answer of each model.

    Returns:
        Triples (price of an error in dollars, best model below, best model above). Empty where
        one model is the best at every price.

    Example:
        >>> import numpy as np
        >>> break_even_prices(np.array([1.0, 3.0, 6.0]), np.array([0.5, 0.25, 0.125]))
        [(8.0, 0, 1), (24.0, 1, 2)]
    """
    at = int(np.lexsort((error, cost_usd))[0])
    steps: list[tuple[float, int, int]] = []
    while True:
        gain = error[at] - error
        better = np.flatnonzero(gain > 0)
        if better.size == 0:
            return steps
        prices = (cost_usd[better] - cost_usd[at]) / gain[better]
        # Of several at the same price the most accurate is the best just above it.
        best = better[np.lexsort((error[better], prices))[0]]
        steps.append((float(prices.min()), at, int(best)))
        at = int(best)


def price_grid(
    cost_usd: Float[np.ndarray, " k"], error: Float[np.ndarray, " k"], num_prices: int
) -> Float[np.ndarray, " p"]:
    """Returns geometric prices from a third of the first break-even price to three times the last.

    Break-even prices between models whose costs differ by less than a percent do not count: at
    such prices errors cost next to nothing, and nothing depends on the choice.

    Where no price separates the models, the grid spans the prices at which a call of the
    cheapest is worth one error to a thousand errors.

    Args:
        cost_usd: Dollars per query of each model.
        error: Probability of a wrong answer of each model.
        num_prices: Length of the grid.
    """
    steps = [
        price
        for price, below, above in break_even_prices(cost_usd, error)
        if cost_usd[above] > (1.0 + _SAME_COST) * cost_usd[below]
    ]
    if steps:
        low, high = steps[0] / _MARGIN, steps[-1] * _MARGIN
    else:
        positive = cost_usd[cost_usd > 0]
        low = float(positive.min()) if positive.size else 1e-3
        high = 1000.0 * low
    return np.geomspace(low, high, num_prices)
