"""The best mixture of systems within limits on error, dollars, seconds and abstention."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcascade.cascade import Outcome, Prices, loss
from jaxcascade.economics.attainable import attainable
from jaxcascade.economics.ledger import Ledger
from jaxcascade.economics.limits import QUANTITIES, Limits, check_known, limited_quantities
from jaxcascade.economics.simplex import MixtureProgram, best_shares
from jaxcascade.errors import InfeasibleError, InvalidInputError

_BINDING = 1e-9


class SystemMixture(NamedTuple):
    """Systems, one of which is drawn for every query.

    Attributes:
        systems: Names.
        shares: Probability of each, above 0.
    """

    systems: tuple[str, ...]
    shares: Float[np.ndarray, " m"]

    def outcome(self, ledger: Ledger) -> Outcome:
        """Averages what its systems did over a ledger's queries and over the draw of the system.

        Raises:
            InvalidInputError: The ledger lacks a system.
        """
        return mixed(ledger.select(self.systems).outcomes(), self.shares)

    def describe(self) -> str:
        """Returns the mixture in words, on one line."""
        if len(self.systems) == 1:
            return self.systems[0]
        parts = zip(self.shares, self.systems, strict=True)
        return " + ".join(f"{share:.1%} [{name}]" for share, name in parts)


class Allocation(NamedTuple):
    """The best that can be had within limits.

    Attributes:
        mixture: One system, or several; never more than there are binding limits and one.
        outcome: Expected means of the mixture.
        late: Its share of late queries; NaN where that was not asked for.
        value: What was minimised.
        shadow_prices: What one unit more of each limit would save, in the units of what is
            minimised: dollars where that is the cost or the loss. Of a limit that does not
            matter, 0. With these prices on the limited quantities, every system of the mixture
            is a best one. At a corner of the hull several prices do; this is one of them.
        binding: Names of the limits that are reached.
    """

    mixture: SystemMixture
    outcome: Outcome
    late: float
    value: float
    shadow_prices: Limits
    binding: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Either "single", one system at no limit; "corner", one at a limit; or "mixture"."""
        if len(self.mixture.systems) > 1:
            return "mixture"
        return "corner" if self.binding else "single"


def late_share(
    ledger: Ledger, seconds: float, weight: Float[np.ndarray, "*batch n"] | None = None
) -> Float[np.ndarray, "*batch s"]:
    """Returns the share of comparable queries on which each system takes longer than so long.

    Args:
        ledger: With seconds.
        seconds: The most that a query may take.
        weight: Weight of each query; equal by default.

    Raises:
        InvalidInputError: Seconds were not recorded.
    """
    if not ledger.has_latency:
        raise InvalidInputError(
            "A limit on a latency quantile needs the seconds of every call, but `latency_s` is "
            "missing from the records or from some of their rows. Record it, or drop the limit."
        )
    share = ledger.known.astype(float) if weight is None else np.where(ledger.known, weight, 0.0)
    return (share / share.sum(axis=-1, keepdims=True)) @ (ledger.latency_s > seconds).T


def mixed(outcome: Outcome, shares: Float[np.ndarray, " s"]) -> Outcome:
    """Returns means of a mixture of the last batch axis; systems of share 0 do not count."""
    used = np.flatnonzero(shares)
    error, abstention, cost_usd, latency_s = (
        np.asarray(part)[..., used] @ shares[used] for part in outcome[:-1]
    )
    answered_by = np.asarray(outcome.answered_by)[..., used, :]
    by_model = np.einsum("s,...sk->...k", shares[used], answered_by)
    return Outcome(error, abstention, cost_usd, latency_s, by_model)


def best_within(
    systems: Sequence[str],
    outcome: Outcome,
    limits: Limits,
    minimise: str | Prices = "cost_usd",
    late: Float[np.ndarray, "*d s"] | None = None,
) -> Allocation:
    """Finds the mixture of systems that minimises one mean while others stay within limits.

    A linear program, and exact: minimising the objective plus prices of the limited quantities
    finds the systems on the lower convex hull, and the best prices are the dual solution.
    Thus the optimum is one system, or a mixture of at most one more than there are limits. Among
    several optima none is taken that another dominates.

    Args:
        systems: Their names.
        outcome: Means, of which the last axis is the systems. Over draws, where there is an
            axis of them, it is the mean that stays within limits; see `chance_within`.
        limits: At least one, or none.
        minimise: "error", "cost_usd", "latency_s" or "abstention", or the loss at prices.
        late: Share of late queries of each system, where `limits.late` is given.

    Raises:
        InfeasibleError: Nothing is within all limits; it says what could be had.
        InvalidInputError: A limit is not a number, or a quantity that it needs is unknown.

    References:
        Zellinger and Thomson (2025), arXiv:2507.03834, theorem 3: prices reach the hull.
    """
    means = averaged(outcome)
    late = None if late is None else np.asarray(late).reshape(-1, len(systems)).mean(axis=0)
    objective = _objective(means, minimise)
    # What is infinitely dear, as giving up without a price for it, is out of the question.
    allowed = np.flatnonzero(objective < np.inf)
    if allowed.size == 0:
        raise InvalidInputError(
            "Every system gives up at times, and `minimise` has no price of abstention. Set one."
        )
    values, bounds = limited_quantities(means, limits, late)
    objective, values = objective[allowed], values[:, allowed]
    possible = Outcome(*(np.asarray(part)[allowed] for part in means))
    then = _scaled_sum(np.vstack([*(getattr(possible, name) for name in QUANTITIES), values]))
    found = best_shares(objective, values, bounds, then)
    if found is None:
        raise InfeasibleError(attainable(limits, possible, values, bounds))
    used = np.flatnonzero(found.shares)
    shares = np.zeros(len(systems))
    shares[allowed] = found.shares
    total = mixed(means, shares)
    return Allocation(
        SystemMixture(tuple(systems[int(s)] for s in allowed[used]), found.shares[used]),
        total,
        float("nan") if late is None else float(late @ shares),
        float(objective @ found.shares),
        _shadow_prices(limits, found, total),
        tuple(
            name
            for name, row, bound in zip(limits.given(), values, bounds, strict=True)
            if abs(row @ found.shares - bound) <= _BINDING * np.abs(row).max()
        ),
    )


def averaged(outcome: Outcome) -> Outcome:
    """Averages means over their draws, where there are any; the last axis is the systems."""
    count, k = np.shape(outcome.answered_by)[-2:]
    error, abstention, cost_usd, latency_s = (
        np.reshape(part, (-1, count)).mean(axis=0) for part in outcome[:-1]
    )
    by_model = np.reshape(outcome.answered_by, (-1, count, k)).mean(axis=0)
    return Outcome(error, abstention, cost_usd, latency_s, by_model)


def _objective(outcome: Outcome, minimise: str | Prices) -> Float[np.ndarray, " s"]:
    if isinstance(minimise, Prices):
        values, name = np.asarray(loss(outcome, minimise)), "latency_s"
    elif minimise in QUANTITIES:
        values, name = np.asarray(getattr(outcome, minimise)), minimise
    else:
        raise InvalidInputError(
            f'`minimise` must be one of {", ".join(QUANTITIES)}, or prices; got "{minimise}".'
        )
    check_known(values, name)
    return values


def _scaled_sum(values: Float[np.ndarray, "m s"]) -> Float[np.ndarray, " s"]:
    """Adds up quantities of different units, each scaled to [0, 1]; unknown ones do not count."""
    known = values[~np.isnan(values).any(axis=1)]
    low, width = known.min(axis=1, keepdims=True), np.ptp(known, axis=1, keepdims=True)
    return ((known - low) / np.where(width > 0, width, 1.0)).sum(axis=0)


def _shadow_prices(limits: Limits, found: MixtureProgram, outcome: Outcome) -> Limits:
    prices = dict(zip(limits.given(), found.prices.tolist(), strict=True))
    if "error_given_answered" in prices:
        # Its limit stands on both sides of the inequality.
        prices["error_given_answered"] *= 1.0 - float(outcome.abstention)
    return Limits(*(prices.get(name, 0.0) for name in Limits._fields))
