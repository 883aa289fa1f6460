"""Do 90 % intervals for a policy's error and cost hold what it brings on queries not seen?

    python -m benchmarks.coverage [--resamplings N] [--pools NAME ...]

A posterior is learnt from 250 queries, or from 30, drawn without replacement; policies are then
counted on the other queries. Where a table came in two halves, both ways are measured: drawn from
both halves together, so that nothing shifts between learning and counting, and drawn from the
training half and counted on the test half, as the table came.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from benchmarks.common import LLAMA, OTHERS, load, prepare_jax, table, versions, write
from jaxcascade.calibration import LogisticCalibration
from jaxcascade.cascade import (
    Observations,
    Policy,
    PolicyArrays,
    Prices,
    observations,
    replay,
    stack_policies,
)
from jaxcascade.posterior import Laplace, Posterior, infer_evidence, look, policy_draws, shared_grid
from jaxcascade.posterior.frontiers import allowed_chains, choosy, mean_tables
from jaxcascade.tuning import best_thresholds, price_grid
from jaxcascade.tuning.chains import Chains

_PLAUT = ("Mistral", "Yi-34b", "Mixtral", "gpt-3.5-turbo", "gpt-4-turbo")
_TABLES = {"Llama": LLAMA, "others": OTHERS, "nine": LLAMA + OTHERS}
POOLS = (
    *(f"{name} {pool}" for name in ("mmlu", "medmcqa") for pool in ("Llama", "others")),
    *("plaut_mmlu", "plaut_hellaswag", "mmlu nine", "medmcqa nine"),
)
SIZES = (250, 30)
_MIXED, _HALVES = "mixed", "as it came"
_NUM_DRAWS, _NUM_CELLS, _NUM_PRICES = 250, 32, 5
_LARGE = 2000  # queries that the model's own limit is learnt from, at most
_FEW_DRAWS = 50  # of that limit
_LEVEL = 0.9
_FEW_FOR_NINE = 5
_SINGLE, _PAIR, _CHAIN = "single model", "fixed pair", "fixed chain of all"
_BEST, _BEST_CHAIN = "best single model or pair", "best of all chains"


class Pool(NamedTuple):
    """A table of models in the order of their mean cost.

    Attributes:
        name: Of the data and the models.
        models: Names.
        data: All queries.
        half: 0 for those of the training half, 1 for those of the test half.
    """

    name: str
    models: tuple[str, ...]
    data: Observations
    half: Int[np.ndarray, " n"]

    def prices(self) -> Float[np.ndarray, " p"]:
        """Prices of an error that matter on the whole table."""
        cost, error = np.mean(self.data.cost_usd, axis=0), 1.0 - np.mean(self.data.correct, axis=0)
        return price_grid(cost, error, _NUM_PRICES)


class Split(NamedTuple):
    """Positions of the queries to learn from, and of those to count on."""

    way: str
    size: int
    seed: int
    train: Int[np.ndarray, " m"]
    test: Int[np.ndarray, " t"]


class Case(NamedTuple):
    """One policy's forecast and what it brought, for its error or for its dollars.

    Attributes:
        pool: Name.
        way: How queries were split.
        size: Queries learnt from.
        seed: Of the split.
        kind: Of policy.
        history: Whether the forecast used the predecessor's signal.
        what: "error" or "cost".
        low: Lower end of the interval of the expected value.
        high: Upper end.
        told_low: Lower end of the interval of a mean over as many queries as were counted.
        told_high: Upper end.
        mean: Of the draws.
        spread: Their standard deviation.
        counted: On the test queries.
        noise: Standard error of that.
        limit: What the model says that was learnt from all queries, test ones included.
    """

    pool: str
    way: str
    size: int
    seed: int
    kind: str
    history: bool
    what: str
    low: float
    high: float
    told_low: float
    told_high: float
    mean: float
    spread: float
    counted: float
    noise: float
    limit: float


def read_pool(name: str) -> Pool:
    """Reads a table, both halves together, models in cost order."""
    file, _, models = name.partition(" ")
    halves = (file,) if not models else (f"{file}_train", f"{file}_test")
    tables = [load(half, _TABLES[models] if models else _PLAUT) for half in halves]
    cost = np.concatenate([one.cost_usd for one in tables]).mean(axis=0)
    ordered = tuple(tables[0].models[at] for at in np.argsort(cost, kind="stable"))
    parts = [observations(one.select(ordered)) for one in tables]
    data = Observations(*(jnp.concatenate(cells) for cells in zip(*parts, strict=True)))
    lengths = [len(part.cost_usd) for part in parts]
    return Pool(name, ordered, data, np.repeat(np.arange(len(parts)), lengths))


def splits(pool: Pool, resamplings: int) -> Iterator[Split]:
    """Every way, size and resampling."""
    ways = (_MIXED, _HALVES) if pool.half.any() else (_MIXED,)
    for way in ways:
        for size in SIZES:
            for seed in range(resamplings):
                order = np.random.default_rng([seed, size]).permutation(len(pool.half))
                if way == _HALVES:
                    order = order[np.argsort(pool.half[order], kind="stable")]
                    test = np.flatnonzero(pool.half == 1)
                else:
                    test = order[size:]
                yield Split(way, size, seed, order[:size], test)


def learn(pool: Pool, rows: Int[np.ndarray, " m"], num_draws: int = _NUM_DRAWS) -> Posterior:
    """Returns the posterior of some queries."""
    data = jax.tree.map(lambda cells: cells[rows], pool.data)
    frame, evidence = look(data, jnp.ones(len(rows)), pool.models, LogisticCalibration())
    key = jax.random.fold_in(jax.random.key(int(rows[0])), len(rows))
    return infer_evidence(key, frame, evidence, method=Laplace(num_draws=num_draws))


def best_by_draws(
    posterior: Posterior, prices: Prices, history: bool, chains: Chains | None
) -> PolicyArrays:
    """The policies of `bayes_frontier`, without their outcomes."""
    grid = shared_grid(posterior, _NUM_CELLS)
    tables = choosy(mean_tables(posterior, grid, history))
    allowed = allowed_chains(posterior, chains)
    found = best_thresholds(tables, grid.model.cost_usd, jnp.asarray(prices.error), allowed)
    return found.policies


def fixed_policies(posterior: Posterior) -> PolicyArrays:
    """Single models; neighbours and the whole chain, each passing on half of its queries."""
    models = posterior.frame.models
    confidence = np.asarray(posterior.frame.confidence(posterior.evidence.signal))
    half = dict(zip(models, np.median(confidence, axis=0), strict=True))
    pairs = itertools.pairwise(models)
    cascades = [Policy.threshold_cascade(pair, [half[pair[0]]]) for pair in pairs]
    cascades += [Policy.threshold_cascade(models, [half[name] for name in models[:-1]])]
    start, edges, actions = stack_policies([*map(Policy.single, models), *cascades], models)
    return PolicyArrays(start, edges[..., :1], actions[..., :2])


class Counted(NamedTuple):
    """Means of policies over test queries, and their standard errors."""

    error: Float[np.ndarray, " c"]
    error_noise: Float[np.ndarray, " c"]
    cost: Float[np.ndarray, " c"]
    cost_noise: Float[np.ndarray, " c"]


def count(posterior: Posterior, pool: Pool, rows: Array, policies: PolicyArrays) -> Counted:
    """Follows policies on recorded queries."""
    data = jax.tree.map(lambda cells: cells[rows], pool.data)
    frame = posterior.frame
    told = replay(policies, frame.confidence(frame.signal(data.log_confidence)), data)
    wrong, cost = 1.0 - np.asarray(told.correct), np.asarray(told.cost_usd)
    root = np.sqrt(wrong.shape[1])
    noise = (values.std(axis=1, ddof=1) / root for values in (wrong, cost))
    error_noise, cost_noise = noise
    return Counted(wrong.mean(axis=1), error_noise, cost.mean(axis=1), cost_noise)


def cases(pool: Pool, split: Split, limit: Posterior) -> list[Case]:
    """Forecasts and counts of all policies of one split."""
    posterior = learn(pool, split.train)
    prices = Prices(pool.prices(), 0.0, np.inf)
    every_chain = Chains.all_subcascades(len(pool.models))
    asked_for = list(itertools.product([None, every_chain], [True, False]))
    chosen = [best_by_draws(posterior, prices, history, chains) for chains, history in asked_for]
    fixed = fixed_policies(posterior)
    every = jax.tree.map(lambda *parts: np.concatenate(parts), *chosen, fixed)
    counted = count(posterior, pool, jnp.asarray(split.test), every)
    own = posterior.frame.calibrator(posterior.frame.intercept, posterior.frame.slope)
    rng = np.random.default_rng(split.seed)
    k, p = len(pool.models), _NUM_PRICES
    kinds = [_BEST] * (2 * p) + [_BEST_CHAIN] * (2 * p)
    kinds += [_SINGLE] * k + [_PAIR] * (k - 1) + [_CHAIN]
    # Policies chosen for one kind of forecast are judged by that kind only.
    only = [history for _, history in asked_for for _ in range(p)] + [None] * (2 * k)
    found = []
    for history in (True, False):
        cells = {"num_cells": _NUM_CELLS, "history": history}
        outcome = policy_draws(posterior, every, **cells)
        best = policy_draws(limit, every, own, **cells)
        asked = [at for at in range(len(kinds)) if only[at] in (None, history)]
        error, cost = (np.asarray(x)[:, asked] for x in (outcome.error, outcome.cost_usd))
        size = len(split.test)
        told_error = rng.binomial(size, np.clip(error, 0, 1)) / size
        told_cost = cost + counted.cost_noise[asked] * rng.standard_normal(cost.shape)
        rows = {
            "error": (error, told_error, counted.error, counted.error_noise, best.error),
            "cost": (cost, told_cost, counted.cost, counted.cost_noise, best.cost_usd),
        }
        tails = [0.5 * (1 - _LEVEL), 0.5 * (1 + _LEVEL)]
        for what, (draws, told, value, noise, at_limit) in rows.items():
            ends, told_ends = np.quantile(draws, tails, axis=0), np.quantile(told, tails, axis=0)
            middle, spread = draws.mean(axis=0), draws.std(axis=0)
            for column, at in enumerate(asked):
                numbers = (*ends[:, column], *told_ends[:, column], middle[column], spread[column])
                numbers += (value[at], noise[at], np.asarray(at_limit)[:, at].mean())
                found.append(
                    Case(
                        pool.name,
                        *(split.way, split.size, split.seed, kinds[at], history, what),
                        *map(float, numbers),
                    )
                )
    return found


MEASURES = ("holds", "with test noise", "holds the model's limit", "miss", "its spread")


def grouped(found: list[Case], *names: str) -> dict[tuple, tuple[float, ...]]:
    """The measures, in their order, of the cases that share the named attributes."""
    groups: dict[tuple, list[Case]] = {}
    for case in found:
        groups.setdefault(tuple(getattr(case, name) for name in names), []).append(case)
    rows = {}
    for key, alike in sorted(groups.items(), key=lambda item: tuple(map(str, item[0]))):
        own = np.mean([one.low <= one.counted <= one.high for one in alike])
        told = np.mean([one.told_low <= one.counted <= one.told_high for one in alike])
        at_limit = np.mean([one.low <= one.limit <= one.high for one in alike])
        missed = [(one.counted - one.mean) / np.hypot(one.spread, one.noise) for one in alike]
        numbers = (own, told, at_limit, np.mean(missed), np.std(missed))
        rows[key] = tuple(round(float(number), 4) for number in numbers)
    return rows


def summary(found: list[Case]) -> str:
    """One row for each kind of forecast: how often intervals hold what was counted."""
    rows = [
        (*key[:-1], "with" if key[-1] else "without", *(f"{number:.2f}" for number in numbers))
        for key, numbers in grouped(found, "what", "way", "size", "kind", "history").items()
    ]
    return table(("of", "queries", "learnt from", "policy", "history", *MEASURES), rows)


def by_pool(found: list[Case]) -> list[dict]:
    """The same for each pool, for machines."""
    names = ("pool", "what", "way", "size", "kind", "history")
    return [
        dict(zip((*names, *MEASURES), (*key, *numbers), strict=True))
        for key, numbers in grouped(found, *names).items()
    ]


EXPLAINED = """
Two intervals: that of the expected value, and that of a mean over as many queries as were counted.
The model's limit is what the same model says that was learnt from up to 2,000 queries of the whole
table: an interval that holds it and not the count misses by the model's error, not by too few
queries. A miss is counted minus predicted, in standard deviations of draws and count together:
1 is their usual spread, and its mean tells which way forecasts err.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--resamplings", type=int, default=20, help="per pool, way and size")
    parser.add_argument("--pools", nargs="+", default=list(POOLS))
    given = parser.parse_args()
    prepare_jax()
    began = time.perf_counter()
    found: list[Case] = []
    for name in given.pools:
        pool = read_pool(name)
        rows = np.random.default_rng(0).permutation(len(pool.half))[:_LARGE]
        limit = learn(pool, rows, _FEW_DRAWS)
        times = _FEW_FOR_NINE if name.endswith("nine") else given.resamplings
        for split in splits(pool, min(times, given.resamplings)):
            found += cases(pool, split, limit)
    pages = ["# Coverage on queries not seen", *(__doc__ or "").splitlines()[1:]]
    pages += [*EXPLAINED.splitlines(), "", summary(found), ""]
    pages.append(f"{given.resamplings} resamplings; {time.perf_counter() - began:.0f} s.")
    content = {"versions": versions(), "pools": by_pool(found)}
    write("coverage", content, "\n".join(pages))


if __name__ == "__main__":
    main()
