"""Does the built-in example look like the real thing? Its figures beside those of MMLU.

    python -m benchmarks.example

Both are fitted on their training queries and measured on their test queries.
"""

import itertools

import jax.numpy as jnp
import numpy as np
from scipy.stats import ks_2samp

from benchmarks.common import LLAMA, OTHERS, load, prepare_jax, table, versions, write
from benchmarks.paper import anchored, chain_of, rational
from jaxcascade.calibration import auroc, ece, reliability_curve
from jaxcascade.cascade import CascadeModel, fit_cascade, observations, transforms
from jaxcascade.numerics import kendall_tau
from jaxcascade.numerics.distance import cramer_von_mises
from jaxcascade.records import Records, example_records

_MODELS = LLAMA + OTHERS


def model_figures(model: CascadeModel, test: Records) -> dict[str, dict[str, float]]:
    """Accuracy, calibration and fit of each model on test queries."""
    arranged = test.select(model.models)
    confidence = model.calibrate(observations(arranged).log_confidence)
    _, levels = transforms(model.marginal, confidence)
    figures = {}
    for name in _MODELS:
        j = model.index(name)
        column, correct = confidence[:, j], jnp.asarray(arranged.correct[:, j])
        figures[name] = {
            "accuracy": float(correct.mean()),
            "auroc": float(auroc(column, correct)),
            "ece": float(ece(column, correct)),
            "distance": cramer_von_mises(np.asarray(column), np.asarray(levels[:, j])),
            "certain": float(np.mean(arranged.log_confidence[:, j] == 0)),
            "cost_usd": float(arranged.cost_usd[:, j].mean()),
        }
    return figures


def differences(example: Records, real: Records) -> dict[str, dict[str, float]]:
    """Largest gaps between the laws of confidence and between the reliability curves."""
    gaps = {}
    for name in _MODELS:
        mine, theirs = (r.confidence[:, r.models.index(name)] for r in (example, real))
        right, truth = (r.correct[:, r.models.index(name)] for r in (example, real))
        curves = [
            reliability_curve(jnp.asarray(c), jnp.asarray(y))
            for c, y in ((mine, right), (theirs, truth))
        ]
        gaps[name] = {
            "law": float(np.asarray(ks_2samp(mine, theirs))[0]),
            "reliability": float(np.mean(np.abs(curves[0].accuracy - curves[1].accuracy))),
        }
    return gaps


def areas(model: CascadeModel, test: Records) -> dict[str, float]:
    """Anchored area under the error-cost curve of every pair of Llama models."""
    found = {}
    for pair in itertools.combinations(LLAMA, 2):
        chain = model.select(pair)
        counted = chain_of(chain, test)
        found[" > ".join(pair)] = anchored(counted.follow(rational(counted)), counted)
    return found


def main() -> None:
    prepare_jax()
    train = {"example": example_records("train"), "mmlu": load("mmlu_train")}
    test = {"example": example_records("test"), "mmlu": load("mmlu_test")}
    models = {name: fit_cascade(records).model for name, records in train.items()}
    figures = {name: model_figures(models[name], test[name]) for name in train}
    gaps = differences(test["example"], test["mmlu"])
    curves = {name: areas(models[name], test[name]) for name in train}
    taus = [
        np.asarray(kendall_tau(jnp.asarray(np.maximum(r.select(_MODELS).log_confidence, -50.0))))
        for r in (test["example"], test["mmlu"])
    ]
    off = np.abs(taus[0] - taus[1])[np.triu_indices(len(_MODELS), 1)]
    rows = []
    for name in _MODELS:
        mine, real = figures["example"][name], figures["mmlu"][name]
        cells = [f"{mine[key]:.3f} / {real[key]:.3f}" for key in list(mine)[:5]]
        rows.append((name, *cells, f"{gaps[name]['law']:.3f}", f"{gaps[name]['reliability']:.3f}"))
    header = (
        "model", "accuracy", "AUROC", "ECE", "√CvM", "certain", "gap of laws", "gap of reliability",
    )  # fmt: skip
    pages = [
        "# The built-in example beside MMLU (example / real), test queries",
        "",
        table(header, rows),
        "",
        "The gap of laws is the largest difference of the distributions of raw confidence "
        "(Kolmogorov-Smirnov); that of reliability the mean difference of accuracy over tenths.",
        "",
        f"Kendall's tau of raw confidence differs by {off.mean():.3f} on average over the 36 pairs "
        f"and by {off.max():.3f} at most.",
        "",
        "Area under the error-cost curve, from always the first model to always both:",
        "",
        table(
            ("pair", "example", "real"),
            [
                (pair, f"{curves['example'][pair]:.3f}", f"{curves['mmlu'][pair]:.3f}")
                for pair in curves["mmlu"]
            ],
        ),
    ]
    content = {"versions": versions(), "models": figures, "gaps": gaps, "areas": curves}
    write("example", content, "\n".join(pages))


if __name__ == "__main__":
    main()
