"""Budgets, drawn: every system by cost and error, the limits, and the mixture within them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from jaxcascade.cascade import Outcome
from jaxcascade.economics import Allocation, Limits, budget_hull
from jaxcascade.reports.material import Drawn
from jaxcascade.reports.style import INK, PALE, SHADE, dollar_axis, sheet

_QUERIES = 1000
_NUM_POINTS = 500


def within_limits(
    systems: tuple[str, ...], outcome: Outcome, limits: Limits, found: Allocation
) -> Drawn:
    """Systems by cost and error, with the best mixtures, the limits and the one that was found.

    Args:
        systems: Names.
        outcome: Means; one axis, the systems.
        limits: What the mixture had to keep.
        found: See `best_within`.
    """
    figure, ax = sheet(4.2)
    cost, error = _QUERIES * np.asarray(outcome.cost_usd), np.asarray(outcome.error)
    hull = budget_hull(systems, outcome)
    # Mixtures are straight in dollars, and bent on an axis of their logarithms.
    first, last = float(hull.budget[0]), float(hull.budget[-1])
    spent = np.unique(np.append(hull.budget, np.linspace(first, last, _NUM_POINTS)))
    ax.plot(_QUERIES * spent, hull.at(spent), color=SHADE, lw=1.0, zorder=1)
    ax.plot(cost, error, "o", color=PALE, mec=SHADE, ms=5, label="systems")
    used = [systems.index(name) for name in found.mixture.systems]
    ax.plot(cost[used], error[used], "o", color=INK, ms=6, label="used")
    at = _QUERIES * float(found.outcome.cost_usd), float(found.outcome.error)
    ax.plot(*at, "*", color=INK, ms=15, mec="white", zorder=5, label="the mixture")
    _draw_limits(ax, limits)
    dollar_axis(ax, cost)
    ax.margins(0.08)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="Cost of 1,000 queries", ylabel="Wrong answers")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Drawn(
        "What is within the limits",
        "Every policy and single model of the frontier; the line joins the best mixtures by cost "
        "and error alone. Dashed: limits on these two; others are not drawn.",
        figure,
    )


def _draw_limits(ax: Axes, limits: Limits) -> None:
    given = limits.given()
    if "cost_usd" in given:
        ax.axvline(_QUERIES * given["cost_usd"], color=INK, lw=0.9, ls="--")
    if "error" in given:
        ax.axhline(given["error"], color=INK, lw=0.9, ls="--")
