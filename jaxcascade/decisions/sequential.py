"""What to ask next, and when to stop: exact dynamic programming over what sources have said.

Sources answer yes or no, once each, and may err together: given the state and a shared factor they
are independent. What is known at any time is which sources were asked and what they said, one of
3^m outcomes for m sources. Where that is too many, see `jaxcascade.decisions.approximate`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from jaxcascade.decisions.costs import Costs
from jaxcascade.decisions.outcomes import (
    NO,
    STOP,
    UNASKED,
    YES,
    Layer,
    best_question,
    by_layer,
    following_usd,
    in_batches,
    likelihoods,
    outcome_layers,
    prospects,
    whole,
)
from jaxcascade.errors import InvalidInputError

MOST_SOURCES = 8


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
        m, _, u = self.p_yes.shape
        if not m:
            raise InvalidInputError("There must be one source or more; `p_yes` has none.")
        if self.weight.shape != (u,) or self.price_usd.shape != (m,):
            raise InvalidInputError(
                f"With {m} sources and {u} values of the factor, `weight` must have the shape "
                f"({u},) and `price_usd` ({m},); they have {self.weight.shape} and "
                f"{self.price_usd.shape}."
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
        InvalidInputError: A number is out of its range, or there are no sources.
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
    digits = [UNASKED] * num_sources
    for source, yes in answers.items():
        digits[source] = YES if yes else NO
    return int("".join(map(str, digits)), 3)


class Question(NamedTuple):
    """What to ask of every item next.

    Attributes:
        source: To ask; `STOP` where the action is to be taken.
        expected_usd: Of this and later questions and the final action.
    """

    source: Int[Array, "*batch"]
    expected_usd: Float[Array, "*batch"]


@eqx.filter_jit
def sequential_plan(prior: Float[Array, "*batch s"], costs: Costs, sources: Sources) -> Plan:
    """Finds what to ask first, what after each answer, and when to stop, at least expected cost.

    Args:
        prior: Probability of each state, of each item.
        costs: Of actions.
        sources: Up to eight.

    Raises:
        InvalidInputError: There are too many sources.
    """
    layers, tables = outcome_table(sources)

    def plan(prior: Float[Array, "n s"]) -> Plan:
        value, ask, action = jnp.zeros((1, len(prior))), [], []
        for ahead in reversed(prospects(layers, tables, costs.usd, prior)):
            value, best = best_question(ahead, sources.price_usd, value)
            ask, action = [best, *ask], [ahead.action, *action]
        return Plan(value[0], whole(layers, ask), whole(layers, action))

    return of_batch(plan, prior)


@eqx.filter_jit
def first_question(prior: Float[Array, "*batch s"], costs: Costs, sources: Sources) -> Question:
    """Returns what `sequential_plan` asks first, and its cost: in half the time, in little memory.

    Args:
        prior: Probability of each state, of each item.
        costs: Of actions.
        sources: Up to eight.

    Raises:
        InvalidInputError: There are too many sources.
    """
    layers, tables = outcome_table(sources)

    def first(prior: Float[Array, "n s"]) -> Question:
        value = ask = jnp.zeros((1, len(prior)))
        for ahead in reversed(prospects(layers, tables, costs.usd, prior)):
            value, ask = best_question(ahead, sources.price_usd, value)
        return Question(ask[0], value[0])

    return of_batch(first, prior)


def plan_cost(
    prior: Float[Array, "*batch s"],
    costs: Costs,
    sources: Sources,
    ask: Int[Array, "*#batch o"],
) -> Float[Array, "*batch"]:
    """Returns the exact expected dollars of a policy: its questions, then the cheapest action.

    Args:
        prior: Probability of each state, of each item.
        costs: Of actions.
        sources: Up to eight.
        ask: Source to ask after each outcome, or `STOP`; of each item or of all, as in `Plan`.

    Raises:
        InvalidInputError: There are too many sources, or `ask` names one that is unknown or asked
            already; the latter two are not checked under `jit`.
    """
    layers, _ = outcome_table(sources)
    ask = jnp.broadcast_to(ask, (*prior.shape[:-1], ask.shape[-1]))
    _check_policy(ask, layers)
    return _plan_cost(prior, costs, sources, ask)


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


def outcome_table(sources: Sources) -> tuple[tuple[Layer, ...], list[Float[Array, "o s"]]]:
    """Returns all outcomes of up to eight sources, and their probability in each state, by layer.

    Raises:
        InvalidInputError: There are too many sources.
    """
    m = sources.p_yes.shape[0]
    if m > MOST_SOURCES:
        raise InvalidInputError(
            f"An exact plan takes 1 to {MOST_SOURCES} sources; there are {m}. See `expectimax` "
            "for more."
        )
    layers = outcome_layers(m, m)
    return layers, [table @ sources.weight for table in likelihoods(sources.p_yes, layers)]


def of_batch(function, prior: Float[Array, "*batch s"], *more: Array):
    """Applies a function of rows to arrays with leading axes of any number; see `in_batches`."""
    lead = prior.shape[:-1]
    flat = [x.reshape(-1, *x.shape[len(lead) :]) for x in (prior, *more)]
    found = in_batches(function, *flat)
    return jax.tree.map(lambda leaf: leaf.reshape(*lead, *leaf.shape[1:]), found)


@eqx.filter_jit
def _plan_cost(prior: Array, costs: Costs, sources: Sources, ask: Array) -> Array:
    layers, tables = outcome_table(sources)

    def cost(prior: Float[Array, "n s"], ask: Int[Array, "n o"]) -> Float[Array, " n"]:
        value = jnp.zeros((1, len(prior)))
        ahead = prospects(layers, tables, costs.usd, prior)
        for prospect, asked in zip(ahead[::-1], by_layer(layers, ask)[::-1], strict=True):
            value = following_usd(prospect, sources.price_usd, value, asked)
        return value[0]

    return of_batch(cost, prior, ask)


def _check_policy(ask: Int[Array, "*batch o"], layers: tuple[Layer, ...]) -> None:
    if ask.shape[-1] != (outcomes := sum(len(layer.digits) for layer in layers)):
        raise InvalidInputError(
            f"`ask` must have an entry for each of the {outcomes} outcomes; got {ask.shape[-1]}."
        )
    if isinstance(ask, Tracer):
        return
    m = layers[0].digits.shape[1]
    digits = np.asarray(whole(layers, [jnp.asarray(layer.digits) for layer in layers])).T
    chosen = np.asarray(ask)
    known = (chosen >= 0) & (chosen < m)
    again = digits[np.arange(3**m), np.where(known, chosen, 0)] != UNASKED
    if not ((known & ~again) | (chosen == STOP)).all():
        raise InvalidInputError(
            f"`ask` must name {STOP} (stop) or a source from 0 to {m - 1} that the outcome has not "
            "asked; see `outcome_number`."
        )
