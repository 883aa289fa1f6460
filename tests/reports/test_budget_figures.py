"""The figure of budgets, against the numbers that it shows."""

import numpy as np

from jaxcascade.cascade import Outcome
from jaxcascade.economics import Limits, best_within
from jaxcascade.reports.budget_figures import within_limits
from jaxcascade.reports.style import drawing

SYSTEMS = ("small", "middle", "big", "worse")
COST, ERROR = np.array([0.001, 0.002, 0.009, 0.005]), np.array([0.4, 0.2, 0.1, 0.3])
OUTCOME = Outcome(ERROR, 0 * ERROR, COST, 0 * ERROR, np.ones((4, 1)))


def test_the_mixture_lies_on_the_line_and_on_its_limit():
    limits = Limits(error=0.15)
    found = best_within(SYSTEMS, OUTCOME, limits)
    with drawing():
        (ax,) = within_limits(SYSTEMS, OUTCOME, limits, found).figure.axes
    hull, systems, used, mixture, limit = ax.get_lines()
    np.testing.assert_allclose(systems.get_xydata(), np.column_stack([1000 * COST, ERROR]))
    np.testing.assert_allclose(used.get_xydata(), [[2.0, 0.2], [9.0, 0.1]])
    # Half way between the two in error is half way in cost.
    np.testing.assert_allclose(mixture.get_xydata(), [[5.5, 0.15]])
    assert list(limit.get_ydata()) == [0.15, 0.15]
    # Straight in dollars, whatever the scale of the axis: the line passes through the mixture.
    x, y = hull.get_xydata().T
    assert np.interp(5.5, x, y) == np.float64(0.15)
    np.testing.assert_allclose(y, np.interp(x, 1000 * COST[:3], ERROR[:3]))
    assert len(x) > 50


def test_a_limit_on_cost_is_upright_and_others_are_not_drawn():
    limits = Limits(cost_usd=0.004, abstention=0.1)
    with drawing():
        found = best_within(SYSTEMS, OUTCOME, limits, "error")
        (ax,) = within_limits(SYSTEMS, OUTCOME, limits, found).figure.axes
    dashed = [line for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert [list(line.get_xdata()) for line in dashed] == [[4.0, 4.0]]
