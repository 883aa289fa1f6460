"""What more labels are worth, drawn: from `LabelValue` to a figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxcascade.posterior.labels import LabelsWorth, LabelValue, labels_worth
from jaxcascade.reports.material import Drawn
from jaxcascade.reports.style import COLOURS, INK, SHADE, panels
from jaxcascade.tuning import dollars

_QUERIES = 1000
_95_PERCENT = 1.96
_NUM_SHOWN = 4


def label_value(
    value: LabelValue, label_usd: float, num_queries: float, shown: Sequence[int] | None = None
) -> Drawn:
    """Expected gain against the number of labels, and what is left of it when they are paid for.

    Args:
        value: See `value_of_labels`.
        label_usd: Dollars for the label of one query; see `labels_worth`.
        num_queries: Future queries that the policy will answer.
        shown: Positions of the prices to show, four at most for a figure that can be read; by
            default evenly spread.
    """
    shown = _spread(value.perfect.size) if shown is None else shown
    figure, (left, right) = panels(2, 3.4, most=2, fewest=2, share=False)
    expected_gain(left, value, shown)
    net_gain(right, value, labels_worth(value, label_usd, num_queries), shown)
    each = dollars(label_usd + value.run_usd)
    return Drawn(
        "What more labels are worth",
        "Left: what the best policy after more labels is expected to lose less than today's, with "
        "intervals of 1.96 standard errors of the computation; dotted, what perfect knowledge "
        f"would bring. Right: the same over {num_queries:,.0f} future queries, less {each} for "
        "each labelled query, runs of all models included; a dot marks the best number.",
        figure,
    )


def _spread(num_prices: int) -> list[int]:
    count = min(_NUM_SHOWN, num_prices)
    return [int((i + 0.5) * num_prices // count) for i in range(count)]


def expected_gain(ax: Axes, value: LabelValue, shown: Sequence[int]) -> None:
    """Draws the gain per 1,000 queries against the number of labels, a line per price."""
    counts = np.append(0, value.more)
    for p, colour in zip(shown, _colours(shown), strict=True):
        gain, error = (
            _QUERIES * np.append(0.0, part[:, p]) for part in (value.gain, value.standard_error)
        )
        half = _95_PERCENT * error
        price = f"{dollars(float(np.asarray(value.prices.error)[p]))} per error"
        ax.fill_between(counts, gain - half, gain + half, color=colour, alpha=0.18, lw=0)
        ax.plot(counts, gain, marker="o", ms=2.5, lw=1.3, c=colour, label=price)
        ax.axhline(_QUERIES * value.perfect[p], color=colour, lw=0.9, ls=":")
    _finish(ax, "Gain on 1,000 queries")
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")


def net_gain(ax: Axes, value: LabelValue, worth: LabelsWorth, shown: Sequence[int]) -> None:
    """Draws the net gain against the number of labels, a line per price, the best marked."""
    counts = np.append(0, value.more)
    ax.axhline(0, color=INK, lw=0.9)
    for p, colour in zip(shown, _colours(shown), strict=True):
        ax.plot(counts, np.append(0.0, worth.net_usd_of[:, p]), lw=1.3, c=colour)
        ax.plot(worth.more[p], worth.net_usd[p], "o", c=colour, ms=7, mec="white", zorder=4)
    _finish(ax, "Net gain")


def _colours(shown: Sequence[int]) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(len(shown))]


def _finish(ax: Axes, name: str) -> None:
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda amount, _: _signed_dollars(amount)))
    ax.set(xlabel="More labelled queries", ylabel=name)
    ax.axvline(0, color=SHADE, lw=0.6)


def _signed_dollars(amount: float) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.3g}"
