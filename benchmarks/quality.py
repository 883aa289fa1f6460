"""Decision quality on queries not seen: loss relative to the best single model.

    python -m benchmarks.quality [--draws N]

Policies are tuned on a training part, everything is chosen there, and the loss is counted on
other queries, at 60 geometric prices of an error from a third of the first to three times the
last break-even price between single models. A figure is the geometric mean over prices (and
draws) of the ratio to the single model that is best in training: below 1 is a gain. With all
the labels of a table, and with 30.
"""

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from benchmarks.common import LLAMA, OTHERS, load, prepare_jax, table, versions, write
from jaxcascade.cascade import (
    Policy,
    Prices,
    fit_weighted,
    in_cost_order,
    observations,
    replay,
    stack_policies,
)
from jaxcascade.records import Records
from jaxcascade.tuning import (
    BEST_OF_ALL,
    COUNTED_PAIRS,
    POOL,
    RATIONAL_TUNING,
    THRESHOLDS,
    Method,
    choose_policies,
    price_grid,
    query_losses,
)

METHODS: dict[str, Method] = {
    "best of all (default)": BEST_OF_ALL,
    "optimal stopping": POOL,
    "best subcascade": THRESHOLDS,
    "full chain": RATIONAL_TUNING,
    "counted pairs": COUNTED_PAIRS,
}
_NUM_PRICES, _FEW = 60, 30
# Six open and closed models in steps of price, none of them best at every price.
_PLAUT = ("Mistral", "Solar", "Yi-34b", "Mixtral", "gpt-3.5-turbo", "gpt-4-turbo")


class Task(NamedTuple):
    """A pool with the queries to tune on, marked by weights, and those to count on."""

    pool: str
    regime: str
    train: Records
    weights: list[Float[np.ndarray, " n"]]
    test: Records


def tasks(num_draws: int) -> Iterator[Task]:
    """Every pool, with all labels and with few."""
    for name in ("mmlu", "medmcqa"):
        for pool, models in (("Llama", LLAMA), ("others", OTHERS), ("nine", LLAMA + OTHERS)):
            train, test = (load(f"{name}_{half}", models) for half in ("train", "test"))
            train, test = _ordered(train, test)
            label = f"{name} {pool}"
            yield Task(label, "all", train, [np.ones(train.num_queries)], test)
            yield Task(label, "30", train, _draws(train.num_queries, num_draws), test)
    for name in ("plaut_hellaswag", "plaut_mmlu"):
        whole = in_cost_order(load(name, _PLAUT))
        for regime, count in (("all", 300), ("30", _FEW)):
            for seed in range(num_draws):
                order = np.random.default_rng(seed).permutation(whole.num_queries)
                train, test = whole.take(order[:300]), whole.take(order[300:])
                weight = (np.arange(300) < count).astype(float)
                yield Task(name, regime, train, [weight], test)


def _ordered(train: Records, test: Records) -> tuple[Records, Records]:
    train = in_cost_order(train)
    return train, test.select(train.models)


def _draws(num_queries: int, num_draws: int) -> list[Float[np.ndarray, " n"]]:
    draws = []
    for seed in range(num_draws):
        picked = np.random.default_rng(seed).permutation(num_queries)[:_FEW]
        draws.append(np.isin(np.arange(num_queries), picked).astype(float))
    return draws


def log_ratios(task: Task, weight: Float[np.ndarray, " n"]) -> dict[str, float]:
    """Mean log loss ratio over prices, per method, for one training part."""
    data, weight_ = observations(task.train), jnp.asarray(weight)
    model = fit_weighted(data, weight_, task.train.models).model
    kept = weight > 0
    error = 1.0 - np.nanmean(task.train.correct[kept], axis=0)
    cost = np.nanmean(task.train.cost_usd[kept], axis=0)
    prices = Prices(price_grid(cost, error, _NUM_PRICES), 0.0, np.inf)
    test = observations(task.test)
    confidence = model.calibrate(test.log_confidence)

    def counted(policies: list[Policy]) -> Float[np.ndarray, " p"]:
        result = replay(stack_policies(policies, model.models), confidence, test)
        return np.nanmean(np.asarray(query_losses(result, prices)), axis=1)

    best = np.argmin(cost + np.asarray(prices.error)[:, None] * error, axis=1)
    single = counted([Policy.single(model.models[j]) for j in best])
    found = {}
    for name, method in METHODS.items():
        choice = choose_policies(model, data, weight_, prices, method)
        found[name] = float(np.mean(np.log(counted(list(choice.policies)) / single)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=10, help="random training parts per pool")
    num_draws = parser.parse_args().draws
    prepare_jax()
    began = time.perf_counter()
    logs: dict[tuple[str, str], list[dict[str, float]]] = {}
    for task in tasks(num_draws):
        for weight in task.weights:
            logs.setdefault((task.regime, task.pool), []).append(log_ratios(task, weight))
    means = {
        key: {name: float(np.mean([log[name] for log in found])) for name in METHODS}
        for key, found in logs.items()
    }
    pages = ["# Loss relative to the best single model, on queries not seen", "", __doc__ or "", ""]
    for regime in ("all", "30"):
        rows = [
            (pool, *(f"{np.exp(found[name]):.3f}" for name in METHODS))
            for (which, pool), found in means.items()
            if which == regime
        ]
        overall = {
            name: np.mean([found[name] for (which, _), found in means.items() if which == regime])
            for name in METHODS
        }
        rows.append(("mean", *(f"{np.exp(overall[name]):.3f}" for name in METHODS)))
        labels = "all labels (285 to 300)" if regime == "all" else "30 labels"
        pages += [f"## {labels}", "", table(("pool", *METHODS), rows), ""]
    pages.append(f"{num_draws} draws per pool; {time.perf_counter() - began:.0f} s.")
    content = {
        "versions": versions(),
        "ratios": [
            {"regime": regime, "pool": pool} | {name: float(np.exp(x)) for name, x in found.items()}
            for (regime, pool), found in means.items()
        ],
    }
    write("quality", content, "\n".join(pages))


if __name__ == "__main__":
    main()
