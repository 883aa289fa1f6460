"""Decision quality on queries not seen: loss relative to the best single model.

    python -m benchmarks.quality [--draws N] [--bayes]

Policies are tuned on a training part, everything is chosen there, and they are counted on other
queries, at 60 geometric prices of an error from a third of the first to three times the last
break-even price between single models. With all the labels of a table, and with 30.
"""

import argparse
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from benchmarks.common import LLAMA, OTHERS, load, prepare_jax, table, versions, write
from benchmarks.paper import Curve, area
from jaxcascade.cascade import (
    CascadeModel,
    Observations,
    Policy,
    PolicyArrays,
    Prices,
    fit_weighted,
    in_cost_order,
    observations,
    replayed_outcomes,
    stack_policies,
)
from jaxcascade.posterior import Laplace, bayes_frontier, infer_evidence
from jaxcascade.posterior.evidence import evidence_of, frame_of
from jaxcascade.records import Records
from jaxcascade.tuning import (
    BEST_OF_ALL,
    COUNTED_PAIRS,
    POOL,
    RATIONAL_TUNING,
    THRESHOLDS,
    Baseline,
    BayesianOptimisation,
    Chosen,
    Front,
    GridSearch,
    SingleMixtures,
    price_grid,
)
from jaxcascade.tuning.candidates import PAIRS, SINGLES, Method, Pool

DEFAULT = BEST_OF_ALL
METHODS: dict[str, Baseline] = {
    "default": Chosen(DEFAULT),
    "optimal stopping": Chosen(POOL),
    "best subcascade": Chosen(THRESHOLDS),
    "counted pairs": Chosen(COUNTED_PAIRS),
    "full chain, Rational Tuning": Chosen(RATIONAL_TUNING),
    "full chain, grid search": GridSearch(),
}
BAYES = "full chain, Bayesian optimisation"
# Single models and pairs by what is predicted alone: at the fitted parameters, at the posterior
# mean, and on average over the posterior.
PLUG_IN, MEAN, OPTIMAL = "pairs, plug-in", "pairs, posterior mean", "pairs, Bayes-optimal"
METHODS[PLUG_IN] = Chosen(
    Method(tuple(dataclasses.replace(s, prior_queries=np.inf) for s in (SINGLES, PAIRS)))
)
COMPETITORS = (
    *("counted pairs", "full chain, Rational Tuning", "full chain, grid search"),
    BAYES,
)
STEPS = "best single, unmixed"
IDEAL = "*ideal, in hindsight*"
# The slow ones are judged at a part of the prices, spread evenly.
EVERY = {BAYES: 5}
MOST_MODELS = {"full chain, grid search": 5}

_NUM_PRICES, _FEW = 60, 30
_NUM_POSTERIOR = 200
REGIMES = {"all": "all labels (285 to 300)", "30": "30 labels"}
# Six open and closed models in steps of price, none of them best at every price.
_PLAUT = ("Mistral", "Solar", "Yi-34b", "Mixtral", "gpt-3.5-turbo", "gpt-4-turbo")


class Task(NamedTuple):
    """A pool with the queries to tune on, marked by weights, and those to count on."""

    pool: str
    regime: str
    train: Records
    weights: list[Float[np.ndarray, " n"]]
    test: Records


class Score(NamedTuple):
    """A method on one training part.

    Attributes:
        loss: Mean log of its loss over that of the best single model, over prices.
        area: Log of its mean error over costs, over that of mixtures of single models.
    """

    loss: float
    area: float


def tasks(num_draws: int) -> Iterator[Task]:
    """Every pool, with all labels and with few."""
    for name in ("mmlu", "medmcqa"):
        for pool, models in (("Llama", LLAMA), ("others", OTHERS), ("nine", LLAMA + OTHERS)):
            train, test = (load(f"{name}_{half}", models) for half in ("train", "test"))
            train, test = _ordered(train, test)
            label = f"{name} {pool}"
            yield Task(label, "all", train, [np.ones(train.num_queries)], test)
            yield Task(label, "30", train, draws(train.num_queries, num_draws), test)
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


def draws(num_queries: int, num_draws: int, count: int = _FEW) -> list[Float[np.ndarray, " n"]]:
    """Weights that mark `count` queries each, at random."""
    marked = []
    for seed in range(num_draws):
        picked = np.random.default_rng(seed).permutation(num_queries)[:count]
        marked.append(np.isin(np.arange(num_queries), picked).astype(float))
    return marked


class Counter:
    """Counts policies on the queries of a task that were not tuned on."""

    def __init__(self, model: CascadeModel, test: Records):
        self.models = model.models
        self._test, self._everything = observations(test), jnp.ones(test.num_queries)
        self._confidence = model.calibrate(self._test.log_confidence)

    def __call__(self, policies: PolicyArrays) -> Curve:
        found = replayed_outcomes(policies, self._confidence, self._test, self._everything)
        return Curve(np.asarray(found.cost_usd), np.asarray(found.error))


def losses(curve: Curve, error_prices: Float[np.ndarray, "*c p"]) -> Float[np.ndarray, "*c p"]:
    """Dollars per query of policies, each at its prices."""
    return curve.cost + error_prices * curve.error


def in_hindsight(model: CascadeModel, prices: Prices, counter: Counter) -> Curve:
    """The default's candidate with the least loss on the test queries at every price."""
    pool, best = Pool(model), None
    error_prices = np.asarray(prices.error)
    for source in DEFAULT.sources:
        found = counter(source.make(pool, prices))
        columns = Curve(*(np.repeat(x[:, None], error_prices.size, axis=1) for x in found))
        if source.per_price:
            columns = Curve(*(x.reshape(-1, error_prices.size) for x in found))
        if best is not None:
            columns = Curve(*(np.vstack(parts) for parts in zip(best, columns, strict=True)))
        at = np.argmin(losses(columns, error_prices), axis=0)[None]
        best = Curve(*(np.take_along_axis(x, at, axis=0) for x in columns))
    assert best is not None
    return Curve(best.cost[0], best.error[0])


def by_posterior(
    model: CascadeModel,
    data: Observations,
    weight: Float[Array, " n"],
    prices: Prices,
    test: Records,
) -> dict[str, Curve]:
    """Policies chosen by the posterior mean and by the whole posterior, on the test queries."""
    frame = frame_of(model.models, model.calibrator, data, weight)
    evidence = evidence_of(frame, data, weight)
    method = Laplace(num_draws=_NUM_POSTERIOR)
    posterior = infer_evidence(jax.random.key(0), frame, evidence, method=method)
    mean = jax.tree.map(lambda leaf: leaf.mean(axis=0, keepdims=True), posterior.sites)
    seen = observations(test)
    confidence = frame.confidence(frame.signal(seen.log_confidence))
    curves = {}
    for name, draws in ((MEAN, dataclasses.replace(posterior, sites=mean)), (OPTIMAL, posterior)):
        policies = bayes_frontier(draws, prices).policies
        found = replayed_outcomes(policies, confidence, seen, jnp.ones(test.num_queries))
        curves[name] = Curve(np.asarray(found.cost_usd), np.asarray(found.error))
    return curves


class Singles(NamedTuple):
    """The single models on the training hull, by training cost, counted on other queries.

    Attributes:
        hull: Their policies and what they did in training.
        counted: The same models on the test queries.
        ends: Least and largest mean cost of any single model on the test queries.
    """

    hull: Front
    counted: Curve
    ends: tuple[float, float]

    def best(self, error_prices: Float[np.ndarray, " p"]) -> Curve:
        """The best single model in training at each price, on the test queries."""
        training = self.hull.cost_usd + error_prices[:, None] * self.hull.error
        at = np.argmin(training, axis=1)
        return Curve(*(x[at] for x in self.counted))

    def area_of(self, curve: Curve) -> float:
        """Mean error over costs of a method's policies, with the ends of the hull added.

        Neighbours by cost are mixed at random where a budget falls between them; a budget beyond
        the dearest policy is not used up.
        """
        cheapest, most_accurate = (Curve(*(x[at] for x in self.counted)) for at in (0, -1))
        parts = zip(curve, cheapest, most_accurate, strict=True)
        return area(Curve(*(np.r_[x] for x in parts)), *self.ends)

    @property
    def steps(self) -> float:
        """Mean error over costs of the best affordable single model."""
        widths = np.diff(np.r_[self.counted.cost, self.ends[1]])
        return float(self.counted.error @ widths / widths.sum())


def single_models(
    model: CascadeModel, data: Observations, weight: Float[Array, " n"], counter: Counter
) -> Singles:
    """The single models on the training hull."""
    hull = SingleMixtures().front(model, data, weight)
    every = counter(stack_policies([Policy.single(name) for name in model.models], model.models))
    on_hull = [model.index(policy.start) for policy in hull.policies]
    counted = Curve(*(x[on_hull] for x in every))
    return Singles(hull, counted, (float(every.cost.min()), float(every.cost.max())))


def scores(
    task: Task, weight: Float[np.ndarray, " n"], methods: Mapping[str, Baseline]
) -> dict[str, Score]:
    """Scores of every method, and of the best candidate in hindsight, for one training part."""
    data, weight_ = observations(task.train), jnp.asarray(weight)
    model = fit_weighted(data, weight_, task.train.models).model
    kept = weight > 0
    error = 1.0 - np.nanmean(task.train.correct[kept], axis=0)
    cost = np.nanmean(task.train.cost_usd[kept], axis=0)
    error_prices = price_grid(cost, error, _NUM_PRICES)
    counter = Counter(model, task.test)
    singles = single_models(model, data, weight_, counter)
    mixed = singles.area_of(singles.counted)

    def score(curve: Curve, at: Float[np.ndarray, " p"]) -> Score:
        ratio = losses(curve, at) / losses(singles.best(at), at)
        return Score(float(np.log(ratio).mean()), float(np.log(singles.area_of(curve) / mixed)))

    found = {STEPS: Score(0.0, float(np.log(singles.steps / mixed)))}
    for name, method in methods.items():
        if len(model.models) <= MOST_MODELS.get(name, len(model.models)):
            step = EVERY.get(name, 1)
            at = error_prices[step // 2 :: step]
            chosen = method.policies(model, data, weight_, Prices(at, 0.0, np.inf))
            found[name] = score(counter(stack_policies(chosen, model.models)), at)
    prices = Prices(error_prices, 0.0, np.inf)
    for name, curve in by_posterior(model, data, weight_, prices, task.test).items():
        found[name] = score(curve, error_prices)
    ideal = in_hindsight(model, Prices(error_prices, 0.0, np.inf), counter)
    return found | {IDEAL: score(ideal, error_prices)}


Found = dict[tuple[str, str], list[dict[str, Score]]]


def mean_of(found: Sequence[Mapping[str, Score]], name: str, what: str) -> float:
    """Geometric mean over training parts; NaN where a method was not run."""
    logs = [getattr(score[name], what) for score in found if name in score]
    return float(np.exp(np.mean(logs))) if logs else float("nan")


def mean_table(found: Found, regime: str, names: Sequence[str], what: str) -> str:
    """One row per pool, and the geometric means over pools."""
    pools = {pool: parts for (which, pool), parts in found.items() if which == regime}
    rows = {pool: [mean_of(parts, name, what) for name in names] for pool, parts in pools.items()}
    small = [row for row in rows.values() if not np.isnan(row).any()]
    means = {"mean": list(rows.values()), f"mean of the {len(small)} pools that all reach": small}
    rows |= {label: np.exp(np.mean(np.log(part), axis=0)).tolist() for label, part in means.items()}
    lines = [
        (pool, *("" if np.isnan(x) else f"{x:.3f}" for x in row)) for pool, row in rows.items()
    ]
    return table(("pool", *names), lines)


def misses(found: Found, regime: str, names: Sequence[str]) -> str:
    """Names the pools in which a competitor is ahead of the default."""
    behind = []
    for pool, parts in ((pool, parts) for (which, pool), parts in found.items() if which == regime):
        rivals = {"a single model": 1.0} | {
            name: mean_of(parts, name, "loss") for name in names if name in COMPETITORS
        }
        best = min(rivals, key=lambda name: np.nan_to_num(rivals[name], nan=np.inf))
        own = mean_of(parts, "default", "loss")
        # What is the same to three digits is no difference.
        if own > rivals[best] + 5e-4:
            behind.append(f"{pool} ({own:.3f}; {best}: {rivals[best]:.3f})")
    return f"Pools in which a competitor is ahead of the default: {'; '.join(behind) or 'none'}."


EXPLAINED = """
A figure of the first kind is the geometric mean, over prices and draws, of the loss relative to
the single model that is best in training: below 1 is a gain. At a fixed price a random mixture of
two single models is never better than one of the two, so mixtures have no column there.

The second kind does without prices. A method's policies, and with them the cheapest and the most
accurate single model in training, are points of (cost, error) on the test queries; neighbours are
mixed at random where a budget falls between them. A figure is the mean error over budgets from the
cheapest to the dearest single model's cost, relative to the same figure of the mixtures of two
single models, the convex hull chosen in training.

Grid search counts all thresholds at quantiles 2.5 % apart, 2.56 million candidates for five
models; six models would be 102 million and nine 6.6 million million, so those pools have none.
Bayesian optimisation, where it was run, has 50 trials at every fifth price and is judged at those
prices alone. Pairs by the plug-in, the posterior mean and the whole posterior are chosen by what is
predicted of them, counting nothing. The ideal is not a method: it takes, at every price, that of
the default's candidates which has the least loss on the very test queries.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=10, help="random training parts per pool")
    parser.add_argument("--bayes", action="store_true", help="with Bayesian optimisation; slow")
    given = parser.parse_args()
    prepare_jax()
    began = time.perf_counter()
    methods = METHODS | ({BAYES: BayesianOptimisation(seed=0)} if given.bayes else {})
    found: Found = {}
    for task in tasks(given.draws):
        for weight in task.weights:
            parts = found.setdefault((task.regime, task.pool), [])
            parts.append(scores(task, weight, methods))
    names = [*methods, MEAN, OPTIMAL, IDEAL]
    pages = ["# Decision quality on queries not seen", *(__doc__ or "").splitlines()[1:]]
    pages += [*EXPLAINED.splitlines(), ""]
    for regime, label in REGIMES.items():
        pages += [f"## {label[0].upper()}{label[1:]}", "", "Loss over the best single model's:", ""]
        pages += [mean_table(found, regime, names, "loss"), "", misses(found, regime, names), ""]
        pages += ["Mean error over budgets, over that of mixtures of two single models:", ""]
        pages += [mean_table(found, regime, [STEPS, *names], "area"), ""]
    told = f"{given.draws} draws per pool; {time.perf_counter() - began:.0f} s."
    content = {
        "versions": versions(),
        "figures": [
            {
                "regime": regime,
                "pool": pool,
                "method": name,
                "loss_ratio": [float(np.exp(part[name].loss)) for part in parts if name in part],
                "area_ratio": [float(np.exp(part[name].area)) for part in parts if name in part],
            }
            for (regime, pool), parts in found.items()
            for name in [STEPS, *names]
        ],
    }
    write("quality", content, "\n".join([*pages, told]))


if __name__ == "__main__":
    main()
