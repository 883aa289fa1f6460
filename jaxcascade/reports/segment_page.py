"""Groups of queries in a report: the answer, tables and figures."""

from collections.abc import Iterator
from functools import partial
from os import PathLike
from statistics import NormalDist

import numpy as np

from jaxcascade.economics import SegmentFrontier, SegmentPoint
from jaxcascade.reports import assembly, markup
from jaxcascade.reports.markup import Column
from jaxcascade.tuning import dollars

_QUERIES = 1000
# Chance of calling any gain clear where there is none, for one price and for many together.
_BY_LUCK = 0.025
_MOST_PRICES = 6


def write_segments_report(path: str | PathLike, found: SegmentFrontier) -> None:
    """Writes a report as one HTML file that needs nothing else, whole or not at all.

    Raises:
        FileFormatError: The folder does not exist.
    """
    assembly.write_page(path, "One policy for all, or one per group?", segment_parts(found))


def segment_parts(found: SegmentFrontier) -> Iterator[str]:
    """The answer, by price and, at the price in the middle, by group."""
    from jaxcascade.reports import drift_figures

    yield markup.text("p", segment_verdict(found), "verdict")
    makers = {"sharing": partial(drift_figures.sharing, middle_point(found).held_out)}
    if len(found.points) > 1:
        makers = {"sharing-by-price": partial(drift_figures.sharing_by_price, found), **makers}
        yield markup.table(price_columns(found))
    yield markup.text("p", group_heading(found, middle_point(found)), "facts")
    yield markup.table(group_columns(found, middle_point(found)))
    yield from assembly.figures(makers)


def segment_verdict(found: SegmentFrontier) -> str:
    """Whether own policies pay, in a sentence or two."""
    bound = NormalDist().inv_cdf(1.0 - _BY_LUCK / len(found.points))
    clear = found.gain > bound * found.gain_standard_error
    if len(clear) == 1:
        gain, error = (_QUERIES * float(x[0]) for x in (found.gain, found.gain_standard_error))
        return (
            f"A policy per group {'pays' if clear[0] else 'does not clearly pay'}: on held-out "
            f"queries it {'saves' if gain >= 0 else 'loses'} {dollars(abs(gain))} per 1,000 "
            f"against one for all (standard error {dollars(error)})."
        )
    if not clear.any():
        return f"At none of {len(clear)} prices of an error does a policy per group clearly pay."
    prices = found.error_prices[clear]
    return (
        f"A policy per group clearly pays at {int(clear.sum())} of {len(clear)} prices, from "
        f"{dollars(prices.min())} to {dollars(prices.max())} per error."
    )


def price_columns(found: SegmentFrontier) -> list[Column]:
    """A row for some of the prices: the best for all, and what own policies save."""
    count = len(found.points)
    shown = np.unique(np.linspace(0, count - 1, min(count, _MOST_PRICES)).round().astype(int))
    points = [found.points[i] for i in shown]
    gain, error = (_QUERIES * x[shown] for x in (found.gain, found.gain_standard_error))
    share = found.gain[shown] / found.shared_loss[shown]
    apart = [int(np.sum(point.choice.own != point.choice.shared)) for point in points]
    of_all = len(found.by_group.names)
    return [
        Column("price of an error", [dollars(float(p.prices.error)) for p in points], "price"),
        Column("best for all", [found.systems[p.choice.shared] for p in points], "policy"),
        Column("groups that differ", [f"{n} of {of_all}" for n in apart]),
        Column("own save per 1,000", [signed(one) for one in gain.tolist()]),
        Column("+-", [dollars(one) for one in error.tolist()]),
        Column("share of the loss", [f"{one:.1%}" for one in share]),
    ]


def group_columns(found: SegmentFrontier, point: SegmentPoint) -> list[Column]:
    """A row per group: what the frontier's policy does, and what the group's own would save."""
    outcome, losses, held_out = found.outcome(point), found.losses(point), point.held_out
    errors = held_out.gain_standard_error
    return [
        Column("group", found.by_group.names, "words"),
        Column("queries", [f"{count:,}" for count in found.by_group.num_queries]),
        Column("wrong", [f"{share:.1%}" for share in outcome.error]),
        Column("cost per 1,000", [dollars(_QUERIES * cost) for cost in outcome.cost_usd]),
        Column("loss per 1,000", [dollars(_QUERIES * one) for one in losses]),
        Column("own policy", [found.systems[s] for s in point.choice.own], "policy"),
        Column("own saves per 1,000", [signed(_QUERIES * one) for one in held_out.gain]),
        Column("+-", ["" if np.isnan(e) else dollars(_QUERIES * e) for e in errors]),
    ]


def group_heading(found: SegmentFrontier, point: SegmentPoint) -> str:
    """What the rows of `group_columns` are of."""
    return (
        f"At {dollars(float(point.prices.error))} per error. Wrong, cost and loss are of the "
        f"frontier's policy, {found.systems[point.recommended]}; best for all on these queries is "
        f"{found.systems[point.choice.shared]}."
    )


def middle_point(found: SegmentFrontier) -> SegmentPoint:
    """The point that is shown group by group."""
    return found.points[len(found.points) // 2]


def signed(amount: float) -> str:
    """Writes dollars that may be negative."""
    return f"-{dollars(-amount)}" if amount < 0 else dollars(amount)
