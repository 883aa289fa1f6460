"""People behind models, drawn: tokens by difficulty, drag, accuracy and error by rejection."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from jaxcascade.cascade import Policy
from jaxcascade.economics import LoopCurves, latency_drag, local_linear
from jaxcascade.errors import RecordsError
from jaxcascade.records import Records
from jaxcascade.reports.material import Drawn
from jaxcascade.reports.placing import corner
from jaxcascade.reports.style import COLOURS, INK, SHADE, Mark, marks, panels, sheet

_NUM_BINS = 20
_NARROWEST = 0.09
_NUM_PLACES = 100


def tokens_by_difficulty(records: Records) -> Drawn:
    """How long answers are against how hard the query is, model by model.

    Args:
        records: With the columns `output_tokens` and `difficulty`; see `simulated_records`.

    Raises:
        RecordsError: A column is missing.
    """
    for name in ("output_tokens", "difficulty"):
        if name not in records.extra:
            raise RecordsError(f"The figure needs the column `{name}`, which the records lack.")
    figure, ax = sheet(3.2)
    for j, mark in enumerate(marks(records.models)):
        difficulty, tokens = (
            records.extra[name][records.asked[:, j], j] for name in ("difficulty", "output_tokens")
        )
        tokens_line(ax, difficulty, tokens, mark)
    _log_axis(ax, lambda tokens: f"{tokens:,.0f}")
    ax.set(xlabel="Difficulty", ylabel="Output tokens")
    ax.legend(loc="best")
    return Drawn(
        "Answers grow with difficulty",
        "Line: median output tokens in twentieths of the queries by difficulty; band: their "
        "middle 80 %.",
        figure,
    )


def tokens_line(
    ax: Axes, difficulty: Float[np.ndarray, " n"], tokens: Float[np.ndarray, " n"], mark: Mark
) -> None:
    """Draws the median and the middle 80 % of tokens in bins of difficulty."""
    bins = np.array_split(np.argsort(difficulty, kind="stable"), _NUM_BINS)
    middle = [difficulty[part].mean() for part in bins if part.size]
    spread = np.array([np.quantile(tokens[part], [0.1, 0.5, 0.9]) for part in bins if part.size])
    ax.fill_between(middle, spread[:, 0], spread[:, 2], color=mark.colour, alpha=0.18, lw=0)
    ax.plot(middle, spread[:, 1], marker=mark.marker, ms=3, c=mark.colour, label=mark.label)


def correctness_by_tokens(records: Records) -> Drawn:
    """How often answers are right against how long they are, model by model.

    Args:
        records: Labelled runs with the column `output_tokens`.

    Raises:
        RecordsError: The column is missing.
    """
    if "output_tokens" not in records.extra:
        raise RecordsError("The figure needs the column `output_tokens`, which the records lack.")
    figure, ax = sheet(3.2)
    tokens = np.asarray(records.extra["output_tokens"], float)
    for j, mark in enumerate(marks(records.models)):
        # A call without any output has no logarithm.
        used = (records.asked & records.labelled)[:, j] & (tokens[:, j] > 0)
        if np.unique(tokens[used, j]).size > 1:
            correctness_line(ax, tokens[used, j], records.correct[used, j], mark)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="Output tokens", ylabel="Right answers")
    ax.legend(loc="best")
    return Drawn(
        "Right answers by length",
        "Share of right answers by length, smoothed by local lines on the logarithm of the tokens; "
        "bands: one standard error either way. The longest and the shortest 1 % are left out.",
        figure,
    )


def correctness_line(
    ax: Axes, tokens: Float[np.ndarray, " n"], correct: Float[np.ndarray, " n"], mark: Mark
) -> None:
    """Draws smoothed correctness against tokens, and a standard error on both sides."""
    logs = np.log(tokens)
    low, high = np.quantile(logs, [0.01, 0.99])
    at = np.linspace(low, high if high > low else low + 1e-9, _NUM_PLACES)
    found = local_linear(logs, correct, at)
    ends = (found.value - found.standard_error, found.value + found.standard_error)
    ax.fill_between(np.exp(at), *np.clip(ends, 0, 1), color=mark.colour, alpha=0.18, lw=0)
    ax.plot(np.exp(at), np.clip(found.value, 0, 1), lw=1.4, c=mark.colour, label=mark.label)


def drag_by_confidence(
    records: Records, confidence: Float[Array | np.ndarray, "n k"], policy: Policy
) -> Drawn:
    """Seconds of the second model against the percentile of the first one's confidence.

    Args:
        records: Runs of both models.
        confidence: Of each cell, on the scale of the policy's breakpoints.
        policy: "Fail fast, or ask"; see `fail_fast_policy`.

    Raises:
        RecordsError: No seconds were recorded.
    """
    drag = latency_drag(records, confidence, policy)
    first, second = policy.order()
    sure = np.asarray(confidence)[:, records.model_index(first)]
    seconds = np.asarray(records.latency_s)[:, records.model_index(second)]
    usable = ~np.isnan(sure) & ~np.isnan(seconds)
    sure, seconds = sure[usable], seconds[usable]
    rule = policy.rules[first]
    figure, ax = sheet(3.2)
    order = np.argsort(sure, kind="stable")
    ends = np.searchsorted(sure[order], rule.breakpoints, side="right") / sure.size
    zones = dict(zip(rule.actions, np.stack([[0, *ends], [*ends, 1]], axis=1), strict=True))
    conditional_latency(ax, seconds[order], zones.get(second, np.zeros(2)))
    for action, text in (("abstain", "to a person"), (second, "passed on"), ("accept", "answered")):
        if action in zones and np.ptp(zones[action]) > _NARROWEST:
            middle, height = np.mean(zones[action]), 0.97
            ax.text(middle, height, text, ha="center", va="top", transform=ax.get_xaxis_transform())
    for end in ends:
        ax.axvline(end, color=INK, lw=0.9)
    corner(ax, f"drag {drag.total:+.1f} s per query")
    ax.set(xlabel=f"Percentile of the confidence of {first}", ylabel=f"Seconds of {second}")
    return Drawn(
        "Latency drag",
        "Line: mean seconds of the second model in twentieths of the queries by the first model's "
        "confidence; dashed: over all queries. Shaded: what the queries passed on take more or "
        "less than the average, whose sum is the drag.",
        figure,
    )


def conditional_latency(
    ax: Axes, seconds: Float[np.ndarray, " n"], passed: Float[np.ndarray, " 2"]
) -> None:
    """Draws mean seconds along a ranking, and shades what differs from the mean among the passed.

    Args:
        ax: Where to draw.
        seconds: In the order of increasing confidence.
        passed: First and last place of the passed queries in the ranking, as shares.
    """
    bins = np.array_split(seconds, min(_NUM_BINS, seconds.size))
    edges = np.append(0.0, np.cumsum([part.size for part in bins])) / seconds.size
    means = np.array([part.mean() for part in bins])
    fine = np.linspace(passed[0], passed[1], 400)
    at = np.clip(np.searchsorted(edges, fine, side="right") - 1, 0, means.size - 1)
    ax.fill_between(fine, means[at], seconds.mean(), color=COLOURS[1], alpha=0.3, lw=0)
    ax.stairs(means, edges, baseline=None, color=COLOURS[0], lw=1.4)
    ax.axhline(seconds.mean(), color=SHADE, lw=1.0, ls="--")
    ax.set(xlim=(0, 1), ylim=(0, 1.12 * means.max()))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def rejection_curves(curves: LoopCurves, draws: LoopCurves | None = None) -> Drawn:
    """Accuracy, and error on a logarithmic scale, against the share that the person takes.

    Args:
        curves: See `loop_curves`.
        draws: The same under weights of a bootstrap, for bands.
    """
    figure, (left, right) = panels(2, 3.4, most=2, fewest=2, share=False)
    accuracy = curves.conditional_accuracy
    spread = None if draws is None else draws.conditional_accuracy
    _lines(left, curves, accuracy, spread)
    _lines(right, curves, 1.0 - accuracy, None if spread is None else 1.0 - spread)
    left.set(ylabel="Right, of those that models answered")
    left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _log_axis(right, lambda share: f"{100 * share:g}%")
    right.set(ylabel="Wrong, of those that models answered")
    left.legend(loc="best")
    return Drawn(
        "What rejection buys",
        "Against the share of the queries that a person took: accuracy of what models answered, "
        "and its complement on a logarithmic scale. A line per utilisation, the share that the "
        "reasoning model is spared." + ("" if draws is None else " Bands: 95 % of a bootstrap."),
        figure,
    )


def _lines(
    ax: Axes,
    curves: LoopCurves,
    values: Float[np.ndarray, "u r"],
    spread: Float[np.ndarray, "d u r"] | None,
) -> None:
    for i, share in enumerate(curves.utilisation):
        colour = COLOURS[i % len(COLOURS)]
        label = "Ask" if share == 0 else f"Fail fast or ask, {share:.0%} spared"
        x = curves.human_share[i]
        if spread is not None:
            ends = np.quantile(spread[:, i], [0.025, 0.975], axis=0)
            ax.fill_between(x, *ends, color=colour, alpha=0.15, lw=0)
        ax.plot(x, values[i], marker="o", ms=2.5, lw=1.3, c=colour, label=label)
    ax.set(xlabel="Taken by a person")
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _log_axis(ax: Axes, write: Callable[[float], str]) -> None:
    # What has no logarithm, such as no errors at all, is left out.
    ax.set_yscale("log", nonpositive="mask")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    ax.yaxis.set_minor_locator(NullLocator())
