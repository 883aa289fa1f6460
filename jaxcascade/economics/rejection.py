"""Answers given up by uncertainty: joint and conditional error, accuracy against rejection."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import Outcome
from jaxcascade.economics.bootstrap import weight_blocks
from jaxcascade.economics.ledger import Ledger
from jaxcascade.errors import InvalidInputError

_MOST_REJECTED, _NUM_RATES = 0.2, 201
_SAME = 1e-12


def error_given_answered(outcome: Outcome) -> Float[np.ndarray, "*batch"]:
    """Returns the conditional error: the share of wrong answers among those that are given.

    `Outcome.error` is the joint error, the share of wrong answers among all queries, and equals
    this times (1 - abstention). Giving up lowers the joint error whatever is given up; it lowers
    this one only where what is given up would have been wrong more often than the rest.

    Returns:
        In [0, 1]; NaN where nothing is answered.
    """
    answered = 1.0 - np.asarray(outcome.abstention)
    some = answered > _SAME
    return np.where(some, np.asarray(outcome.error) / np.where(some, answered, 1.0), np.nan)


class RejectionCurve(NamedTuple):
    """One system's answers when its most uncertain ones are given up.

    Attributes:
        rate: Share of queries to be rejected, as asked for.
        realised: Share that is. It is above `rate` where the system gives up more by itself, or
            where answers of one uncertainty are rejected together.
        accuracy: Share of right answers among those retained; NaN where none is.
        error: Joint error: share of retained wrong answers among all queries.
    """

    rate: Float[np.ndarray, " r"]
    realised: Float[np.ndarray, "*d r"]
    accuracy: Float[np.ndarray, "*d r"]
    error: Float[np.ndarray, "*d r"]


class Auarc(NamedTuple):
    """Area under the accuracy-rejection curve: the mean accuracy over the rates.

    Attributes:
        value: On the queries as they are; NaN where every rate is undefined.
        low: Low end of the central interval over the bootstrap.
        high: High end.
        level: Probability of the interval.
        num_undefined: Rates left out, because at them everything is rejected.
    """

    value: float
    low: float
    high: float
    level: float
    num_undefined: int


def rejection_curve(
    ledger: Ledger,
    system: str,
    uncertainty: Float[np.ndarray, " n"],
    rates: Float[np.ndarray, " r"] | None = None,
    *,
    whole_ties: bool = False,
    weight: Float[np.ndarray, "*d n"] | None = None,
) -> RejectionCurve:
    """Gives up a system's most uncertain answers, at each of several rates.

    Queries that the system gives up by itself are rejected first. Of answers of one uncertainty
    some are to be rejected and others not: a random part of them, in expectation, or with
    `whole_ties` all, so that at least the rate is rejected.

    Args:
        ledger: Queries whose outcome is not known do not count.
        system: Name.
        uncertainty: Of each query's answer, on any scale: one minus confidence, tokens.
        rates: Within [0, 1]; by default 201 from 0 to 0.2.
        whole_ties: See above.
        weight: Weight of each query; equal by default.

    Raises:
        InvalidInputError: There is no such system, a rate is out of range, or an answer that
            counts has no uncertainty.

    References:
        Zellinger and Thomson (2025), arXiv:2507.14406, on accuracy-rejection curves.
    """
    rates = _rates(rates)
    wrong, given_up, doubt, used = _cells(ledger, system, uncertainty)
    shares = np.ones(used.sum()) if weight is None else np.asarray(weight)[..., used]
    groups = _groups(wrong, given_up, doubt)
    return _curve(groups, shares, rates, whole_ties)


def auarc(
    key: Array,
    ledger: Ledger,
    system: str,
    uncertainty: Float[np.ndarray, " n"],
    rates: Float[np.ndarray, " r"] | None = None,
    *,
    whole_ties: bool = False,
    num_draws: int = 2000,
    level: float = 0.9,
) -> Auarc:
    """Averages accuracy over rejection rates, with an interval from the Bayesian bootstrap.

    Args:
        key: Random key.
        ledger: See `rejection_curve`.
        system: See there.
        uncertainty: See there.
        rates: Evenly spaced; by default 201 from 0 to 0.2.
        whole_ties: See `rejection_curve`.
        num_draws: Of the bootstrap of queries.
        level: Probability of the interval.

    Raises:
        InvalidInputError: See `rejection_curve`; or `level` is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise InvalidInputError(f"`level` must lie between 0 and 1; got {level}.")
    rates = _rates(rates)
    wrong, given_up, doubt, used = _cells(ledger, system, uncertainty)
    groups = _groups(wrong, given_up, doubt)
    seen = _curve(groups, np.ones(used.sum()), rates, whole_ties).accuracy
    defined = ~np.isnan(seen)
    if not defined.any():
        return Auarc(np.nan, np.nan, np.nan, level, rates.size)
    drawn = np.concatenate(
        [
            _curve(groups, block, rates[defined], whole_ties).accuracy
            for block in weight_blocks(key, int(used.sum()), num_draws)
        ]
    )
    # With `whole_ties` a draw's weights may reject everything at a rate where equal ones do not.
    means = np.nanmean(drawn[~np.isnan(drawn).all(axis=1)], axis=1)
    tail = 0.5 * (1.0 - level)
    low, high = np.quantile(means, [tail, 1.0 - tail]) if means.size else (np.nan, np.nan)
    return Auarc(float(seen[defined].mean()), float(low), float(high), level, int((~defined).sum()))


class _Groups(NamedTuple):
    """Queries in groups of one uncertainty, the surest first and those given up last."""

    wrong: Float[np.ndarray, " n"]
    order: np.ndarray
    starts: np.ndarray
    last_given_up: bool


def _groups(wrong: np.ndarray, given_up: np.ndarray, doubt: np.ndarray) -> _Groups:
    order = np.lexsort((doubt, given_up))
    same = (doubt[order][1:] == doubt[order][:-1]) & (given_up[order][1:] == given_up[order][:-1])
    # Queries that are given up are of one kind, whatever their uncertainty.
    same |= given_up[order][1:] & given_up[order][:-1]
    starts = np.flatnonzero(np.append(True, ~same))
    return _Groups(wrong, order, starts, bool(given_up.any()))


def _curve(
    groups: _Groups, weight: Float[np.ndarray, "*d n"], rates: np.ndarray, whole_ties: bool
) -> RejectionCurve:
    weight = weight / weight.sum(axis=-1, keepdims=True)
    rows = weight.reshape(-1, weight.shape[-1])[:, groups.order]
    mass = np.add.reduceat(rows, groups.starts, axis=1)
    bad = np.add.reduceat(rows * groups.wrong[groups.order], groups.starts, axis=1)
    if groups.last_given_up:
        mass, bad = mass[:, :-1], bad[:, :-1]
    blank = np.zeros((len(rows), 1))
    mass, bad = (np.hstack([blank, part.cumsum(axis=1)]) for part in (mass, bad))
    kept, wrong = np.empty((2, len(rows), rates.size))
    for row, (upto, wrong_upto) in enumerate(zip(mass, bad, strict=True)):
        most = np.minimum(1.0 - rates, upto[-1])
        if whole_ties:
            at = np.searchsorted(upto, most + _SAME, side="right") - 1
            kept[row], wrong[row] = upto[at], wrong_upto[at]
        else:
            kept[row], wrong[row] = most, np.interp(most, upto, wrong_upto)
    some = kept > _SAME
    accuracy = np.where(some, 1.0 - wrong / np.where(some, kept, 1.0), np.nan)
    shape = (*weight.shape[:-1], rates.size)
    return RejectionCurve(
        rates, *(part.reshape(shape) for part in (np.maximum(1.0 - kept, 0.0), accuracy, wrong))
    )


def _cells(
    ledger: Ledger, system: str, uncertainty: Float[np.ndarray, " n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Wrong, given up and uncertainty of the queries that count, and which they are."""
    at = ledger.position(system)
    doubt = np.asarray(uncertainty, float)
    if doubt.shape != ledger.queries.shape:
        raise InvalidInputError(
            f"`uncertainty` must have one value per query, {ledger.queries.size}; got an array of "
            f"shape {doubt.shape}."
        )
    used = ~np.isnan(ledger.wrong[at])
    if not used.any():
        raise InvalidInputError(f'No query has a known outcome under "{system}".')
    given_up = ledger.abstained[at][used] > 0
    lacking = int((np.isnan(doubt[used]) & ~given_up).sum())
    if lacking:
        raise InvalidInputError(
            f"`uncertainty` is missing for {lacking} answered queries. Fill it in, or leave those "
            "queries out with `Ledger.take`."
        )
    return ledger.wrong[at][used], given_up, doubt[used], used


def _rates(rates: Float[np.ndarray, " r"] | None) -> Float[np.ndarray, " r"]:
    if rates is None:
        return np.linspace(0.0, _MOST_REJECTED, _NUM_RATES)
    rates = np.asarray(rates, float)
    if rates.ndim != 1 or rates.size == 0 or not np.all((rates >= 0) & (rates <= 1)):
        raise InvalidInputError(f"`rates` must be a list of shares in [0, 1]; got {rates}.")
    return rates
