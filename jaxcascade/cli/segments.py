"""The verb `segments`: does a group of queries deserve a policy of its own?"""

import argparse
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.markup import escape

from jaxcascade.cascade import Prices, loss
from jaxcascade.cli import exchange, terminal
from jaxcascade.economics import (
    LossFromSharing,
    SegmentChoice,
    Segments,
    candidate_ledger,
    choose_per_segment,
    loss_from_sharing,
    recommended_system,
)
from jaxcascade.economics import segments as outcomes_by_segment
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning import Frontier, Point, dollars, load_frontier

# Standard errors from which on a gain is called one.
_CLEAR = 2.0


class _Found(NamedTuple):
    """What there is to tell, at one set of prices."""

    prices: Prices
    policy: int
    systems: tuple[str, ...]
    by_group: Segments
    choice: SegmentChoice
    sharing: LossFromSharing


def segments(arguments: argparse.Namespace) -> None:
    """Compares one policy for all with one per group."""
    exchange.check_writable(arguments.json)
    frontier, records = load_frontier(arguments.frontier), exchange.read_table(arguments)
    point, prices = _at(frontier, arguments.price_error)
    with exchange.progress_shown() as progress:
        progress("replaying policies")
        ledger = candidate_ledger(frontier, records)
        progress("judging choices on held-out queries")
        found = _Found(
            prices,
            ledger.position(recommended_system(frontier, point)),
            ledger.systems,
            outcomes_by_segment(ledger),
            choose_per_segment(ledger, prices),
            loss_from_sharing(jax.random.key(arguments.seed), ledger, prices),
        )
    if not exchange.write_json(arguments.json, _content(found)):
        _show(found)


def _at(frontier: Frontier, price: float | None) -> tuple[Point, Prices]:
    """The point of a price, and its prices with that one; the middle point without one."""
    if price is None:
        point = frontier.points[len(frontier.points) // 2]
        return point, point.prices
    if not 0 < price < np.inf:
        raise InvalidInputError(f"`--price-error` must be above 0 dollars; got {price:g}.")
    point = frontier.at_price(price)
    return point, point.prices._replace(error=price)


def _rows(found: _Found) -> list[dict[str, Any]]:
    by_group, choice, sharing = found.by_group, found.choice, found.sharing
    outcome = type(by_group.outcome)(*(part[:, found.policy] for part in by_group.outcome))
    losses = np.asarray(loss(outcome, found.prices))
    return [
        {
            "group": name,
            "num_queries": int(by_group.num_queries[g]),
            "error": float(outcome.error[g]),
            "cost_usd": float(outcome.cost_usd[g]),
            "loss": float(losses[g]),
            "own_policy": found.systems[choice.own[g]],
            "gain": float(sharing.gain[g]),
            "gain_standard_error": exchange.plain(sharing.gain_standard_error[g]),
        }
        for g, name in enumerate(by_group.names)
    ]


def _content(found: _Found) -> dict[str, Any]:
    return {
        "price_of_error": float(found.prices.error),
        "policy": found.systems[found.policy],
        "shared_policy": found.systems[found.choice.shared],
        "loss_from_sharing": found.sharing.total_gain,
        "loss_from_sharing_standard_error": found.sharing.total_standard_error,
        "segments": _rows(found),
    }


def _show(found: _Found) -> None:
    table = terminal.table(
        *("group", "queries", "wrong", "cost per 1,000", "loss per 1,000"),
        *("policy", "own saves per 1,000", "+-"),
    )
    for row in _rows(found):
        error = row["gain_standard_error"]
        table.add_row(
            escape(row["group"]),
            str(row["num_queries"]),
            terminal.percent(row["error"]),
            dollars(1000 * row["cost_usd"]),
            dollars(1000 * row["loss"]),
            escape(row["own_policy"]),
            _signed(1000 * row["gain"]),
            "" if error is None else _signed(1000 * error),
        )
    terminal.line(
        f"At {dollars(float(found.prices.error))} per error. Wrong, cost and loss are of the "
        f"frontier's policy, {found.systems[found.policy]}; each group's own policy stands beside."
    )
    terminal.console().print(table)
    total, error = found.sharing.total_gain, found.sharing.total_standard_error
    terminal.line(
        "A policy per group pays."
        if total > _CLEAR * error
        else "A policy per group does not clearly pay."
    )
    does = "saves" if total >= 0 else "loses"
    terminal.line(
        f"Best for all: {found.systems[found.choice.shared]}. On held-out queries one policy per "
        f"group {does} {dollars(1000 * abs(total))} per 1,000 queries "
        f"against one for all (standard error {dollars(1000 * error)})."
    )


def _signed(amount: float) -> str:
    return f"-{dollars(-amount)}" if amount < 0 else dollars(amount)
