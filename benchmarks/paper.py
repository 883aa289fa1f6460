"""The figures of arXiv:2501.09345 on its own data: calibration, fit, area under the curve.

    python -m benchmarks.paper [--draws N]

Accuracy per model (table 1), expected calibration error, goodness of fit of the marginals
(table 5), and the area under the error-cost curve of the 26 cascades of the Llama models
(section 4.4) by Rational Tuning, by grid search and by the default method, with all training
queries and with 30 of them.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from benchmarks.common import LLAMA, OTHERS, load, prepare_jax, table, versions, write
from jaxcascade.calibration import ece
from jaxcascade.cascade import (
    CascadeModel,
    Observations,
    Policy,
    PolicyArrays,
    Prices,
    fit_cascade,
    fit_weighted,
    in_cost_order,
    observations,
    replayed_outcomes,
    stack_policies,
    transforms,
)
from jaxcascade.numerics.distance import cramer_von_mises
from jaxcascade.records import Records
from jaxcascade.tuning import BEST_OF_ALL, Chosen, GridSearch, rational_tuning

# Printed in arXiv:2501.09345: table 1, section 4.2 and table 5, and the means of section 4.4.
PAPER_ACCURACY = dict(
    zip((*LLAMA, *OTHERS), (42.5, 57.2, 63.4, 81.5, 85.2, 74.9, 75.3, 82.0, 83.6), strict=True)
)
PAPER_ECE = dict(zip((*LLAMA, *OTHERS), (3.8, 4.0, 4.1, 2.4, 2.9, 4.7, 5.3, 4.9, 4.8), strict=True))
PAPER_DISTANCE = dict(
    zip(
        (*LLAMA, *OTHERS),
        (0.031, 0.014, 0.016, 0.048, 0.024, 0.032, 0.036, 0.028, 0.029),
        strict=True,
    )
)
# Means over the 26 cascades by training size, in the paper's window. Ours draws 30 queries; the
# paper says no more than n <= 30.
PAPER_AREA = {
    ("mmlu", "all"): {"rational": 0.288, "grid": 0.288, "Bayes": 0.294},
    ("mmlu", "30"): {"rational": 0.293, "grid": 0.308, "Bayes": 0.316},
    ("medmcqa", "all"): {"rational": 0.381, "grid": 0.384, "Bayes": 0.389},
    ("medmcqa", "30"): {"rational": 0.399, "grid": 0.416, "Bayes": 0.419},
}
# The authors' code rerun, window from always the first model to always the last.
RERUN_ANCHORED = {
    ("mmlu", "all"): {"rational": 0.2680, "grid": 0.2681},
    ("medmcqa", "all"): {"rational": 0.3627, "grid": 0.3643},
}
SIZES = {("mmlu", "all"): "285", ("medmcqa", "all"): "300"}

Window = tuple[float, float]

# Costs in the paper are in dollars per million queries; lambda doubles from 1e-6 there.
LAMBDAS = 2.0 ** np.arange(20)
# The default has no points filled in, so its lambdas are closer.
CLOSE_LAMBDAS = 2.0 ** np.arange(0.0, 19.25, 0.25)


class Curve(NamedTuple):
    """Points of an error-cost curve on test queries."""

    cost: Float[np.ndarray, " p"]
    error: Float[np.ndarray, " p"]


class Chain(NamedTuple):
    """A chain's runs on some queries, every call at its model's mean cost there."""

    model: CascadeModel
    data: Observations
    weight: Float[Array, " n"]

    def follow(self, policies: Sequence[Policy]) -> Curve:
        """Replays policies; a query costs the means of the models that it was put to."""
        confidence = self.model.calibrate(self.data.log_confidence)
        arrays = stack_policies(policies, self.model.models)
        # Padded to a multiple of 32: few shapes, few compilations.
        count = len(policies)
        spare = -count % 32
        arrays = PolicyArrays(*(np.concatenate([x, np.repeat(x[:1], spare, 0)]) for x in arrays))
        found = replayed_outcomes(arrays, confidence, self.data, self.weight)
        return Curve(np.asarray(found.cost_usd)[:count], np.asarray(found.error)[:count])


def chain_of(
    model: CascadeModel, records: Records, weight: Float[Array, " n"] | None = None
) -> Chain:
    data = observations(records.select(model.models))
    weight = jnp.ones(records.num_queries) if weight is None else weight
    mean_cost = weight @ data.cost_usd / weight.sum()
    cost = jnp.broadcast_to(mean_cost, data.cost_usd.shape)
    return Chain(model, data._replace(cost_usd=cost), weight)


def rational(train: Chain) -> list[Policy]:
    """Rational Tuning, points filled in."""
    tuned = rational_tuning(train.model, LAMBDAS)
    return [Policy.threshold_cascade(train.model.models, row) for row in tuned.thresholds]


def grid(train: Chain) -> list[Policy]:
    """The training Pareto front of all quantiles."""
    return list(GridSearch().front(*train).policies)


def default(train: Chain) -> list[Policy]:
    """The default method, free to use any of the cascade's models."""
    prices = Prices(np.sort(1.0 / CLOSE_LAMBDAS), 0.0, np.inf)
    return list(Chosen(BEST_OF_ALL).policies(*train, prices))


METHODS: dict[str, Callable[[Chain], list[Policy]]] = {
    "rational": rational,
    "grid": grid,
    "default": default,
}


def area(curve: Curve, low: float, high: float) -> float:
    """Mean error of the cost-sorted polyline over a window of cost."""
    order = np.argsort(curve.cost, kind="stable")
    cost, error = curve.cost[order], curve.error[order]
    inside = np.unique(np.r_[low, cost[(cost > low) & (cost < high)], high])
    heights = np.interp(inside, cost, error)
    return float(np.trapezoid(heights, inside) / (high - low))


def with_ends(curve: Curve, test: Chain) -> Curve:
    """Appends the first model alone, and always going on to the last."""
    models = test.model.models
    ends = [Policy.threshold_cascade(models, [x] * (len(models) - 1)) for x in (-np.inf, np.inf)]
    return Curve(*(np.r_[x, y] for x, y in zip(curve, test.follow(ends), strict=True)))


def anchored(curve: Curve, test: Chain) -> float:
    """Area from the first model alone to always going on to the last, both appended."""
    whole = with_ends(curve, test)
    return area(whole, *anchors(whole))


def anchors(whole: Curve) -> Window:
    """Costs of the ends that `with_ends` appended."""
    return float(whole.cost[-2]), float(whole.cost[-1])


def overlap(ours: Curve, rival: Curve) -> Window:
    """The paper's window: costs that both methods reach."""
    return (max(ours.cost.min(), rival.cost.min()), min(ours.cost.max(), rival.cost.max()))


def draws(num_queries: int, num_draws: int, count: int = 30) -> list[Float[np.ndarray, " n"]]:
    """Weights that mark `count` of the queries at random."""
    marked = []
    for seed in range(num_draws):
        picked = np.random.default_rng(seed).permutation(num_queries)[:count]
        marked.append(np.isin(np.arange(num_queries), picked).astype(float))
    return marked


def fit_figures(name: str) -> list[dict]:
    """Accuracy, calibration error and goodness of fit per model on the test queries."""
    train, test = load(f"{name}_train"), load(f"{name}_test")
    model = fit_cascade(train).model
    test = test.select(model.models)
    confidence = model.calibrate(observations(test).log_confidence)
    _, levels = transforms(model.marginal, confidence)
    rows = []
    for model_name in (*LLAMA, *OTHERS):
        j = model.index(model_name)
        column, correct = confidence[:, j], jnp.asarray(test.correct[:, j])
        rows.append(
            {
                "model": model_name,
                "accuracy": 100 * float(correct.mean()),
                "ece": 100 * float(ece(column, correct)),
                "distance": cramer_von_mises(np.asarray(column), np.asarray(levels[:, j])),
            }
        )
    return rows


def area_figures(name: str, num_draws: int) -> list[dict]:
    """Areas of every method, per Llama cascade and training part."""
    train, test = load(f"{name}_train", LLAMA), load(f"{name}_test", LLAMA)
    train = in_cost_order(train)
    everything = np.ones(train.num_queries)
    parts = {"all": [everything], "30": draws(train.num_queries, num_draws)}
    chains = [c for k in range(2, 6) for c in itertools.combinations(range(len(LLAMA)), k)]
    windows: dict[tuple[int, ...], Window] = {}
    rows = []
    for size, weights in parts.items():
        for weight in map(jnp.asarray, weights):
            fitted = fit_weighted(observations(train), weight, train.models).model
            for members in chains:
                model = fitted.select([LLAMA[i] for i in members])
                seen, counted = chain_of(model, train, weight), chain_of(model, test)
                curves = {method: counted.follow(tune(seen)) for method, tune in METHODS.items()}
                window = overlap(curves["rational"], curves["grid"])
                whole = {method: with_ends(curve, counted) for method, curve in curves.items()}
                label = "-".join(map(str, members))
                rows.append(
                    {"benchmark": name, "size": size, "cascade": label, "k": len(members)}
                    | areas(whole, "anchored", anchors(whole["default"]))
                    | areas(whole, "moving", window)
                    | areas(whole, "held", windows.setdefault(members, window))
                )
    return rows


def areas(curves: Mapping[str, Curve], label: str, window: Window) -> dict[str, float]:
    """Areas of all methods in one window; none where it is empty."""
    if window[0] >= window[1]:
        return {}
    return {f"{name}_{label}": area(curve, *window) for name, curve in curves.items()}


def averaged(found: Sequence[dict]) -> Iterator[dict]:
    """One row per cascade and size, figures averaged over draws that have them."""
    labels = ("benchmark", "size", "cascade", "k")
    for key in dict.fromkeys(tuple(row[label] for label in labels) for row in found):
        rows = [row for row in found if tuple(row[label] for label in labels) == key]
        names = dict.fromkeys(name for row in rows for name in row if name not in labels)
        yield dict(zip(labels, key, strict=True)) | {
            name: float(np.mean([row[name] for row in rows if name in row])) for name in names
        }


def area_pages(found: Sequence[dict], num_draws: int) -> list[str]:
    """Means over the cascades in each window, then each cascade."""
    ours = ("tuning", "grid search", "default")

    def means(rows: Sequence[dict], label: str) -> list[str]:
        keys = [f"{method}_{label}" for method in METHODS]
        return [f"{np.mean([row[key] for row in rows if key in row]):.4f}" for key in keys]

    moving, fixed, each = [], [], []
    for (name, size), published in PAPER_AREA.items():
        rows = [row for row in found if (row["benchmark"], row["size"]) == (name, size)]
        queries = SIZES.get((name, size), size)
        told = [f"{published[method]:.3f}" for method in ("rational", "grid", "Bayes")]
        moving.append((name, queries, *means(rows, "moving"), *told))
        if size != "all":
            label = f"{queries}, windows held"
            moving.append((name, label, *means(rows, "held"), *told))
        rerun = RERUN_ANCHORED.get((name, size), {})
        cells = [f"{rerun[key]:.4f}" if key in rerun else "" for key in ("rational", "grid")]
        fixed.append((name, queries, *means(rows, "anchored"), *cells))
        for cascade in dict.fromkeys(row["cascade"] for row in rows):
            part = [row for row in rows if row["cascade"] == cascade]
            cells = [*means(part, "held"), *means(part, "anchored")]
            each.append((name, queries, cascade, *cells))
    empty = sum("rational_moving" not in row for row in found)
    return [
        "## Area under the error-cost curve",
        "",
        f"Mean over the 26 Llama cascades, and over {num_draws} draws of 30 training queries. A "
        "query costs the mean test costs of the models that it was put to. The default is that of "
        "`tune`: it may leave out models of the cascade.",
        "",
        "In the paper's window, the costs that Rational Tuning (tuning) and grid search both "
        "reach. It moves with the two: with 30 queries they often reach little but low costs, "
        f"where errors are many, and in {empty} cascades and draws no common cost at all; those "
        "are left out. The rows with windows held take those of the same cascade with all "
        "queries. Ends are appended where a method does not reach.",
        "",
        table(("data", "queries", *ours, *(f"paper: {x}" for x in (*ours[:2], "Bayes"))), moving),
        "",
        "Anchored: from the first model alone to always going on to the last, both appended to "
        "every method.",
        "",
        table(
            (
                *("data", "queries", *ours),
                *("authors' code: tuning", "authors' code: grid search"),
            ),
            fixed,
        ),
        "",
        "Per cascade (digits are the Llama models, by size), windows held, then anchored:",
        "",
        table(("data", "queries", "cascade", *ours, *(f"{name}, anchored" for name in ours)), each),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=10, help="training parts of 30 queries")
    given = parser.parse_args()
    prepare_jax()
    fits = {name: fit_figures(name) for name in ("mmlu", "medmcqa")}
    found = [row for name in ("mmlu", "medmcqa") for row in area_figures(name, given.draws)]
    pages = ["# Figures of arXiv:2501.09345 on its own data", ""]
    rows = [
        (
            row["model"],
            f"{row['accuracy']:.1f}",
            PAPER_ACCURACY[row["model"]],
            f"{row['ece']:.1f}",
            PAPER_ECE[row["model"]],
            f"{row['distance']:.3f}",
            f"{PAPER_DISTANCE[row['model']]:.3f}",
        )
        for row in fits["mmlu"]
    ]
    header = ("model", "accuracy %", "paper", "ECE %", "paper", "√CvM", "paper")
    pages += ["MMLU, 1,531 test queries.", "", table(header, rows), ""]
    rows = [
        (row["model"], f"{row['accuracy']:.1f}", f"{row['ece']:.1f}", f"{row['distance']:.3f}")
        for row in fits["medmcqa"]
    ]
    pages += [
        "MedMCQA, 1,000 test queries.",
        "",
        table(("model", "accuracy %", "ECE %", "√CvM"), rows),
        "",
    ]
    pages += area_pages(found, given.draws)
    content = {"versions": versions(), "fits": fits, "areas": list(averaged(found))}
    write("paper", content, "\n".join(pages))


if __name__ == "__main__":
    main()
