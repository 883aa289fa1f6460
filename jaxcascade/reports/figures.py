"""The figures, one function each: numbers and a place to draw them in.

Matplotlib is loaded by this module and by those that use it, and they only when a report is
written: importing the package does not load it.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from jaxcascade.calibration import ReliabilityCurve
from jaxcascade.cascade import Rule
from jaxcascade.reports.placing import block, corner, label_points, note
from jaxcascade.reports.style import INK, PALE, SHADE, Mark, dollar_axis
from jaxcascade.reports.tables import Gains
from jaxcascade.tuning import Bands

_QUERIES = 1000
_95_PERCENT = 1.96
_NUM_BINS, _SMALLEST_ATOM = 40, 0.02

NOT_ASKED: dict[str, Any] = {"facecolor": "white", "edgecolor": PALE, "hatch": "////"}
ABSTAIN: dict[str, Any] = {"facecolor": PALE, "edgecolor": SHADE, "hatch": "...."}
ACCEPT: dict[str, Any] = {"facecolor": "#f3f3f3"}


class Curve(NamedTuple):
    """Cost and error of the recommended policies, in the order of their prices."""

    label: str
    cost_usd: Float[np.ndarray, " p"]
    error: Float[np.ndarray, " p"]


class Scatter(NamedTuple):
    """Two models' confidences as probabilities, with Kendall's tau of both kinds."""

    u: Float[np.ndarray, " n"]
    v: Float[np.ndarray, " n"]
    fitted_tau: float | None
    observed_tau: float


class Law(NamedTuple):
    """Calibrated confidences of one model beside the marginal fitted to them."""

    confidence: Float[np.ndarray, " n"]
    ends: tuple[float, float]
    atoms: tuple[float, float]
    grid: Float[np.ndarray, " g"]
    density: Float[np.ndarray, " g"]


def error_cost(
    ax: Axes,
    curves: Sequence[Curve],
    singles: tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]],
    marks: Sequence[Mark],
    bands: Bands | None = None,
) -> None:
    """Draws error against cost: a line per curve, and each single model at (cost, error).

    With bands, a bar at each point for what the posterior holds probable of its error.
    """
    if bands is not None:
        cost, (low, _, high) = bands.cost_usd[:, 1], bands.error.T
        label = f"{bands.level:.0%} of the posterior"
        ax.vlines(_QUERIES * cost, low, high, color=PALE, lw=3, zorder=0, label=label)
    styles: tuple[dict[str, Any], ...] = (
        {"ls": ":", "c": SHADE},
        {"ls": "--", "c": SHADE},
        {"ls": "-", "c": INK},
    )
    shapes = ("", "o", "o")
    for curve, style, shape in zip(curves, styles, shapes, strict=False):
        x = _QUERIES * curve.cost_usd
        ax.plot(x, curve.error, marker=shape, ms=2.5, lw=1.3, label=curve.label, **style)
    cost, error = _QUERIES * singles[0], singles[1]
    dollar_axis(ax, np.concatenate([cost, *(_QUERIES * curve.cost_usd for curve in curves)]))
    for mark, x, y in zip(marks, cost, error, strict=True):
        ax.plot(x, y, mark.marker, color=mark.colour, ms=8, mec="white", mew=0.8, zorder=4)
    ax.margins(0.08)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="Cost of 1,000 queries", ylabel="Wrong answers")
    ax.legend(loc="best", handlelength=3)
    label_points(ax, cost, error, marks)


def policy_map(
    ax: Axes,
    edges: Float[np.ndarray, " p+1"],
    rules: Sequence[Rule | None],
    colour_of: dict[str, str],
) -> None:
    """Draws what follows one model's answer, by price and confidence; lines are thresholds.

    Args:
        ax: Where to draw.
        edges: Ends of each point's range of prices.
        rules: Rule of the model at each point; None where it is not asked.
        colour_of: Colour of each model that may be asked next.
    """
    start = 0
    for rule, run in groupby(rules):
        stop = start + len(list(run))
        left, width = edges[start], edges[stop] - edges[start]
        start = stop
        if rule is None:
            block(ax, (left, 0.0), (width, 1.0), NOT_ASKED)
            continue
        cuts = np.array([0.0, *rule.breakpoints, 1.0])
        for low, high, action in zip(cuts[:-1], cuts[1:], rule.actions, strict=True):
            block(ax, (left, low), (width, high - low), action_look(action, colour_of))
        ax.hlines(rule.breakpoints, left, left + width, color=INK, lw=1.4)
    dollar_axis(ax, edges, fine_below=1.2)
    ax.set(xlim=(edges[0], edges[-1]), ylim=(0, 1))
    ax.grid(False)


def action_look(action: str, colour_of: dict[str, str]) -> dict[str, Any]:
    """How an action is painted: the colour of the model asked next, or a neutral one."""
    neutral = {"accept": ACCEPT, "abstain": ABSTAIN}
    return neutral.get(action) or {"facecolor": colour_of[action]}


def answer_shares(
    ax: Axes,
    edges: Float[np.ndarray, " p+1"],
    shares: Float[np.ndarray, "p k"],
    abstained: Float[np.ndarray, " p"],
    marks: Sequence[Mark],
) -> None:
    """Stacks the shares of queries that each model answers, by price."""
    base = np.zeros(len(shares))
    for mark, share in zip(marks, shares.T, strict=True):
        if share.any():
            ax.stairs(
                base + share,
                edges,
                baseline=base,
                fill=True,
                fc=mark.colour,
                ec="white",
                lw=0.5,
                label=mark.label,
            )
            base = base + share
    if abstained.any():
        ax.stairs(
            base + abstained,
            edges,
            baseline=base,
            fill=True,
            lw=0.5,
            label="a person (abstained)",
            **ABSTAIN,
        )
    dollar_axis(ax, edges)
    ax.set(xlim=(edges[0], edges[-1]), ylim=(0, 1), ylabel="Share of queries")
    ax.set_xlabel("Price of an error")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)


def saving(
    ax: Axes,
    prices: Float[np.ndarray, " p"],
    held_out: Gains | None,
    test: Gains | None,
) -> None:
    """Draws the saving against the best single model by price, with 95 % intervals."""
    ax.axhline(0, color=INK, lw=0.9)
    looks = ((held_out, "held-out training queries", SHADE, "--"), (test, "test", INK, "-"))
    for gains, label, colour, line in looks:
        if gains is None:
            continue
        half = _95_PERCENT * gains.saving_standard_error
        ax.fill_between(
            prices, gains.saving - half, gains.saving + half, color=colour, alpha=0.18, lw=0
        )
        ax.plot(prices, gains.saving, line, marker="o", ms=2.5, lw=1.3, c=colour, label=label)
    dollar_axis(ax, prices)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="Price of an error", ylabel="Saving over the best single model")
    if held_out is not None or test is not None:
        ax.legend(loc="best")
    else:
        note(ax, "too few queries to hold any out")


def reliability(ax: Axes, curve: ReliabilityCurve, ece: float, mark: Mark) -> None:
    """Draws accuracy against calibrated confidence in deciles, with 95 % intervals."""
    ax.plot([0, 1], [0, 1], color=SHADE, lw=0.9)
    used = np.asarray(curve.count) > 0
    x, y, count = (np.asarray(part)[used] for part in curve)
    low, high = wilson_interval(y, count)
    distances = np.maximum([y - low, high - y], 0)
    ax.errorbar(
        x, y, distances, fmt=mark.marker, c=mark.colour, ms=5, mec="white", mew=0.5, elinewidth=1.1
    )
    ax.set(xlim=(0, 1.04), ylim=(0, 1.04), xticks=[0, 0.5, 1], title=mark.label)
    corner(ax, f"ECE {ece:.1%}, {int(count.sum()):,} queries")


def marginal(ax: Axes, law: Law, mark: Mark) -> None:
    """Draws a histogram of confidences, the fitted density over it and atoms as stems."""
    bins = np.linspace(0, 1, _NUM_BINS + 1)
    low, high = law.ends
    inside = law.confidence[(law.confidence > low) & (law.confidence < high)]
    seen = np.histogram(inside, bins)[0] * _NUM_BINS / law.confidence.size
    ax.stairs(seen, bins, fill=True, fc=mark.colour, alpha=0.5)
    ax.plot(law.grid, law.density, color=INK, lw=1.2)
    stems = _NUM_BINS * np.array(law.atoms)
    # A density can be unbounded at its ends; what is seen sets the scale.
    top = 1.4 * max(seen.max(), stems.max(), np.quantile(law.density, 0.9))
    for end, mass, height in zip(law.ends, law.atoms, stems, strict=True):
        if mass >= _SMALLEST_ATOM:
            _stem(ax, end, height, f"{mass:.0%}, seen {np.mean(law.confidence == end):.0%}", mark)
    ax.set(xlim=(-0.02, 1.04), ylim=(0, top), xticks=[0, 0.5, 1], title=mark.label)
    ax.tick_params(axis="y", labelleft=False, length=0)


def _stem(ax: Axes, x: float, height: float, label: str, mark: Mark) -> None:
    ax.plot([x, x], [0, height], color=mark.colour, lw=2.5)
    ax.plot(x, height, mark.marker, ms=6, color=mark.colour, mec="white", mew=0.5)
    side = "left" if x < 0.5 else "right"
    ax.annotate(label, (x, height), (0, 6), textcoords="offset points", ha=side, fontsize=8)


def copula_scatter(ax: Axes, pair: Scatter, first: Mark, second: Mark) -> None:
    """Draws pairs of confidences as probabilities in the unit square."""
    ax.scatter(pair.u, pair.v, s=5, c=INK, alpha=0.35, lw=0, rasterized=True)
    ax.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xticks=[0, 0.5, 1],
        yticks=[0, 0.5, 1],
        xlabel=first.label,
        ylabel=second.label,
    )
    ax.set_aspect("equal")
    fitted = "" if pair.fitted_tau is None else f"fitted τ {pair.fitted_tau:.2f}, "
    ax.set_title(f"{fitted}observed τ {pair.observed_tau:z.2f}")


def tau_matrix(ax: Axes, tau: Float[np.ndarray, "k k"], marks: Sequence[Mark]) -> None:
    """Draws Kendall's rank correlations with their values."""
    ax.imshow(tau, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(tau):
        colour = "white" if value > 0.6 else INK
        ax.text(j, i, f"{value:z.2f}", ha="center", va="center", color=colour)
    labels = [mark.label for mark in marks]
    ax.set_xticks(range(len(labels)), labels, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(labels)), labels)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def wilson_interval(
    share: Float[np.ndarray, " b"], count: Float[np.ndarray, " b"]
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Returns the 95 % interval of a binomial share (Wilson, 1927).

    Example:
        >>> import numpy as np
        >>> [end.round(3).tolist() for end in wilson_interval(np.array([1.0]), np.array([10.0]))]
        [[0.722], [1.0]]
    """
    z2 = _95_PERCENT**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return middle - half, middle + half


def loss_bands(
    ax: Axes,
    prices: Float[np.ndarray, " p"],
    bands: Bands,
    counted: Sequence[tuple[str, Float[np.ndarray, " p"]]],
) -> None:
    """Draws how sure the posterior is of the loss at each price, and what was counted.

    Args:
        ax: Where to draw.
        prices: Of an error.
        bands: The posterior's.
        counted: Names and losses of the same policies on records.
    """
    middle = bands.loss[:, 1]
    level = f"{bands.level:.0%}"
    for ends, colour, label in (
        (bands.whole_loss, "#f0f0f0", f"{level}, at all prices at once"),
        (bands.loss[:, ::2], PALE, f"{level}, at each price"),
    ):
        low, high = (ends / middle[:, None] - 1.0).T
        ax.fill_between(prices, low, high, color=colour, lw=0, label=label)
    for (name, losses), style in zip(counted, ("--", "-"), strict=False):
        ax.plot(prices, losses / middle - 1.0, style, color=INK, lw=1.3, label=name)
    ax.axhline(0.0, color=SHADE, lw=0.8)
    dollar_axis(ax, prices, fine_below=1.2)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="Price of an error", ylabel="Loss over its median", xlim=(prices[0], prices[-1]))
    ax.legend(loc="best")
