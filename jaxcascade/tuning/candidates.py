"""Policies worth considering, by where they come from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import ACCEPT, MarkovChain, Policy, PolicyArrays, Prices, stack_policies
from jaxcascade.tuning.stopping import optimal_stopping
from jaxcascade.tuning.thresholds import Chains, best_thresholds

_MOST_THRESHOLDS = 64


class Pool(NamedTuple):
    """A pool of models on a grid, and what a call costs.

    Attributes:
        chain: Joint model on a grid.
        cost_usd: Mean dollars per call.
        latency_s: Mean seconds per call, NaN where not recorded.
        models: Names.
    """

    chain: MarkovChain
    cost_usd: Float[Array, " k"]
    latency_s: Float[Array, " k"]
    models: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A named way of making candidates: from a pool and prices to stacked policies."""

    kind: str
    make: Callable[[Pool, Prices], PolicyArrays]


def _single_models(pool: Pool, _: Prices) -> PolicyArrays:
    k = len(pool.models)
    return PolicyArrays(jnp.arange(k), jnp.full((k, k, 1), jnp.inf), jnp.full((k, k, 2), ACCEPT))


def _pairs(pool: Pool, _: Prices) -> PolicyArrays:
    """Every pair at thresholds spread over the first model's quantiles."""
    k, num_edges = pool.chain.edges.shape
    picked = np.unique(np.linspace(1, num_edges - 2, _MOST_THRESHOLDS).astype(int))
    first, second = np.triu_indices(k, 1)
    first, second = np.repeat(first, picked.size), np.repeat(second, picked.size)
    thresholds = pool.chain.edges[first, np.tile(picked, k * (k - 1) // 2)]
    rows = np.arange(first.size)
    breakpoints = jnp.full((rows.size, k, 1), jnp.inf).at[rows, first, 0].set(thresholds)
    actions = np.full((rows.size, k, 2), ACCEPT)
    actions[rows, first, 0] = second
    return PolicyArrays(jnp.asarray(first), breakpoints, jnp.asarray(actions))


def _asking_usd(pool: Pool, prices: Prices) -> Float[Array, " k"]:
    latency = float(np.max(np.asarray(prices.latency)))
    return pool.cost_usd + (latency * pool.latency_s if latency > 0 else 0.0)


def _subcascades(pool: Pool, prices: Prices) -> PolicyArrays:
    """The best threshold cascade of all subcascades at each price."""
    allowed = Chains.all_subcascades(len(pool.models))
    error = jnp.atleast_1d(jnp.asarray(prices.error))
    return best_thresholds(pool.chain, _asking_usd(pool, prices), error, allowed).policies


def _full_chain(pool: Pool, prices: Prices) -> PolicyArrays:
    """The threshold cascade of all models in order of cost, as the paper tunes it."""
    k = len(pool.models)
    error = jnp.atleast_1d(jnp.asarray(prices.error))
    allowed = Chains.only(range(k), k)
    return best_thresholds(pool.chain, _asking_usd(pool, prices), error, allowed).policies


def _stopping(pool: Pool, prices: Prices) -> PolicyArrays:
    """The best of all policies at each price, were the model true."""
    found = optimal_stopping(pool.chain, pool.cost_usd, pool.latency_s, prices).policies
    found = PolicyArrays(*(np.asarray(part) for part in found))
    merged = [
        Policy.from_arrays(PolicyArrays(*(part[p] for part in found)), pool.models)
        for p in range(found.start.shape[0])
    ]
    return stack_policies(merged, pool.models)


SINGLES = Source("single", _single_models)
PAIRS = Source("pair", _pairs)
SUBCASCADES = Source("chain", _subcascades)
FULL_CHAIN = Source("chain", _full_chain)
STOPPING = Source("pool", _stopping)


@dataclass(frozen=True)
class Method:
    """How policies are chosen.

    Attributes:
        sources: Where candidates come from; earlier ones win ties.
        empirical_share: Weight in [0, 1] of the loss seen on the training records; the rest is
            the loss that the fitted model predicts.
    """

    sources: tuple[Source, ...]
    empirical_share: float


# Candidates of every kind, chosen by three parts of what happened and one of what the model
# expects: plug-in models win when labels are few, counting when they are many; the mixture was
# at least as good as either in both regimes on six pools of real data.
BEST_OF_ALL = Method((SINGLES, PAIRS, SUBCASCADES, STOPPING), empirical_share=0.75)
POOL = Method((STOPPING,), empirical_share=0.0)
THRESHOLDS = Method((SUBCASCADES,), empirical_share=0.0)
RATIONAL_TUNING = Method((FULL_CHAIN,), empirical_share=0.0)
COUNTED_PAIRS = Method((SINGLES, PAIRS), empirical_share=1.0)
BEST_SINGLE = Method((SINGLES,), empirical_share=1.0)
