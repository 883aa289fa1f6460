"""Policies worth considering, by where they come from."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import (
    ACCEPT,
    CascadeModel,
    MarkovChain,
    Outcome,
    Policy,
    PolicyArrays,
    Prices,
    Quadrature,
    ThresholdTables,
    chain_outcomes,
    grid_edges,
    markov_chain,
    stack_policies,
    tabled_outcomes,
    threshold_tables,
)
from jaxcascade.tuning.abstaining import abstaining_pair_outcomes, best_abstaining_pairs
from jaxcascade.tuning.chains import Chains
from jaxcascade.tuning.stopping import optimal_stopping
from jaxcascade.tuning.thresholds import best_thresholds

_NUM_THRESHOLDS = 32
# Cells are narrow where confidences are many: four nodes in each leave 2e-10 on recorded models.
_IN_CELLS = Quadrature(4, at_breaks=True)


class Pool:
    """A fitted pool of models, and what is computed of it once candidates ask for it."""

    def __init__(self, model: CascadeModel, num_cells: int = 128):
        self.model, self._num_cells = model, num_cells

    @functools.cached_property
    def tables(self) -> ThresholdTables:
        """What thresholds on a grid bring."""
        return threshold_tables(self.model, grid_edges(self.model, self._num_cells), _IN_CELLS)

    @functools.cached_property
    def chain(self) -> MarkovChain:
        """The joint model on a grid."""
        return markov_chain(self.model, self._num_cells)


@dataclass(frozen=True)
class Source:
    """A named way of making candidates.

    Attributes:
        kind: "single", "pair", "chain" or "pool".
        make: From a pool and prices to policies with a leading axis.
        expect: What the fitted model expects of such policies.
        per_price: Whether each policy is made for one price, in blocks over all prices, and is a
            candidate there alone. Offering it at every price as well gains nothing in hindsight
            and invites the winner's curse: on real data it cost 0.4 to 3 % of the loss.
        prior_queries: Queries that the fitted model's prediction is worth beside those counted.
            Zero counts only, infinity predicts only.
    """

    kind: str
    make: Callable[[Pool, Prices], PolicyArrays]
    expect: Callable[[Pool, PolicyArrays], Outcome]
    per_price: bool
    prior_queries: float


def _looked_up(pool: Pool, policies: PolicyArrays) -> Outcome:
    return tabled_outcomes(pool.model, pool.tables, policies)


def _on_the_chain(pool: Pool, policies: PolicyArrays) -> Outcome:
    return chain_outcomes(pool.model, pool.chain, policies)


def _single_models(pool: Pool, _: Prices) -> PolicyArrays:
    k = len(pool.model.models)
    return PolicyArrays(np.arange(k), np.full((k, k, 1), np.inf), np.full((k, k, 2), ACCEPT))


def _pairs(pool: Pool, _: Prices) -> PolicyArrays:
    """Every pair at thresholds spread over the first model's quantiles."""
    edges = np.asarray(pool.tables.edges)
    k, num_edges = edges.shape
    picked = np.unique(np.linspace(1, num_edges - 2, _NUM_THRESHOLDS).astype(int))
    first, second = np.triu_indices(k, 1)
    first, second = np.repeat(first, picked.size), np.repeat(second, picked.size)
    rows = np.arange(first.size)
    breakpoints = np.full((rows.size, k, 1), np.inf)
    breakpoints[rows, first, 0] = edges[first, np.tile(picked, k * (k - 1) // 2)]
    actions = np.full((rows.size, k, 2), ACCEPT)
    actions[rows, first, 0] = second
    return PolicyArrays(first, breakpoints, actions)


def _asking_usd(pool: Pool, prices: Prices) -> Float[Array, " k"]:
    latency = float(np.max(np.asarray(prices.latency)))
    cost = np.asarray(pool.model.cost_usd)
    seconds = np.asarray(pool.model.latency_s)
    return jnp.asarray(cost + latency * seconds if latency > 0 else cost)


def _subcascades(pool: Pool, prices: Prices) -> PolicyArrays:
    """The best threshold cascade of all subcascades at each price."""
    return _best_chains(pool, prices, Chains.all_subcascades(len(pool.model.models)))


def _full_chain(pool: Pool, prices: Prices) -> PolicyArrays:
    """The threshold cascade of all models in order of cost, as the paper tunes it.

    A model whose best threshold passes everything on is left out, which the paper does not do.
    """
    k = len(pool.model.models)
    return _best_chains(pool, prices, Chains.each([range(k)]))


def _best_chains(pool: Pool, prices: Prices, allowed: Chains) -> PolicyArrays:
    error = jnp.asarray(np.atleast_1d(np.asarray(prices.error)))
    found = best_thresholds(pool.tables, _asking_usd(pool, prices), error, allowed).policies
    arrays = [policy.to_arrays(pool.model.models, 1) for policy in _used(found, pool)]
    return PolicyArrays(*map(np.stack, zip(*arrays, strict=True)))


def _abstaining_pairs(pool: Pool, prices: Prices) -> PolicyArrays:
    """The best thresholds of every pair at each price, where each model may give up."""
    error, _, abstention = np.broadcast_arrays(*(np.atleast_1d(price) for price in prices))
    return best_abstaining_pairs(pool.tables, _asking_usd(pool, prices), error, abstention)


def _abstaining_outcomes(pool: Pool, policies: PolicyArrays) -> Outcome:
    return abstaining_pair_outcomes(pool.model, pool.tables, policies)


def _stopping(pool: Pool, prices: Prices) -> PolicyArrays:
    """The best of all policies at each price, were the model true."""
    model = pool.model
    found = optimal_stopping(pool.chain, model.cost_usd, model.latency_s, prices).policies
    return stack_policies(_used(found, pool), model.models)


def _used(found: PolicyArrays, pool: Pool) -> list[Policy]:
    """Policies as they will be when they are used: see `Policy.from_arrays`."""
    found = PolicyArrays(*(np.asarray(part) for part in found))
    return [
        Policy.from_arrays(PolicyArrays(*(part[p] for part in found)), pool.model.models)
        for p in range(found.start.shape[0])
    ]


# How far predictions are trusted was chosen by cross-validation within the training halves of
# MMLU, MedMCQA and GSM8K, three pools each: a longer chain is the best of so many that the
# prediction flatters it, and counting should decide soon.
SINGLES = Source("single", _single_models, _looked_up, per_price=False, prior_queries=300.0)
PAIRS = Source("pair", _pairs, _looked_up, per_price=False, prior_queries=300.0)
SUBCASCADES = Source("chain", _subcascades, _looked_up, per_price=True, prior_queries=30.0)
FULL_CHAIN = Source("chain", _full_chain, _looked_up, per_price=True, prior_queries=30.0)
ABSTAINING_PAIRS = Source(
    "pair", _abstaining_pairs, _abstaining_outcomes, per_price=True, prior_queries=300.0
)
STOPPING = Source("pool", _stopping, _on_the_chain, per_price=True, prior_queries=30.0)


@dataclass(frozen=True)
class Method:
    """How policies are chosen: by a blend of the loss counted in training and that predicted.

    Attributes:
        sources: Where candidates come from; earlier ones win ties.
        charge: Factor (1 + charge / n) on the blended loss for every breakpoint of a policy, in
            the spirit of Akaike: what n queries seem to gain by one more threshold is partly luck.
        smoothing: Queries that the labels predicted from all models' confidences are worth
            beside those counted; see `smoothed_labels`.
    """

    sources: tuple[Source, ...]
    charge: float = 0.0
    smoothing: float = 0.0


def _trusted(source: Source) -> Source:
    return replace(source, prior_queries=np.inf)


def _counted(source: Source) -> Source:
    return replace(source, prior_queries=0.0)


# Longer policies from optimal stopping add nothing to these on unseen queries (0.02 % of the loss
# in the cross-validation above), but only they give queries up.
BEST_OF_ALL = Method((SINGLES, PAIRS, SUBCASCADES), charge=1.0, smoothing=300.0)
# Pairs that give up lowered the held-out loss of those by another 0.9 to 1.5 % (standard errors 0.5
# to 0.6), in three foldings of the same pools, where an abstention cost 5 to 30 % of an error.
WITH_ABSTENTION = replace(BEST_OF_ALL, sources=(*BEST_OF_ALL.sources, ABSTAINING_PAIRS, STOPPING))
POOL = Method((_trusted(STOPPING),))
THRESHOLDS = Method((_trusted(SUBCASCADES),))
RATIONAL_TUNING = Method((_trusted(FULL_CHAIN),))
COUNTED_PAIRS = Method((_counted(SINGLES), _counted(PAIRS)))
BEST_SINGLE = Method((_counted(SINGLES),))
