"""What systems cost apart from errors, and whether it can be said."""

import numpy as np
from jaxtyping import Float

from jaxcascade.cascade import Outcome
from jaxcascade.errors import InvalidInputError


def check_priceable(
    outcome: Outcome, latency_price: float = 0.0, abstention_price: float = float("inf")
) -> None:
    """Finds out whether every system has a finite loss at such prices.

    Raises:
        InvalidInputError: A price is negative or not a number, seconds are priced but were not
            recorded, or a system gives queries up and there is no finite price of that.
    """
    for name, price in (("latency_price", latency_price), ("abstention_price", abstention_price)):
        if not price >= 0:
            raise InvalidInputError(f"`{name}` must be at least 0 dollars; got {price}.")
    if latency_price == float("inf"):
        raise InvalidInputError("`latency_price` must be finite; got inf.")
    if latency_price > 0 and not np.isfinite(outcome.latency_s).all():
        raise InvalidInputError(
            f"`latency_price` is {latency_price}, but the seconds of some system were not "
            "recorded. Record `latency_s`, or leave the price at 0."
        )
    if abstention_price == float("inf") and np.any(np.asarray(outcome.abstention) > 0):
        raise InvalidInputError(
            "A system gives some queries up, and no finite price says what that costs. Pass "
            "`abstention_price`, the dollars per query handed to a person."
        )


def base_cost(
    outcome: Outcome, latency_price: float = 0.0, abstention_price: float = float("inf")
) -> Float[np.ndarray, "*batch"]:
    """Returns dollars per query for calls, seconds and abstentions: the loss if errors were free.

    Raises:
        InvalidInputError: See `check_priceable`.
    """
    check_priceable(outcome, latency_price, abstention_price)
    base = np.asarray(outcome.cost_usd, float)
    # Seconds that cost nothing need not be known; abstentions that cost infinitely do not happen.
    if latency_price > 0:
        base = base + latency_price * np.asarray(outcome.latency_s)
    if abstention_price < float("inf"):
        base = base + abstention_price * np.asarray(outcome.abstention)
    return base
