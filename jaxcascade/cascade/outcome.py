"""What a policy brings per query, expected or counted, and its price."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Prices(NamedTuple):
    """Dollars that things are worth besides the calls themselves.

    Attributes:
        error: Dollars per wrong answer that is accepted.
        latency: Dollars per second.
        abstention: Dollars per query given up; infinite means never.
    """

    error: Float[Array | np.ndarray, "*prices"] | float
    latency: Float[Array | np.ndarray, "*prices"] | float = 0.0
    abstention: Float[Array | np.ndarray, "*prices"] | float = float("inf")


class Outcome(NamedTuple):
    """Means per query.

    Attributes:
        error: Probability that an answer is accepted and wrong, a joint probability in [0, 1].
        abstention: Probability of giving up, in [0, 1].
        cost_usd: Dollars per query.
        latency_s: Seconds per query; NaN where none was recorded.
        answered_by: Share of all queries whose accepted answer is each model's.
    """

    error: Float[Array | np.ndarray, "*batch"]
    abstention: Float[Array | np.ndarray, "*batch"]
    cost_usd: Float[Array | np.ndarray, "*batch"]
    latency_s: Float[Array | np.ndarray, "*batch"]
    answered_by: Float[Array | np.ndarray, "*batch k"]


@jax.jit
def loss(outcome: Outcome, prices: Prices) -> Float[Array, "*batch"]:
    """Returns cost + price of error, latency and abstention, in dollars per query.

    Broadcasts outcomes against prices. Seconds and abstentions that cost nothing do not count,
    even where the seconds are unknown or the price of an abstention is infinite.

    Example:
        >>> import jax.numpy as jnp
        >>> half = Outcome(*map(jnp.array, (0.5, 0.0, 0.01, 2.0)), jnp.ones(1))
        >>> float(loss(half, Prices(error=1.0)))
        0.51
    """
    seconds = jnp.where(jnp.asarray(prices.latency) > 0, outcome.latency_s, 0.0)
    abstained = outcome.abstention > 0
    given_up = jnp.where(abstained, outcome.abstention, 1.0) * prices.abstention
    return (
        jnp.asarray(outcome.cost_usd)
        + jnp.asarray(prices.error) * outcome.error
        + jnp.asarray(prices.latency) * seconds
        + jnp.where(abstained, given_up, 0.0)
    )
