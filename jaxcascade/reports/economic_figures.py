"""What answers are worth, drawn: maps of the best system, losses by price, passing on, Pareto."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm, to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, PercentFormatter

from jaxcascade.cascade import Outcome
from jaxcascade.economics import RECOMMENDED, DeferralCurve, FrontierMap, PriceMap, base_cost
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Band, pointwise_band
from jaxcascade.reports.material import Drawn, cell_edges
from jaxcascade.reports.placing import label_points, note
from jaxcascade.reports.style import INK, PALE, SHADE, Mark, dollar_axis, marks, panels, sheet
from jaxcascade.tuning import break_even_prices, dollars

_QUERIES = 1000
_LEVEL = 0.9
_PALEST = 0.15
# Savings and losses beyond these shares are drawn in the same colour.
_MOST_SAVED = 0.5


def best_system_map(found: PriceMap, systems: Sequence[str]) -> Drawn:
    """The best system by price of an error and of a second, darker where it is surer.

    Args:
        found: See `price_map` and `frontier_map`.
        systems: Names.

    Raises:
        InvalidInputError: There is not one name per system.
    """
    _check_names(systems, found.choice.probability.shape[-1])
    figure, ax = sheet(4.2)
    system_map(ax, found, marks(systems))
    return Drawn(
        "The best system by price",
        "Colour: the system with the least expected loss. The darker, the more probable that it is "
        f"the best of all: from {_PALEST:.0%} or less to certain.",
        figure,
    )


def system_map(ax: Axes, found: PriceMap, look: Sequence[Mark]) -> None:
    """Paints each pair of prices in the colour of the best system, mixed with white by doubt."""
    best = np.asarray(found.choice.best)
    sure = np.take_along_axis(np.asarray(found.choice.probability), best[..., None], axis=-1)
    strength = np.clip(sure, _PALEST, 1.0)
    colours = np.array([to_rgb(mark.colour) for mark in look])[best]
    painted = 1.0 - strength * (1.0 - colours)
    heights, ticks = _latency_rows(found.latency_prices)
    edges = cell_edges(found.error_prices)
    ax.pcolormesh(edges, heights, painted.swapaxes(0, 1), rasterized=True)
    dollar_axis(ax, edges)
    ax.set_yticks(*ticks)
    ax.set(xlabel="Price of an error", ylabel="Price of a second", xlim=(edges[0], edges[-1]))
    ax.grid(False)
    shown = [Patch(color=look[s].colour, label=look[s].label) for s in np.unique(best).tolist()]
    ax.legend(handles=shown, loc="center left", bbox_to_anchor=(1.0, 0.5))


def cascade_map(found: FrontierMap, big: str | None = None) -> Drawn:
    """What recommended policies save against always asking one model, over both prices.

    Args:
        found: See `frontier_map`.
        big: The model; by default the last one, which is the dearest.

    Raises:
        InvalidInputError: There is no such model.
    """
    singles = found.systems[: found.systems.index(RECOMMENDED)]
    big = singles[-1] if big is None else big
    if big not in singles:
        raise InvalidInputError(f'`big` must be one of {", ".join(singles)}; got "{big}".')
    losses = np.asarray(found.prices.choice.expected_loss)
    always = losses[..., singles.index(big)]
    figure, ax = sheet(4.2)
    saving_map(ax, found.prices, 1.0 - losses[..., -1] / always)
    return Drawn(
        f"Cascades against {big} alone",
        f"Share of the loss of always asking {big} that the recommended policy saves (blue) or "
        "loses besides (red). Grey: one model alone is recommended.",
        figure,
    )


def saving_map(ax: Axes, prices: PriceMap, saving: Float[np.ndarray, "e l"]) -> None:
    """Paints each pair of prices by a share saved; what is not known is grey."""
    heights, ticks = _latency_rows(prices.latency_prices)
    edges = cell_edges(prices.error_prices)
    ax.set_facecolor(PALE)
    norm = TwoSlopeNorm(0.0, -_MOST_SAVED, _MOST_SAVED)
    cells = np.ma.masked_invalid(saving.T)
    mesh = ax.pcolormesh(edges, heights, cells, cmap="RdBu", norm=norm, rasterized=True)
    bar = ax.figure.colorbar(mesh, ax=ax, label="Saved", extend="both")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    dollar_axis(ax, edges)
    ax.set_yticks(*ticks)
    ax.set(xlabel="Price of an error", ylabel="Price of a second", xlim=(edges[0], edges[-1]))
    ax.grid(False)


def _latency_rows(
    prices: Float[np.ndarray, " l"],
) -> tuple[Float[np.ndarray, " l+1"], tuple[list[float], list[str]]]:
    """Rows of equal height, which leave room for a price of zero; a tick for some of them."""
    count = len(prices)
    at = np.unique(np.linspace(0, count - 1, min(count, 8)).round().astype(int)).tolist()
    return np.arange(count + 1.0), ([a + 0.5 for a in at], [dollars(float(prices[a])) for a in at])


def loss_by_price(
    draws: Outcome,
    systems: Sequence[str],
    error_prices: Float[np.ndarray, " p"],
    latency_price: float = 0.0,
    abstention_price: float = float("inf"),
) -> Drawn:
    """Each system's loss against the price of an error, both on logarithmic scales.

    Args:
        draws: Leading axes (draws, systems).
        systems: Names.
        error_prices: Dollars per wrong answer, above 0 and increasing.
        latency_price: Dollars per second.
        abstention_price: Dollars per query given up.

    Raises:
        InvalidInputError: There is not one name per system, or see `base_cost`.
    """
    _check_names(systems, np.shape(draws.error)[-1])
    figure, ax = sheet(4.2)
    base, error = base_cost(draws, latency_price, abstention_price), np.asarray(draws.error)
    loss_lines(ax, base, error, error_prices, marks(systems))
    return Drawn(
        "Loss by price of an error",
        f"Dollars lost per query, with intervals of {_LEVEL:.0%}; dots mark where, on average, the "
        "best system changes.",
        figure,
    )


def loss_lines(
    ax: Axes,
    base: Float[np.ndarray, "d s"],
    error: Float[np.ndarray, "d s"],
    prices: Float[np.ndarray, " p"],
    look: Sequence[Mark],
) -> None:
    """Draws losses that are linear in the price of an error, and their lower crossings."""
    for s, mark in enumerate(look):
        losses = base[:, s, None] + error[:, s, None] * prices
        low, _, high = pointwise_band(losses, _LEVEL)
        ax.fill_between(prices, low, high, color=mark.colour, alpha=0.15, lw=0)
        ax.plot(prices, losses.mean(axis=0), color=mark.colour, lw=1.3, label=mark.label)
    mean_base, mean_error = base.mean(axis=0), error.mean(axis=0)
    for price, _, above in break_even_prices(mean_base, mean_error):
        if prices[0] <= price <= prices[-1]:
            height = mean_base[above] + price * mean_error[above]
            ax.plot(price, height, "o", color=INK, ms=6, mec="white", zorder=5)
    dollar_axis(ax, prices)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda amount, _: dollars(amount)))
    ax.set(xlabel="Price of an error", ylabel="Loss per query", xlim=(prices[0], prices[-1]))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def system_bars(draws: Outcome, systems: Sequence[str]) -> Drawn:
    """Errors, dollars and seconds of each system, side by side.

    Args:
        draws: Leading axes (draws, systems).
        systems: Names.

    Raises:
        InvalidInputError: There is not one name per system.
    """
    _check_names(systems, np.shape(draws.error)[-1])
    figure, axes = panels(3, 0.9 + 0.32 * len(systems), most=3, share=False)
    look = marks(systems)
    parts = [
        ("Wrong answers", draws.error, 1, PercentFormatter(1, decimals=0)),
        ("Cost of 1,000 queries", draws.cost_usd, _QUERIES, FuncFormatter(lambda c, _: dollars(c))),
        ("Seconds per query", draws.latency_s, 1, None),
    ]
    for number, (ax, (name, values, times, formatter)) in enumerate(zip(axes, parts, strict=True)):
        bars(ax, times * np.asarray(values), look)
        ax.set(title=name, yticks=range(len(look)))
        ax.set_yticklabels([mark.label for mark in look] if number == 0 else [])
        if formatter is not None:
            ax.xaxis.set_major_formatter(formatter)
    return Drawn(
        "Errors, dollars and seconds",
        f"Means of each system; lines: intervals of {_LEVEL:.0%}. Wrong answers are counted among "
        "all queries.",
        figure,
    )


def bars(ax: Axes, values: Float[np.ndarray, "d s"], look: Sequence[Mark]) -> None:
    """Draws a bar per system, the first on top, with its interval; none where it is not known."""
    for s, mark in enumerate(look):
        column = values[:, s]
        if np.isfinite(column).all():
            ends = pointwise_band(column, _LEVEL)
            ax.barh(s, column.mean(), height=0.7, color=mark.colour)
            ax.hlines(s, ends.low, ends.high, color=INK, lw=1.2)
    if not ax.patches:
        note(ax, "not recorded")
    ax.set_ylim(len(look) - 0.5, -0.5)
    ax.grid(False, axis="y")


def passing_on(curve: DeferralCurve) -> Drawn:
    """What passing on the least confident answers takes away and costs, by how many they are."""
    figure, axes = panels(3, 3.0, most=3, share=False)
    seconds_known = np.isfinite(curve.latency_s.middle).all()
    parts = [
        ("Cascade error reduction", curve.reduction, 1, PercentFormatter(1, decimals=0)),
        ("Cost of 1,000 queries", curve.cost_usd, _QUERIES, FuncFormatter(lambda c, _: dollars(c))),
        ("Seconds per query", curve.latency_s, 1, None),
    ]
    for ax, (name, band, times, formatter) in zip(axes, parts, strict=True):
        if name.startswith("Seconds") and not seconds_known:
            ax.text(0.5, 0.5, "not recorded", transform=ax.transAxes, ha="center", color=SHADE)
        else:
            banded_line(ax, curve.rates, Band(*(times * np.asarray(part) for part in band)))
        if formatter is not None:
            ax.yaxis.set_major_formatter(formatter)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set(xlabel="Passed on", title=name)
    return Drawn(
        f"From {curve.small} to {curve.big}",
        f"The share of queries passed on, least confident first. Left: by how much more errors of "
        f"{curve.small} that takes away than passing on as many at random. Bands: {_LEVEL:.0%}, "
        "unless asked otherwise.",
        figure,
    )


def banded_line(ax: Axes, x: Float[np.ndarray, " r"], band: Band) -> None:
    """Draws medians as a line and intervals as a band around it."""
    ax.fill_between(x, band.low, band.high, color=INK, alpha=0.18, lw=0)
    ax.plot(x, band.middle, color=INK, lw=1.3)


def pareto(draws: Outcome, systems: Sequence[str]) -> Drawn:
    """Systems by cost and error, and the line of those that some price of an error prefers.

    Args:
        draws: Leading axes (draws, systems).
        systems: Names.

    Raises:
        InvalidInputError: There is not one name per system.
    """
    _check_names(systems, np.shape(draws.error)[-1])
    figure, ax = sheet(4.2)
    pareto_scatter(ax, np.asarray(draws.cost_usd), np.asarray(draws.error), marks(systems))
    return Drawn(
        "Cost and error",
        f"Bars: intervals of {_LEVEL:.0%}. The line joins the systems that are the best on average "
        "at some price of an error; systems above it are not, unless seconds matter.",
        figure,
    )


def pareto_scatter(
    ax: Axes,
    cost_usd: Float[np.ndarray, "d s"],
    error: Float[np.ndarray, "d s"],
    look: Sequence[Mark],
) -> None:
    """Draws each system at its means, with intervals both ways."""
    cost = _QUERIES * cost_usd
    x, y = cost.mean(axis=0), error.mean(axis=0)
    steps = break_even_prices(x, y)
    first = steps[0][1] if steps else int(np.lexsort((y, x))[0])
    hull = [first, *(above for _, _, above in steps)]
    ax.plot(x[hull], y[hull], color=SHADE, lw=1.0, zorder=1)
    across, along = pointwise_band(cost, _LEVEL), pointwise_band(error, _LEVEL)
    for s, mark in enumerate(look):
        ax.hlines(y[s], across.low[s], across.high[s], color=mark.colour, lw=1.0)
        ax.vlines(x[s], along.low[s], along.high[s], color=mark.colour, lw=1.0)
        ax.plot(x[s], y[s], mark.marker, color=mark.colour, ms=8, mec="white", zorder=4)
    dollar_axis(ax, x)
    ax.margins(0.08)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="Cost of 1,000 queries", ylabel="Wrong answers")
    label_points(ax, x, y, look)


def _check_names(systems: Sequence[str], count: int) -> None:
    if len(systems) != count:
        raise InvalidInputError(
            f"`systems` must name each of the {count} systems; got {len(systems)} names."
        )
