"""Upper limits on what systems bring on average, and the quantities that they limit."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcascade.cascade import Outcome
from jaxcascade.errors import InvalidInputError

QUANTITIES = ("error", "cost_usd", "latency_s", "abstention")


class Limits(NamedTuple):
    """Upper limits on means per query; infinite where there is none.

    A quantile of the latency of a mixture is not linear in its probabilities, but the share of
    queries that take longer than so many seconds is. "The quantile at `level` is at most
    `seconds`" is therefore put as `late=1 - level`, with `late_share(ledger, seconds)` of each
    system; the two are the same statement.

    Attributes:
        error: Of answers accepted and wrong, as a share of all queries: the joint error.
        cost_usd: Of dollars.
        latency_s: Of mean seconds.
        abstention: Of queries given up.
        late: Of the share of queries that take longer than the seconds of `late_share`.
        error_given_answered: Of wrong answers as a share of the answered queries: the
            conditional error. It is linear too: error <= limit x (1 - abstention).
    """

    error: float = float("inf")
    cost_usd: float = float("inf")
    latency_s: float = float("inf")
    abstention: float = float("inf")
    late: float = float("inf")
    error_given_answered: float = float("inf")

    def given(self) -> dict[str, float]:
        """Returns the limits that there are, by name."""
        return {name: limit for name, limit in self._asdict().items() if limit < np.inf}


def limited_quantities(
    outcome: Outcome, limits: Limits, late: Float[np.ndarray, "*d s"] | None
) -> tuple[Float[np.ndarray, "m *d s"], Float[np.ndarray, " m"]]:
    """Returns what is limited, as means that are linear in a mixture's shares, and by how much.

    Args:
        outcome: Last axis the systems.
        limits: See `Limits`.
        late: Share of late queries, where `limits.late` is given.

    Returns:
        Quantities of each system, a row for each limit; and their upper bounds.

    Raises:
        InvalidInputError: A limit is not a number, or a quantity that it needs is unknown.
    """
    error, abstention = np.asarray(outcome.error), np.asarray(outcome.abstention)
    rows, bounds = [], []
    for name, limit in limits._asdict().items():
        if np.isnan(limit) or limit < 0:
            raise InvalidInputError(f"`limits.{name}` must be at least 0; got {limit}.")
        if limit == np.inf:
            continue
        if name == "late":
            if late is None:
                raise InvalidInputError(
                    "`limits.late` needs `late`, the share of late queries of each system; see "
                    "`late_share`."
                )
            values = np.asarray(late)
        elif name == "error_given_answered":
            values = error + limit * abstention
        else:
            values = np.asarray(getattr(outcome, name))
        check_known(values, name)
        rows.append(values)
        bounds.append(limit)
    return np.array(rows).reshape(len(rows), *error.shape), np.array(bounds, float)


def check_known(values: Float[np.ndarray, "*d s"], name: str) -> None:
    """Refuses quantities that are unknown for some system.

    Raises:
        InvalidInputError: Some are NaN.
    """
    unknown = int(np.isnan(values).reshape(-1, values.shape[-1]).any(axis=0).sum())
    if unknown:
        raise InvalidInputError(
            f"`{name}` is unknown for {unknown} of {values.shape[-1]} systems. Record it, or do "
            "not limit, price or minimise it."
        )
