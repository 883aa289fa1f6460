"""Which system is the best at given prices, how surely, and what is lost if it is not."""

from functools import partial
from math import ceil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.cascade import Outcome
from jaxcascade.economics.pricing import base_cost, check_priceable
from jaxcascade.errors import InvalidInputError


class Choice(NamedTuple):
    """The choice among systems under uncertainty about what they do.

    Regret is what a system loses more than the one that is the best under the same draw.

    Attributes:
        best: Position of the system with the least expected loss.
        runner_up: Position of the next; that of `best` where there is only one system.
        expected_loss: Dollars per query, averaged over the draws.
        probability: Share of draws under which each system is the best; a tie is shared.
        regret: Expected regret of `best` in dollars per query, and so what it would be worth to
            know the systems' means exactly.
        runner_up_regret: The same of `runner_up`.
        tail_regret: Mean regret of `best` over the share of draws in which it is the highest
            (conditional value at risk).
    """

    best: Int[Array | np.ndarray, "*prices"]
    runner_up: Int[Array | np.ndarray, "*prices"]
    expected_loss: Float[Array | np.ndarray, "*prices s"]
    probability: Float[Array | np.ndarray, "*prices s"]
    regret: Float[Array | np.ndarray, "*prices"]
    runner_up_regret: Float[Array | np.ndarray, "*prices"]
    tail_regret: Float[Array | np.ndarray, "*prices"]


class PriceMap(NamedTuple):
    """The choice at every pair of prices.

    Attributes:
        error_prices: Dollars per wrong answer.
        latency_prices: Dollars per second.
        choice: Leading axes (error prices, latency prices).
    """

    error_prices: Float[np.ndarray, " e"]
    latency_prices: Float[np.ndarray, " l"]
    choice: Choice


def best_system(
    outcome: Outcome,
    error_price: float,
    latency_price: float = 0.0,
    abstention_price: float = float("inf"),
    *,
    tail: float = 0.05,
) -> Choice:
    """Chooses a system at one set of prices.

    Args:
        outcome: Leading axes (draws, systems).
        error_price: Dollars per wrong answer.
        latency_price: Dollars per second.
        abstention_price: Dollars per query given up.
        tail: Share of draws that `tail_regret` is averaged over.

    Returns:
        Without axes for prices.

    Raises:
        InvalidInputError: See `price_map`.

    Example:
        >>> import numpy as np
        >>> error = np.array([[0.3, 0.1], [0.3, 0.2], [0.2, 0.3]])
        >>> cost = np.array([[0.001, 0.003]] * 3)
        >>> outcome = Outcome(error, 0 * error, cost, np.nan * error, np.ones((3, 2, 1)))
        >>> choice = best_system(outcome, error_price=0.1)
        >>> choice.best.item(), choice.probability.round(2).tolist()
        (1, [0.33, 0.67])
    """
    grid = np.array([error_price]), np.array([latency_price])
    found = price_map(outcome, *grid, abstention_price=abstention_price, tail=tail)
    return Choice(*(part[0, 0] for part in found.choice))


def price_map(
    outcome: Outcome,
    error_prices: Float[np.ndarray, " e"],
    latency_prices: Float[np.ndarray, " l"],
    *,
    abstention_price: float = float("inf"),
    tail: float = 0.05,
) -> PriceMap:
    """Chooses a system at every pair of prices of an error and of a second.

    Args:
        outcome: Leading axes (draws, systems): of records by `bootstrap_outcomes`, of a posterior
            by `policy_draws`; one draw where nothing is uncertain.
        error_prices: Dollars per wrong answer.
        latency_prices: Dollars per second.
        abstention_price: Dollars per query given up.
        tail: Share of draws that `tail_regret` is averaged over.

    Raises:
        InvalidInputError: `outcome` has other axes, `tail` is not a share, a price is negative,
            infinite or not a number, or see `check_priceable`.
    """
    error_prices, latency_prices = (np.asarray(p, float) for p in (error_prices, latency_prices))
    _check_grid(outcome, error_prices, latency_prices, tail)
    check_priceable(outcome, float(latency_prices.max()), abstention_price)
    base = base_cost(outcome, 0.0, abstention_price)
    # Unknown seconds are not priced here, but nothing times NaN would be NaN.
    latency = np.nan_to_num(np.asarray(outcome.latency_s)) if latency_prices.any() else 0.0 * base
    count = max(1, ceil(tail * len(base)))
    grids = jnp.asarray(error_prices), jnp.asarray(latency_prices)
    found = _map(jnp.asarray(base), jnp.asarray(outcome.error), jnp.asarray(latency), *grids, count)
    return PriceMap(error_prices, latency_prices, Choice(*map(np.asarray, found)))


@partial(jax.jit, static_argnames="count")
def _map(
    base: Float[Array, "d s"],
    error: Float[Array, "d s"],
    latency: Float[Array, "d s"],
    error_prices: Float[Array, " e"],
    latency_prices: Float[Array, " l"],
    count: int,
) -> Choice:
    def row(error_price: Float[Array, ""]) -> Choice:
        def cell(latency_price: Float[Array, ""]) -> Choice:
            return _choose(base + error_price * error + latency_price * latency, count)

        return jax.vmap(cell)(latency_prices)

    return jax.lax.map(row, error_prices)


def _choose(loss: Float[Array, "d s"], count: int) -> Choice:
    expected = loss.mean(axis=0)
    order = jnp.argsort(expected)
    best, runner_up = order[0], order[min(1, order.size - 1)]
    least = loss.min(axis=1)
    ties = loss == least[:, None]
    regret = loss[:, best] - least
    return Choice(
        best,
        runner_up,
        expected,
        (ties / ties.sum(axis=1, keepdims=True)).mean(axis=0),
        regret.mean(),
        (loss[:, runner_up] - least).mean(),
        jax.lax.top_k(regret, count)[0].mean(),
    )


def _check_grid(
    outcome: Outcome,
    error_prices: Float[np.ndarray, " e"],
    latency_prices: Float[np.ndarray, " l"],
    tail: float,
) -> None:
    if np.ndim(outcome.error) != 2:
        raise InvalidInputError(
            "`outcome` must have two axes, draws and systems; it has "
            f"{np.ndim(outcome.error)}. Add an axis of one draw to means without uncertainty."
        )
    if not 0 < tail <= 1:
        raise InvalidInputError(f"`tail` must be a share above 0, at most 1; got {tail}.")
    for name, prices in (("error_prices", error_prices), ("latency_prices", latency_prices)):
        if prices.ndim != 1 or not prices.size or not np.all((prices >= 0) & np.isfinite(prices)):
            raise InvalidInputError(
                f"`{name}` must be a row of finite prices, at least 0 dollars; got {prices}."
            )
