"""What to ask next where an exact plan is too much: named rules that look less far ahead.

`myopic_plan`, `look_ahead_plan`, `rollout_plan` and `sprt_plan` say what each rule asks after every
outcome of up to eight sources, and what that costs exactly: the price of not planning. `expectimax`
and `sprt` need no table of outcomes and take any number of sources.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import rel_entr
from jaxtyping import Array, Float, Int

from jaxcascade.decisions.costs import Costs
from jaxcascade.decisions.outcomes import (
    STOP,
    UNASKED,
    Prospect,
    answer_chances,
    best_question,
    following_usd,
    likelihoods,
    outcome_layers,
    prospects,
    whole,
)
from jaxcascade.decisions.sequential import Plan, Question, Sources, of_batch, outcome_table
from jaxcascade.errors import InvalidInputError


@eqx.filter_jit
def expectimax(
    prior: Float[Array, "*batch s"],
    costs: Costs,
    sources: Sources,
    answered: Int[Array, "*batch m"] | None = None,
    *,
    depth: int = 2,
) -> Question:
    """Looks some questions ahead, as if the action had to be taken after them.

    A depth of 1 is the myopic rule, one of as many as there are sources the exact plan. The number
    of outcomes to look at grows as `(2 m) ** depth`. What was answered tells of the shared factor,
    too: the belief that is carried on is over state and factor together.

    Args:
        prior: Probability of each state, of each item, before any answer.
        costs: Of actions.
        sources: Any number.
        answered: What each source said so far: 0 not asked, 1 no, 2 yes; by default nothing.
            Answers must be possible in some state.
        depth: Most questions to look ahead, at least 1.

    Returns:
        What to ask now, and the cost expected from here on: at least that of the best plan.

    Raises:
        InvalidInputError: The depth is below 1.
    """
    m = sources.p_yes.shape[0]
    if answered is None:
        answered = jnp.full((*prior.shape[:-1], m), UNASKED)
    layers = outcome_layers(m, _within(depth, m))
    # State and factor are one axis: given both, sources are independent.
    tables = [t.reshape(len(t), -1) for t in likelihoods(sources.p_yes, layers)]
    usd = jnp.repeat(costs.usd, len(sources.weight), axis=1)

    def question(prior: Float[Array, "n s"], answered: Int[Array, "n m"]) -> Question:
        belief = _joint_belief(prior, sources, answered).reshape(len(prior), -1)
        may_ask = answered.T == UNASKED
        value = ask = jnp.zeros((1, len(prior)))
        for ahead in reversed(prospects(layers, tables, usd, belief)):
            value, ask = best_question(ahead, sources.price_usd, value, may_ask)
        return Question(ask[0], value[0])

    return of_batch(question, prior, answered)


def myopic_plan(prior: Float[Array, "*batch s"], costs: Costs, sources: Sources) -> Plan:
    """Asks what is worth the most above its price, while anything is; see `value_of_asking`.

    Args:
        prior: Probability of each state, of each item.
        costs: Of actions.
        sources: Up to eight.

    Returns:
        As `sequential_plan`; the cost is that of the rule, exactly.

    Raises:
        InvalidInputError: There are too many sources.
    """
    return look_ahead_plan(prior, costs, sources, depth=1)


@eqx.filter_jit
def look_ahead_plan(
    prior: Float[Array, "*batch s"], costs: Costs, sources: Sources, *, depth: int = 2
) -> Plan:
    """Asks after every outcome what `expectimax` would.

    Args:
        prior: Probability of each state, of each item.
        costs: Of actions.
        sources: Up to eight.
        depth: Most questions to look ahead, at least 1.

    Returns:
        As `sequential_plan`; the cost is that of the rule, exactly.

    Raises:
        InvalidInputError: There are too many sources, or the depth is below 1.
    """
    within = _within(depth, sources.p_yes.shape[0])

    def rule(ahead: list[Prospect], _: Array) -> list[Array]:
        return _look_ahead(ahead, sources.price_usd, within)[1]

    return _planned(rule, prior, costs, sources)


@eqx.filter_jit
def rollout_plan(
    prior: Float[Array, "*batch s"], costs: Costs, sources: Sources, *, depth: int = 1
) -> Plan:
    """Asks after every outcome what is best if `look_ahead_plan` is followed from then on.

    One step of policy iteration: never dearer than the rule that it improves on. Costs are exact,
    so that nothing is simulated.

    Args:
        prior: Probability of each state, of each item.
        costs: Of actions.
        sources: Up to eight.
        depth: Of the rule to improve on; by default the myopic one.

    Returns:
        As `sequential_plan`; the cost is that of the improved rule, exactly.

    Raises:
        InvalidInputError: There are too many sources, or the depth is below 1.

    References:
        Bertsekas and Castañón (1999), Rollout algorithms for stochastic scheduling problems,
        Journal of Heuristics 5, 89-108.
    """
    within = _within(depth, sources.p_yes.shape[0])

    def rule(ahead: list[Prospect], _: Array) -> list[Array]:
        base = _look_ahead(ahead, sources.price_usd, within)[1]
        values = _followed(ahead, sources.price_usd, base)
        return _improved(ahead, sources.price_usd, values)[1]

    return _planned(rule, prior, costs, sources)


class RatioTest(NamedTuple):
    """A sequential probability ratio test: sources in a fixed order, two thresholds before each.

    Attributes:
        source: First to last.
        lower: Before each, the probability of the second state at or below which to stop.
        upper: At or above which to stop; below `lower` where the source is never worth its price.
    """

    source: Int[Array, " m"]
    lower: Float[Array, " m"]
    upper: Float[Array, " m"]


def sprt(costs: Costs, sources: Sources) -> RatioTest:
    """Returns a sequential probability ratio test of two states, thresholds made from costs.

    Sources are asked in the order of what a nat of information costs, cheapest first. Stop as soon
    as a mistake is expected to cost no more than a nat from the next source: the boundaries that
    are best as prices fall. They take sources for independent and inexhaustible, so that the test
    is a rule of thumb where there are few, or where they echo each other.

    Args:
        costs: Of actions in two states. A mistake costs what the best action for the other state
            costs more than the right one.
        sources: Any number; shared factors are averaged out.

    Raises:
        InvalidInputError: There are not two states.

    References:
        Wald (1947), Sequential analysis; Chernoff (1959), Sequential design of experiments, Annals
        of Mathematical Statistics 30, 755-770.
    """
    if len(costs.states) != 2:
        raise InvalidInputError(
            f"A ratio test needs two states; there are {len(costs.states)}: "
            f"{', '.join(costs.states)}. With more, see `expectimax`."
        )
    information = _information(sources.p_yes @ sources.weight)
    order = jnp.argsort(_price_of(information, sources.price_usd).sum(axis=-1), stable=True)
    first, second = jnp.argmin(costs.usd, axis=0)
    # At either end of the scale, a mistake is paid for in the state of the other.
    mistake = jnp.abs(costs.usd[first] - costs.usd[second])[::-1]
    # However much an answer tells, it costs its price.
    worth = _price_of(jnp.minimum(information, 1.0), sources.price_usd)[order]
    share = jnp.where(mistake > 0, worth / jnp.where(mistake > 0, mistake, 1.0), 1.0)
    lower, upper = jnp.minimum(share, 1.0).T
    return RatioTest(order, lower, 1.0 - upper)


@eqx.filter_jit
def sprt_plan(prior: Float[Array, "*batch s"], costs: Costs, sources: Sources) -> Plan:
    """Follows `sprt`: the belief is exact, echoes included; order and thresholds are its own.

    Args:
        prior: Probability of each of two states, of each item.
        costs: Of actions.
        sources: Up to eight.

    Returns:
        As `sequential_plan`; the cost is that of the rule, exactly.

    Raises:
        InvalidInputError: There are too many sources, or not two states.
    """
    test = sprt(costs, sources)
    layers, tables = outcome_table(sources)
    rank = jnp.argsort(test.source)

    def rule(ahead: list[Prospect], prior: Float[Array, "n s"]) -> list[Array]:
        asks = [jnp.full(prospect.chance.shape, STOP, jnp.int8) for prospect in ahead]
        for k in range(len(layers) - 1):
            asked = layers[k].digits != UNASKED
            in_order = (asked == (rank < k)).all(axis=1)[:, None]
            # Not normalised, neither the belief in the second state nor the thresholds.
            second, chance = tables[k][:, 1:] * prior[:, 1], ahead[k].chance
            unsure = (second > test.lower[k] * chance) & (second < test.upper[k] * chance)
            asks[k] = jnp.where(in_order & unsure, test.source[k], STOP).astype(jnp.int8)
        return asks

    return _planned(rule, prior, costs, sources)


def _planned(
    rule: Callable[[list[Prospect], Array], list[Array]],
    prior: Float[Array, "*batch s"],
    costs: Costs,
    sources: Sources,
) -> Plan:
    """What a rule asks after each outcome, and the exact cost of it."""
    layers, tables = outcome_table(sources)

    def plan(prior: Float[Array, "n s"]) -> Plan:
        ahead = prospects(layers, tables, costs.usd, prior)
        asks = rule(ahead, prior)
        value = _followed(ahead, sources.price_usd, asks)[0][0]
        actions = [prospect.action for prospect in ahead]
        return Plan(value, whole(layers, asks), whole(layers, actions))

    return of_batch(plan, prior)


def _look_ahead(
    ahead: list[Prospect], price_usd: Float[Array, " m"], depth: int
) -> tuple[list[Array], list[Array]]:
    """Values and questions of `expectimax` at every outcome, by layer."""
    values, asks = [prospect.stop_usd for prospect in ahead], []
    for _ in range(depth):
        values, asks = _improved(ahead, price_usd, values)
    return values, asks


def _improved(
    ahead: list[Prospect], price_usd: Float[Array, " m"], values: list[Array]
) -> tuple[list[Array], list[Array]]:
    """Best values and questions of each layer, given values of the next; nothing follows the last.

    The last layer has nothing to ask, and takes any values.
    """
    found = [
        best_question(prospect, price_usd, after)
        for prospect, after in zip(ahead, [*values[1:], values[-1]], strict=True)
    ]
    return [value for value, _ in found], [ask for _, ask in found]


def _followed(
    ahead: list[Prospect], price_usd: Float[Array, " m"], asks: list[Array]
) -> list[Array]:
    """Values of a rule at every outcome, by layer."""
    values = [ahead[-1].stop_usd]
    for prospect, ask in zip(ahead[-2::-1], asks[-2::-1], strict=True):
        values = [following_usd(prospect, price_usd, values[0], ask), *values]
    return values


def _joint_belief(
    prior: Float[Array, "n s"], sources: Sources, answered: Int[Array, "n m"]
) -> Float[Array, "n s u"]:
    """Probability of state and shared factor together, given answers."""
    of_answer = jnp.moveaxis(answer_chances(sources.p_yes), 1, 0)

    def told(belief: Array, one: tuple[Array, Array]) -> tuple[Array, None]:
        chance, answer = one
        belief = belief * chance[answer]
        # At every step: the product of many would vanish.
        return belief / belief.sum(axis=(1, 2), keepdims=True), None

    start = prior[..., None] * sources.weight
    return jax.lax.scan(told, start, (of_answer, answered.T))[0]


def _information(p_yes: Float[Array, "m 2"]) -> Float[Array, "m 2"]:
    """Nats by which an answer is expected to speak for the state that there is, of two."""
    of_answer = jnp.stack([1.0 - p_yes, p_yes])
    return rel_entr(of_answer, of_answer[..., ::-1]).sum(axis=0)


def _price_of(
    information: Float[Array, "m 2"], price_usd: Float[Array, " m"]
) -> Float[Array, "m 2"]:
    """Dollars of a nat; no bound where there is none, even if it is free."""
    informative = information > 0
    return jnp.where(
        informative, price_usd[:, None] / jnp.where(informative, information, 1), jnp.inf
    )


def _within(depth: int, num_sources: int) -> int:
    if depth < 1:
        raise InvalidInputError(f"`depth` must be at least 1 question; got {depth}.")
    return min(depth, num_sources)
