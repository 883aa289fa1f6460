"""The figures of arXiv:2501.09345 on its own data: calibration, fit, area under the curve.

    python -m benchmarks.paper

Accuracy per model (table 1), expected calibration error, goodness of fit of the marginals
(table 5), and the area under the error-cost curve of the 26 cascades of the Llama models
(section 4.4) by Rational Tuning and by grid search.
"""

import itertools
import time
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from benchmarks.common import LLAMA, OTHERS, load, prepare_jax, table, versions, write
from jaxcascade.calibration import ece
from jaxcascade.cascade import CascadeModel, fit_cascade, observations, transforms
from jaxcascade.numerics.distance import cramer_von_mises
from jaxcascade.records import Records
from jaxcascade.tuning import GridSearch, rational_tuning

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
PAPER_AREA = {"mmlu": 0.288, "medmcqa": 0.381}
# The authors' code rerun, window from always the first model to always the last.
RERUN_ANCHORED = {"mmlu": 0.2680, "medmcqa": 0.3627}

# Costs in the paper are in dollars per million queries; lambda doubles from 1e-6 there.
LAMBDAS = 2.0 ** np.arange(20)


class Curve(NamedTuple):
    """Points of an error-cost curve on test queries."""

    cost: Float[np.ndarray, " p"]
    error: Float[np.ndarray, " p"]


class Chain(NamedTuple):
    """A chain's calibrated confidences and answers on some queries, and its mean costs."""

    confidence: Float[np.ndarray, "n k"]
    correct: Float[np.ndarray, "n k"]
    cost: Float[np.ndarray, " k"]


def chain_of(model: CascadeModel, records: Records) -> Chain:
    records = records.select(model.models)
    confidence = model.calibrate(observations(records).log_confidence)
    return Chain(np.asarray(confidence), records.correct, records.cost_usd.mean(axis=0))


def outcomes(chain: Chain, thresholds: Float[np.ndarray, "p j"]) -> Curve:
    """Replays threshold cascades; a query answered by model i costs the mean of 1 to i."""
    accepted = chain.confidence[None, :, :-1] > thresholds[:, None, :]
    last = np.ones((*accepted.shape[:2], 1), bool)
    answered = np.argmax(np.concatenate([accepted, last], axis=2), axis=2)
    cost = np.cumsum(chain.cost)[answered].mean(axis=1)
    correct = chain.correct[np.arange(chain.correct.shape[0]), answered]
    return Curve(cost, 1.0 - correct.mean(axis=1))


def grid_search(model: CascadeModel, records: Records) -> Float[np.ndarray, "p j"]:
    """Thresholds on the training Pareto front of all quantiles, every call at its model's mean."""
    data = observations(records.select(model.models))
    mean_cost = jnp.broadcast_to(data.cost_usd.mean(axis=0), data.cost_usd.shape)
    front = GridSearch().front(
        model, data._replace(cost_usd=mean_cost), jnp.ones(records.num_queries)
    )
    rules = [[policy.rules[name] for name in model.models[:-1]] for policy in front.policies]
    return np.array([[rule.breakpoints[0] for rule in row] for row in rules])


def area(curve: Curve, low: float, high: float) -> float:
    """Mean error of the cost-sorted polyline over a window of cost."""
    order = np.argsort(curve.cost, kind="stable")
    cost, error = curve.cost[order], curve.error[order]
    inside = np.unique(np.r_[low, cost[(cost > low) & (cost < high)], high])
    heights = np.interp(inside, cost, error)
    return float(np.trapezoid(heights, inside) / (high - low))


def anchored(curve: Curve, chain: Chain) -> float:
    """Area from the first model alone to always going on to the last, both appended."""
    ends = outcomes(
        chain, np.array([[-np.inf] * (chain.cost.size - 1), [np.inf] * (chain.cost.size - 1)])
    )
    whole = Curve(np.r_[curve.cost, ends.cost], np.r_[curve.error, ends.error])
    return area(whole, float(ends.cost[0]), float(ends.cost[1]))


def overlap(ours: Curve, rival: Curve) -> tuple[float, float]:
    """The paper's window: costs that both methods reach."""
    return (max(ours.cost.min(), rival.cost.min()), min(ours.cost.max(), rival.cost.max()))


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


def area_figures(name: str) -> list[dict]:
    """Both areas for Rational Tuning and grid search, per Llama cascade."""
    train, test = load(f"{name}_train", LLAMA), load(f"{name}_test", LLAMA)
    fitted = fit_cascade(train).model
    rows = []
    for k in range(2, len(LLAMA) + 1):
        for members in itertools.combinations(range(len(LLAMA)), k):
            model = fitted.select([LLAMA[i] for i in members])
            rows.append(
                {"benchmark": name, "cascade": "-".join(map(str, members)), "k": k}
                | _areas(model, train, chain_of(model, test))
            )
    return rows


def _areas(model: CascadeModel, train: Records, test: Chain) -> dict[str, float]:
    began = time.perf_counter()
    tuned = rational_tuning(model, LAMBDAS)
    middle = time.perf_counter()
    searched = grid_search(model, train)
    ended = time.perf_counter()
    ours, rival = outcomes(test, tuned.thresholds), outcomes(test, searched)
    window = overlap(ours, rival)
    return {
        "rt_area": area(ours, *window),
        "gs_area": area(rival, *window),
        "rt_anchored": anchored(ours, test),
        "gs_anchored": anchored(rival, test),
        "rt_s": middle - began,
        "gs_s": ended - middle,
        "num_lambdas": len(tuned.lambdas),
    }


def main() -> None:
    prepare_jax()
    fits = {name: fit_figures(name) for name in ("mmlu", "medmcqa")}
    areas = {name: area_figures(name) for name in ("mmlu", "medmcqa")}
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
    pages += ["Mean area under the error-cost curve of the 26 Llama cascades.", ""]
    rows = []
    for name, found in areas.items():
        mean = {key: np.mean([row[key] for row in found]) for key in found[0] if key[0] in "rg"}
        rows.append(
            (
                name,
                f"{mean['rt_area']:.4f}",
                f"{mean['gs_area']:.4f}",
                PAPER_AREA[name],
                f"{mean['rt_anchored']:.4f}",
                f"{mean['gs_anchored']:.4f}",
                f"{RERUN_ANCHORED[name]:.4f}",
                f"{mean['rt_s']:.3f}",
                f"{mean['gs_s']:.3f}",
            )
        )
    header = (
        "data",
        "tuning",
        "grid search",
        "published",
        "tuning, anchored",
        "grid search, anchored",
        "authors' code, anchored",
        "tuning s",
        "grid search s",
    )
    pages += [table(header, rows), "", "Per cascade (digits are the Llama models, by size):", ""]
    header = ("data", "cascade", "tuning", "grid search", "tuning, anchored", "grid, anchored")
    rows = [
        (
            row["benchmark"],
            row["cascade"],
            *(f"{row[key]:.4f}" for key in ("rt_area", "gs_area", "rt_anchored", "gs_anchored")),
        )
        for found in areas.values()
        for row in found
    ]
    pages += [table(header, rows)]
    content = {"versions": versions(), "fits": fits, "areas": areas}
    write("paper", content, "\n".join(pages))


if __name__ == "__main__":
    main()
