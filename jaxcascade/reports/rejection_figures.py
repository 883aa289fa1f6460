"""What giving up and what a budget bring, drawn: accuracy by rejection, error by budget."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from jaxcascade.cascade import Outcome
from jaxcascade.economics import Allocation, Hull, Limits, RejectionCurve
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import pointwise_band
from jaxcascade.reports.material import Drawn
from jaxcascade.reports.style import (
    COLOURS,
    INK,
    PALE,
    SHADE,
    dollar_axis,
    panels,
    sheet,
    short_label,
)

_QUERIES = 1000
_LEVEL = 0.9


def accuracy_rejection(
    curves: Mapping[str, RejectionCurve], draws: Mapping[str, RejectionCurve] | None = None
) -> Drawn:
    """Accuracy of what is still answered, and the joint error, by the share that is given up.

    Args:
        curves: By name of the system, see `rejection_curve`.
        draws: The same under weights of the bootstrap; for bands.

    Raises:
        InvalidInputError: There is no curve.
    """
    if not curves:
        raise InvalidInputError("`curves` must hold at least one rejection curve; it is empty.")
    figure, (left, right) = panels(2, 3.4, most=2, fewest=2, share=False)
    for (name, curve), colour in zip(curves.items(), _colours(len(curves)), strict=True):
        drawn = None if draws is None else draws.get(name)
        for ax, member in ((left, "accuracy"), (right, "error")):
            if drawn is not None:
                # What is undefined under the records' own weights has no band either.
                known = ~np.isnan(curve.accuracy)
                band = pointwise_band(getattr(drawn, member)[:, known], _LEVEL)
                x = curve.realised[known]
                ax.fill_between(x, band.low, band.high, color=colour, alpha=0.18, lw=0)
            x, y = curve.realised, getattr(curve, member)
            ax.plot(x, y, c=colour, lw=1.4, label=short_label(name))
    for ax, label in ((left, "Right, of answered queries"), (right, "Wrong, of all queries")):
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set(xlabel="Queries given up", ylabel=label)
    left.legend(loc="best")
    bands = f" Bands hold {_LEVEL:.0%} of the bootstrap's draws." if draws else ""
    return Drawn(
        "Accuracy and rejection",
        "The most uncertain answers are given up first. Left: accuracy of the rest. Right: the "
        f"joint error, which falls even if answers are given up at random.{bands}",
        figure,
    )


def error_budget(
    systems: Sequence[str],
    outcome: Outcome,
    hull: Hull,
    chosen: Allocation | None = None,
    limits: Limits | None = None,
) -> Drawn:
    """Error against cost of all systems, and the least error that each budget buys.

    Args:
        systems: Names.
        outcome: Their means, one axis.
        hull: Of dollars and errors, see `budget_hull`.
        chosen: What was found within limits, to be marked.
        limits: Those, of which the ones on cost and error are drawn.

    Raises:
        InvalidInputError: There is not one name per system.
    """
    count = np.size(outcome.error)
    if len(systems) != count:
        raise InvalidInputError(f"`systems` must name {count} systems; got {len(systems)}.")
    figure, ax = sheet(4.2)
    cost, error = _QUERIES * np.asarray(outcome.cost_usd), np.asarray(outcome.error)
    dollar_axis(ax, cost)
    ax.plot(cost, error, "o", c=SHADE, ms=4, mec="white", mew=0.6, label="systems")
    budgets = np.union1d(np.linspace(hull.budget[0], hull.budget[-1], 400), hull.budget)
    ax.plot(_QUERIES * budgets, hull.at(budgets), c=INK, lw=1.4, label="best mixtures")
    for name, x, y, colour in zip(
        hull.systems, hull.budget, hull.value, _colours(len(hull.systems)), strict=True
    ):
        ax.plot(_QUERIES * x, y, "o", c=colour, ms=7, mec="white", zorder=4, label=_label(name))
    if chosen is not None:
        _mark(ax, chosen)
    given = {} if limits is None else limits.given()
    if "cost_usd" in given:
        ax.axvline(_QUERIES * given["cost_usd"], color=INK, lw=0.9, ls="--")
    if "error" in given:
        ax.axhline(given["error"], color=INK, lw=0.9, ls="--")
    ax.margins(0.06)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="Cost of 1,000 queries", ylabel="Wrong answers, of all queries")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Drawn(
        "What a budget buys",
        "Grey: every system. The line: the least error within each budget, by one system at the "
        "coloured corners and by a mixture of two between them. Such mixtures lie on straight "
        "lines, which a logarithmic scale bends."
        + (" Dashed: limits on cost and error; others are not drawn." if given else ""),
        figure,
    )


def _mark(ax: Axes, chosen: Allocation) -> None:
    x, y = _QUERIES * float(chosen.outcome.cost_usd), float(chosen.outcome.error)
    ax.axvline(x, color=PALE, lw=1.0, zorder=0)
    ax.plot(x, y, "*", c=INK, ms=13, mec="white", zorder=5, label="chosen")


def _label(system: str) -> str:
    """Cuts a policy's words where they say the most: its first model and its last threshold."""
    return short_label(system.removesuffix(", else accept"))


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
