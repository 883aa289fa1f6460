"""The figures of giving up and of budgets, against the numbers that they show."""

import numpy as np
import pytest

from jaxcascade.economics import Limits, best_within, budget_hull, rejection_curve
from jaxcascade.errors import InvalidInputError
from jaxcascade.reports import rejection_figures
from jaxcascade.reports.style import drawing
from tests.economics.test_budgets import NAMES, made_outcome
from tests.economics.test_rejection import random_case


def test_curves_show_accuracy_and_joint_error_by_realised_rate():
    ledger, doubt = random_case(0, 8)
    curve = rejection_curve(ledger, "s", doubt)
    weight = np.random.default_rng(0).dirichlet(np.ones(60), 20)
    drawn = rejection_curve(ledger, "s", doubt, weight=weight)
    with drawing():
        figure = rejection_figures.accuracy_rejection({"s": curve}, {"s": drawn}).figure
        figure.draw_without_rendering()
    left, right = figure.axes
    for ax, values in ((left, curve.accuracy), (right, curve.error)):
        line = ax.get_lines()[0].get_xydata()
        np.testing.assert_allclose(line, np.stack([curve.realised, values], axis=1))
        (band,) = ax.collections
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.min() <= values.min()
        assert heights.max() >= values.max()
    plain = rejection_figures.accuracy_rejection({"s": curve})
    assert "Bands" not in plain.caption
    with pytest.raises(InvalidInputError, match="at least one rejection curve"):
        rejection_figures.accuracy_rejection({})


def test_the_hull_lies_below_all_systems_and_the_chosen_mixture_on_it():
    outcome = made_outcome(2)
    outcome = outcome._replace(cost_usd=outcome.cost_usd + 1e-4)
    hull = budget_hull(NAMES, outcome)
    middle = float(np.mean(hull.budget[:2]))
    chosen = best_within(NAMES, outcome, Limits(cost_usd=middle), "error")
    with drawing():
        figure = rejection_figures.error_budget(NAMES, outcome, hull, chosen).figure
        figure.draw_without_rendering()
    points, line, *corners = figure.axes[0].get_lines()
    assert len(corners) == len(hull.systems) + 2
    x, y = line.get_xydata().T
    cost, error = points.get_xydata().T
    inside = cost <= x[-1]
    assert np.all(error[inside] >= np.interp(cost[inside], x, y) - 1e-9)
    at, height = np.asarray(corners[-1].get_xydata())[0]
    assert at == pytest.approx(1000 * middle)
    assert height == pytest.approx(np.interp(at, x, y), abs=1e-4)
    with pytest.raises(InvalidInputError, match="`systems` must name 12 systems; got 2"):
        rejection_figures.error_budget(("a", "b"), outcome, hull)


def test_limits_on_cost_and_error_are_dashed_and_others_are_not_drawn():
    outcome = made_outcome(2)
    limits = Limits(cost_usd=0.004, error=0.5, abstention=0.9)
    with drawing():
        drawn = rejection_figures.error_budget(
            NAMES, outcome, budget_hull(NAMES, outcome), limits=limits
        )
    lines = drawn.figure.axes[0].get_lines()
    dashed = [line.get_xydata().tolist() for line in lines if line.get_linestyle() == "--"]
    assert dashed == [[[4.0, 0.0], [4.0, 1.0]], [[0.0, 0.5], [1.0, 0.5]]]
    assert "Dashed" in drawn.caption
