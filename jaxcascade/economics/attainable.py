"""What could be had instead, where a request for limits cannot be met."""

import numpy as np
from jaxtyping import Float

from jaxcascade.cascade import Outcome
from jaxcascade.economics.limits import Limits
from jaxcascade.economics.simplex import best_shares

_SAME = 1e-9
_WORDS = {
    "error": "error",
    "cost_usd": "cost in dollars",
    "latency_s": "latency in seconds",
    "abstention": "abstention",
    "late": "share of late queries",
    "error_given_answered": "error of what is answered",
}


def attainable(
    limits: Limits,
    outcome: Outcome,
    values: Float[np.ndarray, "m s"],
    bounds: Float[np.ndarray, " m"],
) -> str:
    """Says how low each limited quantity can get while the others stay within their limits.

    Args:
        limits: That no mixture is within.
        outcome: Means of the systems.
        values: See `limited_quantities`.
        bounds: See there.
    """
    given = limits.given()
    said = []
    for m, name in enumerate(given):
        others = np.arange(len(given)) != m
        where, rest = "", (values[others], bounds[others])
        if others.any() and best_shares(values[m], *rest) is not None:
            kept = [f"{_WORDS[n]} at most {limit:.4g}" for n, limit in given.items() if n != name]
            where = f" with {' and '.join(kept)}"
        else:
            # Not even the others can be kept: what it can be at the least, whatever they are.
            rest = (values[:0], bounds[:0])
        if name == "error_given_answered":
            answered = 1.0 - np.asarray(outcome.abstention)
            least = _least_ratio(np.asarray(outcome.error), answered, *rest)
        else:
            least = float(values[m] @ _shares(values[m], *rest))
        said.append(f"The least {_WORDS[name]}{where} is {_up(least)}.")
    asked = ", ".join(f"{_WORDS[name]} {limit:.4g}" for name, limit in given.items())
    return f"No mixture of the systems is within the limits ({asked}). {' '.join(said)}"


def _least_ratio(
    over: Float[np.ndarray, " s"],
    under: Float[np.ndarray, " s"],
    values: Float[np.ndarray, "m s"],
    bounds: Float[np.ndarray, " m"],
) -> float:
    """Minimises a ratio of two means within limits (Dinkelbach 1967): a few linear programs."""
    ratio = 1.0
    while True:
        shares = _shares(over - ratio * under, values, bounds)
        if not over @ shares < (ratio - _SAME) * (under @ shares):
            return ratio
        ratio = float(over @ shares) / float(under @ shares)


def _shares(
    objective: Float[np.ndarray, " s"],
    values: Float[np.ndarray, "m s"],
    bounds: Float[np.ndarray, " m"],
) -> Float[np.ndarray, " s"]:
    found = best_shares(objective, values, bounds)
    assert found is not None, "some mixture is within these limits"
    return found.shares


def _up(value: float) -> str:
    """Rounds up, so that what is said to be attainable is."""
    if value <= 0:
        return f"{value:.4g}"
    step = 10.0 ** (np.floor(np.log10(value)) - 3)
    return f"{np.ceil(value / step - 1e-9) * step:.4g}"
