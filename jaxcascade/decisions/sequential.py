"""What to ask next, and when to stop: exact dynamic programming over what sources have said.

Sources answer yes or no, once each, and may err together: given the state and a shared factor they
are independent. What is known at any time is which sources were asked and what they said, one of
3^m outcomes for m sources. The likelihood of an outcome in each state is the same for every item,
so that all items share one table; and nothing is normalised on the way, for costs times the
probability of an outcome add up over what may follow it.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.decisions.costs import Costs
from jaxcascade.errors import InvalidInputError

MOST_SOURCES = 8
STOP = -1
_UNASKED, _NO, _YES = 0, 1, 2
_BATCH = 1000


class Sources(eqx.Module):
    """Sources of information that answer yes or no: models, tests, people.

    Attributes:
        p_yes: Probability of a yes from each source, in each state, at each value of the factor.
        weight: Probability of each value of the factor; posterior draws may be values, too.
        price_usd: Dollars for asking each.
    """

    p_yes: Float[Array, "m s u"]
    weight: Float[Array, " u"]
    price_usd: Float[Array, " m"]

    def __check_init__(self):
        if not 1 <= self.p_yes.shape[0] <= MOST_SOURCES:
            raise InvalidInputError(
                f"There must be 1 to {MOST_SOURCES} sources; there are {self.p_yes.shape[0]}."
            )


def screening_tests(
    sensitivity: Float[Array | np.ndarray, " m"],
    specificity: Float[Array | np.ndarray, " m"],
    price_usd: Float[Array | np.ndarray, " m"],
) -> Sources:
    """Returns sources for two states that err independently of each other.

    Args:
        sensitivity: Probability of a yes in the second state.
        specificity: Probability of a no in the first state.
        price_usd: Dollars for asking each, at least 0.

    Raises:
        InvalidInputError: A number is out of its range, or there are none or too many sources.
    """
    for name, values in (("sensitivity", sensitivity), ("specificity", specificity)):
        values = np.asarray(values)
        if not ((values >= 0) & (values <= 1)).all():
            raise InvalidInputError(f"`{name}` must lie in [0, 1]; got {values.tolist()}.")
    if not (np.asarray(price_usd) >= 0).all():
        raise InvalidInputError(
            f"`price_usd` must be at least 0; got {np.asarray(price_usd).tolist()}."
        )
    p_yes = jnp.stack([1.0 - jnp.asarray(specificity), jnp.asarray(sensitivity)], axis=-1)
    return Sources(p_yes[..., None], jnp.ones(1), jnp.asarray(price_usd))


class Plan(NamedTuple):
    """The optimal policy of every item.

    Attributes:
        expected_usd: Of questions and the final action, before anything is asked.
        ask: Source to ask after each outcome; `STOP` where the action is to be taken. An outcome
            is a number in base 3, one digit per source, the first the highest: 0 not asked, 1 no,
            2 yes.
        action: Cheapest action after each outcome.
    """

    expected_usd: Float[Array, "*batch"]
    ask: Int[Array, "*batch o"]
    action: Int[Array, "*batch o"]


def outcome_number(answers: dict[int, bool], num_sources: int) -> int:
    """Returns the number of an outcome: where to look in a `Plan`.

    Example:
        >>> outcome_number({1: True}, 3)
        6
    """
    digits = [_UNASKED] * num_sources
    for source, yes in answers.items():
        digits[source] = _YES if yes else _NO
    return int("".join(map(str, digits)), 3)


@eqx.filter_jit
def sequential_plan(prior: Float[Array, "*batch s"], costs: Costs, sources: Sources) -> Plan:
    """Finds what to ask first, what after each answer, and when to stop, at least expected cost.

    Args:
        prior: Probability of each state, of each item.
        costs: Of actions.
        sources: Up to eight.
    """
    tree = _tree(sources.p_yes.shape[0])
    table = _likelihoods(sources, tree)

    def one(prior: Float[Array, " s"]) -> Plan:
        joint = table * prior
        cost = joint @ costs.usd.T
        chance = joint.sum(axis=-1)
        value = cost.min(axis=-1)
        # Thousands of small numbers for every item.
        ask = jnp.full(value.shape, STOP, jnp.int8)
        for level in tree.levels:
            further = value[level.no] + value[level.yes]
            further = further + chance[level.at, None] * sources.price_usd[level.source]
            best = jnp.argmin(further, axis=-1)
            least = jnp.take_along_axis(further, best[:, None], axis=-1)[:, 0]
            pays = least < value[level.at]
            chosen = jnp.take_along_axis(jnp.asarray(level.source), best[:, None], axis=-1)[:, 0]
            ask = ask.at[level.at].set(jnp.where(pays, chosen, STOP).astype(ask.dtype))
            value = value.at[level.at].min(least)
        return Plan(value[0], ask, cost.argmin(axis=-1).astype(jnp.int16))

    flat = prior.reshape(-1, prior.shape[-1])
    found = jax.lax.map(one, flat, batch_size=_BATCH)
    lead = prior.shape[:-1]
    return jax.tree.map(lambda leaf: leaf.reshape(*lead, *leaf.shape[1:]), found)


@eqx.filter_jit
def value_of_asking(
    probability: Float[Array, "*batch s"], costs: Costs, sources: Sources
) -> Float[Array, "*batch m"]:
    """Returns what one answer of each source is worth, its price not counted: at least 0 dollars.

    The source with the most worth above its price is what a myopic rule asks. That stops too
    early where one answer alone changes no action but two do; see `sequential_plan`.
    """
    p_yes = sources.p_yes @ sources.weight
    yes = probability[..., None, :] * p_yes
    no = probability[..., None, :] * (1.0 - p_yes)
    # Not normalised: the least cost after an answer, times its probability.
    after = costs.value(yes) + costs.value(no)
    return costs.value(probability)[..., None] - after


class _Level(NamedTuple):
    """Outcomes with one number of sources asked, and where each further question leads."""

    at: Int[np.ndarray, " o"]
    source: Int[np.ndarray, "o rest"]
    no: Int[np.ndarray, "o rest"]
    yes: Int[np.ndarray, "o rest"]


class _Tree(NamedTuple):
    digits: Int[np.ndarray, "o m"]
    levels: tuple[_Level, ...]


def _tree(m: int) -> _Tree:
    """All outcomes, and levels from the most to the fewest questions asked."""
    power = 3 ** np.arange(m)[::-1]
    digits = np.arange(3**m)[:, None] // power % 3
    asked = (digits != _UNASKED).sum(axis=1)
    levels = []
    for count in range(m - 1, -1, -1):
        at = np.flatnonzero(asked == count)
        source = np.array([np.flatnonzero(digits[o] == _UNASKED) for o in at])
        step = power[source]
        levels.append(_Level(at, source, at[:, None] + _NO * step, at[:, None] + _YES * step))
    return _Tree(digits, tuple(levels))


def _likelihoods(sources: Sources, tree: _Tree) -> Float[Array, "o s"]:
    """Probability of each outcome's answers in each state, if those sources are asked."""
    p_yes = sources.p_yes
    of_answer = jnp.stack([jnp.ones_like(p_yes), 1.0 - p_yes, p_yes])
    sides = [of_answer[tree.digits[:, j], j] for j in range(p_yes.shape[0])]
    product = sides[0]
    for side in sides[1:]:
        product = product * side
    return product @ sources.weight
