"""Policies worth considering, by where they come from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import (
    ACCEPT,
    CascadeModel,
    MarkovChain,
    Policy,
    PolicyArrays,
    Prices,
    stack_policies,
    threshold_tables,
)
from jaxcascade.tuning.stopping import optimal_stopping
from jaxcascade.tuning.thresholds import Chains, best_pair_thresholds, best_thresholds

_MOST_THRESHOLDS = 64


class Pool(NamedTuple):
    """A pool of models, and the same on a grid.

    Attributes:
        model: Fitted joint model.
        chain: Joint model on a grid.
    """

    model: CascadeModel
    chain: MarkovChain


@dataclass(frozen=True)
class Source:
    """A named way of making candidates.

    Attributes:
        kind: "single", "pair", "chain" or "pool".
        make: From a pool and prices to stacked policies.
        per_price: Whether each policy is made for one price, in blocks over all prices, and is a
            candidate there alone. Offering it at every price as well gains nothing in hindsight
            and invites the winner's curse: on real data it cost 0.4 to 3 % of the loss.
        prior_queries: Queries that the fitted model's prediction is worth: the loss counted on n
            queries has the weight n / (n + prior_queries). Zero counts only, infinity predicts
            only.
    """

    kind: str
    make: Callable[[Pool, Prices], PolicyArrays]
    per_price: bool
    prior_queries: float

    def counted_share(self, num_queries: float) -> float:
        """Returns the weight of the counted loss, in [0, 1]."""
        return num_queries / (num_queries + self.prior_queries)


def _single_models(pool: Pool, _: Prices) -> PolicyArrays:
    k = len(pool.model.models)
    return PolicyArrays(jnp.arange(k), jnp.full((k, k, 1), jnp.inf), jnp.full((k, k, 2), ACCEPT))


def _pairs(pool: Pool, prices: Prices) -> PolicyArrays:
    """Every pair at the threshold that the fitted model prefers at each price."""
    error = jnp.atleast_1d(jnp.asarray(prices.error))
    return best_pair_thresholds(pool.model, pool.chain, _asking_usd(pool, prices), error)


def _spread_pairs(pool: Pool, _: Prices) -> PolicyArrays:
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
    return pool.model.cost_usd + (latency * pool.model.latency_s if latency > 0 else 0.0)


def _subcascades(pool: Pool, prices: Prices) -> PolicyArrays:
    """The best threshold cascade of all subcascades at each price."""
    allowed = Chains.all_subcascades(len(pool.model.models))
    error = jnp.atleast_1d(jnp.asarray(prices.error))
    tables = threshold_tables(pool.model, pool.chain.edges)
    found = best_thresholds(tables, _asking_usd(pool, prices), error, allowed).policies
    return _without_idle_models(found, pool)


def _full_chain(pool: Pool, prices: Prices) -> PolicyArrays:
    """The threshold cascade of all models in order of cost, as the paper tunes it.

    A model whose best threshold passes everything on is left out, which the paper does not do.
    """
    k = len(pool.model.models)
    error = jnp.atleast_1d(jnp.asarray(prices.error))
    allowed = Chains.only(range(k), k)
    tables = threshold_tables(pool.model, pool.chain.edges)
    found = best_thresholds(tables, _asking_usd(pool, prices), error, allowed).policies
    return _without_idle_models(found, pool)


def _stopping(pool: Pool, prices: Prices) -> PolicyArrays:
    """The best of all policies at each price, were the model true."""
    found = optimal_stopping(pool.chain, pool.model.cost_usd, pool.model.latency_s, prices).policies
    return _without_idle_models(found, pool)


def _without_idle_models(found: PolicyArrays, pool: Pool) -> PolicyArrays:
    """Makes policies what they will be when they are used: see `Policy.from_arrays`."""
    found = PolicyArrays(*(np.asarray(part) for part in found))
    policies = [
        Policy.from_arrays(PolicyArrays(*(part[p] for part in found)), pool.model.models)
        for p in range(found.start.shape[0])
    ]
    return stack_policies(policies, pool.model.models)


# How far predictions are trusted was chosen by cross-validation within the training halves of
# MMLU, MedMCQA and GSM8K, three pools each: a pool policy is the best of so many that the
# prediction flatters it, and counting should decide soon.
SINGLES = Source("single", _single_models, per_price=False, prior_queries=300.0)
PAIRS = Source("pair", _pairs, per_price=True, prior_queries=300.0)
SPREAD_PAIRS = Source("pair", _spread_pairs, per_price=False, prior_queries=0.0)
SUBCASCADES = Source("chain", _subcascades, per_price=True, prior_queries=30.0)
FULL_CHAIN = Source("chain", _full_chain, per_price=True, prior_queries=30.0)
STOPPING = Source("pool", _stopping, per_price=True, prior_queries=30.0)


@dataclass(frozen=True)
class Method:
    """How policies are chosen: by a blend of the loss counted in training and that predicted.

    Attributes:
        sources: Where candidates come from; earlier ones win ties.
        charge: Factor (1 + charge / n) on the blended loss for every breakpoint of a policy, in
            the spirit of Akaike: what n queries seem to gain by one more threshold is partly luck.
    """

    sources: tuple[Source, ...]
    charge: float = 0.0


def _trusted(source: Source) -> Source:
    return replace(source, prior_queries=np.inf)


def _counted(source: Source) -> Source:
    return replace(source, prior_queries=0.0)


BEST_OF_ALL = Method((SINGLES, PAIRS, STOPPING), charge=1.0)
POOL = Method((_trusted(STOPPING),))
THRESHOLDS = Method((_trusted(SUBCASCADES),))
RATIONAL_TUNING = Method((_trusted(FULL_CHAIN),))
COUNTED_PAIRS = Method((_counted(SINGLES), SPREAD_PAIRS))
BEST_SINGLE = Method((_counted(SINGLES),))
