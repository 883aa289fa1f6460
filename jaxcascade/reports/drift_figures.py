"""Drift and segments, drawn: evidence over queries, and one policy for all against own ones."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, PercentFormatter

from jaxcascade.economics import LossFromSharing, Monitoring, SegmentFrontier, Watch
from jaxcascade.reports.material import Drawn
from jaxcascade.reports.style import (
    INK,
    PALE,
    SHADE,
    Mark,
    dollar_axis,
    marks,
    panels,
    sheet,
    short_label,
)

_QUERIES = 1000
_95_PERCENT = 1.96
# Below this an e-process says nothing more: what matters is how far it is from its threshold.
_LOWEST = np.log(1e-3)
_LOG_10 = np.log(10.0)


def drift_evidence(found: Monitoring) -> Drawn:
    """E-processes of drift, and of calibration where there are labels, with their thresholds."""
    watches = [("Confidence is as in training", found.drift)]
    if found.calibration is not None:
        within = f"{100 * found.margin:g} percentage points"
        watches.append((f"Calibration holds within {within}", found.calibration))
    figure, axes = panels(len(watches), 3.4, most=2, fewest=len(watches))
    looks = marks(found.models)
    for ax, (title, watch) in zip(axes, watches, strict=True):
        evidence(ax, watch, looks)
        ax.set_title(title)
    axes[0].set_ylabel("Evidence against it (e-value)")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Drawn(
        "Is the traffic still like training?",
        "What a dollar becomes that is staked at fair odds against each model's being as before. "
        f"The chance that any line ever reaches the dashed one by luck is at most "
        f"{watches[0][1].alpha:g} in each plot; dots mark where one does. Values below 0.001 are "
        "drawn there.",
        figure,
    )


def evidence(ax: Axes, watch: Watch, looks: tuple[Mark, ...]) -> None:
    """Draws one line per model, a dot at its first alarm, and the threshold."""
    seen = np.arange(1, watch.log_e.shape[1] + 1)
    for mark, path, alarm in zip(looks, watch.log_e, watch.first_alarm, strict=True):
        height = np.exp(np.clip(path, _LOWEST, 300 * _LOG_10))
        ax.plot(seen, height, color=mark.colour, lw=1.2, label=mark.label)
        if alarm > 0:
            ax.plot(alarm, height[alarm - 1], "o", c=mark.colour, ms=7, mec="white", zorder=4)
    ax.axhline(np.exp(watch.log_threshold), color=INK, lw=0.9, ls="--")
    ax.axhline(1.0, color=SHADE, lw=0.6)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(numticks=8))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ax.set(xlabel="Queries looked at", xlim=(0, seen[-1]))


def sharing(found: LossFromSharing) -> Drawn:
    """Losses of each group under one policy for all and under its own, on held-out queries."""
    figure, ax = sheet(1.0 + 0.35 * len(found.names))
    segment_losses(ax, found)
    total, error = _QUERIES * found.total_gain, _QUERIES * found.total_standard_error
    return Drawn(
        "One policy for all, or one per group?",
        "Held-out loss of each group under the policy that is best for all (hollow) and under the "
        "group's own (full); the bar is the 95 % interval of the difference, around the full dot. "
        f"Own policies save ${total:,.3g} per 1,000 queries on the whole (standard error "
        f"${error:,.3g}).",
        figure,
    )


def segment_losses(ax: Axes, found: LossFromSharing) -> None:
    """Draws a row per group: shared loss, own loss, and the interval of their difference."""
    rows = np.arange(len(found.names))
    shared, own = _QUERIES * found.shared_loss, _QUERIES * found.own_loss
    half = _95_PERCENT * _QUERIES * np.nan_to_num(found.gain_standard_error)
    ax.hlines(rows, own - half, own + half, color=PALE, lw=4)
    ax.plot(shared, rows, "o", mfc="white", mec=INK, ms=7, label="one policy for all")
    ax.plot(own, rows, "o", color=INK, ms=4, label="own policy")
    labels = [
        f"{short_label(name)} ({count:,})"
        for name, count in zip(found.names, found.num_queries, strict=True)
    ]
    ax.set_yticks(rows, labels)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: f"${amount:,.3g}"))
    ax.set_xlabel("Loss of 1,000 queries")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def sharing_by_price(found: SegmentFrontier) -> Drawn:
    """What one policy per group saves, by the price of an error, on held-out queries."""
    figure, ax = sheet(3.4)
    saved_share(ax, found)
    return Drawn(
        "What own policies save",
        "Share of the loss of one policy for all that one per group saves, by the price of an "
        "error, on held-out queries of all groups together; band: 95 % interval at each price.",
        figure,
    )


def saved_share(ax: Axes, found: SegmentFrontier) -> None:
    """Draws the gain as a share of the shared loss, with its interval, and the line of none."""
    prices, gain = found.error_prices, found.gain / found.shared_loss
    half = _95_PERCENT * found.gain_standard_error / found.shared_loss
    ax.fill_between(prices, gain - half, gain + half, color=INK, alpha=0.18, lw=0)
    ax.plot(prices, gain, color=INK, lw=1.3)
    ax.axhline(0.0, color=SHADE, lw=0.6)
    dollar_axis(ax, prices)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="Price of an error", ylabel="Saved", xlim=(prices[0], prices[-1]))
