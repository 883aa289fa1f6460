"""From a fitted model and its records to one policy per price."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxcascade.calibration import joint_probability
from jaxcascade.cascade import (
    CascadeModel,
    Observations,
    Outcome,
    Policy,
    PolicyArrays,
    Prices,
    Replay,
    loss,
    replayable,
    replayed_outcomes,
)
from jaxcascade.cascade.policy import ABSTAIN, ACCEPT
from jaxcascade.tuning.candidates import Method, Pool, Source


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
    best_single: Int[np.ndarray, " p"]


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
    pool = Pool(model, num_cells)
    confidence = model.calibrate(data.log_confidence)
    made = [source.make(pool, prices) for source in method.sources]
    sizes = [policies.start.shape[0] for policies in made]
    groups = _grouped(method.sources, made)

    def count(labels: Float[Array | np.ndarray, "n k"]) -> Outcome:
        seen = data._replace(correct=jnp.asarray(labels))
        return _join([replayed_outcomes(g, confidence, seen, weight) for _, g in groups])

    num_queries = float(np.sum(np.asarray(weight)))
    counted = count(data.correct)
    expected = _join([source.expect(pool, policies) for source, policies in groups])
    evidence = [(num_queries, _losses(counted, prices))]
    if method.smoothing:
        smoothed = joint_probability(confidence, data.correct, weight)
        labels = np.where(np.isnan(data.correct), np.nan, smoothed)
        evidence.append((method.smoothing, _losses(count(labels), prices)))
    prior_queries = np.repeat([s.prior_queries for s in method.sources], sizes)[:, None]
    blended = _blend(evidence, prior_queries, _losses(expected, prices))
    blended = blended * (1.0 + method.charge / num_queries * _num_breakpoints(made))
    # A policy that needs a cell which no counted query has cannot be judged: its loss is NaN.
    eligible = _eligible(method, sizes, np.size(prices.error)) & ~np.isnan(blended)
    best = np.argmin(np.where(eligible, blended, np.inf), axis=0)
    kinds = np.repeat([source.kind for source in method.sources], sizes)
    return Choice(
        tuple(_pick(made, int(b), model.models) for b in best),
        tuple(kinds[best].tolist()),
        Outcome(*(part[best] for part in expected)),
        Outcome(*(part[best] for part in counted)),
        _best_singles(data, weight, prices),
    )


def _best_singles(
    data: Observations, weight: Float[Array, " n"], prices: Prices
) -> Int[np.ndarray, " p"]:
    """Returns the model with the least counted loss at each price."""
    known = ~np.isnan(np.asarray(data.correct))
    share = np.where(known, np.asarray(weight)[:, None], 0.0)
    share = share / np.maximum(share.sum(axis=0), 1e-300)
    wrong, cost, latency = (
        np.sum(np.where(known, share * np.asarray(cells), 0.0), axis=0)
        for cells in (1.0 - np.asarray(data.correct), data.cost_usd, data.latency_s)
    )
    answered_by = np.eye(wrong.size)
    losses = _losses(Outcome(wrong, np.zeros_like(wrong), cost, latency, answered_by), prices)
    return np.argmin(np.where(share.sum(axis=0)[:, None] > 0, losses, np.inf), axis=0)


def _blend(
    evidence: list[tuple[float, Float[np.ndarray, "c p"]]],
    prior_queries: Float[np.ndarray, "c 1"],
    expected: Float[np.ndarray, "c p"],
) -> Float[np.ndarray, "c p"]:
    """Mean of losses, each weighted by the queries it is worth."""
    total = sum(queries for queries, _ in evidence)
    seen = sum(queries * losses for queries, losses in evidence) / total
    share = total / (total + prior_queries)
    return share * seen + (1.0 - share) * expected


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
    rows = Prices(*(np.atleast_1d(np.asarray(price)) for price in prices))
    return np.asarray(loss(columns, rows))


def _eligible(method: Method, sizes: list[int], num_prices: int) -> Bool[np.ndarray, "c p"]:
    """Whether a candidate may be chosen at a price."""
    rows = []
    for source, count in zip(method.sources, sizes, strict=True):
        if source.per_price:
            rows.append(np.tile(np.eye(num_prices, dtype=bool), (count // num_prices, 1)))
        else:
            rows.append(np.ones((count, num_prices), bool))
    return np.concatenate(rows)


def _num_breakpoints(made: list[PolicyArrays]) -> Float[np.ndarray, "c 1"]:
    """Number of breakpoints of each candidate."""
    counts = [np.isfinite(policies.breakpoints).sum(axis=(1, 2)) for policies in made]
    return np.concatenate(counts)[:, None].astype(float)


def _grouped(
    sources: Sequence[Source], made: list[PolicyArrays]
) -> list[tuple[Source, PolicyArrays]]:
    """Joins neighbours of one shape and one way of prediction: they share compilations."""
    groups: list[tuple[Source, PolicyArrays]] = []
    for source, policies in zip(sources, made, strict=True):
        if groups:
            last, before = groups[-1]
            alike = before.breakpoints.shape[1:] == policies.breakpoints.shape[1:]
            if alike and last.expect is source.expect:
                groups.pop()
                policies = PolicyArrays(*map(np.concatenate, zip(before, policies, strict=True)))
        groups.append((source, policies))
    return groups


def _join(outcomes: list[Outcome]) -> Outcome:
    columns = zip(*outcomes, strict=True)
    return Outcome(*(np.concatenate([np.asarray(part) for part in parts]) for parts in columns))


def _pick(made: list[PolicyArrays], index: int, models: tuple[str, ...]) -> Policy:
    for policies in made:
        count = policies.start.shape[0]
        if index < count:
            return Policy.from_arrays(PolicyArrays(*(part[index] for part in policies)), models)
        index -= count
    raise AssertionError("the index is of one of the policies made")
