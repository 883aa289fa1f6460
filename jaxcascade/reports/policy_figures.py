"""The figures about policies: from a frontier to what is drawn."""

from collections.abc import Sequence

import jax
import numpy as np
from matplotlib.patches import Patch

from jaxcascade.cascade import Prices, loss
from jaxcascade.reports import figures
from jaxcascade.reports.material import Drawn, Material
from jaxcascade.reports.placing import note
from jaxcascade.reports.style import SHADE, Mark, panels, sheet
from jaxcascade.reports.tables import held_out_gains, judged_gains


def error_cost(material: Material, look: Sequence[Mark]) -> Drawn:
    """Error against cost of the recommended policies and of single models."""
    points, evaluation = material.frontier.points, material.evaluation
    curves = [
        figures.Curve(
            label,
            np.array([float(getattr(point, name).cost_usd) for point in points]),
            np.array([float(getattr(point, name).error) for point in points]),
        )
        for name, label in (("expected", "expected by the model"), ("training", "training"))
    ]
    singles = [[row.cost_usd for row in material.rows], [1 - row.accuracy for row in material.rows]]
    if evaluation is not None:
        outcome, single = evaluation.outcome, evaluation.singles
        curves.append(
            figures.Curve("test", np.asarray(outcome.cost_usd), np.asarray(outcome.error))
        )
        singles = [np.asarray(single.cost_usd), np.asarray(single.error)]
    can_give_up = any(point.training.abstention > 0 for point in points)
    gives_up = "; a query given up is not wrong here, and free" if can_give_up else ""
    figure, ax = sheet(4.6)
    figures.error_cost(
        ax, curves, (np.asarray(singles[0]), np.asarray(singles[1])), look, material.frontier.bands
    )
    return Drawn(
        "Error and cost",
        "The recommended policies over all prices of an error, and every model on its own. "
        f"Lower and further left is better{gives_up}.",
        figure,
    )


def policy_map(material: Material, look: Sequence[Mark]) -> Drawn:
    """What follows each model's answer, by price of an error."""
    frontier = material.frontier
    colour_of = {name: mark.colour for name, mark in zip(frontier.models, look, strict=True)}
    rules = [
        [point.policy.rules.get(name) for point in frontier.points] for name in frontier.models
    ]
    shown = [j for j, column in enumerate(rules) if any(r and r.breakpoints for r in column)]
    title = "What follows each model's answer"
    if not shown:
        figure, ax = sheet(1.2)
        note(ax, "no policy has a threshold: one model answers every query")
        ax.set_axis_off()
        return Drawn(title, "Thresholds by price of an error.", figure)
    figure, axes = panels(len(shown), 2.6, most=3, fewest=2)
    for ax, j in zip(axes, shown, strict=True):
        figures.policy_map(ax, material.edges, rules[j], colour_of)
        ax.set_title(look[j].label)
    figure.supxlabel("Price of an error", fontsize=9)
    figure.supylabel("Calibrated confidence", fontsize=9)
    actions = {a for j in shown for rule in rules[j] if rule for a in rule.actions}
    figure.legend(
        handles=_action_key(actions, frontier.models, look),
        loc="outside upper left",
        ncols=4,
    )
    return Drawn(
        title,
        "The thresholds of each model (lines) by price of an error. The colour says what is done "
        "with an answer of that confidence; hatched where the model is not asked.",
        figure,
    )


def _action_key(actions: set[str], models: Sequence[str], look: Sequence[Mark]) -> list[Patch]:
    key = []
    if "accept" in actions:
        key.append(Patch(**figures.ACCEPT, ec=SHADE, lw=0.5, label="accept"))
    for name, mark in zip(models, look, strict=True):
        if name in actions:
            key.append(Patch(facecolor=mark.colour, label=f"ask {mark.label}"))
    if "abstain" in actions:
        key.append(Patch(**figures.ABSTAIN, lw=0.5, label="abstain"))
    return key


def answer_shares(material: Material, look: Sequence[Mark]) -> Drawn:
    """Which model's answers are accepted, by price of an error."""
    if material.evaluation is not None:
        outcome, where = material.evaluation.outcome, "test"
    else:
        counted = [point.training for point in material.frontier.points]
        outcome, where = jax.tree.map(lambda *leaves: np.stack(leaves), *counted), "training"
    figure, ax = sheet(3.4)
    figures.answer_shares(
        ax, material.edges, np.asarray(outcome.answered_by), np.asarray(outcome.abstention), look
    )
    return Drawn(
        "Who answers",
        f"Share of {where} queries whose accepted answer is each model's, by price of an error.",
        figure,
    )


def saving(material: Material, _: Sequence[Mark]) -> Drawn:
    """Saving over the best single model, by price of an error."""
    frontier, evaluation = material.frontier, material.evaluation
    held_out = held_out_gains(frontier)
    test = None if evaluation is None else judged_gains(frontier, evaluation)
    figure, ax = sheet(3.4)
    figures.saving(ax, frontier.error_prices, held_out, test)
    return Drawn(
        "Saving over the best single model",
        "Share of the best single model's loss that the recommendation saves, by price of an "
        "error, with intervals of 1.96 standard errors. The single model is chosen on the same "
        "training queries as the policy.",
        figure,
    )


def loss_bands(material: Material, _: Sequence[Mark]) -> Drawn:
    """How sure the posterior is of the recommended policies' loss."""
    frontier, evaluation = material.frontier, material.evaluation
    assert frontier.bands is not None
    prices = Prices(*map(np.array, zip(*(point.prices for point in frontier.points), strict=True)))
    training = jax.tree.map(
        lambda *leaves: np.stack(leaves), *(point.training for point in frontier.points)
    )
    counted = [("training", np.asarray(loss(training, prices)))]
    if evaluation is not None:
        counted.append(("test", evaluation.loss))
    figure, ax = sheet(3.4)
    figures.loss_bands(ax, frontier.error_prices, frontier.bands, counted)
    return Drawn(
        "How sure the loss is",
        "Loss of the recommended policies by price of an error, relative to its posterior median: "
        "what the joint model's posterior holds probable, and what was counted. Counts have noise "
        "of their own.",
        figure,
    )
