"""The figures about models and how they depend on each other: from records to what is drawn."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxcascade.calibration import reliability_curve
from jaxcascade.cascade import CascadeModel, transforms
from jaxcascade.numerics import kendall_tau
from jaxcascade.reports import figures
from jaxcascade.reports.material import Drawn, Material
from jaxcascade.reports.placing import note
from jaxcascade.reports.style import Mark, panels, sheet

_MOST_POINTS = 2000
_GRID_SIZE = 200


def reliability(material: Material, look: Sequence[Mark]) -> Drawn:
    """Calibrated confidence against accuracy, model by model."""
    records, shown = material.records, material.recorded
    figure, axes = panels(len(shown), 2.4)
    for ax, j in zip(axes, shown, strict=True):
        known = records.asked[:, j] & records.labelled[:, j]
        if not known.any():
            ax.set_title(look[j].label)
            note(ax, "no labels")
            continue
        curve = reliability_curve(
            jnp.asarray(material.confidence[known, j]), jnp.asarray(records.correct[known, j])
        )
        figures.reliability(ax, curve, material.rows[j].ece, look[j])
    figure.supxlabel("Calibrated confidence", fontsize=9)
    figure.supylabel("Accuracy", fontsize=9)
    return Drawn(
        "Reliability",
        "Accuracy against calibrated confidence in tenths of the queries, with 95% intervals. "
        "On the line, a confidence means what it says.",
        figure,
    )


def marginals(material: Material, look: Sequence[Mark]) -> Drawn:
    """Distribution of confidence, recorded and fitted; needs a fitted model."""
    assert material.model is not None
    shown = material.recorded
    figure, axes = panels(len(shown), 2.2, share=False)
    for ax, j in zip(axes, shown, strict=True):
        figures.marginal(ax, _law(material.model, material, j), look[j])
    figure.supxlabel("Calibrated confidence", fontsize=9)
    return Drawn(
        "Distribution of confidence",
        "Histogram of the records, fitted density (line), and fitted probability of exactly the "
        "lowest and the highest confidence (stems, where at least 2%) beside the share seen "
        "there. Heights are densities, on a scale of their own in each plot.",
        figure,
    )


def _law(model: CascadeModel, material: Material, column: int) -> figures.Law:
    marginal = jax.tree.map(
        lambda leaf: leaf[model.index(material.frontier.models[column])], model.marginal
    )
    low, high = float(marginal.low), float(marginal.high)
    grid = low + (high - low) * (np.arange(_GRID_SIZE) + 0.5) / _GRID_SIZE
    density = np.zeros(_GRID_SIZE)
    if high > low and marginal.interior_mass > 0:
        density = np.exp(np.asarray(marginal.log_prob(jnp.asarray(grid))))
    confidence = material.confidence[:, column]
    atoms = (float(marginal.atom_low), float(marginal.atom_high))
    return figures.Law(confidence[~np.isnan(confidence)], (low, high), atoms, grid, density)


def copula_scatters(material: Material, look: Sequence[Mark]) -> Drawn:
    """Confidences of models next to each other in cost."""
    shown = material.recorded
    pairs = list(pairwise(shown))
    left, right = _probabilities(material)
    rng = np.random.default_rng(0)
    position = left + rng.uniform(size=left.shape) * (right - left)
    tau = rank_correlation(material)
    figure, axes = panels(len(pairs), 2.45, most=4, share=False)
    for ax, (i, j) in zip(axes, pairs, strict=True):
        both = np.flatnonzero(material.records.asked[:, [i, j]].all(axis=1))[:_MOST_POINTS]
        fitted = None if material.model is None else _fitted_tau(material, i, j)
        pair = figures.Scatter(position[both, i], position[both, j], fitted, tau[i, j])
        figures.copula_scatter(ax, pair, look[i], look[j])
    return Drawn(
        "Dependence between neighbours",
        "Confidences of models next to each other in cost, each as its probability under its own "
        "distribution; point masses are spread at random, rows of points are other ties. Points "
        "near the rising diagonal: both models are sure of the same queries.",
        figure,
    )


def _probabilities(material: Material) -> tuple[np.ndarray, np.ndarray]:
    """Probability of less than, and of at most, each confidence; NaN where there is none."""
    if material.model is not None:
        law = material.model.select(material.frontier.models).marginal
        left, right = eqx.filter_jit(transforms)(law, jnp.asarray(material.confidence))
        return np.asarray(left), np.asarray(right)
    ends = [empirical(column) for column in material.confidence.T]
    left, right = (np.stack(side, axis=1) for side in zip(*ends, strict=True))
    return left, right


def empirical(column: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Share of known values below, and at most, each value of a column."""
    known = np.sort(column[~np.isnan(column)])
    search = partial(np.searchsorted, known, column)
    count = max(known.size, 1)
    return search(side="left") / count, search(side="right") / count


def _fitted_tau(material: Material, i: int, j: int) -> float:
    assert material.model is not None
    at = [material.model.index(material.frontier.models[column]) for column in (i, j)]
    return float(np.asarray(material.model.copula.tau)[at[0], at[1]])


def rank_correlation(material: Material) -> Float[np.ndarray, "k k"]:
    """Kendall's tau between recorded confidences, on a spread of queries where there are many."""
    records = material.records
    rows = np.linspace(0, records.num_queries - 1, min(records.num_queries, _MOST_POINTS))
    chosen = rows.round().astype(int)
    # Ranks, because a recorded confidence of 0 has an infinite logarithm.
    columns = [np.unique(x, return_inverse=True)[1] for x in records.log_confidence[chosen].T]
    asked = jnp.asarray(records.asked[chosen], float)
    return np.asarray(kendall_tau(jnp.asarray(np.stack(columns, axis=1), float), asked))


def tau_matrix(material: Material, look: Sequence[Mark]) -> Drawn:
    """Rank correlation of all models."""
    shown = material.recorded
    tau = rank_correlation(material)[np.ix_(shown, shown)]
    figure, ax = sheet(1.2 + 0.42 * len(shown))
    figures.tau_matrix(ax, tau, [look[j] for j in shown])
    return Drawn(
        "Kendall's τ between confidences",
        "Rank correlation of recorded confidences. High values: the models are sure of the same "
        "queries, so the second adds little where the first is in doubt.",
        figure,
    )
