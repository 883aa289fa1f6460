"""One policy for all groups of queries, or one for each: the choice, and what it saves."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from jaxcascade.cascade import Prices
from jaxcascade.economics.ledger import Ledger
from jaxcascade.economics.segments import groups_of
from jaxcascade.errors import InvalidInputError, RecordsError


class SegmentChoice(NamedTuple):
    """The best system for all groups together and for each.

    Attributes:
        names: Groups.
        systems: Candidates.
        shared: Position of the system with the least mean loss over all queries.
        own: Position of the best system of each group, by `difference`.
        difference: Estimated loss of each system in each group, less that of `shared`.
        trust: How far each estimate follows its group rather than all groups, from 0 to 1.
    """

    names: tuple[str, ...]
    systems: tuple[str, ...]
    shared: int
    own: Int[np.ndarray, " g"]
    difference: Float[np.ndarray, "g s"]
    trust: Float[np.ndarray, "g s"]

    def system_for(self, group: str) -> str:
        """Name of the system to use for a group; the shared one for a group not seen before."""
        known = group in self.names
        return self.systems[int(self.own[self.names.index(group)]) if known else self.shared]


class LossFromSharing(NamedTuple):
    """Held-out losses of one policy for all and of one per group.

    Each query is judged by choices made without it. Gains are what own policies save.

    Attributes:
        names: Groups.
        num_queries: Queries of each.
        shared_loss: Dollars per query of one policy for all, by group.
        own_loss: The same of one policy per group.
        gain_standard_error: Standard error of `gain`, over queries and over what is chosen from
            them (Nadeau and Bengio 2003); NaN for groups of one query.
        total_gain: Mean over all queries: the loss from sharing.
        total_standard_error: Its standard error.
    """

    names: tuple[str, ...]
    num_queries: Int[np.ndarray, " g"]
    shared_loss: Float[np.ndarray, " g"]
    own_loss: Float[np.ndarray, " g"]
    gain_standard_error: Float[np.ndarray, " g"]
    total_gain: float
    total_standard_error: float

    @property
    def gain(self) -> Float[np.ndarray, " g"]:
        """Dollars per query saved in each group; negative where own policies cost."""
        return self.shared_loss - self.own_loss


def choose_per_segment(ledger: Ledger, prices: Prices, *, shrinkage: bool = True) -> SegmentChoice:
    """Picks a system for each group, with estimates drawn towards what holds over all groups.

    For each system, the mean difference to the shared one in group g is taken to be normal
    around a true difference with variance s2 / n_g, and true differences to be normal around
    a common mean; the variance between groups is estimated from how much they differ beyond
    chance (DerSimonian and Laird 1986), and the estimate is the posterior mean. If groups differ
    by chance alone, all get the shared system.

    Args:
        ledger: Candidates on labelled queries with groups.
        prices: One set.
        shrinkage: Whether to; otherwise each group is judged by its own queries alone.

    Raises:
        InvalidInputError: The records have no groups, or seconds are priced but not recorded.
        RecordsError: No query can be compared.
    """
    of_query, names = groups_of(ledger)
    return _choose(_losses(ledger, prices), of_query, names, ledger.systems, shrinkage)


def loss_from_sharing(
    key: PRNGKeyArray,
    ledger: Ledger,
    prices: Prices,
    *,
    shrinkage: bool = True,
    num_folds: int = 5,
    num_repeats: int = 10,
) -> LossFromSharing:
    """Estimates by cross-validation what one policy per group saves against one for all.

    The best of several systems on few queries looks better than it is, so every query is judged
    by what was chosen without its fold. The candidates should be tuned on other records.

    Args:
        key: Deals the queries of each group into folds.
        ledger: Candidates on labelled queries with groups.
        prices: One set.
        shrinkage: See `choose_per_segment`.
        num_folds: At least 2.
        num_repeats: Ways of dealing, at least 1; their losses are averaged.

    Raises:
        InvalidInputError: As `choose_per_segment`, or a number is too small.
        RecordsError: There are fewer comparable queries than folds.
    """
    if num_folds < 2 or num_repeats < 1:
        raise InvalidInputError(
            "`num_folds` must be at least 2 and `num_repeats` at least 1; got "
            f"{num_folds} and {num_repeats}."
        )
    of_query, names = groups_of(ledger)
    losses = _losses(ledger, prices)
    usable = np.flatnonzero(of_query >= 0)
    if usable.size < num_folds:
        raise RecordsError(
            f"Cross-validation in {num_folds} parts needs as many comparable queries; there are "
            f"{usable.size}. Label more, or ask for fewer parts."
        )
    judged = np.zeros((2, usable.size))
    for one in jax.random.split(key, num_repeats):
        fold = _dealt(one, of_query[usable], num_folds)
        for number in range(num_folds):
            kept, held = usable[fold != number], np.flatnonzero(fold == number)
            choice = _choose(losses[:, kept], of_query[kept], names, ledger.systems, shrinkage)
            at = usable[held]
            judged[0, held] += losses[choice.shared, at] / num_repeats
            judged[1, held] += losses[choice.own[of_query[at]], at] / num_repeats
    return _summed(judged, of_query[usable], names, num_folds)


def _losses(ledger: Ledger, prices: Prices) -> Float[np.ndarray, "s n"]:
    if any(np.ndim(price) for price in prices):
        raise InvalidInputError("`prices` must be one set of prices, each of them a number.")
    return ledger.losses(prices)


def _choose(
    losses: Float[np.ndarray, "s n"],
    of_query: Int[np.ndarray, " n"],
    names: tuple[str, ...],
    systems: tuple[str, ...],
    shrinkage: bool,
) -> SegmentChoice:
    usable = of_query >= 0
    losses, member = losses[:, usable], np.eye(len(names))[of_query[usable]]
    shared = int(np.argmin(losses.mean(axis=1)))
    extra = (losses - losses[shared]).T
    count = member.sum(axis=0)[:, None]
    divisor = np.maximum(count, 1.0)
    means = member.T @ extra / divisor
    squares = ((extra - member @ means) ** 2).sum(axis=0)
    variance = squares / max(len(extra) - int((count > 0).sum()), 1)
    trust, middle = _partial_pooling(means, count, variance)
    if not shrinkage:
        trust = np.broadcast_to(np.where(count > 0, 1.0, 0.0), means.shape)
        middle = extra.mean(axis=0)
    difference = middle + trust * (means - middle)
    # Without a reason to leave the shared system, a tie or no query at all, it stays.
    stays = (difference[:, shared] <= difference.min(axis=1)) | (count[:, 0] == 0)
    own = np.where(stays, shared, difference.argmin(axis=1))
    return SegmentChoice(names, systems, shared, own, difference, trust)


def _partial_pooling(
    means: Float[np.ndarray, "g s"],
    count: Float[np.ndarray, "g 1"],
    variance: Float[np.ndarray, " s"],
) -> tuple[Float[np.ndarray, "g s"], Float[np.ndarray, " s"]]:
    """Returns how far to trust each group's mean, and the mean to fall back to, per system."""
    total = count.sum()
    middle = (count * means).sum(axis=0) / total
    seen = int((count > 0).sum())
    # In units of one query's variance, so that a variance of zero divides nothing.
    spread = (count * (means - middle) ** 2).sum(axis=0) - (seen - 1) * variance
    between = np.maximum(spread, 0.0) / max(total - (count**2).sum() / total, 1e-12)
    signal = count * between
    positive = signal > 0
    trust = np.where(positive, signal / np.where(positive, signal + variance, 1.0), 0.0)
    weight = np.where(between > 0, trust, count)
    middle = (weight * means).sum(axis=0) / weight.sum(axis=0)
    return trust, middle


def _dealt(
    key: PRNGKeyArray, of_query: Int[np.ndarray, " n"], num_folds: int
) -> Int[np.ndarray, " n"]:
    """Fold of each query: each group is dealt out evenly, in random order."""
    order = np.asarray(jax.random.permutation(key, of_query.size))
    order = order[np.argsort(of_query[order], kind="stable")]
    fold = np.empty(of_query.size, int)
    fold[order] = np.arange(of_query.size) % num_folds
    return fold


def _summed(
    judged: Float[np.ndarray, "2 n"],
    of_query: Int[np.ndarray, " n"],
    names: tuple[str, ...],
    num_folds: int,
) -> LossFromSharing:
    member = np.eye(len(names))[of_query]
    count = member.sum(axis=0)
    shared, own = judged @ member / count
    gains = judged[0] - judged[1]
    inflation = np.sqrt(1.0 + num_folds / (num_folds - 1.0))
    squares = ((gains - (shared - own)[of_query]) ** 2) @ member
    many = count > 1
    error = inflation * np.sqrt(squares / np.where(many, count * (count - 1), np.nan))
    total_error = inflation * float(gains.std(ddof=1)) / np.sqrt(gains.size)
    return LossFromSharing(
        names, count.astype(int), shared, own, error, float(gains.mean()), total_error
    )
