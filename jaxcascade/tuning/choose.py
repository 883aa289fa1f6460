"""From a fitted model and its records to one policy per price."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxcascade.cascade import (
    CascadeModel,
    Observations,
    Outcome,
    Policy,
    PolicyArrays,
    Prices,
    Replay,
    chain_outcomes,
    loss,
    markov_chain,
    replayable,
    replayed_outcomes,
)
from jaxcascade.cascade.policy import ABSTAIN, ACCEPT
from jaxcascade.tuning.candidates import SINGLES, Method, Pool


class Choice(NamedTuple):
    """One policy per price, what is expected of it and what it did in training.

    Attributes:
        policies: One per price.
        kinds: Where each came from.
        expected: Under the fitted model, one row per price.
        training: On the records it was chosen on.
        best_single: Position of the single model with the least training loss at each price.
    """

    policies: tuple[Policy, ...]
    kinds: tuple[str, ...]
    expected: Outcome
    training: Outcome
    best_single: Float[np.ndarray, " p"] | np.ndarray


def choose_policies(
    model: CascadeModel,
    data: Observations,
    weight: Float[Array, " n"],
    prices: Prices,
    method: Method,
    num_cells: int = 128,
) -> Choice:
    """Makes candidates and picks the one with the least blended loss at each price.

    Args:
        model: Fitted joint model.
        data: The records' cells, models in the model's order.
        weight: Weight of each query; 0 leaves it out.
        prices: One-dimensional arrays of one length.
        method: Where candidates come from and how much their training loss counts.
        num_cells: Cells of the grid.
    """
    chain = markov_chain(model, num_cells)
    pool = Pool(model, chain)
    confidence = model.calibrate(data.log_confidence)
    made = [source.make(pool, prices) for source in method.sources]
    kinds = np.repeat([s.kind for s in method.sources], [m.start.shape[0] for m in made])
    groups = _by_width(made)
    expected = _join([chain_outcomes(model, chain, g) for g in groups])
    counted = _join([replayed_outcomes(g, confidence, data, weight) for g in groups])
    num_queries = float(weight.sum())
    shares = [source.counted_share(num_queries) for source in method.sources]
    share = np.repeat(shares, [m.start.shape[0] for m in made])[:, None]
    blended = share * _losses(counted, prices) + (1.0 - share) * _losses(expected, prices)
    blended = blended * (1.0 + method.charge / num_queries * _num_breakpoints(made))
    # A policy that needs a cell which no counted query has cannot be judged: its loss is NaN.
    eligible = _eligible(method, made, np.size(prices.error)) & ~np.isnan(blended)
    best = np.argmin(np.where(eligible, blended, np.inf), axis=0)
    singles = SINGLES.make(pool, prices)
    single_losses = _losses(replayed_outcomes(singles, confidence, data, weight), prices)
    return Choice(
        tuple(_pick(groups, int(b), model.models) for b in best),
        tuple(kinds[best].tolist()),
        Outcome(*(part[best] for part in expected)),
        Outcome(*(part[best] for part in counted)),
        np.argmin(np.where(np.isnan(single_losses), np.inf, single_losses), axis=0),
    )


@jax.jit
def query_losses(result: Replay, prices: Prices) -> Float[Array, "p n"]:
    """Returns each query's loss under each policy at its own prices; NaN where unknown.

    Args:
        result: Replays, one policy per price.
        prices: One-dimensional arrays.
    """
    error, latency, abstention = (
        jnp.broadcast_to(jnp.asarray(price), (result.cost_usd.shape[0],))[:, None]
        for price in prices
    )
    wrong = (result.route.ended_by == ACCEPT) * (1.0 - jnp.nan_to_num(result.correct))
    total = result.cost_usd + error * wrong
    total = total + jnp.where(latency > 0, latency * result.latency_s, 0.0)
    total = total + jnp.where(result.route.ended_by == ABSTAIN, abstention, 0.0)
    return jnp.where(replayable(result), total, jnp.nan)


def _losses(outcome: Outcome, prices: Prices) -> Float[np.ndarray, "c p"]:
    """Loss of every candidate at every price."""
    columns = Outcome(*(part[:, None] for part in outcome))
    rows = Prices(*(jnp.atleast_1d(jnp.asarray(price)) for price in prices))
    return np.asarray(loss(columns, rows))


def _eligible(method: Method, made: list[PolicyArrays], num_prices: int) -> Bool[np.ndarray, "c p"]:
    """Whether a candidate may be chosen at a price."""
    rows = []
    for source, policies in zip(method.sources, made, strict=True):
        count = policies.start.shape[0]
        if source.per_price:
            rows.append(np.tile(np.eye(num_prices, dtype=bool), (count // num_prices, 1)))
        else:
            rows.append(np.ones((count, num_prices), bool))
    return np.concatenate(rows)


def _num_breakpoints(made: list[PolicyArrays]) -> Float[np.ndarray, "c 1"]:
    """Number of breakpoints of each candidate."""
    counts = [np.isfinite(np.asarray(m.breakpoints)).sum(axis=(1, 2)) for m in made]
    return np.concatenate(counts)[:, None].astype(float)


def _by_width(made: list[PolicyArrays]) -> list[PolicyArrays]:
    """Joins neighbours of one shape, so that they share compilations; on the host from here."""
    groups: list[PolicyArrays] = []
    for policies in (PolicyArrays(*(np.asarray(part) for part in m)) for m in made):
        if groups and groups[-1].breakpoints.shape[1:] == policies.breakpoints.shape[1:]:
            policies = PolicyArrays(*map(np.concatenate, zip(groups.pop(), policies, strict=True)))
        groups.append(policies)
    return groups


def _join(outcomes: list[Outcome]) -> Outcome:
    columns = zip(*outcomes, strict=True)
    return Outcome(*(np.concatenate([np.asarray(part) for part in parts]) for parts in columns))


def _pick(groups: list[PolicyArrays], index: int, models: tuple[str, ...]) -> Policy:
    for group in groups:
        count = group.start.shape[0]
        if index < count:
            return Policy.from_arrays(PolicyArrays(*(part[index] for part in group)), models)
        index -= count
    raise AssertionError("the index is of one of the groups")
