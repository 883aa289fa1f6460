"""Why a cascade errs as it does: who is passed on, and which errors that takes away."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from jaxcascade.economics.bootstrap import bootstrap_weights
from jaxcascade.economics.ledger import Ledger
from jaxcascade.errors import InvalidInputError


class CascadeError(NamedTuple):
    """The parts of a two-model cascade's error.

    The error is (1 - p) e_small + p e_big + covariance_big - covariance_small, exactly, with p
    the share that is passed on.

    Attributes:
        error: Probability of a wrong answer of the cascade.
        deferral: Share of queries passed on.
        small_error: Error of the small model on all queries.
        big_error: Error of the big model on all queries.
        covariance_small: Covariance of being passed on and of the small model's being wrong: the
            cascade error reduction, by which the small model passes on its errors rather than
            queries at random.
        covariance_big: The same of the big model's: what queries passed on are harder for it.
    """

    error: Float[np.ndarray, "*batch"]
    deferral: Float[np.ndarray, "*batch"]
    small_error: Float[np.ndarray, "*batch"]
    big_error: Float[np.ndarray, "*batch"]
    covariance_small: Float[np.ndarray, "*batch"]
    covariance_big: Float[np.ndarray, "*batch"]

    @property
    def reduction(self) -> Float[np.ndarray, "*batch"]:
        """The cascade error reduction: p (P(small wrong | passed on) - e_small)."""
        return self.covariance_small


def cascade_error(
    deferred: Float[np.ndarray, " n"] | Bool[np.ndarray, " n"],
    small_wrong: Float[np.ndarray, " n"] | Bool[np.ndarray, " n"],
    big_wrong: Float[np.ndarray, " n"] | Bool[np.ndarray, " n"],
    weight: Float[np.ndarray, "*batch n"] | None = None,
) -> CascadeError:
    """Splits the error of a two-model cascade into its parts.

    Args:
        deferred: Whether each query is passed on; a probability where that is drawn by lot.
        small_wrong: Whether the small model's answer is wrong.
        big_wrong: Whether the big model's is.
        weight: Weights of the queries, adding up to 1 along the last axis; equal by default.

    Raises:
        InvalidInputError: There are no queries, or values outside [0, 1].

    References:
        Zellinger and Thomson (2025), arXiv:2507.03834, theorem 5.

    Example:
        >>> import numpy as np
        >>> parts = cascade_error(
        ...     np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 0, 0]), np.array([0.0, 0, 1, 0])
        ... )
        >>> parts.error.item(), parts.reduction.item()
        (0.0, 0.125)
    """
    columns = [np.asarray(part, float) for part in (deferred, small_wrong, big_wrong)]
    for name, column in zip(("deferred", "small_wrong", "big_wrong"), columns, strict=True):
        if not column.size or not np.all((column >= 0) & (column <= 1)):
            raise InvalidInputError(
                f"`{name}` must hold one number in [0, 1] per query, and none that is missing."
            )
    n = columns[0].size
    share = np.full(n, 1.0 / n) if weight is None else weight
    d, small, big = columns
    rate, small_error, big_error = (share @ column for column in columns)
    return CascadeError(
        share @ ((1.0 - d) * small + d * big),
        rate,
        small_error,
        big_error,
        share @ (d * small) - rate * small_error,
        share @ (d * big) - rate * big_error,
    )


def cascade_error_draws(
    key: Array, ledger: Ledger, cascade: str, small: str, big: str, num_draws: int = 2000
) -> tuple[CascadeError, CascadeError]:
    """Splits the error of a cascade in a ledger, with the Bayesian bootstrap's uncertainty.

    Args:
        key: Random key.
        ledger: Holds the cascade and both of its models.
        cascade: Name of a system that answers by one of the two models.
        small: Name of the model that is asked first.
        big: Name of the model that queries are passed on to.
        num_draws: Draws `d`.

    Returns:
        The parts on the records, and draws of them with a leading axis; see `pointwise_band` for
        intervals.

    Raises:
        InvalidInputError: The ledger lacks a system, or the cascade gives queries up or answers
            by another model.
    """
    chosen = ledger.select([cascade, small, big])
    chosen = chosen.take(chosen.known)
    by = chosen.answered_by
    deferred = by[0] == by[2]
    if not np.all(deferred | (by[0] == by[1])):
        raise InvalidInputError(
            f'"{cascade}" must answer every query by "{small}" or by "{big}"; it answers some by '
            "another model or not at all."
        )
    wrong = chosen.wrong
    found = cascade_error(deferred, wrong[1], wrong[2])
    weight = bootstrap_weights(key, chosen.queries.size, num_draws)
    return found, cascade_error(deferred, wrong[1], wrong[2], weight)
