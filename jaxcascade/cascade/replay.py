"""What a policy would have done on recorded runs: exact, no model involved."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxcascade.cascade.fit import Observations
from jaxcascade.cascade.outcome import Outcome
from jaxcascade.cascade.policy import ACCEPT, MISSING, PolicyArrays


class Route(NamedTuple):
    """One query's way through the models.

    Attributes:
        ended_by: ACCEPT, ABSTAIN, or MISSING where the record of a model it needed is not there.
        last: Position of the last model asked.
        path: Positions of the models asked, in order; -1 after the end.
    """

    ended_by: Int[Array, "*batch"]
    last: Int[Array, "*batch"]
    path: Int[Array, "*batch k"]


class Replay(NamedTuple):
    """Policies on recorded queries; NaN where a needed cell or label is missing.

    Attributes:
        route: Ways taken.
        cost_usd: Dollars spent per query, as recorded.
        latency_s: Seconds spent per query, as recorded.
        correct: Whether the accepted answer was right; NaN when abstained or not labelled.
    """

    route: Route
    cost_usd: Float[Array, "*batch n"]
    latency_s: Float[Array, "*batch n"]
    correct: Float[Array, "*batch n"]


def route(policy: PolicyArrays, confidence: Float[Array, " k"]) -> Route:
    """Follows one policy on one query.

    Args:
        policy: One policy.
        confidence: Calibrated confidences; NaN where the model was not asked.
    """
    k = confidence.shape[0]

    def step(state: tuple[Array, Array, Array, Array], _: None) -> tuple[tuple, None]:
        at, last, path, count = state
        going = at >= 0
        here = jnp.maximum(at, 0)
        interval = jnp.sum(confidence[here] > policy.breakpoints[here])
        action = jnp.where(jnp.isnan(confidence[here]), MISSING, policy.actions[here, interval])
        path = path.at[count].set(jnp.where(going, here, path[count]))
        state = (
            jnp.where(going, action, at),
            jnp.where(going, here, last),
            path,
            count + going,
        )
        return state, None

    start = jnp.asarray(policy.start)
    state = (start, start, jnp.full(k, -1, start.dtype), jnp.zeros((), start.dtype))
    (ended_by, last, path, _), _ = jax.lax.scan(step, state, None, length=k)
    return Route(ended_by, last, path)


@eqx.filter_jit
def replay(policies: PolicyArrays, confidence: Float[Array, "n k"], data: Observations) -> Replay:
    """Follows policies on every recorded query.

    Args:
        policies: With one leading axis.
        confidence: Calibrated confidences, NaN where not recorded.
        data: The records' cells, models in the order of the policies' positions.

    Returns:
        One row per policy and query.
    """
    return jax.lax.map(lambda policy: _replay_one(policy, confidence, data), policies)


@eqx.filter_jit
def replayed_outcomes(
    policies: PolicyArrays,
    confidence: Float[Array, "n k"],
    data: Observations,
    weight: Float[Array, " n"],
) -> Outcome:
    """Means of replays over queries, without keeping a row for each.

    Args:
        policies: With one leading axis.
        confidence: Calibrated confidences, NaN where not recorded.
        data: The records' cells.
        weight: Weight of each query.
    """

    def mean(policy: PolicyArrays) -> Outcome:
        return mean_outcome(_replay_one(policy, confidence, data), weight, confidence.shape[1])

    return jax.lax.map(mean, policies)


def mean_outcome(result: Replay, weight: Float[Array, " n"], num_models: int) -> Outcome:
    """Averages one policy's replay over the queries that could be replayed.

    A query counts when every model on its way was recorded and an accepted answer is labelled.
    """
    accepted = result.route.ended_by == ACCEPT
    weight = weight * replayable(result)
    weight = weight / weight.sum()
    by_model = jax.nn.one_hot(result.route.last, num_models)
    return Outcome(
        error=weight @ jnp.where(accepted, 1.0 - jnp.nan_to_num(result.correct), 0.0),
        abstention=weight @ ~accepted,
        cost_usd=weight @ jnp.nan_to_num(result.cost_usd),
        latency_s=jnp.where(weight > 0, weight * result.latency_s, 0.0).sum(),
        answered_by=(weight * accepted) @ by_model,
    )


def replayable(result: Replay) -> Bool[Array, "*batch n"]:
    """Whether a query's way is fully recorded and its accepted answer labelled."""
    unknown = (result.route.ended_by == ACCEPT) & jnp.isnan(result.correct)
    return (result.route.ended_by != MISSING) & ~unknown


def _replay_one(
    policy: PolicyArrays, confidence: Float[Array, "n k"], data: Observations
) -> Replay:
    ways = jax.vmap(route, in_axes=(None, 0))(policy, confidence)
    k = confidence.shape[1]
    asked = jax.nn.one_hot(ways.path, k).sum(axis=1) > 0
    rows = jnp.arange(confidence.shape[0])

    def total(cells: Float[Array, "n k"]) -> Float[Array, " n"]:
        return jnp.sum(jnp.where(asked, cells, 0.0), axis=1)

    answered = jnp.where(ways.ended_by == ACCEPT, data.correct[rows, ways.last], jnp.nan)
    missing = ways.ended_by == MISSING
    return Replay(
        ways,
        jnp.where(missing, jnp.nan, total(data.cost_usd)),
        jnp.where(missing, jnp.nan, total(data.latency_s)),
        answered,
    )
