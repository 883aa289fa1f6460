"""Raters and a phone screen, drawn: cost by method and its parts, gaps between groups, ablation."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from jaxcascade.reports.material import Drawn
from jaxcascade.reports.screening_page import Estimate, MethodRow, PartRow
from jaxcascade.reports.style import COLOURS, INK, SHADE, dollar_axis, panels, sheet
from jaxcascade.tuning import dollars

_ROW_IN, _MARGIN_IN = 0.27, 0.7
_COSTS = (
    ("missed fit candidates", COLOURS[1]),
    ("interviews of unfit ones", COLOURS[5]),
    ("phone screens", COLOURS[6]),
)
# Methods dearer than this one would squeeze all others.
_SCALE = "interview all"


def cost_by_method(rows: Sequence[MethodRow], baseline: str) -> Drawn:
    """Mean cost of each method, its interval, and how far simulations lie apart."""
    figure, ax = sheet(_MARGIN_IN + _ROW_IN * len(rows))
    for position, row in enumerate(rows):
        colour = COLOURS[1] if row.name == baseline else COLOURS[0]
        ax.hlines(position, *row.spread_usd, color=SHADE, lw=1.0)
        ax.hlines(position, row.cost_usd.low, row.cost_usd.high, color=colour, lw=5.0)
        ax.plot(row.cost_usd.value, position, "|", color=colour, ms=11, mew=1.6)
        if row.name == baseline:
            ax.axvline(row.cost_usd.value, color=colour, lw=0.8, ls="--", zorder=1)
    dollar_axis(ax, np.array([row.spread_usd for row in rows]))
    ax.xaxis.set_major_formatter(FuncFormatter(_dollars))
    ax.set(xlabel="Cost of 1,000 candidates")
    _named(ax, [row.name for row in rows])
    return Drawn(
        "Cost by method",
        "Stroke: mean over simulations; thick line: its 95 % interval; thin line: the middle 90 % "
        f"of the simulations. Dashed: {baseline}. The scale is logarithmic.",
        figure,
    )


def cost_composition(rows: Sequence[MethodRow]) -> Drawn:
    """What the cost of each method is made of, for those no dearer than interviewing all."""
    limit = next(row.cost_usd.value for row in rows if row.name == _SCALE)
    shown = [row for row in rows if row.cost_usd.value <= limit]
    figure, ax = sheet(_MARGIN_IN + _ROW_IN * (len(shown) + 1))
    parts = np.array([[row.missed_usd, row.interviews_usd, row.screens_usd] for row in shown])
    starts = np.cumsum(parts, axis=1) - parts
    for part, (label, colour) in enumerate(_COSTS):
        places = range(len(shown))
        ax.barh(places, parts[:, part], 0.72, starts[:, part], color=colour, label=label)
    for position, total in enumerate(parts.sum(axis=1)):
        ax.annotate(
            dollars(float(total)), (total, position), (4, 0), textcoords="offset points",
            va="center", fontsize=8, color=INK,
        )  # fmt: skip
    ax.xaxis.set_major_formatter(FuncFormatter(_dollars))
    ax.set(xlabel="Cost of 1,000 candidates", xlim=(0, 1.09 * limit))
    _named(ax, [row.name for row in shown])
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(_COSTS))
    return Drawn(
        "What costs are made of",
        f'Means over simulations. Methods that cost more than "{_SCALE}" are left out.',
        figure,
    )


def gaps_by_method(rows: Sequence[MethodRow]) -> Drawn:
    """Gaps between the groups, with their intervals."""
    height = _MARGIN_IN + _ROW_IN * len(rows)
    figure, axes = panels(2, height, most=2, fewest=2, share=False)
    for ax, title, gaps in (
        (axes[0], "Gap of interview rates", [row.rate_gap for row in rows]),
        (axes[1], "Gap of fit candidates missed", [row.missed_gap for row in rows]),
    ):
        _points(ax, gaps)
        ax.set(title=title)
        _named(ax, [row.name for row in rows] if ax is axes[0] else [""] * len(rows))
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" pp"))
    return Drawn(
        "Gaps between the groups",
        "How much less often the second group is interviewed (left), and how much more often its "
        "fit are rejected (right), in percentage points; lines: 95 % intervals.",
        figure,
    )


def contributions(rows: Sequence[PartRow]) -> Drawn:
    """Shares of the parts, by leaving each out and by Shapley's value."""
    figure, ax = sheet(_MARGIN_IN + 2 * _ROW_IN * (len(rows) + 0.5))
    kinds = (
        ("left out", -0.2, COLOURS[3], [row.left_out for row in rows]),
        ("Shapley", 0.2, COLOURS[5], [row.shapley for row in rows]),
    )
    for label, shift, colour, estimates in kinds:
        places = np.arange(len(rows)) + shift
        ax.barh(places, [one.value for one in estimates], 0.36, color=colour, label=label)
        for place, one in zip(places, estimates, strict=True):
            ax.hlines(place, one.low, one.high, color=INK, lw=1.2)
    ax.axvline(0, color=SHADE, lw=0.8)
    ax.xaxis.set_major_formatter(PercentFormatter(100, decimals=0))
    ax.set(xlabel="Share of what all parts together save")
    _named(ax, [row.name for row in rows])
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(kinds))
    return Drawn(
        "What each part contributes",
        "What is lost when one part alone is left out, and Shapley's value, whose shares sum to "
        "100 %; lines: 95 % intervals.",
        figure,
    )


def _points(ax: Axes, estimates: Sequence[Estimate]) -> None:
    for position, one in enumerate(estimates):
        ax.hlines(position, one.low, one.high, color=COLOURS[0], lw=1.4)
        ax.plot(one.value, position, "o", color=COLOURS[0], ms=5, mec="white", zorder=4)
    ax.axvline(0, color=SHADE, lw=0.8)


def _named(ax: Axes, names: Sequence[str]) -> None:
    """A row per name, the first on top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)


def _dollars(amount: float, _: int | None = None) -> str:
    return dollars(amount)
