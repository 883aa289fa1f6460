"""The verb `budget`: the best mixture of policies within limits."""

import argparse
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from rich.markup import escape

from jaxcascade.cascade import Outcome, Prices
from jaxcascade.cli import exchange, terminal
from jaxcascade.economics import (
    Allocation,
    Ledger,
    Limits,
    best_within,
    bootstrap_weights,
    candidate_ledger,
    cautious_within,
    chance_within,
    error_given_answered,
    late_share,
)
from jaxcascade.errors import InvalidInputError
from jaxcascade.records import remarks
from jaxcascade.tuning import dollars, load_frontier

_NUM_DRAWS = 1000
_QUANTITIES = {
    "cost": "cost_usd",
    "error": "error",
    "latency": "latency_s",
    "abstention": "abstention",
}
_WORDS = {
    "error": "wrong, of all queries",
    "error_given_answered": "wrong, of answered queries",
    "cost_usd": "dollars per query",
    "latency_s": "seconds per query",
    "abstention": "given up",
    "late": "later than the limit",
}


class _Found(NamedTuple):
    """What there is to tell."""

    minimise: str
    limits: Limits
    allocation: Allocation
    attained: dict[str, float]
    chances: dict[str, float]
    num_queries: int


def budget(arguments: argparse.Namespace) -> None:
    """Finds the best mixture within limits."""
    exchange.check_writable(arguments.json)
    limits, minimise = _limits(arguments), _minimised(arguments)
    frontier, records = load_frontier(arguments.frontier), exchange.read_table(arguments)
    with exchange.progress_shown() as progress:
        progress("replaying policies")
        ledger = candidate_ledger(frontier, records)
        ledger.outcomes()  # says so, if no query can be compared
        ledger = ledger.take(ledger.known)
        progress("searching within the limits")
        found = _search(ledger, limits, minimise, arguments)
    if not exchange.write_json(arguments.json, _content(found)):
        terminal.remarks(remarks(records))
        _tables(found)


def _search(
    ledger: Ledger, limits: Limits, minimise: str | Prices, arguments: argparse.Namespace
) -> _Found:
    # The same weights for means and for late queries.
    weight = bootstrap_weights(jax.random.key(arguments.seed), ledger.queries.size, _NUM_DRAWS)
    draws = ledger.outcomes(weight)
    late = late_draws = None
    if arguments.latency_quantile:
        seconds = arguments.latency_quantile[1]
        late, late_draws = late_share(ledger, seconds), late_share(ledger, seconds, weight)
    if arguments.chance is None:
        found = best_within(ledger.systems, ledger.outcomes(), limits, minimise, late)
    else:
        found = cautious_within(
            ledger.systems, draws, limits, minimise, late_draws, arguments.chance
        )
    chances = chance_within(found.mixture, ledger.systems, draws, limits, late_draws)
    return _Found(
        "loss" if isinstance(minimise, Prices) else minimise,
        limits,
        found,
        _attained(found.mixture.outcome(ledger), found, ledger, late),
        chances,
        ledger.queries.size,
    )


def _attained(
    outcome: Outcome, found: Allocation, ledger: Ledger, late: Float[np.ndarray, " s"] | None
) -> dict[str, float]:
    values = {name: float(getattr(outcome, name)) for name in _QUANTITIES.values()}
    values["error_given_answered"] = float(error_given_answered(outcome))
    if late is not None:
        rows = [ledger.position(name) for name in found.mixture.systems]
        values["late"] = float(late[rows] @ found.mixture.shares)
    return values


def _limits(arguments: argparse.Namespace) -> Limits:
    asked = {
        "error": arguments.error,
        "error_given_answered": arguments.error_given_answered,
        "cost_usd": arguments.cost,
        "latency_s": arguments.latency,
        "abstention": arguments.abstention,
    }
    given = {name: limit for name, limit in asked.items() if limit is not None}
    if arguments.latency_quantile:
        level, seconds = arguments.latency_quantile
        if not 0 < level < 1 or not seconds >= 0:
            raise InvalidInputError(
                "`--latency-quantile LEVEL S` needs a level between 0 and 1 and seconds of at "
                f"least 0; got {level:g} {seconds:g}."
            )
        given["late"] = 1.0 - level
    if not given:
        raise InvalidInputError(
            "There is no limit. Give one or more of --error, --error-given-answered, --cost, "
            "--latency, --latency-quantile and --abstention."
        )
    for name, limit in given.items():
        if not 0 <= limit < np.inf:
            flag = "--" + name.removesuffix("_usd").removesuffix("_s").replace("_", "-")
            raise InvalidInputError(f"`{flag}` must be at least 0 and finite; got {limit:g}.")
    return Limits(**given)


def _minimised(arguments: argparse.Namespace) -> str | Prices:
    chosen = arguments.minimise
    if chosen is None:
        only_cost = arguments.cost is not None and arguments.error is None
        chosen = "error" if only_cost and arguments.error_given_answered is None else "cost"
    asked = (arguments.price_error, arguments.price_latency, arguments.price_abstention)
    if chosen != "loss":
        if any(price is not None for price in asked):
            raise InvalidInputError("Prices need `--minimise loss`; nothing else is priced.")
        return _QUANTITIES[chosen]
    if arguments.price_error is None:
        raise InvalidInputError("`--minimise loss` needs a price of an error: add `--price-error`.")
    if any(price is not None and not price >= 0 for price in asked):
        raise InvalidInputError("Prices must be at least 0 dollars.")
    error, latency, abstention = asked
    return Prices(error, latency or 0.0, np.inf if abstention is None else abstention)


def _tables(found: _Found) -> None:
    mixture = terminal.table("system", "share of queries")
    for name, share in zip(*found.allocation.mixture, strict=True):
        mixture.add_row(escape(name), f"{100 * share:.1f} %")
    terminal.console().print(mixture)
    rows = terminal.table(
        "on average", "limit", "attained", "one unit more saves", "chance to hold"
    )
    prices, given = found.allocation.shadow_prices._asdict(), found.limits.given()
    for name, words in _WORDS.items():
        if name not in found.attained or np.isnan(found.attained[name]):
            continue
        limited = name in given
        rows.add_row(
            words,
            _amount(name, given[name]) if limited else "",
            _amount(name, found.attained[name]),
            f"{prices[name]:.4g}" if limited else "",
            f"{found.chances[name]:.0%}" if limited else "",
        )
    terminal.console().print(rows)
    unit = "dollars" if found.minimise in ("cost_usd", "loss") else _WORDS[found.minimise]
    terminal.line(
        f"Minimised: {found.minimise}, to {found.allocation.value:.4g}. Savings are in {unit}, per "
        "unit of the limit. All limits hold at once with a probability of "
        f"{found.chances['all']:.0%}, by the bootstrap over {found.num_queries} queries; on the "
        "queries that a mixture was chosen on this is flattering."
    )


def _amount(name: str, value: float) -> str:
    if name == "cost_usd":
        return dollars(value)
    return f"{value:.2f}" if name == "latency_s" else f"{100 * value:.1f} %"


def _content(found: _Found) -> dict[str, Any]:
    allocation = found.allocation
    return {
        "minimise": found.minimise,
        "value": allocation.value,
        "kind": allocation.kind,
        "mixture": [
            {"system": name, "share": float(share)}
            for name, share in zip(*allocation.mixture, strict=True)
        ],
        "limits": found.limits.given(),
        "attained": {name: exchange.plain(value) for name, value in found.attained.items()},
        "shadow_prices": {
            name: price
            for name, price in allocation.shadow_prices._asdict().items()
            if name in found.limits.given()
        },
        "binding": list(allocation.binding),
        "chance_within": found.chances,
        "num_queries": found.num_queries,
    }
