"""The verb `segments`: does a group of queries deserve a policy of its own?"""

import argparse
from itertools import groupby
from typing import Any

import jax
import numpy as np

from jaxcascade.cli import exchange, terminal
from jaxcascade.economics import SegmentFrontier, segment_frontier, segment_table
from jaxcascade.errors import InvalidInputError
from jaxcascade.reports.segment_page import (
    group_columns,
    group_heading,
    middle_point,
    price_columns,
    segment_verdict,
    write_segments_report,
)
from jaxcascade.tuning import load_frontier


def segments(arguments: argparse.Namespace) -> None:
    """Compares one policy for all with one per group."""
    exchange.check_writable(arguments.report, arguments.json)
    price = arguments.price_error
    if price is not None and not 0 < price < np.inf:
        raise InvalidInputError(f"`--price-error` must be above 0 dollars; got {price:g}.")
    frontier, records = load_frontier(arguments.frontier), exchange.read_table(arguments)
    with exchange.progress_shown() as progress:
        progress("judging choices on held-out queries")
        found = segment_frontier(
            jax.random.key(arguments.seed), frontier, records, None if price is None else [price]
        )
        if arguments.report:
            progress("drawing the report")
            write_segments_report(arguments.report, found)
    if not exchange.write_json(arguments.json, content(found)):
        _show(found)
        if arguments.report:
            terminal.line(f"Report written to {arguments.report}")


def content(found: SegmentFrontier) -> dict[str, Any]:
    """Returns everything as JSON can hold it, a point per price of an error."""
    rows = groupby(segment_table(found).to_pylist(), key=lambda row: row["price_of_error"])
    return {
        "points": [
            {
                "price_of_error": price,
                "policy": found.systems[point.recommended],
                "shared_policy": found.systems[point.choice.shared],
                "loss_from_sharing": point.held_out.total_gain,
                "loss_from_sharing_standard_error": point.held_out.total_standard_error,
                "segments": [_row(row) for row in of_price],
            }
            for point, (price, of_price) in zip(found.points, rows, strict=True)
        ]
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    of_point = ("price_of_error", "policy", "shared_policy")
    return {
        name: exchange.plain(value) if name == "gain_standard_error" else value
        for name, value in row.items()
        if name not in of_point
    }


def _show(found: SegmentFrontier) -> None:
    point = middle_point(found)
    if len(found.points) > 1:
        terminal.columns(price_columns(found))
        terminal.line(f"Group by group at one price: `--price-error {point.prices.error:.3g}`.")
    else:
        terminal.line(group_heading(found, point))
        terminal.columns(group_columns(found, point))
    terminal.line(segment_verdict(found))
