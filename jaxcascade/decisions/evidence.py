"""What raters say of items, as log-likelihoods of the states: from ratings, or from probabilities.

A rater's likelihood is known up to a constant per item, so that only differences between states
mean anything. Floors keep one extreme word from excluding a state for good: 0.5 rating points are
added to a mean rating, and a probability is moved into [0.01, 0.99].
"""

from collections.abc import Hashable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Integer

from jaxcascade.errors import InvalidInputError
from jaxcascade.records.wording import counted, listing

FLOOR = 0.5
"""Rating points added to a mean rating."""
HIGHEST_RATING = 10.0
PROBABILITY_FLOOR = 0.01
"""Least probability of a state that a rater is taken at its word for."""


class Evidence(eqx.Module):
    """What each rater says of each item.

    Attributes:
        log_likelihood: Of every state, up to a constant per item and rater; 0 throughout where
            the rater is not known. Shape (items, raters, states).
        known: Whether the rater has spoken of the item, in every state.
        raters: Names.
        states: Names; ratios are to the first.
        items: Identities.

    Example:
        >>> evidence = evidence_of_ratings(
        ...     np.array([[[[4.0], [8.0]], [[np.nan], [5.0]]]]), ["a", "b"], ["unfit", "fit"])
        >>> evidence.known.tolist()
        [[True, False]]
        >>> [round(float(ratio), 4) for ratio in evidence.ratios[0, :, 1]]
        [0.636, 0.0]
    """

    log_likelihood: Float[Array, "n m s"]
    known: Bool[Array, "n m"]
    raters: tuple[str, ...] = eqx.field(static=True)
    states: tuple[str, ...] = eqx.field(static=True)
    items: tuple[Hashable, ...] = eqx.field(static=True)

    def __check_init__(self):
        named = {"items": self.items, "raters": self.raters, "states": self.states}
        shape = tuple(len(names) for names in named.values())
        if self.log_likelihood.shape != shape or self.known.shape != shape[:2]:
            raise InvalidInputError(
                f"With {shape[0]} items, {shape[1]} raters and {shape[2]} states, "
                f"`log_likelihood` must have the shape {shape} and `known` {shape[:2]}; they have "
                f"{self.log_likelihood.shape} and {self.known.shape}."
            )
        for name, names in named.items():
            if len(set(names)) < len(names):
                raise InvalidInputError(f"`{name}` must be distinct; got {listing(names)}.")
        if len(self.states) < 2:
            raise InvalidInputError(
                f"Evidence is of two states or more; got {listing(self.states) or 'none'}."
            )
        if _concrete(self.log_likelihood, self.known):
            _require_numbers(self)

    @property
    def ratios(self) -> Float[Array, "n m s"]:
        """Log-likelihood ratios to the first state: what no constant changes."""
        return self.log_likelihood - self.log_likelihood[..., :1]

    def of_raters(self, raters: Sequence[str]) -> "Evidence":
        """Keeps some raters, in the order given.

        Raises:
            InvalidInputError: There is no rater of a name.
        """
        unknown = [rater for rater in raters if rater not in self.raters]
        if unknown:
            raise InvalidInputError(
                f"`raters` must be among {listing(self.raters)}; got {listing(unknown)}."
            )
        at = np.array([self.raters.index(rater) for rater in raters], int)
        return Evidence(
            self.log_likelihood[:, at], self.known[:, at], tuple(raters), self.states, self.items
        )

    def take(self, indices: Integer[np.ndarray, " t"]) -> "Evidence":
        """Picks distinct items by position, in that order."""
        items = tuple(self.items[i] for i in indices)
        return Evidence(
            self.log_likelihood[indices], self.known[indices], self.raters, self.states, items
        )


def log_likelihood_of_ratings(
    rating: Float[Array, "*batch r"],
    known: Bool[Array, "*batch r"] | None = None,
    *,
    floor: float = FLOOR,
) -> Float[Array, "*batch"]:
    """Returns the logarithm of each rater's mean rating, up to a constant that ratios do without.

    Args:
        rating: From 0, inconsistent with the state, to 10, typical of it; last axis: repeats.
        known: Which repeats there are; by default all. The others may hold anything.
        floor: Added to the mean, so that one rating of 0 excludes nothing.

    Returns:
        0 where there is no repeat: evidence of nothing, if that holds for every state.

    Raises:
        InvalidInputError: The floor is not above 0, or a rating is out of its range (which is not
            seen inside `jit`).
    """
    if not 0 < floor < np.inf:
        raise InvalidInputError(
            f"`floor` must be above 0 and finite, or a rating of 0 excludes a state; got {floor}."
        )
    known = jnp.ones(rating.shape, bool) if known is None else known
    if _concrete(rating, known):
        _require_range("rating", np.asarray(rating)[np.asarray(known)], HIGHEST_RATING)
    count = known.sum(axis=-1)
    mean = jnp.where(known, rating, 0.0).sum(axis=-1) / jnp.maximum(count, 1)
    return jnp.where(count > 0, jnp.log(mean + floor), 0.0)


def evidence_of_ratings(
    rating: Float[Array | np.ndarray, "n m s r"],
    raters: Sequence[str],
    states: Sequence[str],
    items: Sequence[Hashable] | None = None,
    *,
    floor: float = FLOOR,
) -> Evidence:
    """Takes ratings of how typical an item is of each state for likelihoods.

    Args:
        rating: In [0, 10], NaN where missing; items, raters, states, repeats. A rater is known
            for an item where every state has a rating; what else it said of the item is left out.
        raters: Names.
        states: Names.
        items: Identities; by default 0, 1 and so on.
        floor: Rating points added to the mean over repeats, before the logarithm.

    Raises:
        InvalidInputError: A rating is out of its range, the floor is not above 0, or names and
            shape disagree.
    """
    rating = jnp.asarray(rating)
    there = ~jnp.isnan(rating)
    found = log_likelihood_of_ratings(rating, there, floor=floor)
    return _evidence(found, there.any(axis=-1).all(axis=-1), raters, states, items)


def evidence_of_probabilities(
    probability: Float[Array | np.ndarray, "n m s"],
    raters: Sequence[str],
    states: Sequence[str],
    items: Sequence[Hashable] | None = None,
    *,
    prior: Float[Array | np.ndarray, "*raters s"] | None = None,
    floor: float = PROBABILITY_FLOOR,
) -> Evidence:
    """Takes stated or token probabilities of the states apart into a prior and a likelihood.

    A probability of a state given the item is a posterior under the rater's own prior; divided by
    that prior it is a likelihood, up to a constant. Who leaves the prior uniform where the rater
    had another counts the rater's prior as evidence, once per rater.

    Args:
        probability: In [0, 1], NaN where missing; items, raters, states. What states share is
            brought to a sum of 1 first: tokens that name no state take some of it.
        raters: Names.
        states: Names.
        items: Identities; by default 0, 1 and so on.
        prior: Each rater's own prior over states, or one for all; by default uniform.
        floor: Probabilities are moved into [floor, 1 - floor] and brought to a sum of 1 again.

    Raises:
        InvalidInputError: A probability is out of its range, a rater gives 0 to every state, the
            prior is none, the floor is not above 0 and below an even share, or names and shape
            disagree.
    """
    probability = jnp.asarray(probability)
    num_states = probability.shape[-1]
    if not 0 < floor < 1 / max(num_states, 2):
        raise InvalidInputError(
            f"`floor` must be above 0 and below an even share of {num_states} states, "
            f"{1 / max(num_states, 2):g}; got {floor}."
        )
    log_prior = jnp.log(_checked_prior(prior, *probability.shape[1:]))
    # Neither where a state is missing, NaN, nor where all are 0, which only `jit` lets through.
    known = probability.sum(axis=-1) > 0
    if _concrete(probability):
        require_shares(np.asarray(probability))
    even = jnp.full_like(probability, 1 / num_states)
    share = jnp.where(known[..., None], probability, even)
    share = jnp.clip(share / share.sum(axis=-1, keepdims=True), floor, 1 - floor)
    found = jnp.log(share / share.sum(axis=-1, keepdims=True)) - log_prior
    return _evidence(found, known, raters, states, items)


def probability_of_log_ratio(log_ratio: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Returns the probability of the second of two states, of equal prior, in [0, 1].

    Args:
        log_ratio: Log-likelihood of the second state less that of the first.
    """
    return jax.nn.sigmoid(log_ratio)


def log_ratio_of_probability(
    probability: Float[Array, "*batch"], floor: float = PROBABILITY_FLOOR
) -> Float[Array, "*batch"]:
    """Returns the log-likelihood ratio of the second state to the first, of equal prior.

    Args:
        probability: Of the second state, in [0, 1]; NaN stays NaN.
        floor: It is moved into [floor, 1 - floor], so that no ratio exceeds log(1/floor - 1).

    Raises:
        InvalidInputError: A probability is out of its range (which is not seen inside `jit`), or
            the floor is not above 0 and below one half.

    Example:
        >>> round(float(log_ratio_of_probability(jnp.array(0.75))), 4)
        1.0986
    """
    if not 0 < floor < 0.5:
        raise InvalidInputError(f"`floor` must be above 0 and below one half; got {floor}.")
    if _concrete(probability):
        values = np.asarray(probability)
        _require_range("probability", values[~np.isnan(values)], 1.0)
    inside = jnp.clip(probability, floor, 1 - floor)
    return jnp.log(inside) - jnp.log1p(-inside)


def _evidence(log_likelihood, known, raters, states, items) -> Evidence:
    found = jnp.where(known[..., None], log_likelihood, 0.0)
    items = range(len(found)) if items is None else items
    return Evidence(found, known, tuple(raters), tuple(states), tuple(items))


def _concrete(*values: Any) -> bool:
    return not any(isinstance(value, Tracer) for value in values)


def _require_numbers(evidence: Evidence) -> None:
    missing = np.isnan(np.asarray(evidence.log_likelihood)).any(axis=-1)
    count = int((missing & np.asarray(evidence.known)).sum())
    if count:
        raise InvalidInputError(
            "`log_likelihood` must be a number wherever `known` says that there is one; "
            f"{counted(count, 'cell')} of items and raters {'has' if count == 1 else 'have'} NaN."
        )


def _require_range(name: str, values: Float[np.ndarray, "..."], highest: float) -> None:
    """Checks values that are there: NaN among them is out of range, too."""
    outside = values[~((values >= 0) & (values <= highest))]
    if not outside.size:
        return
    expected = f"`{name}` must lie in [0, {highest:g}]"
    if np.isnan(outside).any():
        raise InvalidInputError(
            f"{expected}; {counted(int(np.isnan(outside).sum()), 'value')} that `known` says are "
            "there are NaN. Mark them as not known."
        )
    percent = outside.min() > 0 and 2 * highest < outside.max() <= 100
    remedy = (
        f"Are these percentages? Divide them all by {100 / highest:g}."
        if percent
        else "A reply that states no such number is missing: NaN."
    )
    smallest = f" and the smallest {outside.min():g}" if outside.min() < 0 else ""
    raise InvalidInputError(
        f"{expected}; {counted(outside.size, 'value')} of {values.size} outside, the largest "
        f"{outside.max():g}{smallest}. {remedy}"
    )


def require_shares(probability: Float[np.ndarray, "... s"]) -> None:
    """Checks probabilities of all states, NaN where missing.

    Raises:
        InvalidInputError: One is out of its range, or a reply gives 0 to every state.
    """
    _require_range("probability", probability[~np.isnan(probability)], 1.0)
    nothing = int((probability.sum(axis=-1) == 0).sum())
    if nothing:
        raise InvalidInputError(
            "`probability` must be above 0 for some state; there "
            f"{'is' if nothing == 1 else 'are'} {counted(nothing, 'reply', 'replies')} with 0 for "
            "every state. A reply that names no state is missing: NaN."
        )


def _checked_prior(prior, num_raters: int, num_states: int) -> Float[Array, "*raters s"]:
    if prior is None:
        return jnp.full(num_states, 1 / num_states)
    prior = jnp.asarray(prior)
    if prior.shape not in ((num_states,), (num_raters, num_states)):
        raise InvalidInputError(
            f"`prior` must have the shape {(num_states,)}, or {(num_raters, num_states)} with one "
            f"row per rater; it has {prior.shape}."
        )
    if _concrete(prior) and not (
        (prior > 0).all() and np.allclose(np.asarray(prior).sum(axis=-1), 1.0, atol=1e-5)
    ):
        raise InvalidInputError(
            f"`prior` must be above 0 in every state and sum to 1; got {prior.tolist()}."
        )
    return prior
