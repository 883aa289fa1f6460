"""Latency drag and cost drag: a dear model that is passed the hard queries only is dearer still."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from jaxcascade.cascade import Policy
from jaxcascade.errors import InvalidInputError, PolicyError, RecordsError
from jaxcascade.records import Records


class Drag(NamedTuple):
    """What the calls of a dear model come to per query, beside what a naive sum says.

    Each field is a number, or has a leading axis of draws. The split goes from all queries to
    those that are not easy, and from there to those passed on; it adds up exactly.

    Attributes:
        share: Share of the queries that are passed on.
        naive: This share times the mean over all queries (arXiv:2507.14406; eq. 4.2 of the
            thesis).
        no_easy: Added because the easy queries are not passed on; above 0 where easy ones take
            less.
        no_hardest: Added because the hardest are not passed on; below 0 where they take more.
    """

    share: Float[np.ndarray, "*draws"] | float
    naive: Float[np.ndarray, "*draws"] | float
    no_easy: Float[np.ndarray, "*draws"] | float
    no_hardest: Float[np.ndarray, "*draws"] | float

    @property
    def total(self) -> Float[np.ndarray, "*draws"] | float:
        """The drag: the covariance of being passed on and the amount."""
        return self.no_easy + self.no_hardest

    @property
    def actual(self) -> Float[np.ndarray, "*draws"] | float:
        """What the calls really come to per query."""
        return self.naive + self.total


def latency_drag(
    records: Records,
    confidence: Float[Array | np.ndarray, "n k"],
    policy: Policy,
    weight: Float[np.ndarray, "*draws n"] | None = None,
) -> Drag:
    """Measures the latency drag of a policy over two models, in seconds per query.

    Args:
        records: Runs with the seconds of the model that queries are passed on to. Queries on
            which either model was not run do not count.
        confidence: Of each cell, on the scale of the policy's breakpoints.
        policy: Of two models, the first of which passes some queries on to the second.
        weight: Weight of each query, as `bootstrap_weights` draws them; equal by default.

    Raises:
        PolicyError: The policy is not of two models.
        RecordsError: No query was run on both models, or no seconds were recorded.

    Example:
        >>> from jaxcascade.economics import fail_fast_policy, latency_drag, simulated_records
        >>> import jax
        >>> records = simulated_records(jax.random.key(0), 4000)
        >>> rule = fail_fast_policy(records, records.confidence, utilisation=0.5, rejection=0.1)
        >>> drag = latency_drag(records, records.confidence, rule)
        >>> round(drag.no_easy), round(drag.no_hardest)
        (22, -8)
    """
    if records.latency_s is None:
        raise RecordsError("The latency drag needs `latency_s`, which the records lack. Record it.")
    return _drag(records.latency_s, records, confidence, policy, weight)


def cost_drag(
    records: Records,
    confidence: Float[Array | np.ndarray, "n k"],
    policy: Policy,
    weight: Float[np.ndarray, "*draws n"] | None = None,
) -> Drag:
    """Measures the same in dollars per query; see `latency_drag`."""
    return _drag(records.cost_usd, records, confidence, policy, weight)


def drag_of(
    amount: Float[np.ndarray, " n"],
    passed: Bool[np.ndarray, " n"],
    failed: Bool[np.ndarray, " n"],
    weight: Float[np.ndarray, "*draws n"],
) -> Drag:
    """Splits the drag of any amount, given which queries are passed on and which fail fast.

    Args:
        amount: What the second model takes for each query.
        passed: Queries that the first model passes on.
        failed: Queries that the first model hands to a person, harder ones by its account.
        weight: At least 0; need not add up to 1.

    Raises:
        InvalidInputError: A query is both passed on and failed.
    """
    if np.any(passed & failed):
        raise InvalidInputError("A query cannot be both passed on and failed fast.")
    weight = weight / weight.sum(axis=-1, keepdims=True)
    share = weight @ passed.astype(float)
    mean, actual = weight @ amount, weight @ (passed * amount)
    not_easy = passed | failed
    reached = weight @ not_easy.astype(float)
    # The mean of those that are not easy; of nobody, nothing is passed on either.
    hard_mean = (weight @ (not_easy * amount)) / np.where(reached > 0, reached, 1.0)
    naive = share * mean
    return Drag(share, naive, share * (hard_mean - mean), actual - share * hard_mean)


def _drag(
    cells: Float[np.ndarray, "n k"],
    records: Records,
    confidence: Float[Array | np.ndarray, "n k"],
    policy: Policy,
    weight: Float[np.ndarray, "*draws n"] | None,
) -> Drag:
    names = policy.order()
    if len(names) != 2:
        raise PolicyError(
            "A drag is that of the second of two models; the policy asks "
            f"{len(names)}: {', '.join(names)}."
        )
    fast, reasoning = (records.model_index(name) for name in names)
    sure, amount = np.asarray(confidence)[:, fast], cells[:, reasoning]
    usable = ~np.isnan(sure) & ~np.isnan(amount)
    if not usable.any():
        raise RecordsError(f'No query has runs of both "{names[0]}" and "{names[1]}". Record some.')
    rule = policy.rules[names[0]]
    # A confidence equal to a breakpoint belongs to the interval below it.
    actions = np.array(rule.actions)[np.searchsorted(rule.breakpoints, sure[usable], side="left")]
    share = np.ones(usable.sum()) if weight is None else weight[..., usable]
    return drag_of(amount[usable], actions == names[1], actions == "abstain", share)
